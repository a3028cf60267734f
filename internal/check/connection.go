package check

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// healthy is a pure-Python function that every installation has and that returns its argument when that has no indent.
var healthy = ray.Function{Module: "textwrap", Name: "dedent"}

func environment(ctx context.Context, b *Bench) (string, error) {
	var parts []string
	for _, name := range []string{"RAY_ADDRESS", "SEEDCORE_NS", "RAY_NAMESPACE", "RAY_HOST", "RAY_PORT"} {
		parts = append(parts, fmt.Sprintf("%s=%q", name, b.Lookup(name)))
	}
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	got := client.Session().Info().Namespace
	if got != b.Connection.Namespace {
		return "", fmt.Errorf("the session is in namespace %q instead of %q", got, b.Connection.Namespace)
	}
	return strings.Join(parts, " ") + fmt.Sprintf(" effective namespace=%q", got), nil
}

func beforeConnecting(ctx context.Context, b *Bench) (string, error) {
	conn, err := connector.New(b.Connection)
	if err != nil {
		return "", err
	}
	if s := conn.Info().State; s != connector.StateDisconnected {
		return "", fmt.Errorf("a new connector is %s", s)
	}
	if _, err := conn.Client(); !errors.Is(err, connector.ErrNotConnected) {
		return "", fmt.Errorf("asking for the client before Connect gives %w instead of ErrNotConnected", err)
	}
	if _, err := json.Marshal(conn.Info()); err != nil {
		return "", err
	}
	return "a new connector is disconnected and says so", conn.Close(ctx)
}

func connect(ctx context.Context, b *Bench) (string, error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return "", err
	}
	info := conn.Info()
	if !info.Session.Answers {
		return "", fmt.Errorf("the connection is %s: %s", info.State, info.LastError)
	}
	if info.Namespace != b.Connection.Namespace {
		return "", fmt.Errorf("namespace %q instead of %q", info.Namespace, b.Connection.Namespace)
	}
	if id, err := hex.DecodeString(info.NodeID); err != nil || len(id) != 28 {
		return "", fmt.Errorf("node id %q is not 56 hex characters", info.NodeID)
	}
	if _, err := json.Marshal(info); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, Ray %s, node %s", info.Resolved, info.RayVersion, info.NodeID[:12]), nil
}

func remoteTask(ctx context.Context, b *Bench) (string, error) {
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	return "a task returned its text", runTask(ctx, client.Session())
}

func runTask(ctx context.Context, session *ray.Session) error {
	limited, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	refs, err := session.SubmitWith(limited, healthy, ray.TaskOptions{NumCPUs: new(0.0)}, "healthy") // also on a full cluster
	if err != nil {
		return err
	}
	defer refs[0].Release()
	v, err := session.Get(limited, refs[0])
	if err != nil {
		return err
	}
	if v != "healthy" {
		return fmt.Errorf("the task returned %v instead of healthy", v)
	}
	return nil
}

func connectTwice(ctx context.Context, b *Bench) (string, error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return "", err
	}
	first := conn.Info()
	if err := conn.Connect(ctx); err != nil {
		return "", err
	}
	if second := conn.Info(); second.SessionID != first.SessionID || second.Epoch != first.Epoch {
		return "", fmt.Errorf("the second Connect made session %s beside %s", second.SessionID, first.SessionID)
	}
	client, err := conn.Client()
	if err != nil {
		return "", err
	}
	return "session " + first.SessionID, client.Session().Ping(ctx)
}

func forcedReconnect(ctx context.Context, b *Bench) (string, error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return "", err
	}
	client, err := conn.Client()
	if err != nil {
		return "", err
	}
	old := client.Session()
	ref, err := old.Put(ctx, "old")
	if err != nil {
		return "", err
	}
	if err := conn.Reset(ctx); err != nil {
		return "", err
	}
	if client, err = conn.Client(); err != nil {
		return "", err
	}
	if client.Session().ID() == old.ID() {
		return "", fmt.Errorf("session %s is still in use", old.ID())
	}
	if old.Err() == nil {
		return "", errors.New("the old session still says that it is alive")
	}
	if _, err := client.Session().Get(ctx, ref); !errors.Is(err, ray.ErrStaleSession) {
		return "", fmt.Errorf("a ref of the old session gives %w instead of ErrStaleSession", err)
	}
	return "a new session; refs of the old one are refused", nil
}

