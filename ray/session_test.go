package ray_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func TestSessionSaysWhereItIs(t *testing.T) {
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Namespace: ns})
	info := s.Info()
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(s.ID()) || info.ID != s.ID() {
		t.Errorf("id %q, in info %q", s.ID(), info.ID)
	}
	class, err := s.Class(deadline(t), ray.Function{Name: "Small", Source: "class Small: pass"})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(s, class); text != "Session("+info.ID+" at "+raytest.Head(t).ClientAddress()+", namespace "+ns+") ActorClass(Small)" {
		t.Errorf("printed: %s", text)
	}
	if info.Namespace != ns {
		t.Errorf("namespace %q instead of %q", info.Namespace, ns)
	}
	if info.RayVersion != raytest.RayVersion(t) || !slices.Contains(ray.TestedVersions(), info.RayVersion) || info.Untested() != "" || info.RayCommit == "" || !strings.HasPrefix(info.PythonVersion, "3.") {
		t.Errorf("versions: %+v", info)
	}
	if len(info.JobID) != 8 || len(info.NodeID) != 56 || info.GCSAddress != raytest.Head(t).GCSAddress() || info.NumClients < 1 {
		t.Errorf("place: %+v, the GCS is %s", info, raytest.Head(t).GCSAddress())
	}
	if err := s.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	running := goleak.IgnoreCurrent()
	// Longer than the test waits for the server to let go.
	s := open(t, ray.Config{ReconnectGrace: 10 * time.Minute})
	ctx := deadline(t)
	ref, err := s.Put(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := s.Submit(ctx, function("sleep_then"), 1, "done")
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan any, 1)
	go func() {
		v, err := s.Get(ctx, waiting)
		if err != nil {
			v = err
		}
		result <- v
	}()
	// The get must be under way, so that Close has something to wait for.
	waitFor(t, "a get under way", func() bool { return s.Stats().Outstanding > 0 })
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() { closeSession(t, s) })
	}
	closing.Wait()
	if v := <-result; v != "done" {
		t.Errorf("the call under way gave %v", v)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Close")
	}
	if err := s.Err(); !errors.Is(err, ray.ErrClosed) {
		t.Errorf("Err after Close: %v", err)
	}
	ref.Release()
	for what, err := range map[string]error{
		"put":  second(s.Put(ctx, 1)),
		"get":  second(s.Get(ctx, waiting)),
		"kv":   second(s.KVExists(ctx, "", "x")),
		"ping": s.Ping(ctx),
	} {
		if !errors.Is(err, ray.ErrClosed) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	goleak.VerifyNone(t, running)

	// The server let go, without waiting for the grace period. It may count attempts to open the other session that
	// failed, for their grace period.
	other := open(t, ray.Config{ReconnectGrace: time.Second})
	waitFor(t, "the server to drop the session", func() bool {
		n, err := other.NumClients(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return n <= s.Info().NumClients
	})
}

func TestCloseGivesUpWaitingWithItsContext(t *testing.T) {
	s := open(t, ray.Config{})
	ctx := deadline(t)
	ref, err := s.Submit(ctx, function("sleep_then"), 30, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- second(s.Get(ctx, ref)) }()
	waitFor(t, "a get under way", func() bool { return s.Stats().Outstanding > 0 })
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := s.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	if err := <-got; !errors.Is(err, ray.ErrClosed) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("the call that was cut: %v", err)
	}
	closeSession(t, s)
}

func TestSessionsDoNotShareRefsAndHandles(t *testing.T) {
	ns := raytest.Namespace(t)
	a, b := open(t, ray.Config{Namespace: ns}), open(t, ray.Config{Namespace: ns})
	ctx := deadline(t)
	if a.Info().JobID == b.Info().JobID || a.ID() == b.ID() {
		t.Errorf("two sessions are one: %+v, %+v", a.Info(), b.Info())
	}
	ref, err := a.Put(ctx, "mine")
	if err != nil {
		t.Fatal(err)
	}
	class := pythonClass(t, a, "Counter")
	actor, err := a.CreateActor(ctx, class, ray.ActorOptions{Name: "shared", Detached: true}, 5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, ns, "shared") })
	for what, err := range map[string]error{
		"get":        second(b.Get(ctx, ref)),
		"argument":   second(b.Submit(ctx, function("echo"), []any{map[string]any{"deep": ref}})),
		"put":        second(b.Put(ctx, actor)),
		"kill":       b.Kill(ctx, actor, true),
		"class":      second(b.CreateActor(ctx, class, ray.ActorOptions{})),
		"nil ref":    second(b.Get(ctx, nil)),
		"nil handle": b.Kill(ctx, nil, true),
	} {
		want := ray.ErrStaleSession
		if strings.HasPrefix(what, "nil") {
			want = ray.ErrReleased
		}
		if !errors.Is(err, want) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s across sessions: %v", what, err)
		}
	}
	// The name is what crosses sessions.
	again, err := b.GetActor(ctx, "shared", "")
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != actor.ID() {
		t.Errorf("actor %s became %s", actor.ID(), again.ID())
	}
	if v, err := again.Call(ctx, "value"); v != int64(5) {
		t.Errorf("value: %v, %v", v, err)
	}
	closeSession(t, a)
	if v, err := again.Call(ctx, "incr"); v != int64(6) {
		t.Errorf("a detached actor after its creator left: %v, %v", v, err)
	}
	if err := second(b.Get(ctx, ref)); !errors.Is(err, ray.ErrStaleSession) {
		t.Errorf("a ref of a closed session: %v", err)
	}
}

func TestConfigNamesTheField(t *testing.T) {
	for field, cfg := range map[string]ray.Config{
		"address: missing":   {Namespace: "x"},
		"scheme":             {Namespace: "x", Address: "ray://127.0.0.1:10001"},
		"give host:port":     {Namespace: "x", Address: "127.0.0.1"},
		"namespace: missing": {Address: "127.0.0.1:10001"},
		"reconnect grace":    {Address: "127.0.0.1:10001", Namespace: "x", ReconnectGrace: -1},
	} {
		if _, err := ray.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: %v, want %q in it", cfg, err, field)
		}
	}
}
