package server

import (
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// metrics is the server's own registry: the requests that it counts, and gauges that are read when asked for.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	panics   *prometheus.CounterVec
}

func newMetrics(conn *connector.Connector, org *organism.Organism) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "api_requests_total", Help: "Requests answered, by route, method and status code.",
		}, []string{"endpoint", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "api_request_duration_seconds", Help: "Time to answer a request, by route and method.",
		}, []string{"endpoint", "method"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seedcore_http_panics_total", Help: "Panics of request handlers, by route and method: each is a defect, and is in the log with its stack.",
		}, []string{"endpoint", "method"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.panics, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &connectionCollector{conn: conn, organism: org})
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// connectionCollector reads the connection and the organism when they are scraped.
type connectionCollector struct {
	conn     *connector.Connector
	organism *organism.Organism
}

var (
	rayConnected     = prometheus.NewDesc("seedcore_ray_connected", "1 while the session answers.", nil, nil)
	rayState         = prometheus.NewDesc("seedcore_ray_state", "1 for the present state of the connection, 0 for the others.", []string{"state"}, nil)
	rayEpoch         = prometheus.NewDesc("seedcore_ray_session_epoch", "Sessions opened so far.", nil, nil)
	rayAttempts      = prometheus.NewDesc("seedcore_ray_connect_attempts", "Tries to connect since the last session.", nil, nil)
	rayLinkUp        = prometheus.NewDesc("seedcore_ray_link_answers", "1 while a link answers. A link that was never there has no series.", []string{"link"}, nil)
	rayLastHealthy   = prometheus.NewDesc("seedcore_ray_last_healthy_timestamp_seconds", "When a link last answered.", []string{"link"}, nil)
	rayHealthLatency = prometheus.NewDesc("seedcore_ray_health_check_latency_seconds", "Round trip of the last check of a link that was answered.", []string{"link"}, nil)
	rayDirect        = prometheus.NewDesc("seedcore_ray_direct_calls", "1 while actors are called directly, 0 while through the session or while neither link answers. No series without a session.", nil, nil)
	rayCalls         = prometheus.NewDesc("seedcore_ray_calls_total", "Calls of named actors by the path they took, and why those through the session did, since the session or its direct path was renewed.", []string{"path", "reason"}, nil)
	organismUp       = prometheus.NewDesc("seedcore_organism_initialized", "1 while everything that is configured was seen to run; 0 while something does not, or while that cannot be seen.", nil, nil)
	organismKilled   = prometheus.NewDesc("seedcore_organism_actors_killed_total", "Actors that were ended since they did not answer.", nil, nil)
	organismOutdated = prometheus.NewDesc("seedcore_organism_actors_outdated", "Actors that run and were made by another program or configuration, when last looked.", nil, nil)
	organismExpected = prometheus.NewDesc("seedcore_organism_expected", "Organs and agents that are configured.", []string{"kind"}, nil)
)

// states are those of a connection; one that is new is shown all the same while it lasts.
var states = []connector.State{
	connector.StateDisconnected, connector.StateConnecting, connector.StateConnected, connector.StateDegraded,
	connector.StateReconnecting, connector.StateLost, connector.StateClosing, connector.StateClosed,
}

// callsDirectly tells whether calls take the direct path. While both links are down nothing is known of any.
func callsDirectly(info connector.Info) bool {
	return info.Direct && (info.Session.Answers || info.GCS.Answers)
}

// Describe implements prometheus.Collector.
func (c *connectionCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c *connectionCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	info := c.conn.Info()
	gauge(rayConnected, flag(info.Session.Answers))
	for _, state := range states {
		gauge(rayState, flag(state == info.State), string(state))
	}
	if !slices.Contains(states, info.State) {
		gauge(rayState, 1, string(info.State))
	}
	ch <- prometheus.MustNewConstMetric(rayEpoch, prometheus.CounterValue, float64(info.Epoch))
	gauge(rayAttempts, float64(info.Attempts))
	for name, link := range map[string]connector.Link{"session": info.Session, "gcs": info.GCS} {
		if link.LastHealthy.IsZero() {
			continue
		}
		gauge(rayLinkUp, flag(link.Answers), name)
		gauge(rayLastHealthy, float64(link.LastHealthy.UnixMilli())/1000, name)
		gauge(rayHealthLatency, link.Latency.Seconds(), name)
	}
	if info.SessionID != "" {
		gauge(rayDirect, flag(callsDirectly(info)))
	}
	if client, err := c.conn.Client(); err == nil {
		paths := client.Paths()
		ch <- prometheus.MustNewConstMetric(rayCalls, prometheus.CounterValue, float64(paths.Direct), "direct", "")
		for why, n := range paths.Detours {
			ch <- prometheus.MustNewConstMetric(rayCalls, prometheus.CounterValue, float64(n), "session", string(why))
		}
	}
	health := c.organism.Health()
	gauge(organismUp, flag(health.OK && info.Session.Answers))
	ch <- prometheus.MustNewConstMetric(organismKilled, prometheus.CounterValue, float64(health.Killed))
	if !health.Observed.IsZero() {
		gauge(organismOutdated, float64(len(health.Outdated)))
	}
	agents := 0
	for _, organ := range c.organism.Config().Organs {
		agents += organ.AgentCount
	}
	gauge(organismExpected, float64(len(c.organism.Config().Organs)), "organ")
	gauge(organismExpected, float64(agents), "agent")
}