func namespaceRule(_ context.Context, _ *Bench) (string, error) {
	for _, c := range []struct{ ray, ns, fallback, want string }{
		{"", "", "", "seedcore-dev"},
		{"", "", "third", "third"},
		{"", "second", "third", "second"},
		{"first", "", "third", "first"},
		{"first", "second", "third", "first"},
	} {
		cfg, err := connector.FromLookup(func(name string) string {
			return map[string]string{"RAY_NAMESPACE": c.ray, "SEEDCORE_NS": c.ns, "SEEDCORE_DEFAULT_NAMESPACE": c.fallback}[name]
		})
		if err != nil {
			return "", err
		}
		if cfg.Namespace != c.want {
			return "", fmt.Errorf("%+v led to %q", c, cfg.Namespace)
		}
		if contradiction := c.ray != "" && c.ns != ""; contradiction != (len(cfg.Warnings) == 1) {
			return "", fmt.Errorf("%+v led to the warnings %q", c, cfg.Warnings)
		}
	}
	return "RAY_NAMESPACE, SEEDCORE_NS, SEEDCORE_DEFAULT_NAMESPACE, seedcore-dev; empty counts as unset", nil
}

func afterClosing(ctx context.Context, b *Bench) (string, error) {
	conn, err := connector.New(b.Connection)
	if err != nil {
		return "", err
	}
	if err := errors.Join(conn.Connect(ctx), conn.Close(ctx), conn.Close(ctx)); err != nil {
		return "", err
	}
	if err := conn.Connect(ctx); !errors.Is(err, connector.ErrClosed) {
		return "", fmt.Errorf("connecting after Close gives %w instead of ErrClosed", err)
	}
	if _, err := conn.Client(); !errors.Is(err, connector.ErrClosed) {
		return "", fmt.Errorf("asking for the client after Close gives %w instead of ErrClosed", err)
	}
	return "closing is idempotent and final", nil
}

// manyConnects counts on Ray's side: only Ray knows of a second session. Other programs may come and go meanwhile, and the
// server goes on counting attempts that failed in its hands for 30 s, so the count gets more than one chance; too many
// sessions of ours would show in each.
func manyConnects(ctx context.Context, b *Bench) (string, error) {
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	var detail string
	for range 3 {
		if detail, err = connectAtOnce(ctx, b, client.Session()); err == nil {
			break
		}
	}
	return detail, err
}

func connectAtOnce(ctx context.Context, b *Bench, watcher *ray.Session) (detail string, err error) {
	before, err := watcher.NumClients(ctx)
	for stable := 0; err == nil && stable < 3; {
		if err = pause(ctx, lookAgain); err != nil {
			break
		}
		last := before
		before, err = watcher.NumClients(ctx)
		stable++
		if before != last {
			stable = 0
		}
	}
	if err != nil {
		return "", err
	}
	conn, err := connector.New(b.Connection)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	const callers = 16
	errs := make([]error, callers)
	sessions := make([]string, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			if errs[i] = conn.Connect(ctx); errs[i] == nil {
				sessions[i] = conn.Info().SessionID
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	for _, id := range sessions {
		if id != sessions[0] {
			return "", fmt.Errorf("two sessions, %s and %s", sessions[0], id)
		}
	}
	for deadline := time.Now().Add(40 * time.Second); ; {
		now, err := watcher.NumClients(ctx)
		switch {
		case err != nil:
			return "", err
		case now == before+1:
			return fmt.Sprintf("%d callers share session %s; the server had %d sessions before and has %d", callers, sessions[0], before, now), nil
		case time.Now().After(deadline):
			return "", fmt.Errorf("the server had %d sessions before %d callers connected and has %d instead of %d", before, callers, now, before+1)
		}
		if err := pause(ctx, lookAgain); err != nil {
			return "", err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func resetWorks(ctx context.Context, b *Bench) (string, error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return "", err
	}
	before := conn.Info().Epoch
	if err := conn.Reset(ctx); err != nil {
		return "", err
	}
	if now := conn.Info().Epoch; now != before+1 {
		return "", fmt.Errorf("epoch %d after %d", now, before)
	}
	client, err := conn.Client()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("epoch %d works", before+1), runTask(ctx, client.Session())
}

func resourcesAndTask(ctx context.Context, b *Bench) (string, error) {
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	total, err := client.Session().ClusterResources(ctx)
	if err != nil {
		return "", err
	}
	free, err := client.Session().AvailableResources(ctx)
	if err != nil {
		return "", err
	}
	if total["CPU"] <= 0 {
		return "", fmt.Errorf("the cluster offers no CPU: %v", total)
	}
	return fmt.Sprintf("%g of %g CPU free, task healthy", free["CPU"], total["CPU"]), runTask(ctx, client.Session())
}
