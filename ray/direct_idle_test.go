package ray_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// A connection on which nothing is called is closed, and made again for the next call. No call is cut for it, however long it
// takes, nor a stream whose caller is slow.
func TestIdleConnectionsAreClosed(t *testing.T) {
	const idle = 250 * time.Millisecond
	x := directly(t, ray.DirectOptions{Idle: idle, StreamItems: 4})
	x.actor(t, "counter", 0)
	ctx := deadline(t)
	class := pythonClass(t, x.session, "Streams")
	if _, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: "streams", Namespace: x.namespace, NumCPUs: 0.1, MaxConcurrency: 4}); err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		before := x.direct.Stats().IdleClosed
		if v, err := x.call(ctx, "counter", "incr"); err != nil || v != i+1 {
			t.Fatalf("call %d: %v, %v", i, v, err)
		}
		waitFor(t, "the connection to be closed", func() bool {
			s := x.direct.Stats()
			return s.Connections == 0 && s.IdleClosed > before
		})
	}
	seconds := (4 * idle).Seconds()
	if v, err := x.call(ctx, "counter", "sleep", seconds); err != nil || v != seconds {
		t.Errorf("a long call: %v, %v", v, err)
	}
	if !x.refusesStreams(t, "streams") {
		n := int64(0)
		for v, err := range x.stream(ctx, "streams", "count", 100) {
			if err != nil || v != n {
				t.Fatalf("item %d: %v, %v", n, v, err)
			}
			if n++; n%50 == 0 {
				time.Sleep(4 * idle) // a slow caller
			}
		}
		if n != 100 {
			t.Errorf("%d items", n)
		}
	}

	// A call that was given up keeps the connection until it has ended.
	short, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	if err := second(x.call(short, "counter", "sleep", seconds)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if v, err := x.call(ctx, "counter", "incr"); err != nil || v != int64(4) {
		t.Errorf("the call after it: %v, %v", v, err)
	}
	waitFor(t, "the connections to be closed", func() bool { return x.direct.Stats() == ray.DirectStats{IdleClosed: x.direct.Stats().IdleClosed} })
}
