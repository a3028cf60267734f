package e2e_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// (a) The effective namespace is the one that Ray has, for every combination of the variables.
func TestStrictA_NamespaceReachesRay(t *testing.T) {
	base := raytest.Namespace(t)
	for _, c := range []struct{ ray, ns, want string }{
		{base + "-a", "", base + "-a"}, {"", base + "-b", base + "-b"}, {base + "-c", base + "-d", base + "-c"}, {"", "", "seedcore-dev"},
	} {
		cfg, err := connector.FromLookup(func(name string) string {
			return map[string]string{"RAY_ADDRESS": "ray://" + raytest.Head(t).ClientAddress(), "RAY_NAMESPACE": c.ray, "SEEDCORE_NS": c.ns}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		conn := connectedTo(t, strings.TrimPrefix(cfg.Address, "ray://"), cfg.Namespace)
		if got := clientOf(t, conn).Session().Info().Namespace; got != c.want {
			t.Errorf("%+v: Ray has namespace %q", c, got)
		}
	}
}

// (b) However many callers connect, the server sees one session.
func TestStrictB_ManyCallersShareOneSession(t *testing.T) {
	watcher := connected(t, raytest.Namespace(t))
	waitClients(t, watcher, 1)
	conn, err := connector.New(connector.Config{Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for range 2 {
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				if err := conn.Connect(ctx); err != nil {
					t.Error(err)
				}
				if _, err := conn.Client(); err != nil || !conn.Info().Session.Answers {
					t.Errorf("connected, and: %v, %+v", err, conn.Info())
				}
			})
		}
		callers.Wait()
	}
	waitClients(t, watcher, 2)
}

// waitClients waits until the server has so many sessions. It goes on counting attempts that failed in its hands, which
// they do at random, for their grace period of 30 s; a second session would stay.
func waitClients(t *testing.T, conn *connector.Connector, want int) {
	t.Helper()
	eventually(t, 60*time.Second, fmt.Sprintf("the server has %d sessions", want), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n, err := clientOf(t, conn).Session().NumClients(ctx)
		if err == nil && n != want {
			err = errorf("it has %d", n)
		}
		return err
	})
}

// (c) The description of a connection is true and can be encoded.
func TestStrictC_InfoIsTrue(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	info := conn.Info()
	if info.Namespace != namespace || info.State != connector.StateConnected || !info.Direct {
		t.Errorf("%+v", info)
	}
	if id, err := hex.DecodeString(info.NodeID); err != nil || len(id) != 28 {
		t.Errorf("node id %q", info.NodeID)
	}
	nodes, err := clientOf(t, conn).GCS().Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].ID != info.NodeID {
		t.Errorf("Ray's nodes are %v, %v", nodes, err)
	}
	if _, err := json.Marshal(info); err != nil {
		t.Error(err)
	}
}

// (d) Nothing dials before it is told to.
func TestStrictD_ConstructionOpensNoSocket(t *testing.T) {
	before := sockets(t)
	for range 10 {
		conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:10001"})
		if err != nil {
			t.Fatal(err)
		}
		org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
		if err != nil {
			t.Fatal(err)
		}
		server.New(conn, org, server.Config{}).Handler()
	}
	if now := sockets(t); now > before {
		t.Errorf("%d sockets became %d", before, now)
	}
}

