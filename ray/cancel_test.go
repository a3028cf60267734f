package ray_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// cancelled runs call with a context that ends while the call is under way. It returns the call's error, and how long it
// took to return after the end.
func cancelled(t *testing.T, s *ray.Session, call func(context.Context) error) (took time.Duration, err error) {
	t.Helper()
	before := s.Stats()
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	waitFor(t, "the call to be under way", func() bool {
		now := s.Stats()
		return now.Requests+int64(now.Queued) > before.Requests+int64(before.Queued)
	})
	end := time.Now()
	cancel()
	err = <-result
	return time.Since(end), err
}

func testCancelledCalls(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{MaxConcurrency: 2})
	defer actor.Release()
	ref, err := actor.Submit(ctx, "sleep", 2)
	if err != nil {
		t.Fatal(err)
	}
	took, err := cancelled(t, s, func(ctx context.Context) error { return second(s.Get(ctx, ref)) })
	if !errors.Is(err, context.Canceled) || ray.SentOf(err) == ray.SentYes {
		t.Errorf("get: %v", err)
	}
	if took > 5*time.Second { // no measurement: only that it did not wait for the answer
		t.Errorf("the caller waited %v", took)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err = second(actor.Call(short, "sleep", 1))
	if !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("call: %v", err)
	}
	over, cancelOver := context.WithCancel(ctx)
	cancelOver()
	for what, err := range map[string]error{
		"put":    second(s.Put(over, 1)),
		"get":    second(s.Get(over, ref)),
		"submit": second(actor.Submit(over, "incr")),
		"kv":     second(s.KVPut(over, "", "never", nil, true)),
		"kill":   s.Kill(over, actor, true),
	} {
		if !errors.Is(err, context.Canceled) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s with a context that is over: %v", what, err)
		}
	}
	if v, err := s.Get(ctx, ref); v != int64(0) {
		t.Errorf("the value of a get that was given up: %v, %v", v, err)
	}
	if v, err := actor.Call(ctx, "incr"); v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
}

// A put that is cancelled while its chunks are being sent is sent to the end: half of it would end the session. What it
// made at the server is released.
func testCancelledPut(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	refs := s.Stats().Refs
	value := pattern(30 << 20)
	for range 3 {
		_, err := cancelled(t, s, func(ctx context.Context) error { return second(s.Put(ctx, value)) })
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	ref, err := s.Put(ctx, value)
	if err != nil {
		t.Fatal(err)
	}
	ref.Release()
	waitFor(t, "the refs to be released", func() bool { return s.Stats().Refs <= refs && s.Stats().Outstanding == 0 })
}

// Whatever a cancelled request made at the server must not stay there.
func TestCancelledRequestsLeaveNothingBehind(t *testing.T) {
	s := open(t, ray.Config{})
	ctx := deadline(t)
	class := pythonClass(t, s, "Counter")
	holder := counter(t, s, ray.ActorOptions{Name: "holder"})
	kept := s.Stats().Refs
	hold, err := holder.Submit(ctx, "sleep", 1)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			actor, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "orphan"})
			if err == nil {
				actor.Release()
			}
			return err
		},
		"get actor": func(ctx context.Context) error { return second(s.GetActor(ctx, "holder", "")) },
		"submit":    func(ctx context.Context) error { return second(holder.Submit(ctx, "incr", 1)) },
		"put":       func(ctx context.Context) error { return second(s.Put(ctx, []any{hold})) },
		"get": func(ctx context.Context) error {
			nested, err := s.Submit(deadline(t), function("nested"))
			if err != nil {
				return err
			}
			defer nested.Release()
			return second(s.Get(ctx, nested))
		},
	}
	for name, call := range calls {
		for range 3 {
			if _, err := cancelled(t, s, call); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ray.ErrActorExists) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	hold.Release()
	// The functions and the class that were imported stay; refs that a call won are dropped with the collector.
	waitFor(t, "everything to be released", func() bool {
		runtime.GC()
		now := s.Stats()
		return now.Refs <= kept+1 && now.Outstanding == 0 && now.Queued == 0
	})
	waitFor(t, "the actor to end", func() bool { return !named(t, s, "orphan") })
	if v, err := holder.Call(ctx, "value"); err != nil {
		t.Errorf("%v, %v", v, err)
	}
}
