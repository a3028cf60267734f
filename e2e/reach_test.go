package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

var organs = []string{"cognitive_organ_1", "actuator_organ_1", "utility_organ_1"}

// From where nothing but the client port of the head is reached, the same program does the same, through the session. What is
// not reached is found out in the background, not by those who call, and direct calls begin when the way is open.
func TestOnlyTheClientPort(t *testing.T) {
	for name, filtered := range map[string]bool{"refused": false, "filtered": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly waiting
			onlyTheClientPort(t, filtered)
		})
	}
}

func onlyTheClientPort(t *testing.T, filtered bool) {
	head, namespace := raytest.Head(t), raytest.Namespace(t)
	i := newIsland(t)
	i.letIn(head.ClientAddress())
	// What a packet filter swallows costs time to find out. The rest is refused.
	swallowed := map[string]func(){}
	swallow := func(address string) {
		if filtered && swallowed[address] == nil {
			swallowed[address] = i.swallow(address)
		}
	}
	open := func(address string) {
		if end := swallowed[address]; end != nil {
			end()
		}
		i.letIn(address)
	}
	swallow(head.GCSAddress())
	watcher := connected(t, namespace) // which sees the head as it is
	t.Cleanup(func() { removeActors(t, watcher) })
	env := environment(head.ClientAddress(), namespace)

	status := i.start(env, "status")
	p := i.start(env, "serve")
	p.ready(3 * time.Minute)
	asItAlwaysIs(t, p, watcher, namespace)
	if code, body, err := p.ask("GET", "/tier0/agents", ""); err != nil || code != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(body["message"]), "control store is not reachable") {
		t.Errorf("a session cannot list agents, and yet: %d %v %v", code, body, err)
	}
	_, body, err := p.ask("GET", "/ray/status", "")
	if err != nil {
		t.Fatal(err)
	}
	info, _ := body["connection"].(map[string]any)
	if info["state"] != "connected" || info["direct"] != false || !strings.Contains(fmt.Sprint(info["no_direct"]), head.GCSAddress()) {
		t.Errorf("%v", info)
	}
	if !filtered { // else each of its many connections waits for the filter
		checks := i.start(env, "check")
		if err := checks.end(5 * time.Minute); err != nil || !strings.Contains(checks.text(), "19/19 passed") {
			t.Errorf("%v\n%s", err, checks.text())
		}
	}
	if err := status.end(time.Minute); err != nil || !strings.Contains(status.text(), "through the session") {
		t.Errorf("%v\n%s", err, status.text())
	}
	i.wantCallsWithoutDials(p, ray.DetourNoPath)

	// The GCS is reached, and tells of actors that are not.
	actors := processes(t, watcher, namespace)
	for _, address := range actors {
		swallow(address)
	}
	open(head.GCSAddress())
	eventually(t, time.Minute, "the GCS is found", func() error {
		if calls := p.calls(); calls[string(ray.DetourUnreachable)] == 0 {
			return errorf("%v", calls)
		}
		return nil
	})
	asItAlwaysIs(t, p, watcher, namespace)
	i.wantCallsWithoutDials(p, ray.DetourUnreachable)

	// The way to the actors is open.
	for _, address := range actors {
		open(address)
	}
	eventually(t, 3*time.Minute, "all calls are direct", func() error {
		before := p.calls()
		for _, organ := range organs {
			if _, err := p.task("/organism/execute/" + organ); err != nil {
				t.Fatal(err)
			}
		}
		after := p.calls()
		direct := after["direct"] - before["direct"]
		if delete(before, "direct"); direct < len(organs) {
			return errorf("%v, %v", before, after)
		}
		if delete(after, "direct"); !maps.Equal(before, after) {
			return errorf("%v, %v", before, after)
		}
		return nil
	})
	asItAlwaysIs(t, p, watcher, namespace)
	if _, body, err := p.ask("GET", "/readyz", ""); err != nil || body["epoch"] != 1.0 || body["warning"] != nil {
		t.Errorf("%v, %v", body, err)
	}
}

// asItAlwaysIs does with a server what can be done with one anywhere.
func asItAlwaysIs(t *testing.T, p *program, watcher *connector.Connector, namespace string) {
	t.Helper()
	for _, organ := range organs {
		result, err := p.task("/organism/execute/" + organ)
		if err != nil {
			t.Fatal(err)
		}
		if pid := pidOf(t, watcher, namespace, organ+"_agent_0"); result["pid"] != float64(pid) {
			t.Errorf("process %d is the agent's; the task's result: %v", pid, result)
		}
	}
	if _, err := p.task("/tier0/agents/" + agentID + "/execute"); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/ray/status", "/organism/status", "/organism/summary"} {
		if code, body, err := p.ask("GET", path, ""); err != nil || code != http.StatusOK {
			t.Errorf("GET %s: %d %v %v", path, code, body, err)
		}
	}
}

