package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unconnected is the API of a process whose Ray is not there.
func unconnected(t testing.TB, cfg server.Config) http.Handler {
	t.Helper()
	return newServer(t, cfg).Handler()
}

func newServer(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:1", Metrics: promray.New()})
	if err != nil {
		t.Fatal(err)
	}
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return server.New(conn, org, cfg)
}

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	if path != "/metrics" && method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
		t.Errorf("%s %s: not JSON: %s", method, path, w.Body)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestAnswersWithoutRay(t *testing.T) {
	h := unconnected(t, server.Config{})
	for _, c := range []struct {
		method, path, body string
		code               int
		contains           string
	}{
		{"GET", "/healthz", "", 200, `"ok"`},
		{"GET", "/readyz", "", 503, `{"ray_ok":false,"organism_ok":false,"ray_state":"disconnected"`},
		{"HEAD", "/readyz", "", 503, ""},
		{"GET", "/ray/status", "", 200, `"ray_available":false,"config":"RayConfig(remote=127.0.0.1:1, namespace=seedcore-dev)","cluster_info":{"status":"not_connected"}`},
		{"GET", "/organism/status", "", 503, `{"success":false,"error":"Organism not initialized"`},
		{"GET", "/organism/summary", "", 503, `"Organism not initialized"`},
		{"POST", "/organism/execute/cognitive_organ_1", `{"task_data":{}}`, 503, `"organ_id":"cognitive_organ_1"`},
		{"POST", "/organism/execute/random", `{"task_data":{}}`, 503, `"Organism not initialized"`},
		{"POST", "/organism/execute/nowhere", `{"task_data":{}}`, 404, `"error":"Organ nowhere not found"`},
		{"GET", "/tier0/agents", "", 503, `"success":false`},
		{"POST", "/tier0/agents/create", `{}`, 400, `"message":"agent_id is required"`},
		{"POST", "/tier0/agents/create", `{"agent_id":"a","role_probs":{"E":-1}}`, 400, `role_probs`},
		{"POST", "/tier0/agents/create", `{"agent_id":"a b"}`, 400, `agent_id`},
		{"POST", "/tier0/agents/a/execute", `{"task_data":{}}`, 503, `"message":"Organism not initialized"`},
		{"POST", "/tier0/agents/create", `{"agent_id":"cognitive_organ_1"}`, 409, "is the configured Organ"},
		{"POST", "/tier0/agents/create", `{"agent_id":"cognitive_organ_1_agent_0"}`, 503, "not initialized"},
		{"GET", "/metrics", "", 200, "seedcore_ray_connected 0"},
		{"GET", "/metrics", "", 200, `seedcore_ray_state{state="disconnected"} 1`},
		{"GET", "/metrics", "", 200, `seedcore_ray_state{state="connected"} 0`},
		{"GET", "/nowhere", "", 404, `{"detail":"Not Found"}`},
		{"DELETE", "/healthz", "", 405, `{"detail":"Method Not Allowed"}`},
	} {
		code, body := ask(t, h, c.method, c.path, c.body)
		if code != c.code || !strings.Contains(body, c.contains) {
			t.Errorf("%s %s: %d %s; want %d with %s", c.method, c.path, code, body, c.code, c.contains)
		}
	}
}

// What was never seen has no value.
func TestMetricsDoNotMakeUpWhatIsUnknown(t *testing.T) {
	_, body := ask(t, unconnected(t, server.Config{}), "GET", "/metrics", "")
	for _, name := range []string{"seedcore_ray_link_answers{", "seedcore_ray_last_healthy_timestamp_seconds{", "seedcore_ray_health_check_duration_seconds{", "seedcore_ray_nodes{", "seedcore_ray_actors{", "seedcore_ray_direct_calls ", "seedcore_ray_calls_total{"} {
		if strings.Contains(body, "\n"+name) {
			t.Errorf("%s has a value without a connection", name)
		}
	}
}

func TestWhatAConnectionLacksIsAWarning(t *testing.T) {
	up := connector.Link{Answers: true}
	for _, c := range []struct {
		info connector.Info
		want string
	}{
		{connector.Info{State: connector.StateConnected, Session: up, GCS: up, Direct: true}, ""},
		{connector.Info{State: connector.StateConnected, Session: up, NoDirect: "no GCS"}, "calls go through the session: no GCS"},
		{connector.Info{State: connector.StateDegraded, Session: up, Direct: true}, "the connection is degraded"},
		{connector.Info{State: connector.StateDisconnected, NoDirect: "no GCS"}, ""},
	} {
		if got := server.Warning(c.info); got != c.want {
			t.Errorf("%+v: %q", c.info, got)
		}
	}
}

// Whoever is woken by the probe is told what to do.
func TestReadyzHasTheNextStep(t *testing.T) {
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Connect(t.Context()); err == nil {
		t.Fatal("connected to nothing")
	}
	code, body := ask(t, server.New(conn, org, server.Config{}).Handler(), "GET", "/readyz", "")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, `"next_step":"start the head`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestCompatStatusAnswersFailuresWith200(t *testing.T) {
	h := unconnected(t, server.Config{CompatStatus: true})
	code, body := ask(t, h, "POST", "/organism/execute/nowhere", `{"task_data":{}}`)
	if code != http.StatusOK || !strings.Contains(body, `"success":false`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(t, h, "GET", "/readyz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("a probe must not be softened: %d", code)
	}
}

func TestEveryRouteIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	routes := newServer(t, server.Config{}).Routes()
	for _, route := range routes {
		if !strings.Contains(string(text), "\n### `"+route+"`\n") {
			t.Errorf("docs/api.md does not describe %s", route)
		}
	}
	if n := strings.Count(string(text), "\n### `"); n != len(routes) {
		t.Errorf("docs/api.md describes %d routes of %d", n, len(routes))
	}
}
