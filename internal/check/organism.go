package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
)

func organismWithoutConnection(ctx context.Context, b *Bench) (string, error) {
	conn, err := connector.New(b.Connection)
	if err != nil {
		return "", err
	}
	org, err := organism.New(conn, b.Organism, organism.Options{Binary: b.Binary})
	if err != nil {
		return "", err
	}
	if org.Health().OK {
		return "", errors.New("an organism that was only made says that it runs")
	}
	if _, err := org.ExecuteRandom(ctx, organism.Task{}); !errors.Is(err, organism.ErrNotReady) {
		return "", fmt.Errorf("a task before the connection gives %w instead of ErrNotReady", err)
	}
	if s := conn.Info().State; s != connector.StateDisconnected {
		return "", fmt.Errorf("making an organism left the connection %s", s)
	}
	_, _, err = b.organism(ctx, false)
	return "made without a connection, it does nothing", errors.Join(err, conn.Close(ctx))
}

// bootstrapped brings the singletons up and returns their actor ids by name.
func bootstrapped(ctx context.Context, b *Bench) (map[string]string, error) {
	org, _, err := b.organism(ctx, false)
	if err != nil {
		return nil, err
	}
	if err := org.Bootstrap(ctx); err != nil {
		return nil, err
	}
	conn, err := b.scratchConnector(ctx)
	if err != nil {
		return nil, err
	}
	client, err := conn.Client()
	if err != nil {
		return nil, err
	}
	namespace := conn.Info().Namespace
	ids := map[string]string{}
	for _, name := range organism.Singletons() {
		handle, err := client.Session().GetActor(ctx, name, namespace)
		if err != nil {
			return nil, err
		}
		defer handle.Release()
		if _, err := client.Call(ctx, namespace, name, "ping"); err != nil {
			return nil, err
		}
		ids[name] = handle.ID()
	}
	return ids, nil
}

func bootstrap(ctx context.Context, b *Bench) (string, error) {
	ids, err := bootstrapped(ctx, b)
	return fmt.Sprintf("%d singletons answer", len(ids)), err
}

func bootstrapTwice(ctx context.Context, b *Bench) (string, error) {
	first, err := bootstrapped(ctx, b)
	if err != nil {
		return "", err
	}
	second, err := bootstrapped(ctx, b)
	if err == nil && !maps.Equal(first, second) {
		err = fmt.Errorf("the second time made other actors: %v, then %v", first, second)
	}
	return "the same three actors both times", err
}