// wantCallsWithoutDials runs many tasks through the session, for one reason, for which hardly anything is dialled: what there
// is comes from the background, where its pauses grow.
func (i *island) wantCallsWithoutDials(p *program, why ray.Detour) {
	i.t.Helper()
	const tasks = 300
	calls, dials := p.calls(), i.dials()
	if dials == 0 {
		i.t.Error("no connection was ever counted")
	}
	for n := range tasks {
		if _, err := p.task("/organism/execute/" + organs[n%len(organs)]); err != nil {
			i.t.Fatal(err)
		}
	}
	after := p.calls()
	if n := after[string(why)] - calls[string(why)]; n < tasks {
		i.t.Errorf("%d of %d tasks went through the session as %s: %v", n, tasks, why, after)
	}
	if n := i.dials() - dials; n > tasks/3 {
		i.t.Errorf("%s: %d connections were tried during %d tasks", why, n, tasks)
	}
}

var callsTotal = regexp.MustCompile(`(?m)^seedcore_ray_calls_total\{path="(\w+)",reason="(\w*)"\} (\d+)$`)

// calls are the calls of actors that a server has made, by the reason for the path through the session, or "direct".
func (p *program) calls() map[string]int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.address+"/metrics", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	found := map[string]int{}
	for _, m := range callsTotal.FindAllStringSubmatch(string(text), -1) {
		why := m[2]
		if m[1] == "direct" {
			why = "direct"
		}
		found[why] = atoi(p.t, m[3])
	}
	if len(found) == 0 {
		p.t.Fatalf("no calls in %s", text)
	}
	return found
}

// processes are the addresses at which the named actors of a namespace take calls.
func processes(t *testing.T, conn *connector.Connector, namespace string) []string {
	t.Helper()
	actors, err := clientOf(t, conn).GCS().NamedActors(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range actors {
		all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(a.Port)))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Python is called from there as well: functions, and actors, which are called directly once they are reached.
func TestPythonBehindTheClientPort(t *testing.T) {
	head, namespace := raytest.Head(t), raytest.Namespace(t)
	i := newIsland(t)
	i.letIn(head.ClientAddress())
	conn := connectedWith(t, connector.Config{
		Address: "ray://" + head.ClientAddress(), Namespace: namespace,
		Dial: func(ctx context.Context, address string) (net.Conn, error) { return i.dial(ctx, "tcp", address) },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	client := clientOf(t, conn)
	session := client.Session()
	ref, err := session.Submit(ctx, ray.Function{Module: "textwrap", Name: "dedent"}, "  text")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := session.Get(ctx, ref); err != nil || v != "text" {
		t.Errorf("%v, %v", v, err)
	}
	class, err := session.PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := session.CreateActor(ctx, class, ray.ActorOptions{Name: "counter", NumCPUs: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	count := int64(0)
	call := func() ray.PathStats {
		t.Helper()
		count++
		if v, err := conn.Call(ctx, "counter", "incr"); err != nil || v != count {
			t.Fatalf("%v, %v; want %d", v, err, count)
		}
		return client.Paths()
	}
	if paths := call(); paths.Direct != 0 || paths.Detours[ray.DetourNoPath] != 1 || conn.Info().Protocol != "ray-client" {
		t.Errorf("%+v, %+v", paths, conn.Info())
	}
	for _, err := range client.Stream(ctx, namespace, "counter", "incr") {
		if !errors.Is(err, ray.ErrNoStreaming) {
			t.Errorf("a stream: %v", err)
		}
	}
	i.letIn(head.GCSAddress())
	eventually(t, time.Minute, "the GCS is found", func() error {
		if paths := call(); paths.Direct != 0 || paths.Detours[ray.DetourUnreachable] == 0 {
			return errorf("%+v", paths)
		}
		return nil
	})
	for _, address := range processes(t, connected(t, namespace), namespace) {
		i.letIn(address)
	}
	eventually(t, 2*time.Minute, "the actor is called directly", func() error {
		if paths := call(); paths.Direct == 0 {
			return errorf("%+v", paths)
		}
		return nil
	})
}
