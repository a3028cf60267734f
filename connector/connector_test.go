package connector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// make a connector that ends with the test. Its log is returned.
func newConnector(t *testing.T, cfg connector.Config) (*connector.Connector, *safeBuffer) {
	t.Helper()
	log := &safeBuffer{}
	cfg.Logger = logger(log)
	conn, err := connector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
		// A transition that the table does not have is logged as an error.
		if text := log.String(); strings.Contains(text, "level=ERROR") {
			t.Error(text)
		}
	})
	return conn, log
}

func logger(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type safeBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// waitState waits for the connection to be in one of the states.
func waitState(t *testing.T, conn *connector.Connector, limit time.Duration, states ...connector.State) connector.Info {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		info := conn.Info()
		for _, s := range states {
			if info.State == s {
				return info
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the connection is %s instead of %v after %s: %s", info.State, states, limit, info.LastError)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// throughProxy is a connection to the shared head whose session goes through a proxy. Its checks are quick.
func throughProxy(t *testing.T) (*faultproxy.Proxy, *connector.Connector, *safeBuffer) {
	t.Helper()
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	conn, log := newConnector(t, connector.Config{
		Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t),
		HealthInterval: 200 * time.Millisecond, HealthTimeout: time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return proxy, conn, log
}

// A port that nobody listens on.
func deadAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func TestConnectDoesNotRememberAFailure(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	proxy.Refuse(true)
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t)})
	for range 2 {
		if err := conn.Connect(deadline(t)); !errors.Is(err, ray.ErrNoClientServer) || !strings.Contains(err.Error(), proxy.Address()) {
			t.Fatalf("nobody lets us in: %v", err)
		}
		if info := conn.Info(); info.State != connector.StateDisconnected || info.LastError == "" || info.Epoch != 0 {
			t.Errorf("%+v", info)
		}
	}
	if _, err := conn.Client(); !errors.Is(err, connector.ErrNotConnected) || !strings.Contains(err.Error(), proxy.Address()) {
		t.Errorf("the client of a connection that failed: %v", err)
	}
	proxy.Refuse(false)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if info := conn.Info(); info.State != connector.StateConnected || info.LastError != "" || info.Epoch != 1 {
		t.Errorf("%+v", info)
	}
}

func TestEachCallerOfConnectKeepsItsOwnContext(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	proxy.Stall()
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t)})
	patient := make(chan error, 1)
	go func() { patient <- conn.Connect(deadline(t)) }()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn.Connect(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller in a hurry: %v", err)
	}
	proxy.Resume()
	if err := <-patient; err != nil {
		t.Errorf("the patient caller: %v", err)
	}
}

func TestStartConnectsInTheBackgroundForEver(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	proxy.Refuse(true)
	conn, log := newConnector(t, connector.Config{
		Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t),
		FirstBackoff: 10 * time.Millisecond, SlowestBackoff: 50 * time.Millisecond,
	})
	conn.Start()
	conn.Start()
	waitAttempts(t, conn, 5)
	if n := strings.Count(log.String(), "level=WARN msg=\"ray connection\""); n != 1 {
		t.Errorf("the same failure was reported %d times instead of once:\n%s", n, log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := conn.WaitSession(ctx, 0); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), proxy.Address()) {
		t.Errorf("a session without a cluster: %v", err)
	}
	proxy.Refuse(false)
	client, epoch, err := conn.WaitSession(deadline(t), 0)
	if err != nil || epoch != 1 {
		t.Fatalf("epoch %d, %v", epoch, err)
	}
	if err := client.Session().Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

// Start takes up again what Connect gave up.
func TestStartAfterAConnectThatFailed(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + deadAddress(t), FirstBackoff: 10 * time.Millisecond, SlowestBackoff: 50 * time.Millisecond,
	})
	if err := conn.Connect(deadline(t)); !errors.Is(err, ray.ErrNoClientServer) {
		t.Fatal(err)
	}
	conn.Start()
	waitAttempts(t, conn, 3)
}

// The client port is for every address that does not say it.
func TestTheClientPortGoesWithAnAddressWithoutOne(t *testing.T) {
	dead := deadAddress(t)
	conn, _ := newConnector(t, connector.Config{Address: "ray://127.0.0.1", ClientPort: portOf(t, dead)})
	if err := conn.Connect(deadline(t)); !errors.Is(err, ray.ErrNoClientServer) || conn.Info().Resolved != dead {
		t.Errorf("%v, %+v", err, conn.Info())
	}
}

// observer is a slog handler that hands over the state of every line about a change.
type observer struct {
	slog.Handler
	see func(connector.State)
}

func (o observer) Enabled(context.Context, slog.Level) bool { return true }

func (o observer) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if state, ok := a.Value.Any().(connector.State); ok && a.Key == "state" {
			o.see(state)
		}
		return true
	})
	return nil
}

