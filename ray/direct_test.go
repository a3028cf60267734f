package ray_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// directSetup is a session that makes actors, and a direct path to them.
type directSetup struct {
	session   *ray.Session
	gcs       *ray.GCS
	direct    *ray.Direct
	namespace string
}

func directly(t *testing.T, opts ray.DirectOptions) directSetup {
	t.Helper()
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Namespace: ns})
	gcs, err := ray.DialGCS(deadline(t), raytest.Head(t).GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ray.NewDirect(gcs, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(d.Close(ctx), gcs.Close()); err != nil {
			t.Error(err)
		}
	})
	return directSetup{s, gcs, d, ns}
}

// actor makes a named Counter of seedtest and waits until it answers.
func (x directSetup) actor(t *testing.T, name string, restarts int) {
	t.Helper()
	ctx := deadline(t)
	class, err := x.session.PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	h, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: name, Namespace: x.namespace, Detached: true, MaxRestarts: restarts, NumCPUs: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := x.session.Kill(ctx, h, true); err != nil {
			t.Error(err)
		}
	})
	if _, err := x.call(ctx, name, "get"); err != nil {
		t.Fatal(err)
	}
}

func (x directSetup) call(ctx context.Context, name, method string, args ...any) (any, error) {
	return x.direct.Call(ctx, x.namespace, name, method, args...)
}