func bootstrapConcurrently(ctx context.Context, b *Bench) (string, error) {
	const callers = 4
	ids := make([]map[string]string, callers)
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { ids[i], errs[i] = bootstrapped(ctx, b) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	for _, other := range ids[1:] {
		if !maps.Equal(ids[0], other) {
			return "", fmt.Errorf("two callers got different actors: %v and %v", ids[0], other)
		}
	}
	return fmt.Sprintf("%d callers got the same three actors", callers), nil
}

func organismComesUp(ctx context.Context, b *Bench) (string, error) {
	org, started, err := b.organism(ctx, false)
	if err != nil {
		return "", err
	}
	if !started && org.Health().OK {
		return "", errors.New("the organism says that it runs before it was started")
	}
	if _, _, err = b.organism(ctx, true); err != nil {
		return "", err
	}
	if err := org.WaitReady(ctx); err != nil {
		return "", err
	}
	h := org.Health()
	return fmt.Sprintf("all run: %d created, %d adopted", h.Created, h.Adopted), nil
}

// standing returns the shared organism once it is up, and its connection.
func standing(ctx context.Context, b *Bench) (*organism.Organism, *connector.Connector, error) {
	org, _, err := b.organism(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	if err := org.WaitReady(ctx); err != nil {
		return nil, nil, err
	}
	conn, err := b.scratchConnector(ctx)
	return org, conn, err
}

func organismFollows(ctx context.Context, b *Bench) (string, error) {
	org, conn, err := standing(ctx, b)
	if err != nil {
		return "", err
	}
	if err := conn.Reset(ctx); err != nil {
		return "", err
	}
	if err := org.WaitReady(ctx); err != nil {
		return "", err
	}
	h := org.Health()
	if h.Epoch != conn.Info().Epoch || h.Created != 0 {
		return "", fmt.Errorf("after a new session (epoch %d) the organism is %+v", conn.Info().Epoch, h)
	}
	return fmt.Sprintf("a new session adopted all %d actors and made none", h.Adopted), nil
}

// apiRoutes are the routes that must be there, with a body for those that take one.
var apiRoutes = []struct{ method, path, body string }{
	{"GET", "/healthz", ""},
	{"GET", "/readyz", ""},
	{"GET", "/ray/status", ""},
	{"GET", "/organism/status", ""},
	{"GET", "/organism/summary", ""},
	{"POST", "/organism/execute/random", `{"task_data":{}}`},
	{"POST", "/organism/execute/some_organ", `{"task_data":{}}`},
	{"GET", "/tier0/agents", ""},
	{"POST", "/tier0/agents/create", `{}`},
	{"POST", "/tier0/agents/some_agent/execute", `{"task_data":{}}`},
	{"GET", "/metrics", ""},
}

func request(ctx context.Context, handler http.Handler, method, path, body string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	return recorder
}

func routes(ctx context.Context, b *Bench) (string, error) {
	conn, err := connector.New(b.Connection)
	if err != nil {
		return "", err
	}
	org, err := organism.New(conn, b.Organism, organism.Options{})
	if err != nil {
		return "", err
	}
	handler := server.New(conn, org, server.Config{}).Handler()
	for _, r := range apiRoutes {
		if got := request(ctx, handler, r.method, r.path, r.body); got.Code == http.StatusMethodNotAllowed || strings.Contains(got.Body.String(), `"detail":"Not Found"`) {
			return "", fmt.Errorf("%s %s is not there: %d", r.method, r.path, got.Code)
		}
	}
	if got := request(ctx, handler, "GET", "/readyz", ""); got.Code != http.StatusServiceUnavailable {
		return "", fmt.Errorf("/readyz without a connection is %d instead of 503", got.Code)
	}
	if got := request(ctx, handler, "GET", "/nowhere", ""); got.Code != http.StatusNotFound {
		return "", fmt.Errorf("an unknown path is %d instead of 404", got.Code)
	}
	return fmt.Sprintf("%d routes are there", len(apiRoutes)), conn.Close(ctx)
}

func tasksThroughAPI(ctx context.Context, b *Bench) (string, error) {
	org, conn, err := standing(ctx, b)
	if err != nil {
		return "", err
	}
	handler := server.New(conn, org, server.Config{}).Handler()
	targets := []string{"random"}
	for _, organ := range b.Organism.Organs {
		if organ.AgentCount > 0 {
			targets = append(targets, organ.ID)
		}
	}
	client, err := conn.Client()
	if err != nil {
		return "", err
	}
	for _, target := range targets {
		got := request(ctx, handler, "POST", "/organism/execute/"+target, `{"task_data":{"type":"general"}}`)
		var answer struct {
			Success bool `json:"success"`
			Result  struct {
				AgentID string `json:"agent_id"`
				PID     int    `json:"pid"`
			} `json:"result"`
			OrganID string `json:"organ_id"`
		}
		if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != http.StatusOK || !answer.Success {
			return "", fmt.Errorf("a task for %s: %d %s", target, got.Code, got.Body)
		}
		if err := RanThere(ctx, client, conn.Info().Namespace, answer.Result.AgentID, answer.Result.PID); err != nil {
			return "", fmt.Errorf("a task for %s: %w", target, err)
		}
	}
	return fmt.Sprintf("%d tasks ran in the processes that Ray names", len(targets)), nil
}

// RanThere compares the process that says it ran a task with the one that Ray has for the agent: the one of its actor
// table or, where Ray's control store is not reachable from here, the one that Ray itself reaches under the agent's name.
func RanThere(ctx context.Context, client *ray.Client, namespace, agent string, pid int) error {
	var known int
	var err error
	if client.GCS() != nil {
		var info ray.ActorInfo
		info, err = client.GCS().NamedActor(ctx, namespace, agent)
		known = info.PID
	} else {
		known, err = pidBySession(ctx, client.Session(), namespace, agent)
	}
	if err != nil {
		return fmt.Errorf("which process Ray has for agent %s: %w", agent, err)
	}
	if known != pid {
		return fmt.Errorf("agent %s says pid %d, Ray says %d", agent, pid, known)
	}
	return nil
}

func pidBySession(ctx context.Context, session *ray.Session, namespace, agent string) (int, error) {
	handle, err := session.GetActor(ctx, agent, namespace)
	if err != nil {
		return 0, err
	}
	defer handle.Release()
	v, err := handle.Call(ctx, "ping")
	if err != nil {
		return 0, err
	}
	pong, _ := v.(map[string]any)
	pid, ok := pong["pid"].(int64)
	if !ok {
		return 0, fmt.Errorf("its ping has no pid: %v", v)
	}
	return int(pid), nil
}
