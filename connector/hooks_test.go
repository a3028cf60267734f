package connector_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// Hooks run in order on every session, each until it succeeds, and leave the connection as it is.
func TestHooksOfASession(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	conn, log := newConnector(t, connector.Config{
		Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t),
		FirstBackoff: 5 * time.Millisecond, SlowestBackoff: 20 * time.Millisecond,
	})
	var mu sync.Mutex // guards calls
	var calls []string
	ready := make(chan struct{})
	note := func(call string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
	}
	failures := 3
	conn.OnSession("bootstrap", func(ctx context.Context, client *ray.Client, epoch uint64) error {
		if err := client.Session().Ping(ctx); err != nil {
			return err
		}
		if failures--; failures >= 0 {
			if failures < 2 && !strings.Contains(conn.Info().Pending, "bootstrap: not yet") {
				t.Errorf("after a failure: %+v", conn.Info())
			}
			note("failed")
			return errors.New("not yet")
		}
		note("bootstrap")
		return nil
	})
	conn.OnSession("organism", func(ctx context.Context, _ *ray.Client, epoch uint64) error {
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		note("organism")
		return nil
	})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := conn.WaitReady(short); !errors.Is(err, connector.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "disconnected") {
		t.Errorf("before the first session: %v", err)
	}
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(calls) == 4
	})
	info := conn.Info()
	if info.State != connector.StateConnected || info.Ready {
		t.Errorf("while hooks run: %+v", info)
	}
	// The one that failed has succeeded since: what is waited for is the one behind it.
	until(t, func() bool { return conn.Info().Pending == "organism: has not ended yet" })
	again, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := conn.WaitReady(again); !errors.Is(err, connector.ErrNotReady) || !strings.Contains(err.Error(), "organism: has not ended yet") {
		t.Errorf("while a hook runs: %v", err)
	}
	if n := strings.Count(log.String(), "a hook of the session failed"); n != 1 {
		t.Errorf("the same failure was told %d times", n)
	}
	close(ready)
	if err := conn.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := conn.WaitReady(deadline(t)); err != nil || conn.Info().Epoch != 2 || !conn.Info().Ready {
		t.Errorf("%v, %+v", err, conn.Info())
	}
	mu.Lock()
	got := strings.Join(calls, " ")
	mu.Unlock()
	if got != "failed failed failed bootstrap organism bootstrap organism" {
		t.Error(got)
	}

	stat := conn.Stat()
	if stat.Attempts != 2 || stat.FailedAttempts != 0 || stat.Sessions != 2 || stat.Resets != 1 || stat.Lost != 0 || stat.Session.Requests == 0 {
		t.Errorf("%+v", stat)
	}
	if text, err := json.Marshal(stat); err != nil || !strings.Contains(string(text), `"resets":1`) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := conn.Call(deadline(t), "nobody", "nothing"); !errors.Is(err, ray.ErrActorNotFound) || !strings.Contains(err.Error(), conn.Info().Namespace) {
		t.Errorf("a call of nobody: %v", err)
	}
	if err := conn.Close(deadline(t)); err != nil {
		t.Error(err)
	}
	if err := conn.WaitReady(deadline(t)); !errors.Is(err, connector.ErrClosed) {
		t.Error(err)
	}
}

// A hook that does not return when its context ends keeps Close for as long as Close's own context says.
func TestCloseDoesNotWaitForEverForAHook(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t)})
	entered, release := make(chan struct{}), make(chan struct{})
	var hooks sync.WaitGroup
	hooks.Add(1)
	defer hooks.Wait()
	defer close(release)
	conn.OnSession("deaf", func(context.Context, *ray.Client, uint64) error {
		defer hooks.Done()
		close(entered)
		<-release
		return nil
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	<-entered
	live := session(t, conn)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- conn.Close(ctx) }()
	select {
	case err := <-closed:
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "hook") {
			t.Error(err)
		}
	case <-deadline(t).Done():
		t.Fatal("Close waits for the hook")
	}
	if state := conn.Info().State; state != connector.StateClosed || live.Err() == nil {
		t.Errorf("%s, the session: %v", state, live.Err())
	}
}

// A ping takes its turn behind what is being sent. As long as that gets through, the session is well.
func TestASessionBusyWithALargeValueIsWell(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t), HealthInterval: 50 * time.Millisecond, HealthTimeout: 2 * time.Second,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	events := conn.Subscribe(100)
	proxy.Delay(2 * time.Millisecond) // for each 32 KiB
	start := time.Now()
	if _, err := session(t, conn).Put(deadline(t), make([]byte, 48<<20)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	proxy.Delay(0)
	events.Close()
	for e := range events.Events() {
		if e.Info.Session.Answers {
			continue // such as the connecting itself, which is told after Connect returned
		}
		t.Errorf("from %s to %s during %s of sending: %s", e.From, e.To, took, e.Info.LastError)
	}
	if took < 3*time.Second {
		t.Logf("sending took only %s, less than a check may take", took)
	}
}

func TestTheDefaultConnector(t *testing.T) {
	t.Setenv("RAY_ADDRESS", "http://head:8265")
	if _, err := connector.Default(); err == nil {
		t.Error("an address that cannot be used was taken")
	}
	var log safeBuffer
	before := slog.Default()
	slog.SetDefault(logger(&log))
	defer slog.SetDefault(before)
	address := "ray://" + deadAddress(t)
	t.Setenv("RAY_ADDRESS", address)
	t.Setenv("RAY_PASSWORD", "hush")
	first, err := connector.Default()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RAY_ADDRESS", "ray://other:10001")
	second, err := connector.Default()
	if err != nil || first != second || first.Info().Address != address || first.Info().State != connector.StateDisconnected {
		t.Errorf("%v, %+v", err, second.Info())
	}
	if err := first.Connect(deadline(t)); !errors.Is(err, ray.ErrNotListening) {
		t.Error(err)
	}
	if err := first.Close(deadline(t)); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "RAY_PASSWORD is ignored") || !strings.Contains(text, "state=disconnected") {
		t.Errorf("nobody was told: %s", text)
	}
}

// A nil function is told of where it matters, and ends nothing.
func TestNilFunctions(t *testing.T) {
	if _, err := connector.FromLookup(nil); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), "get, ") {
		t.Errorf("%v", err)
	}
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t)})
	conn.OnSession("nothing", nil)
	if err := conn.WithBulk(deadline(t), nil); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), "WithBulk") {
		t.Errorf("%v", err)
	}
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	for !strings.Contains(conn.Info().Pending, "nothing: the hook is nil") {
		if err := ctx.Err(); err != nil {
			t.Fatalf("%v: %+v", err, conn.Info())
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := conn.WaitReady(ctx); !errors.Is(err, connector.ErrNotReady) || !strings.Contains(err.Error(), "the hook is nil") {
		t.Errorf("%v", err)
	}
	if err := session(t, conn).Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}