func (x directSetup) pid(t *testing.T, name string) int {
	t.Helper()
	info, err := x.gcs.NamedActor(deadline(t), x.namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return info.PID
}

func wantSent(t *testing.T, err error, target error, sent ray.Sent) {
	t.Helper()
	if !errors.Is(err, target) || ray.SentOf(err) != sent {
		t.Errorf("got %v (sent %v), want %v with sent %v", err, ray.SentOf(err), target, sent)
	}
	wantType(t, err)
}

func TestDirectCallsOfAPythonActor(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	ctx := deadline(t)

	for i := range 100 {
		if v, err := x.call(ctx, "counter", "incr"); err != nil || v != int64(i+1) {
			t.Fatalf("call %d gave %v, %v", i, v, err)
		}
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 50 {
				if _, err := x.call(ctx, "counter", "incr"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if v, err := x.call(ctx, "counter", "get"); err != nil || v != int64(500) {
		t.Errorf("500 calls were counted as %v, %v", v, err)
	}

	_, err := x.call(ctx, "counter", "boom", "the reason")
	remote, ok := errors.AsType[*ray.TaskError](err)
	if !ok || remote.Class != "ValueError" || remote.Message != "the reason" || remote.PID != x.pid(t, "counter") || !strings.Contains(remote.Traceback, "boom") {
		t.Errorf("%#v of %v", remote, err)
	}
	err = second(x.call(ctx, "counter", "nope"))
	wantSent(t, err, ray.ErrNoSuchMethod, ray.SentNo)
	if none, ok := errors.AsType[*ray.NoSuchMethodError](err); !ok || none.Method != "nope" || none.Class != "Counter" || !slices.Contains(none.Methods, "get") {
		t.Errorf("%+v", none)
	}
	err = second(x.call(ctx, "nobody", "get"))
	wantSent(t, err, ray.ErrActorNotFound, ray.SentNo)
	if none, ok := errors.AsType[*ray.ActorNotFoundError](err); !ok || *none != (ray.ActorNotFoundError{Name: "nobody", Namespace: x.namespace}) {
		t.Errorf("%+v", none)
	}
	wantSent(t, second(x.direct.Call(ctx, "elsewhere", "counter", "get")), ray.ErrActorNotFound, ray.SentNo)
	wantSent(t, second(x.call(ctx, "counter", "incr", make(chan int))), ray.ErrUnsupportedValue, ray.SentNo)

	ref, err := x.session.Put(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	wantSent(t, second(x.call(ctx, "counter", "incr", ref)), ray.ErrUnsupportedValue, ray.SentNo)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantSent(t, second(x.call(ended, "counter", "incr")), context.Canceled, ray.SentNo)
	if v, err := x.call(ctx, "counter", "get"); err != nil || v != int64(500) {
		t.Errorf("calls that were refused were counted: %v, %v", v, err)
	}
}

func TestDirectValues(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	ctx := deadline(t)
	class, err := x.session.PythonClass(ctx, "seedtest", "Echo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: "echo", NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{
		nil, true, int64(-5), int64(math.MaxInt64), uint64(math.MaxUint64), 1.5, "text", "\u00e4",
		[]byte{0, 255},
		[]any{int64(1), "a", nil},
		map[string]any{"a": []any{map[string]any{"b": []byte("c")}}},
		strings.Repeat("x", 90_000),
	} {
		if got, err := x.call(ctx, "echo", "echo", v); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%.40v came back as %.40v, %v", v, got, err)
		}
	}
	// Above the inline limit a result stays in Ray's object store; the method has run.
	wantSent(t, second(x.call(ctx, "echo", "echo", make([]byte, 200_000))), ray.ErrUnsupportedValue, ray.SentYes)
}

func TestAGivenUpCallDoesNotHoldUpOthers(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	for _, cause := range []error{nil, errors.New("the user pressed a key")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		started := make(chan struct{})
		go func() {
			<-started
			cancel(cause)
		}()
		close(started)
		_, err := x.call(ctx, "counter", "sleep", 1)
		if ray.SentOf(err) == ray.SentYes || err == nil || cause != nil && !errors.Is(err, cause) {
			t.Errorf("given up: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantSent(t, second(x.call(ctx, "counter", "sleep", 1)), context.DeadlineExceeded, ray.SentMaybe)
	if v, err := x.call(deadline(t), "counter", "incr"); err != nil || v != int64(1) {
		t.Errorf("the next call: %v, %v", v, err)
	}
}

func TestADeadActorIsToldAndARestartedOneIsFound(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "mortal", 1)
	pid := x.pid(t, "mortal")
	flight := make(chan error, 4)
	for range cap(flight) {
		go func() { flight <- second(x.call(t.Context(), "mortal", "sleep", 30)) }()
	}
	waitFor(t, "the calls are under way", func() bool { return x.direct.InFlight() == cap(flight) })
	time.Sleep(300 * time.Millisecond) // let them leave: the actor sleeps far longer
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range cap(flight) {
		wantSent(t, <-flight, ray.ErrActorUnavailable, ray.SentMaybe)
	}
	if v, err := x.call(deadline(t), "mortal", "incr"); err != nil || v != int64(1) {
		t.Errorf("the call after the restart: %v, %v", v, err)
	}
	if err := syscall.Kill(x.pid(t, "mortal"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "Ray gives the actor up", func() bool {
		_, err := x.gcs.NamedActor(deadline(t), x.namespace, "mortal")
		return errors.Is(err, ray.ErrActorNotFound)
	})
	err := second(x.call(deadline(t), "mortal", "incr"))
	if !errors.Is(err, ray.ErrActorNotFound) && !errors.Is(err, ray.ErrActorDied) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a call of an actor that is gone: %v", err)
	}
}

func TestDirectBounds(t *testing.T) {
	x := directly(t, ray.DirectOptions{InFlight: 8})
	x.actor(t, "counter", 0)
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- second(x.call(t.Context(), "counter", "sleep", 20)) }()
	}
	waitFor(t, "two calls are under way", func() bool { return x.direct.InFlight() == 2 })
	wantOverloaded(t, second(x.call(deadline(t), "counter", "get")), ray.OverloadedError{What: "calls of the actor", Limit: 2, InUse: 2, More: 1})
	time.Sleep(200 * time.Millisecond) // let them leave

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := x.direct.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close with calls under way: %v", err)
	}
	for range 2 {
		wantSent(t, <-results, ray.ErrClosed, ray.SentMaybe)
	}
	wantSent(t, second(x.call(deadline(t), "counter", "get")), ray.ErrClosed, ray.SentNo)
	if err := x.direct.Close(deadline(t)); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestGCSTellsWhatIsThere(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	info, err := x.gcs.NamedActor(deadline(t), x.namespace, "counter")
	if err != nil || info.State != ray.ActorAlive || info.Class != "Counter" || !info.Detached || info.PID == 0 || info.NodeID != x.session.Info().NodeID {
		t.Errorf("%+v, %v", info, err)
	}
	if same, err := x.gcs.ActorByID(deadline(t), info.ID); err != nil || same != info {
		t.Errorf("%+v, %v", same, err)
	}
	if named, err := x.gcs.NamedActors(deadline(t), x.namespace); err != nil || len(named) != 1 || named[0] != info {
		t.Errorf("%+v, %v", named, err)
	}
	_, err = x.gcs.ActorByID(deadline(t), strings.Repeat("ab", 16))
	if none, ok := errors.AsType[*ray.ActorNotFoundError](err); !ok || none.ActorID != strings.Repeat("ab", 16) || !errors.Is(err, ray.ErrActorNotFound) {
		t.Error(err)
	}
	if _, err := x.gcs.ActorByID(deadline(t), "short"); err == nil {
		t.Error("a short id was taken")
	}
	if _, err := ray.DialGCS(deadline(t), raytest.Head(t).GCSAddress(), ray.GCSOptions{ClusterID: strings.Repeat("ab", 28)}); !errors.Is(err, ray.ErrClusterReplaced) {
		t.Errorf("another cluster: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := ray.DialGCS(ctx, "127.0.0.1:1", ray.GCSOptions{}); !errors.Is(err, ray.ErrGCSUnavailable) {
		t.Errorf("nothing listens: %v", err)
	}
}

// A GCS that was replaced behind its address is noticed, and is not taken for the old cluster.
func TestAReplacedClusterIsNoticed(t *testing.T) {
	head := raytest.NewHead(t, rayhead.Config{})
	gcs, err := ray.DialGCS(deadline(t), head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	head.Kill()
	if err := gcs.CheckAlive(deadline(t)); !errors.Is(err, ray.ErrGCSUnavailable) {
		t.Errorf("a killed cluster: %v", err)
	}
	raytest.NewHead(t, rayhead.Config{Ports: head.Ports()})
	waitFor(t, "the connection is up again", func() bool {
		return !errors.Is(gcs.CheckAlive(deadline(t)), ray.ErrGCSUnavailable)
	})
	if err := gcs.CheckAlive(deadline(t)); !errors.Is(err, ray.ErrClusterReplaced) {
		t.Errorf("another cluster at the address: %v", err)
	}
}

func TestSentOf(t *testing.T) {
	for want, errs := range map[ray.Sent][]error{
		ray.SentNo: {
			&ray.CallError{Sent: ray.SentNo, Err: ray.ErrActorUnavailable}, fmt.Errorf("outer: %w", ray.ErrNoSuchMethod), ray.ErrOverloaded,
			ray.ErrUnauthenticated, ray.ErrToken,
		},
		ray.SentMaybe: {&ray.CallError{Sent: ray.SentMaybe, Err: ray.ErrNoSuchMethod}, errors.New("anything")},
		ray.SentYes:   {&ray.TaskError{}, fmt.Errorf("outer: %w", &ray.CallError{Sent: ray.SentYes, Err: errors.New("x")})},
	} {
		for _, err := range errs {
			if got := ray.SentOf(err); got != want {
				t.Errorf("%v: %v instead of %v", err, got, want)
			}
		}
	}
}