// Whoever is told of a change may ask the connector, and act on it.
func TestTheLogHandlerMayUseTheConnector(t *testing.T) {
	var conn *connector.Connector
	var mu sync.Mutex // guards seen
	var seen []connector.State
	conn, err := connector.New(connector.Config{
		Address: "ray://" + deadAddress(t), FirstBackoff: time.Millisecond, SlowestBackoff: time.Millisecond,
		Logger: slog.New(observer{slog.DiscardHandler, func(s connector.State) {
			_ = conn.Info()
			conn.Start()
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, s)
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_ = conn.Connect(deadline(t))
		waitAttempts(t, conn, 3)
		done <- conn.Close(deadline(t))
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the connector waits for its log handler, which waits for the connector")
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(seen); n < 6 || seen[0] != connector.StateConnecting || seen[1] != connector.StateDisconnected || seen[n-1] != connector.StateClosed {
		t.Errorf("told out of order or not at all: %v", seen)
	}
}

// An attempt that is about to begin does not take a closing connection back to connecting.
func TestClosingIsNotOverwritten(t *testing.T) {
	var mu sync.Mutex // guards seen
	var seen []connector.State
	conn, err := connector.New(connector.Config{
		Address: "ray://" + deadAddress(t), FirstBackoff: time.Millisecond, SlowestBackoff: time.Millisecond,
		Logger: slog.New(observer{slog.DiscardHandler, func(s connector.State) {
			mu.Lock()
			seen = append(seen, s)
			mu.Unlock()
			if s == connector.StateClosing {
				time.Sleep(50 * time.Millisecond) // the next attempt is due by now
			}
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.Start()
	waitAttempts(t, conn, 3)
	if err := conn.Close(deadline(t)); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, s := range seen {
		if s == connector.StateClosing && (i+2 != len(seen) || seen[i+1] != connector.StateClosed) {
			t.Errorf("after closing: %v", seen[i:])
		}
	}
}

func waitAttempts(t *testing.T, conn *connector.Connector, n int) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	for conn.Info().Attempts < n {
		if time.Now().After(end) {
			t.Errorf("%+v", conn.Info())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A connection that goes silent is noticed within 20 s by the defaults, named, and resumed as the same session.
func TestASilentSessionIsNoticedAndResumed(t *testing.T) {
	t.Parallel() // mostly waiting
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t)})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before := conn.Info()
	ref, err := session(t, conn).Put(deadline(t), "kept")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	info := waitState(t, conn, 20*time.Second, connector.StateDegraded)
	if info.LastError == "" || info.Session.Answers || !info.GCS.Answers {
		t.Errorf("%+v", info)
	}
	// The other link lives, and so do direct calls and what is known of them.
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.GCS().CheckAlive(deadline(t)); err != nil {
		t.Errorf("the GCS suffers from the session's silence: %v", err)
	}
	proxy.Cut()
	proxy.Resume()
	after := waitState(t, conn, 30*time.Second, connector.StateConnected)
	if after.SessionID != before.SessionID || after.Epoch != before.Epoch || after.LastError != "" {
		t.Errorf("%+v became %+v", before, after)
	}
	if v, err := session(t, conn).Get(deadline(t), ref); err != nil || v != "kept" {
		t.Errorf("what the session held: %v, %v", v, err)
	}
}

func session(t *testing.T, conn *connector.Connector) *ray.Session {
	t.Helper()
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client.Session()
}

// A session that the server forgot is replaced: a new epoch, and the direct path of the same cluster goes on.
func TestALostSessionIsReplaced(t *testing.T) {
	_, conn, _ := throughProxy(t)
	before := conn.Info()
	old, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	// The server forgets a session that takes leave; for the connector it is gone all the same.
	if err := old.Session().Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	client, epoch, err := conn.WaitSession(deadline(t), before.Epoch)
	if err != nil || epoch != before.Epoch+1 {
		t.Fatalf("epoch %d, %v", epoch, err)
	}
	if client.Session().ID() == old.Session().ID() || client.GCS() != old.GCS() {
		t.Errorf("the session is the same, or the GCS connection is another")
	}
	if err := client.Session().Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestResetsAndConnectsAtOnce(t *testing.T) {
	_, conn, _ := throughProxy(t)
	before := conn.Info().Epoch
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			act := conn.Connect
			if i%2 == 0 {
				act = conn.Reset
			}
			if err := act(deadline(t)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	info := waitState(t, conn, 30*time.Second, connector.StateConnected)
	if info.Epoch == before || info.Epoch > before+8 {
		t.Errorf("epoch %d after %d", info.Epoch, before)
	}
	if err := session(t, conn).Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestCloseAtAnyMoment(t *testing.T) {
	silent := faultproxy.New(t, raytest.Head(t).ClientAddress())
	silent.Stall()
	for name, cfg := range map[string]connector.Config{
		"never started": {Address: "ray://127.0.0.1:1"},
		"refused":       {Address: "ray://" + deadAddress(t)},
		"while opening": {Address: "ray://" + silent.Address()},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := newConnector(t, cfg)
			waiter := make(chan error, 1)
			if name != "never started" {
				go func() { waiter <- conn.Connect(deadline(t)) }()
				waitAttempts(t, conn, 1)
			}
			if err := conn.Close(deadline(t)); err != nil {
				t.Error(err)
			}
			if name != "never started" {
				if err := <-waiter; err == nil {
					t.Error("Connect succeeded on a closed connector")
				}
			}
			if err := conn.Connect(deadline(t)); !errors.Is(err, connector.ErrClosed) {
				t.Error(err)
			}
			if err := conn.Reset(deadline(t)); !errors.Is(err, connector.ErrClosed) {
				t.Error(err)
			}
			if _, _, err := conn.WaitSession(deadline(t), 0); !errors.Is(err, connector.ErrClosed) {
				t.Error(err)
			}
			conn.Start()
			if info := conn.Info(); info.State != connector.StateClosed {
				t.Errorf("%+v", info)
			}
			if _, err := json.Marshal(conn.Info()); err != nil {
				t.Error(err)
			}
		})
	}
}
