package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// metrics is the server's own registry: the requests that it counts, gauges that are read when asked for, and what the
// connection's Metrics have for Prometheus.
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
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &organismCollector{conn: conn, organism: org})
	if ofConnection, ok := conn.Metrics().(prometheus.Collector); ok {
		m.registry.MustRegister(ofConnection)
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// organismCollector reads the organism when it is scraped.
type organismCollector struct {
	conn     *connector.Connector
	organism *organism.Organism
}

var (
	organismUp       = prometheus.NewDesc("seedcore_organism_initialized", "1 while everything that is configured was seen to run; 0 while something does not, or while that cannot be seen.", nil, nil)
	organismKilled   = prometheus.NewDesc("seedcore_organism_actors_killed_total", "Actors that were ended since they did not answer.", nil, nil)
	organismOutdated = prometheus.NewDesc("seedcore_organism_actors_outdated", "Actors that run and were made by another program or configuration, when last looked.", nil, nil)
	organismExpected = prometheus.NewDesc("seedcore_organism_expected", "Organs and agents that are configured.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (c *organismCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c *organismCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	health := c.organism.Health()
	gauge(organismUp, flag(health.OK && c.conn.Info().Session.Answers))
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
