package promray

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seedcore/seedcore/connector"
)

// Metrics counts what a connector reports, and reads the rest from it at each scrape. It implements connector.Metrics and
// prometheus.Collector, and is safe for concurrent use. A scrape makes no round trip.
type Metrics struct {
	conn atomic.Pointer[connector.Connector] // nil until New of the connector

	attempts        *prometheus.CounterVec
	connectDuration prometheus.Histogram
	reconnects      *prometheus.CounterVec
	stateChanges    *prometheus.CounterVec
	checkDuration   *prometheus.HistogramVec
	checkFailures   *prometheus.CounterVec
	rpcDuration     *prometheus.HistogramVec
}

// New makes a Metrics for one connector.
func New() *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seedcore_ray_connect_attempts_total", Help: "Tries to connect to an address, by outcome: ok, or the kind of the problem.",
		}, []string{"outcome"}),
		connectDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "seedcore_ray_connect_duration_seconds", Help: "How long tries to connect took, failed ones too.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 60},
		}),
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seedcore_ray_reconnects_total", Help: "Sessions that took the place of another, by reason: lost, reset, or cluster_replaced, by one of another cluster.",
		}, []string{"reason"}),
		stateChanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seedcore_ray_state_changes_total", Help: "Changes of the connection's state, by the state that it came to.",
		}, []string{"state"}),
		checkDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seedcore_ray_health_check_duration_seconds", Help: "How long checks of a link took, failed ones too.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"link"}),
		checkFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seedcore_ray_health_check_failures_total", Help: "Checks of a link without an answer in time.",
		}, []string{"link"}),
		rpcDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seedcore_ray_rpc_duration_seconds", Help: "How long operations took, by operation and by ok or the kind of error.",
			Buckets: []float64{.0002, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "code"}),
	}
	for _, reason := range []string{"lost", "reset", "cluster_replaced"} {
		m.reconnects.WithLabelValues(reason) // a rate needs the 0
	}
	for _, s := range states {
		m.stateChanges.WithLabelValues(string(s))
	}
	return m
}

// Attached implements connector.Metrics.
func (m *Metrics) Attached(c *connector.Connector) { m.conn.Store(c) }

// Changed implements connector.Metrics. The state itself is read when asked for; what it was in between is counted.
func (m *Metrics) Changed(e connector.Event) {
	if e.From != e.To {
		m.stateChanges.WithLabelValues(string(e.To)).Inc()
	}
}

// Observed implements connector.Metrics; the cluster is read when asked for.
func (m *Metrics) Observed(connector.Cluster) {}

// Attempted implements connector.Metrics.
func (m *Metrics) Attempted(outcome string, took time.Duration) {
	m.attempts.WithLabelValues(outcome).Inc()
	m.connectDuration.Observe(took.Seconds())
}

// Replaced implements connector.Metrics.
func (m *Metrics) Replaced(reason string) { m.reconnects.WithLabelValues(reason).Inc() }

// Checked implements connector.Metrics.
func (m *Metrics) Checked(link string, ok bool, took time.Duration) {
	m.checkDuration.WithLabelValues(link).Observe(took.Seconds())
	failures := m.checkFailures.WithLabelValues(link)
	if !ok {
		failures.Inc()
	}
}

// Called implements connector.Metrics.
func (m *Metrics) Called(operation, code string, took time.Duration) {
	m.rpcDuration.WithLabelValues(operation, code).Observe(took.Seconds())
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("seedcore_ray_"+name, help, labels, nil)
}

var (
	connected    = desc("connected", "1 while the session answers.")
	state        = desc("state", "1 for the present state of the connection, 0 for the others.", "state")
	epoch        = desc("session_epoch", "Number of the newest session.")
	linkAnswers  = desc("link_answers", "1 while a link answers. A link that was never there has no series.", "link")
	lastHealthy  = desc("last_healthy_timestamp_seconds", "When a link last answered.", "link")
	directCalls  = desc("direct_calls", "1 while actors are called directly, 0 while through the session or while neither link answers. No series without a session.")
	calls        = desc("calls_total", "Calls of named actors by the path they took, and why those through the session did, since the session was renewed.", "path", "reason")
	inFlight     = desc("inflight", "Requests of the main session that wait for an answer, and direct calls under way.", "path")
	workers      = desc("direct_connections", "Connections to the processes of actors.")
	idleWorkers  = desc("direct_idle_closed_total", "Connections to processes of actors that were closed because nothing was called, since the direct path was renewed.")
	refs         = desc("refs", "Objects and actors that the cluster holds for the main session.")
	staleRefs    = desc("stale_ref_total", "Uses of refs and handles of an earlier session, which were refused, since the session was renewed.")
	resumptions  = desc("session_resumptions_total", "Cuts that the main session outlived, since it was renewed.")
	bytes        = desc("bytes_total", "Bytes of values and arguments of the main session, since it was renewed.", "direction")
	bulkBytes    = desc("bulk_bytes_total", "Bytes of values and arguments of the sessions of the bulk lane.", "direction")
	sessions     = desc("sessions", "Sessions by state: main (1 while there is one), and those of the bulk lane.", "state")
	clusterAge   = desc("cluster_observed_timestamp_seconds", "When the cluster was last seen. It and those below have no series before.")
	clusterFresh = desc("cluster_current", "1 while what is known of the cluster is current; 0: it is unknown again, and those below have no series.")
	nodes        = desc("nodes", "Nodes that the cluster knows.", "state")
	resources    = desc("cluster_resources", "Resources of the live nodes: cpu in cores, memory and object_store in bytes.", "resource", "kind")
	actors       = desc("actors", "Actors by state, in all namespaces, up to 10,000 in each. No series where only the session answers; none of dead ones where a state has more.", "state")
)