func sockets(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// (e) An organism without a connection does nothing and says so.
func TestStrictE_OrganismBeforeConnecting(t *testing.T) {
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if h := org.Health(); h.OK || h.Problem == "" {
		t.Errorf("%+v", h)
	}
	if _, err := org.Execute(t.Context(), "cognitive_organ_1", organism.Task{}); !errors.Is(err, organism.ErrNotReady) {
		t.Error(err)
	}
	if err := org.Bootstrap(t.Context()); !errors.Is(err, connector.ErrNotConnected) {
		t.Error(err)
	}
}

// (f) Bootstrapping twice, and from several processes' worth of connections at once, ends with the same three actors.
func TestStrictF_BootstrapIsIdempotent(t *testing.T) {
	namespace := raytest.Namespace(t)
	conns := []*connector.Connector{connected(t, namespace), connected(t, namespace)}
	t.Cleanup(func() { removeActors(t, conns[0]) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			org, err := organism.New(conns[i%2], organism.DefaultConfig(), organism.Options{Binary: raytest.Binary(t)})
			if err == nil {
				err = org.Bootstrap(ctx)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first := ids(t, conns[0], namespace)
	if len(first) != 3 {
		t.Fatalf("%v", first)
	}
	org, err := organism.New(conns[0], organism.DefaultConfig(), organism.Options{Binary: raytest.Binary(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := org.Bootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	if second := ids(t, conns[0], namespace); fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("%v became %v", first, second)
	}
	for _, name := range organism.Singletons() {
		if _, err := clientOf(t, conns[1]).Call(ctx, namespace, name, "ping"); err != nil {
			t.Error(err)
		}
	}
}

// ids maps the named, living actors of a namespace to their actor ids.
func ids(t *testing.T, conn *connector.Connector, namespace string) map[string]string {
	t.Helper()
	actors, err := clientOf(t, conn).GCS().NamedActors(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, a := range actors {
		out[a.Name] = a.ID
	}
	return out
}

// (g) A forced reconnect gives a new session that works; what belonged to the old one fails cleanly.
func TestStrictG_ResetGivesANewSession(t *testing.T) {
	conn := connected(t, raytest.Namespace(t))
	old := clientOf(t, conn).Session()
	ref, err := old.Put(t.Context(), "value")
	if err != nil {
		t.Fatal(err)
	}
	epoch := conn.Info().Epoch
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := conn.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	fresh := clientOf(t, conn).Session()
	if fresh.ID() == old.ID() || conn.Info().Epoch != epoch+1 {
		t.Errorf("session %s, then %s; epoch %d, then %d", old.ID(), fresh.ID(), epoch, conn.Info().Epoch)
	}
	if _, err := old.Get(ctx, ref); !errors.Is(err, ray.ErrClosed) && !errors.Is(err, ray.ErrSessionLost) {
		t.Errorf("get on the old session: %v", err)
	}
	if _, err := fresh.Get(ctx, ref); !errors.Is(err, ray.ErrStaleSession) {
		t.Errorf("an old ref on the new session: %v", err)
	}
	if _, err := fresh.Put(ctx, 1); err != nil {
		t.Errorf("the new session does not work: %v", err)
	}
}

// (h) A task's value comes back, and the cluster has something to run it on.
func TestStrictH_TaskAndResources(t *testing.T) {
	session := clientOf(t, connected(t, raytest.Namespace(t))).Session()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	ref, err := session.Submit(ctx, ray.Function{Module: "textwrap", Name: "dedent"}, "  text")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := session.Get(ctx, ref); err != nil || v != "text" {
		t.Errorf("%v, %v", v, err)
	}
	if total, err := session.ClusterResources(ctx); err != nil || total["CPU"] <= 0 || total["memory"] <= 0 {
		t.Errorf("%v, %v", total, err)
	}
}

// (i) Every route is there, and "random" is not taken for an organ.
func TestStrictI_Routes(t *testing.T) {
	namespace := raytest.Namespace(t)
	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "serve")
	watcher := connected(t, namespace)
	t.Cleanup(func() { removeActors(t, watcher) })
	p.ready(2 * time.Minute)
	for _, path := range []string{"/healthz", "/readyz", "/ray/status", "/organism/status", "/organism/summary", "/tier0/agents"} {
		if code, body, err := p.ask("GET", path, ""); err != nil || code != http.StatusOK {
			t.Errorf("GET %s: %d %v %v", path, code, body, err)
		}
	}
	for _, path := range []string{"/organism/execute/cognitive_organ_1", "/organism/execute/random", "/tier0/agents/utility_organ_1_agent_0/execute"} {
		if _, err := p.task(path); err != nil {
			t.Errorf("POST %s: %v", path, err)
		}
	}
	code, body, err := p.ask("POST", "/tier0/agents/create", `{"agent_id":"extra","role_probs":{"E":1,"S":1,"O":2}}`)
	if err != nil || code != http.StatusOK || body["agent_id"] != "extra" {
		t.Errorf("create: %d %v %v", code, body, err)
	}
	if code, body, err := p.ask("POST", "/tier0/agents/create", `{"agent_id":"cognitive_organ_1"}`); err != nil || code != http.StatusConflict {
		t.Errorf("create under a taken name: %d %v %v", code, body, err)
	}
	if code, body, err := p.ask("POST", "/tier0/agents/create", `{"agent_id":"mw"}`); err != nil || code != http.StatusBadRequest {
		t.Errorf("create under a reserved name: %d %v %v", code, body, err)
	}
	if code, body, err := p.ask("POST", "/tier0/agents/nobody/execute", `{"task_data":{}}`); err != nil || code != http.StatusNotFound {
		t.Errorf("an unknown agent: %d %v %v", code, body, err)
	}
	_, body, err = p.ask("GET", "/tier0/agents", "")
	want := []any{"actuator_organ_1_agent_0", "cognitive_organ_1_agent_0", "extra", "utility_organ_1_agent_0"}
	if err != nil || fmt.Sprint(body["agents"]) != fmt.Sprint(want) || body["count"] != 4.0 {
		t.Errorf("agents: %v %v", body, err)
	}
	_, body, err = p.ask("GET", "/ray/status", "")
	cluster, _ := body["cluster_info"].(map[string]any)
	if err != nil || body["ray_available"] != true || cluster["status"] != "connected" || cluster["namespace"] != namespace {
		t.Errorf("ray status: %v %v", body, err)
	}
}

// (j) The server listens before it connects, and is ready last.
func TestStrictJ_OrderOfStart(t *testing.T) {
	namespace := raytest.Namespace(t)
	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "serve")
	watcher := connected(t, namespace)
	t.Cleanup(func() { removeActors(t, watcher) })
	p.ready(2 * time.Minute)
	eventually(t, 10*time.Second, "the greeting", func() error {
		position := 0
		for _, step := range []string{"listening", "state=connected", "name=mw", "name=cognitive_organ_1", "organism is up", "Try "} {
			i := strings.Index(p.text()[position:], step)
			if i < 0 {
				return errorf("%q does not follow in its place", step)
			}
			position += i
		}
		return nil
	})
}

// (k) A server that starts before Ray does not mind.
func TestStrictK_HeadAppearsLater(t *testing.T) {
	t.Parallel() // mostly waiting
	raytest.OnlyHead(t)
	ports := rayhead.Ports{Client: 22999} // which the kernel gives to no connection meanwhile
	address, namespace := "127.0.0.1:22999", raytest.Namespace(t)

	p := start(t, environment(address, namespace), "serve")
	eventually(t, 60*time.Second, "/readyz is 503 with the cause", func() error {
		code, body, err := p.ask("GET", "/readyz", "")
		if err == nil && (code != http.StatusServiceUnavailable || body["ray_ok"] != false || !strings.Contains(fmt.Sprint(body["cause"]), address)) {
			err = errorf("%d %v", code, body)
		}
		return err
	})
	if code, _, err := p.ask("GET", "/healthz", ""); err != nil || code != http.StatusOK {
		t.Errorf("liveness suffers from Ray's absence: %d %v", code, err)
	}
	raytest.NewHead(t, rayhead.Config{Ports: ports})
	p.ready(2 * time.Minute)
	if _, err := p.task("/organism/execute/random"); err != nil {
		t.Error(err)
	}
}
