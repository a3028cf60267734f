package ray_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// ofNode returns a resource that the node of the session has, and no other.
func ofNode(t *testing.T, s *ray.Session) string {
	t.Helper()
	total, err := s.ClusterResources(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range total {
		if strings.HasPrefix(name, "node:") && !strings.HasPrefix(name, "node:__") {
			return name
		}
	}
	t.Fatalf("no resource of a node: %v", total)
	return ""
}

// wantWaiting expects that a task with these options finds no node: tasks without them that are submitted later end first.
func wantWaiting(t *testing.T, s *ray.Session, what string, opts ray.TaskOptions) {
	t.Helper()
	refs, err := s.SubmitWith(deadline(t), function("echo"), opts, 1)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for range 5 {
		if v, err := call(t, s, function("echo"), ray.TaskOptions{}, 2); v != int64(2) {
			t.Fatalf("%v, %v", v, err)
		}
	}
	if ready, _, err := s.Ready(deadline(t), refs); err == nil && len(ready) == 0 {
		if err := s.Cancel(deadline(t), refs[0], false, false); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := second(s.Get(deadline(t), refs[0])); !errors.Is(err, ray.ErrTaskCancelled) {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err := second(s.Get(deadline(t), refs[0])); !errors.Is(err, ray.ErrUnschedulable) {
		t.Errorf("%s: a node was found: %v", what, err)
	}
}

// seenName is what a task with a name sees of it: Ray 2.40 does not tell.
func seenName(t *testing.T, name string) string {
	t.Helper()
	if raytest.RayBefore(t, "2.48") {
		return ""
	}
	return name
}

// What a task is asked for shows in what it sees of itself.
func testTaskOptionsHaveEffects(t *testing.T, s *ray.Session) {
	type self struct {
		Name      string
		Resources map[string]float64
	}
	here := ofNode(t, s)
	see := func(opts ray.TaskOptions) self {
		t.Helper()
		seen, err := ray.As[self](call(t, s, function("who_am_i"), opts))
		if err != nil {
			t.Error(err)
		}
		return seen
	}
	if seen := see(ray.TaskOptions{}); seen.Name != seenName(t, "who_am_i") || seen.Resources["CPU"] != 1 || len(seen.Resources) != 1 {
		t.Errorf("without options: %+v", seen)
	}
	seen := see(ray.TaskOptions{Name: "a name of its own", NumCPUs: new(0.5), Memory: 1 << 20, Resources: map[string]float64{here: 0.01}})
	if seen.Name != seenName(t, "a name of its own") || seen.Resources["CPU"] != 0.5 || seen.Resources["memory"] != 1<<20 || seen.Resources[here] != 0.01 {
		t.Errorf("with options: %+v", seen)
	}
	wantWaiting(t, s, "a resource that no node has", ray.TaskOptions{Resources: map[string]float64{"unicorn": 1.5}})
	wantWaiting(t, s, "a GPU that no node has", ray.TaskOptions{NumGPUs: 0.5})
	wantWaiting(t, s, "an accelerator that no node has", ray.TaskOptions{AcceleratorType: "A100"})
	if !raytest.RayBefore(t, "2.54") {
		node := s.Info().NodeID
		if v, err := call(t, s, function("echo"), ray.TaskOptions{LabelSelector: map[string]string{"ray.io/node-id": node}}, 3); v != int64(3) {
			t.Errorf("the label of this node: %v, %v", v, err)
		}
		wantWaiting(t, s, "a label that no node has", ray.TaskOptions{LabelSelector: map[string]string{"ray.io/node-id": "!" + node}})
	}
	// A crash is what retries are for.
	file := filepath.Join(t.TempDir(), "crashed")
	if v, err := call(t, s, function("crash_once"), ray.TaskOptions{MaxRetries: new(1)}, file); v != "again" {
		t.Errorf("one retry: %v, %v", v, err)
	}
}

// What an actor is asked for shows in what its calls do.
func testActorOptionsHaveEffects(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	class := pythonClass(t, s, "Attentive")
	make := func(opts ray.ActorOptions, args ...any) *ray.ActorHandle {
		t.Helper()
		actor, err := s.CreateActor(ctx, class, opts, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(actor.Release)
		return actor
	}
	// Three calls that wait for each other.
	meeting := make(ray.ActorOptions{MaxConcurrency: 3}, 3)
	var refs []*ray.ObjectRef
	for range 3 {
		ref, err := meeting.Submit(ctx, "meet")
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if _, err := s.GetAll(ctx, refs); err != nil {
		t.Errorf("three calls at once: %v", err)
	}
	named, err := meeting.SubmitWith(ctx, "task_name", ray.MethodOptions{Name: "called so"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, named[0]); v != seenName(t, "called so") {
		t.Errorf("%v, %v", v, err)
	}
	// A bound on what waits.
	bounded := make(ray.ActorOptions{MaxPendingCalls: 1}, 2)
	held, err := bounded.Submit(ctx, "meet")
	if err != nil {
		t.Fatal(err)
	}
	if err := second(bounded.Submit(ctx, "task_name")); !errors.Is(err, ray.ErrOverloaded) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("more calls than may wait: %v", err)
	}
	if err := s.Kill(ctx, bounded, true); err != nil {
		t.Error(err)
	}
	held.Release()
	// Calls whose process ends under them.
	file := func() string { return filepath.Join(t.TempDir(), "died") }
	if v, err := make(ray.ActorOptions{MaxRestarts: 1, MaxTaskRetries: 1}, 1).Call(ctx, "die_once", file()); v != "again" {
		t.Errorf("retried: %v, %v", v, err)
	}
	if v, err := make(ray.ActorOptions{MaxRestarts: 1}, 1).Call(ctx, "die_once", file()); !errors.Is(err, ray.ErrActorUnavailable) && !errors.Is(err, ray.ErrActorDied) {
		t.Errorf("not retried: %v, %v", v, err)
	}
	refs, err = make(ray.ActorOptions{MaxRestarts: 1, MaxTaskRetries: -1}, 1).SubmitWith(ctx, "die_once", ray.MethodOptions{MaxTaskRetries: new(0)}, file())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, refs[0]); !errors.Is(err, ray.ErrActorUnavailable) && !errors.Is(err, ray.ErrActorDied) {
		t.Errorf("this call is not to be retried: %v, %v", v, err)
	}
	// An actor that has no retries of its own: those that find it restarting count.
	refs, err = make(ray.ActorOptions{MaxRestarts: 1}, 1).SubmitWith(ctx, "die_once", ray.MethodOptions{MaxTaskRetries: new(-1)}, file())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, refs[0]); v != "again" {
		t.Errorf("only this call is to be retried: %v, %v", v, err)
	}
	for retries, want := range []any{nil, int64(2)} {
		refs, err := meeting.SubmitWith(ctx, "fail_until", ray.MethodOptions{MaxTaskRetries: &retries, RetryExceptions: []ray.Function{{Name: "ValueError"}}}, file(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(ctx, refs[0]); v != want || (err == nil) != (retries > 0) {
			t.Errorf("%d retries after an exception: %v, %v", retries, v, err)
		}
	}
}

// A placement group is the cluster's: another session finds it by its name, as long as it is there.
func TestPlacementGroupsOfOtherSessions(t *testing.T) {
	t.Parallel()
	ns := raytest.Namespace(t)
	ctx := deadline(t)
	s, maker := open(t, ray.Config{Namespace: ns}), open(t, ray.Config{Namespace: ns})
	bundles := []map[string]float64{{"CPU": 0.5}, {"CPU": 0.25, "memory": 1 << 20}}
	for name, detached := range map[string]bool{"lasting": true, "passing": false} {
		group, err := maker.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: bundles, Name: name, Detached: detached})
		if err != nil {
			t.Fatal(err)
		}
		if err := maker.WaitPlacementGroup(ctx, group); err != nil {
			t.Fatal(err)
		}
	}
	passing, err := s.GetPlacementGroup(ctx, "passing")
	if err != nil {
		t.Fatal(err)
	}
	closeSession(t, maker)
	waitFor(t, "the group of a closed session to go", func() bool {
		state, err := s.PlacementGroupState(ctx, passing)
		return err == nil && state == "REMOVED"
	})
	group, err := s.GetPlacementGroup(ctx, "lasting")
	if err != nil || len(group.ID) != 36 || !reflect.DeepEqual(group.Bundles, bundles) {
		t.Fatalf("%+v, %v", group, err)
	}
	if err := s.WaitPlacementGroup(ctx, group); err != nil {
		t.Error(err)
	}
	for _, captures := range []bool{true, false} {
		opts := ray.TaskOptions{NumCPUs: new(0.25), SchedulingStrategy: ray.InPlacementGroup{Group: group, Bundle: new(1), CaptureChildTasks: captures}}
		v, err := ray.As[[]*string](call(t, s, function("groups"), opts))
		if err != nil || len(v) != 2 || v[0] == nil || *v[0] != group.ID || (v[1] != nil) != captures {
			t.Errorf("captures %v: %v, %v", captures, v, err)
		}
	}
	for name, want := range map[string]error{"nobody": ray.ErrNotFound, "": ray.ErrInvalidOption} {
		if err := second(s.GetPlacementGroup(ctx, name)); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := s.RemovePlacementGroup(ctx, group); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	huge, err := s.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: []map[string]float64{{"CPU": 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitPlacementGroup(short, huge); !errors.Is(err, ray.ErrGetTimeout) || !strings.HasPrefix(err.Error(), "wait for placement group: ") {
		t.Errorf("what no node has: %v", err)
	}
}