// states are those of a connection; one that is new is shown all the same while it lasts.
var states = []connector.State{
	connector.StateDisconnected, connector.StateConnecting, connector.StateConnected, connector.StateDegraded,
	connector.StateReconnecting, connector.StateLost, connector.StateClosing, connector.StateClosed,
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.counted() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{
		connected, state, epoch, linkAnswers, lastHealthy, directCalls, calls, inFlight, workers, idleWorkers, refs, staleRefs, resumptions, bytes, bulkBytes, sessions,
		clusterAge, clusterFresh, nodes, resources, actors,
	} {
		ch <- d
	}
}

func (m *Metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.connectDuration, m.reconnects, m.stateChanges, m.checkDuration, m.checkFailures, m.rpcDuration}
}

// scrape is one collection.
type scrape chan<- prometheus.Metric

func (ch scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (ch scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(out)
	}
	if conn := m.conn.Load(); conn != nil {
		info := conn.Info()
		scrape(out).connection(info)
		scrape(out).use(info, conn.Stat())
		scrape(out).cluster(info.Cluster)
	}
}

func (ch scrape) connection(info connector.Info) {
	ch.gauge(connected, flag(info.Session.Answers))
	for _, s := range states {
		ch.gauge(state, flag(s == info.State), string(s))
	}
	if !slices.Contains(states, info.State) {
		ch.gauge(state, 1, string(info.State))
	}
	ch.gauge(epoch, float64(info.Epoch))
	for name, link := range map[string]connector.Link{"session": info.Session, "gcs": info.GCS} {
		if !link.LastHealthy.IsZero() {
			ch.gauge(linkAnswers, flag(link.Answers), name)
			ch.gauge(lastHealthy, seconds(link.LastHealthy), name)
		}
	}
	if info.SessionID != "" {
		ch.gauge(directCalls, flag(CallsDirectly(info)))
	}
}

// CallsDirectly tells whether calls take the direct path. While both links are down nothing is known of any.
func CallsDirectly(info connector.Info) bool {
	return info.Direct && (info.Session.Answers || info.GCS.Answers)
}

func (ch scrape) use(info connector.Info, stat connector.Stat) {
	ch.gauge(inFlight, float64(stat.Session.Queued+stat.Session.Outstanding), "session")
	ch.gauge(inFlight, float64(stat.DirectInFlight), "direct")
	ch.gauge(workers, float64(stat.Direct.Connections))
	ch.counter(idleWorkers, float64(stat.Direct.IdleClosed))
	ch.gauge(refs, float64(stat.Session.Refs))
	ch.counter(staleRefs, float64(stat.Session.Stale))
	ch.counter(resumptions, float64(stat.Session.Reconnects))
	ch.counter(bytes, float64(stat.Session.BytesSent), "sent")
	ch.counter(bytes, float64(stat.Session.BytesCame), "received")
	ch.counter(bulkBytes, float64(stat.Bulk.BytesSent), "sent")
	ch.counter(bulkBytes, float64(stat.Bulk.BytesCame), "received")
	ch.gauge(sessions, flag(info.SessionID != ""), "main")
	for name, n := range map[string]int{"bulk_opening": stat.Bulk.Opening, "bulk_in_use": stat.Bulk.InUse, "bulk_idle": stat.Bulk.Idle, "bulk_closing": stat.Bulk.Closing} {
		ch.gauge(sessions, float64(n), name)
	}
	if stat.Paths.Detours != nil {
		ch.counter(calls, float64(stat.Paths.Direct), "direct", "")
		for why, n := range stat.Paths.Detours {
			ch.counter(calls, float64(n), "session", string(why))
		}
	}
}

func (ch scrape) cluster(c connector.Cluster) {
	if c.Observed.IsZero() {
		return
	}
	ch.gauge(clusterAge, seconds(c.Observed))
	ch.gauge(clusterFresh, flag(c.Status == connector.ClusterCurrent))
	if c.Status != connector.ClusterCurrent {
		return
	}
	ch.gauge(nodes, float64(c.NodesAlive), "alive")
	ch.gauge(nodes, float64(c.NodesDead), "dead")
	for name, r := range map[string]connector.Resource{"cpu": c.CPU, "memory": c.Memory, "object_store": c.ObjectStore} {
		ch.gauge(resources, r.Total, name, "total")
		ch.gauge(resources, r.Available, name, "available")
	}
	if !c.Actors.Known {
		return
	}
	for name, n := range map[string]int{
		"dependencies_unready": c.Actors.DependenciesUnready, "pending_creation": c.Actors.PendingCreation,
		"alive": c.Actors.Alive, "restarting": c.Actors.Restarting,
	} {
		ch.gauge(actors, float64(n), name)
	}
	if !c.Actors.AtLeast {
		ch.gauge(actors, float64(c.Actors.Dead), "dead")
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
