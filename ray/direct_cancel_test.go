package ray_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// A caller that gives up cancels the method, and what the method waits for. Go actors: worker.TestOnARealRay.
func TestACallThatWasGivenUpIsCancelled(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	ctx := deadline(t)
	class, err := x.session.PythonClass(ctx, "seedtest", "Waiter")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"near", "far"} {
		if _, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: name, Namespace: x.namespace, MaxConcurrency: 10, NumCPUs: 0.1}); err != nil {
			t.Fatal(err)
		}
	}
	reaches := func(name string, waiting, cancelled int64) {
		t.Helper()
		var v any
		waitFor(t, "the methods to be cancelled", func() bool {
			if v, err = x.call(ctx, name, "state"); err != nil {
				t.Fatal(err)
			}
			return reflect.DeepEqual(v, []any{waiting, cancelled})
		})
	}
	giveUp := func(waiting int64, method string, args ...any) {
		t.Helper()
		short, cancel := context.WithCancel(ctx)
		failed := make(chan error, 8)
		for range cap(failed) {
			go func() { failed <- second(x.call(short, "near", method, args...)) }()
		}
		name := "near"
		if len(args) > 0 {
			name = args[0].(string)
		}
		reaches(name, int64(cap(failed)), waiting)
		cancel()
		for range cap(failed) {
			wantSent(t, <-failed, context.Canceled, ray.SentMaybe)
		}
		reaches(name, 0, waiting+int64(cap(failed)))
	}
	giveUp(0, "wait")
	giveUp(8, "wait")
	if !raytest.RayBefore(t, "2.48") { // which does not pass it on
		giveUp(0, "wait_for", "far")
	}
	waitFor(t, "the calls to end", func() bool { return x.direct.InFlight() == 0 })

	// What waits behind a synchronous method.
	x.actor(t, "counter", 0)
	slept := make(chan error, 1)
	go func() { slept <- second(x.call(ctx, "counter", "sleep", 2)) }()
	waitFor(t, "the call to be under way", func() bool { return x.direct.InFlight() == 1 })
	short, cancel := context.WithCancel(ctx)
	behind := make(chan error, 1)
	go func() { behind <- second(x.call(short, "counter", "incr")) }()
	waitFor(t, "the call to be under way", func() bool { return x.direct.InFlight() == 2 })
	cancel()
	if err := <-behind; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-slept; err != nil {
		t.Error(err)
	}
	// It may have run all the same, as it may with ray.cancel in Python; those behind it are not held up.
	before, err := x.call(ctx, "counter", "get")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.call(ctx, "counter", "incr"); err != nil || v != before.(int64)+1 {
		t.Errorf("%v after %v, %v", v, before, err)
	}
}

// A method that waits for a task that was cancelled fails with that cancellation, and with a traceback.
func TestADirectCallIsToldOfACancellationBelowIt(t *testing.T) {
	t.Parallel()
	x := directly(t, ray.DirectOptions{})
	ctx := deadline(t)
	if _, err := x.session.CreateActor(ctx, pythonClass(t, x.session, "Descent"), ray.ActorOptions{Name: "descent"}); err != nil {
		t.Fatal(err)
	}
	err := second(x.call(ctx, "descent", "give_up"))
	wantSent(t, err, ray.ErrTaskCancelled, ray.SentYes)
	if raised, ok := errors.AsType[*ray.TaskError](err); !ok || !strings.Contains(raised.Traceback, "in give_up") {
		t.Errorf("%v", err)
	}
}
