package ray_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func testKillRightAfterCreation(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	class := pythonClass(t, s, "Counter")
	for range 3 {
		actor, err := s.CreateActor(ctx, class, ray.ActorOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Kill(ctx, actor, true); err != nil {
			t.Fatal(err)
		}
		// A call may still be answered while the kill is on its way.
		waitFor(t, "the actor's death", func() bool { return errors.Is(second(actor.Call(ctx, "value")), ray.ErrActorDied) })
		if err := s.Kill(ctx, actor, true); err != nil {
			t.Errorf("killing a dead actor: %v", err)
		}
		actor.Release()
	}
}

func testCancel(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for _, force := range []bool{false, true} {
		refs, err := s.SubmitWith(ctx, function("spin"), ray.TaskOptions{MaxRetries: new(0)}, 80)
		if err != nil {
			t.Fatal(err)
		}
		started, err := s.Submit(ctx, function("echo"), 1) // lets the other one start, as a rule
		if err != nil {
			t.Fatal(err)
		}
		if err := second(s.Get(ctx, started)); err != nil {
			t.Fatal(err)
		}
		if err := s.Cancel(ctx, refs[0], force, true); err != nil {
			t.Fatal(err)
		}
		if err := second(s.Get(ctx, refs[0])); !errors.Is(err, ray.ErrTaskCancelled) && (!force || !errors.Is(err, ray.ErrWorkerCrashed)) {
			t.Errorf("force %v: %v", force, err)
		}
		// Cancelling what is over is nothing.
		if err := s.Cancel(ctx, refs[0], force, true); err != nil {
			t.Error(err)
		}
	}
	// What is in C when the interrupt comes is interrupted when it is through.
	asleep, err := s.SubmitWith(ctx, function("sleep_then"), ray.TaskOptions{NumCPUs: new(0.0)}, 4, "slept")
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.SubmitWith(ctx, function("sleep_then"), ray.TaskOptions{NumCPUs: new(0.0)}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(s.Get(ctx, first[0])); err != nil { // lets the other one start, as a rule
		t.Fatal(err)
	}
	if err := s.Cancel(ctx, asleep[0], false, false); err != nil {
		t.Fatal(err)
	}
	if err := second(s.Get(ctx, asleep[0])); !errors.Is(err, ray.ErrTaskCancelled) {
		t.Error(err)
	}
	actor := counter(t, s, ray.ActorOptions{})
	defer actor.Release()
	if err := second(actor.Call(ctx, "value")); err != nil { // a call that is cancelled before the actor stands leaves a gap, for which Ray waits 30 s
		t.Fatal(err)
	}
	running, err := actor.Submit(ctx, "sleep", 2)
	if err != nil {
		t.Fatal(err)
	}
	queued, err := actor.Submit(ctx, "incr")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cancel(ctx, running, true, false); err == nil {
		t.Error("a call of an actor was killed")
	} else if _, ok := errors.AsType[*ray.TaskError](err); !ok {
		t.Error(err)
	}
	if err := s.Cancel(ctx, queued, false, false); err != nil {
		t.Error(err)
	}
	// Before 2.54 a call that waits at an actor runs all the same; one that is still on its way there is cancelled.
	err = second(s.Get(ctx, queued))
	if !errors.Is(err, ray.ErrTaskCancelled) && (err != nil || !raytest.RayBefore(t, "2.54")) {
		t.Error(err)
	}
	if err := s.Cancel(ctx, releasedRef(t, s), false, false); !errors.Is(err, ray.ErrReleased) || ray.SentOf(err) != ray.SentNo {
		t.Error(err)
	}
}

func testCancelOfAChain(t *testing.T, s *ray.Session) {
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprint("by force ", force), func(t *testing.T) { cancelAChain(t, s, force) })
	}
}

func cancelAChain(t *testing.T, s *ray.Session, force bool) {
	t.Helper()
	ctx := deadline(t)
	refs, err := s.SubmitWith(ctx, function("spin"), ray.TaskOptions{MaxRetries: new(0)}, 80)
	if err != nil {
		t.Fatal(err)
	}
	// Each waits for the one before.
	for range 3 {
		next, err := s.Submit(ctx, function("echo"), refs[len(refs)-1])
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, next)
	}
	if err := s.Cancel(ctx, refs[0], force, true); err != nil {
		t.Fatal(err)
	}
	if err := second(s.Get(ctx, refs[0])); !errors.Is(err, ray.ErrTaskCancelled) && (!force || !errors.Is(err, ray.ErrWorkerCrashed)) {
		t.Errorf("the task that was cancelled: %v", err)
	}
	for i, ref := range refs[1:] {
		if err := second(s.Get(ctx, ref)); err == nil {
			t.Errorf("task %d has a value", i+1)
		}
	}
}

// A method is not interrupted: it fails because what it waits for is cancelled, however many tasks are between.
func testCancelOfDescendants(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor, err := s.CreateActor(ctx, pythonClass(t, s, "Descent"), ray.ActorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	for _, depth := range []int{1, 2} {
		note := filepath.Join(t.TempDir(), "note")
		ref, err := actor.Submit(ctx, "descend", depth, note)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the last task", func() bool { return second(os.Stat(note)) == nil })
		if err := s.Cancel(ctx, ref, false, true); err != nil {
			t.Fatal(err)
		}
		err = second(s.Get(ctx, ref))
		wantType(t, err)
		child, ok := errors.AsType[*ray.TaskCancelledError](err)
		if !ok || child.TaskID == "" {
			t.Errorf("a method above %d tasks: %+v, %v", depth, child, err)
			continue
		}
		raised, ok := errors.AsType[*ray.TaskError](err)
		if !ok {
			continue // on a busy machine Ray sometimes notes a cancellation, of the method or below it, before what the method raises
		}
		if ray.SentOf(err) != ray.SentYes || !strings.Contains(raised.Message, child.TaskID) {
			t.Errorf("a method above %d tasks: %v", depth, err)
		}
	}
}

// Two refs that were made apart stand for one object, which lives until both are released.
func testTwoRefsToOneObject(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	inner, err := s.Put(ctx, "shared")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Release()
	outer, err := s.Put(ctx, []any{inner})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Get(ctx, outer)
	if err != nil {
		t.Fatal(err)
	}
	again, ok := v.([]any)[0].(*ray.ObjectRef)
	if !ok || again == inner || again.ID() != inner.ID() {
		t.Fatalf("%v", v)
	}
	if text := fmt.Sprintf("%v %+v", inner, v); text != fmt.Sprintf("ObjectRef(%s) [ObjectRef(%s)]", inner.ID(), inner.ID()) {
		t.Errorf("printed: %s", text)
	}
	before := s.Stats().Refs
	again.Release()
	outer.Release()
	waitFor(t, "the release", func() bool { return s.Stats().Refs < before })
	if v, err := s.Get(ctx, inner); v != "shared" {
		t.Errorf("%v, %v", v, err)
	}
}
