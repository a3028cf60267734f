package connector_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// waitCluster waits until what is known of the cluster is as wanted.
func waitCluster(t *testing.T, conn *connector.Connector, what string, wanted func(connector.Cluster) bool) connector.Cluster {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c := conn.Info().Cluster; wanted(c) {
			return c
		} else if time.Now().After(end) {
			t.Fatalf("waited in vain for %s: %+v", what, c)
		}
	}
}

// askStatus asks the handler as a probe does.
func askStatus(t *testing.T, conn *connector.Connector) (code int, status connector.Status) {
	t.Helper()
	w := httptest.NewRecorder()
	conn.StatusHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, status
}

// Info tells of the cluster by the link that answers, and how old that is when none does.
func TestInfoTellsOfTheCluster(t *testing.T) {
	head := raytest.Head(t)
	gcs, server := faultproxy.New(t, head.GCSAddress()), faultproxy.New(t, head.ClientAddress())
	var m meter
	conn, _ := newConnector(t, connector.Config{
		Address: gcs.Address(), ClientPort: portOf(t, server.Address()), Namespace: raytest.Namespace(t), Metrics: &m,
		HealthInterval: 200 * time.Millisecond, HealthTimeout: 2 * time.Second, ClusterInterval: 300 * time.Millisecond,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
	prom, registry := promray.New(), prometheus.NewPedanticRegistry()
	prom.Attached(conn)
	registry.MustRegister(prom)
	if c := conn.Info().Cluster; c.Status != connector.ClusterUnknown || !c.Observed.IsZero() {
		t.Errorf("before there was a connection: %+v", c)
	}
	if code, status := askStatus(t, conn); code != http.StatusServiceUnavailable || status.Ready || status.Info.State != connector.StateDisconnected {
		t.Errorf("%d, %+v", code, status)
	}
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if code, status := askStatus(t, conn); code != http.StatusOK || !status.Ready || status.Info.SessionID == "" || status.Stat.Sessions != 1 {
		t.Errorf("%d, %+v", code, status)
	}
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	class, err := client.Session().PythonClass(deadline(t), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := client.Session().CreateActor(deadline(t), class, ray.ActorOptions{NumCPUs: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := waitCluster(t, conn, "an actor and what it reserves", func(c connector.Cluster) bool {
		return c.Source == "gcs" && c.Status == connector.ClusterCurrent && c.Actors.Alive > 0 && c.CPU.Available <= c.CPU.Total-1
	})
	if c.NodesAlive != 1 || c.CPU.Total < 2 || c.Memory.Available <= 0 || c.ObjectStore.Total <= 0 || !c.Actors.Known || c.Actors.AtLeast || c.Problem != "" {
		t.Errorf("by the GCS: %+v", c)
	}
	if err := client.Session().Kill(deadline(t), actor, true); err != nil {
		t.Error(err)
	}
	waitCluster(t, conn, "the actor's death", func(c connector.Cluster) bool { return c.Actors.Dead > 0 })

	if n := testing.AllocsPerRun(100, func() { _, _ = conn.Client() }); n != 0 {
		t.Errorf("Client allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = conn.Info() }); n != 0 {
		t.Errorf("Info allocates %v times", n)
	}

	gcs.Refuse(true)
	gcs.Cut()
	c = waitCluster(t, conn, "the session's word", func(c connector.Cluster) bool {
		return c.Source == "session" && c.Status == connector.ClusterCurrent
	})
	if c.NodesAlive != 1 || c.CPU.Total < 2 || c.Memory.Total <= 0 || c.Actors.Known {
		t.Errorf("by the session: %+v", c)
	}
	server.Refuse(true)
	server.Cut()
	// What nobody can tell any more is unknown, and not what it was.
	c = waitCluster(t, conn, "its age to show", func(c connector.Cluster) bool { return c.Status == connector.ClusterUnknown })
	if c.Observed.IsZero() || (c != connector.Cluster{Status: c.Status, Observed: c.Observed, Problem: c.Problem}) {
		t.Errorf("without a link: %+v", c)
	}
	text, err := json.Marshal(conn.Info())
	if err != nil || !strings.Contains(string(text), `"status":"unknown","observed":"2`) || strings.Contains(string(text), "nodes_alive") {
		t.Errorf("%s, %v", text, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch name := f.GetName(); name {
		case "seedcore_ray_nodes", "seedcore_ray_cluster_resources", "seedcore_ray_actors":
			t.Errorf("%s is told: %v", name, f)
		case "seedcore_ray_cluster_current":
			if v := f.GetMetric()[0].GetGauge().GetValue(); v != 0 {
				t.Errorf("%s is %v", name, v)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.observed) == 0 || m.observed[0].Observed.IsZero() {
		t.Errorf("observed %+v", m.observed)
	}
}
