package ray_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func call(t *testing.T, s *ray.Session, fn ray.Function, opts ray.TaskOptions, args ...any) (any, error) {
	t.Helper()
	refs, err := s.SubmitWith(deadline(t), fn, opts, args...)
	if err != nil {
		return nil, err
	}
	if len(refs) != 1 {
		t.Fatalf("%d results", len(refs))
	}
	defer refs[0].Release()
	return s.Get(deadline(t), refs[0])
}

func testTaskOptions(t *testing.T, s *ray.Session) {
	v, err := call(t, s, function("keywords"), ray.TaskOptions{
		Name: "a name of its own", NumCPUs: new(0.5), Memory: 1 << 20, MaxRetries: new(0), SchedulingStrategy: ray.Spread{},
		RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"X": "y"}},
	}, 1, ray.Kwargs{"c": 3})
	if list, ok := v.([]any); err != nil || !ok || list[0] != int64(1) || list[1] != int64(0) || list[2] != int64(3) {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := call(t, s, function("variable"), ray.TaskOptions{RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"DRIVER_TEST": "set"}}}, "DRIVER_TEST"); v != "set" {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := call(t, s, function("variable"), ray.TaskOptions{NumCPUs: new(0.0)}, "DRIVER_TEST"); v != nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if err := second(s.Submit(deadline(t), function("keywords"), 1, ray.Kwargs{"not a name": 3})); !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
		t.Error(err)
	}
	// A process of its own for each call, beside other options, and of the same function without the limit.
	pids := map[any]bool{}
	for range 3 {
		pid, err := call(t, s, function("process"), ray.TaskOptions{MaxCalls: 1, NumCPUs: new(0.5)})
		if err != nil {
			t.Fatal(err)
		}
		pids[pid] = true
	}
	if len(pids) != 3 {
		t.Errorf("one call a process: %v", pids)
	}
	if pid, err := call(t, s, function("process"), ray.TaskOptions{}); err != nil || pids[pid] {
		t.Errorf("%v, %v", pid, err)
	}
	// What no node has waits; cancelling is the way out.
	refs, err := s.SubmitWith(deadline(t), function("echo"), ray.TaskOptions{Resources: map[string]float64{"unicorn": 1.5}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if ready, _, err := s.Ready(deadline(t), refs); len(ready) != 0 || err != nil {
		t.Errorf("%v, %v", ready, err)
	}
	if err := s.Cancel(deadline(t), refs[0], false, false); err != nil {
		t.Fatal(err)
	}
	if err := second(s.Get(deadline(t), refs[0])); !errors.Is(err, ray.ErrTaskCancelled) {
		t.Error(err)
	}
}

func testOptionsAreChecked(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	before := s.Stats().Requests
	for field, o := range map[string]ray.TaskOptions{
		"num cpus":            {NumCPUs: new(-1.0)},
		"num gpus":            {NumGPUs: 1.5},
		"memory":              {Memory: -1},
		"resources":           {Resources: map[string]float64{"CPU": 1}},
		"num cpus: 1e-05":     {NumCPUs: new(0.00001)},
		"resources: 1e-05":    {Resources: map[string]float64{"x": 0.00001}},
		"max retries":         {MaxRetries: new(-2)},
		"max calls":           {MaxCalls: -1},
		"num returns":         {NumReturns: new(-1)},
		"dynamic":             {NumReturns: new(2), DynamicReturns: true},
		"retry exceptions":    {RetryExceptions: []ray.Function{{Name: "not a name"}}},
		"node id":             {SchedulingStrategy: ray.NodeAffinity{NodeID: "beef"}},
		"placement group":     {SchedulingStrategy: ray.InPlacementGroup{}},
		"placement group id":  {SchedulingStrategy: ray.InPlacementGroup{Group: &ray.PlacementGroup{ID: "x"}}},
		"env vars":            {RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"A=B": ""}}},
		"working dir":         {RuntimeEnv: &ray.RuntimeEnv{WorkingDir: "/home/me"}},
		"working dir: \"ftp":  {RuntimeEnv: &ray.RuntimeEnv{WorkingDir: "ftp://x/y.zip"}},
		"py modules[1]":       {RuntimeEnv: &ray.RuntimeEnv{PyModules: []string{"gcs://x.zip", "gcs://x"}}},
		"pip: excluded by uv": {RuntimeEnv: &ray.RuntimeEnv{Pip: []string{"x"}, More: map[string]any{"uv": []any{"y"}}}},
		"pip[0]":              {RuntimeEnv: &ray.RuntimeEnv{Pip: []string{" "}}},
		"setup timeout":       {RuntimeEnv: &ray.RuntimeEnv{SetupTimeout: time.Millisecond}},
		"more: \"wings\"":     {RuntimeEnv: &ray.RuntimeEnv{More: map[string]any{"wings": 2}}},
		"fallback labels":     {FallbackLabels: []map[string]string{{"a": "b"}}},
		"fallback labels[0]":  {LabelSelector: map[string]string{"a": "b"}, FallbackLabels: []map[string]string{{}}},
		"hook: \"7\"":         {RuntimeEnv: &ray.RuntimeEnv{More: map[string]any{"worker_process_setup_hook": 7}}},
		"hook: \"alone\"":     {RuntimeEnv: &ray.RuntimeEnv{More: map[string]any{"worker_process_setup_hook": "alone"}}},
		"more: conda":         {RuntimeEnv: &ray.RuntimeEnv{More: map[string]any{"conda": make(chan int)}}},
		"more: uv":            {RuntimeEnv: &ray.RuntimeEnv{More: map[string]any{"uv": &ray.ObjectRef{}}}},
	} {
		if err := second(s.SubmitWith(ctx, function("echo"), o, 1)); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), field) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := second(s.SubmitWith(ctx, function("echo"), ray.TaskOptions{RuntimeEnv: ray.GoRuntimeEnv("gcs://x.zip")}, 1)); !errors.Is(err, ray.ErrActorsOnly) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a task in a Go program: %v", err)
	}
	for field, o := range map[string]ray.PlacementGroupOptions{
		"bundles: none": {}, "bundles[0]: empty": {Bundles: []map[string]float64{{"CPU": 0}}},
		"strategy": {Bundles: []map[string]float64{{"CPU": 1}}, Strategy: "SCATTER"}, "bundles[0]: -1": {Bundles: []map[string]float64{{"CPU": -1}}},
	} {
		if err := second(s.CreatePlacementGroup(ctx, o)); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, text := range []string{"os", "os:", ":getcwd", "os:a b"} {
		if f, err := ray.ParseFunction(text); err == nil {
			t.Errorf("%q is %v", text, f)
		}
	}
	if f, err := ray.ParseFunction("pkg.module:Class.method"); err != nil || f != (ray.Function{Module: "pkg.module", Name: "Class.method"}) {
		t.Errorf("%v, %v", f, err)
	}
	if n := s.Stats().Requests - before; n > 2 { // releases of what other tests left
		t.Errorf("%d requests were sent", n)
	}
}

func testNumReturns(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	refs, err := s.SubmitWith(ctx, function("several"), ray.TaskOptions{NumReturns: new(3)}, 3)
	if err != nil || len(refs) != 3 {
		t.Fatalf("%v, %v", refs, err)
	}
	if values, err := s.GetAll(ctx, refs); err != nil || values[2] != int64(2) {
		t.Errorf("%v, %v", values, err)
	}
	if refs, err := s.SubmitWith(ctx, function("several"), ray.TaskOptions{NumReturns: new(0)}, 0); err != nil || len(refs) != 0 {
		t.Errorf("%v, %v", refs, err)
	}
	refs, err = s.SubmitWith(ctx, function("generate"), ray.TaskOptions{DynamicReturns: true}, 4)
	if err != nil || len(refs) != 1 {
		t.Fatalf("%v, %v", refs, err)
	}
	items, err := s.DynamicRefs(ctx, refs[0])
	if err != nil || len(items) != 4 {
		t.Fatalf("%v, %v", items, err)
	}
	refs[0].Release()
	for i, item := range items {
		if v, err := s.Get(ctx, item); err != nil || v.(map[string]any)["item"] != int64(i) {
			t.Errorf("%v, %v", v, err)
		}
		item.Release()
	}
	// Without it, Ray's server starts the generator and cannot answer.
	feed, err := s.CreateActor(ctx, pythonClass(t, s, "Feed"), ray.ActorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Release()
	for what, err := range map[string]error{
		"function": second(s.Submit(ctx, function("generate"), 4)), "method": second(feed.Submit(ctx, "items", 4)),
		"method with options": second(feed.SubmitWith(ctx, "items", ray.MethodOptions{Name: "x"}, 4)),
	} {
		if !errors.Is(err, ray.ErrNoStreaming) || errors.Is(err, ray.ErrNoSuchMethod) || ray.SentOf(err) != ray.SentMaybe || !strings.Contains(err.Error(), "DynamicReturns") {
			t.Errorf("a generator, %s: %v", what, err)
		}
	}
	if n, err := feed.Call(ctx, "count"); err != nil || n == int64(0) {
		t.Errorf("generators that ran: %v, %v", n, err)
	}
	plain, err := s.Put(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DynamicRefs(ctx, plain); !errors.Is(err, ray.ErrUnsupportedValue) {
		t.Error(err)
	}
	actor := counter(t, s, ray.ActorOptions{})
	defer actor.Release()
	refs, err = actor.SubmitWith(ctx, "echo", ray.MethodOptions{NumReturns: new(2)}, []any{"a", "b"})
	if err != nil || len(refs) != 2 {
		t.Fatalf("%v, %v", refs, err)
	}
	if values, err := s.GetAll(ctx, refs); err != nil || values[1] != "b" {
		t.Errorf("%v, %v", values, err)
	}
	if err := second(actor.SubmitWith(ctx, "echo", ray.MethodOptions{MaxTaskRetries: new(-2)}, 1)); !errors.Is(err, ray.ErrInvalidOption) {
		t.Error(err)
	}
}

func testRetries(t *testing.T, s *ray.Session) {
	file := func() string { return filepath.Join(t.TempDir(), "attempts") }
	if v, err := call(t, s, function("fail_until"), ray.TaskOptions{RetryExceptions: []ray.Function{{Name: "ValueError"}}, MaxRetries: new(5)}, file(), 3); v != int64(3) {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := call(t, s, function("fail_until"), ray.TaskOptions{RetryExceptions: []ray.Function{{Name: "KeyError"}}}, file(), 3); err == nil || !strings.Contains(err.Error(), "attempt 1") {
		t.Errorf("another class: %v, %v", v, err)
	}
	if v, err := call(t, s, function("fail_until"), ray.TaskOptions{}, file(), 3); err == nil || !strings.Contains(err.Error(), "attempt 1") {
		t.Errorf("no retries: %v, %v", v, err)
	}
}

func testSource(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	source := `
import dataclasses

@dataclasses.dataclass
class Point:
    x: int
    y: int

def shift(x, y, by=1):
    p = Point(x + by, y + by)
    return dataclasses.asdict(p)

class Stack:
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return len(self.items)
`
	ref, err := s.Submit(ctx, ray.Function{Name: "shift", Source: source}, 1, 2, ray.Kwargs{"by": 10})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, ref); err != nil || v.(map[string]any)["y"] != int64(12) {
		t.Errorf("%v, %v", v, err)
	}
	class, err := s.Class(ctx, ray.Function{Name: "Stack", Source: source})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := s.CreateActor(ctx, class, ray.ActorOptions{}, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Release()
	if v, err := stack.Call(ctx, "push", "c"); v != int64(3) {
		t.Errorf("%v, %v", v, err)
	}
	for _, bad := range []ray.Function{{Name: "f", Source: "def f(:"}, {Name: "g", Source: "def f(): pass"}, {Name: "f", Source: "import no_such_module\ndef f(): pass"}} {
		if _, ok := errors.AsType[*ray.TaskError](second(s.Submit(ctx, bad))); !ok {
			t.Errorf("%q was accepted", bad.Source)
		}
	}
	_, err = s.Class(ctx, ray.Function{Name: "Broken", Source: "class Broken:\n    def f(:\n"})
	if broken, ok := errors.AsType[*ray.TaskError](err); !ok || broken.Class != "SyntaxError" || broken.Message != "invalid syntax (<string>, line 2)" {
		t.Errorf("%v", err)
	}
	if _, err := s.Class(ctx, ray.Function{Name: "Heap", Source: source}); err == nil || !strings.Contains(err.Error(), "the source does not define Heap") {
		t.Errorf("a class that is not there: %v", err)
	}
	if err := second(s.Submit(ctx, ray.Function{Module: "math", Name: "sqrt"}, 4)); !errors.Is(err, ray.ErrUnsupportedValue) || !strings.Contains(err.Error(), "math.sqrt: ") || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a function that is not Python's: %v", err)
	}
	groupError := "def fail():\n    raise ExceptionGroup('many', [ValueError('a'), KeyError({}, [])])\n"
	old := strings.HasPrefix(s.Info().PythonVersion, "3.10") // has no ExceptionGroup
	if v, err := call(t, s, ray.Function{Name: "fail", Source: groupError}, ray.TaskOptions{}); err == nil || !old && !strings.HasSuffix(err.Error(), "many (2 sub-exceptions)") {
		t.Errorf("%v, %v", v, err)
	}
	if err := second(s.Submit(ctx, ray.Function{Name: "f.g", Source: "def f(): pass"})); !errors.Is(err, ray.ErrUnsupportedValue) {
		t.Error(err)
	}
}

func testScheduling(t *testing.T, s *ray.Session) {
	here := s.Info().NodeID
	v, err := call(t, s, function("where"), ray.TaskOptions{SchedulingStrategy: ray.NodeAffinity{NodeID: here}})
	if err != nil || v.(map[string]any)["node"] != here {
		t.Errorf("%v, %v", v, err)
	}
	nowhere := strings.Repeat("ab", len(here)/2)
	if v, err := call(t, s, function("where"), ray.TaskOptions{SchedulingStrategy: ray.NodeAffinity{NodeID: nowhere}}); !errors.Is(err, ray.ErrUnschedulable) {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := call(t, s, function("where"), ray.TaskOptions{SchedulingStrategy: ray.NodeAffinity{NodeID: nowhere, Soft: true}}); err != nil || v.(map[string]any)["node"] != here {
		t.Errorf("%v, %v", v, err)
	}
}

func testPlacementGroups(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	group, err := s.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: []map[string]float64{{"CPU": 1}, {"CPU": 0.5}}, Strategy: ray.StrictPack, Name: "pair"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitPlacementGroup(ctx, group); err != nil {
		t.Fatal(err)
	}
	if state, err := s.PlacementGroupState(ctx, group); state != "CREATED" || err != nil {
		t.Errorf("%s, %v", state, err)
	}
	v, err := call(t, s, function("where"), ray.TaskOptions{NumCPUs: new(0.5), SchedulingStrategy: ray.InPlacementGroup{Group: group, Bundle: new(1)}})
	if err != nil || v.(map[string]any)["group"] != group.ID {
		t.Errorf("%v, %v; want group %s", v, err, group.ID)
	}
	if err := second(s.SubmitWith(ctx, function("where"), ray.TaskOptions{SchedulingStrategy: ray.InPlacementGroup{Group: group, Bundle: new(2)}})); !errors.Is(err, ray.ErrInvalidOption) {
		t.Error(err)
	}
	if err := s.RemovePlacementGroup(ctx, group); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the group to be removed", func() bool {
		state, err := s.PlacementGroupState(ctx, group)
		return err == nil && state == "REMOVED"
	})
}

func testMoreActorOptions(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	class := pythonClass(t, s, "Grouped")
	actor, err := s.CreateActor(ctx, class, ray.ActorOptions{
		ConcurrencyGroups: map[string]int{"io": 1}, MaxRestarts: 2, MaxTaskRetries: -1, MaxPendingCalls: 50, SchedulingStrategy: ray.NodeAffinity{NodeID: s.Info().NodeID},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	if refs, err := actor.SubmitWith(ctx, "quick", ray.MethodOptions{ConcurrencyGroup: "io"}); err != nil {
		t.Error(err)
	} else if v, err := s.Get(ctx, refs[0]); v != "quick" {
		t.Errorf("%v, %v", v, err)
	}
	// This would end the actor's process.
	if err := second(actor.SubmitWith(ctx, "quick", ray.MethodOptions{ConcurrencyGroup: "oi"})); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), `"oi"`) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a group that there is not: %v", err)
	}
	held, err := actor.Submit(ctx, "hold", 60)
	if err != nil {
		t.Fatal(err)
	}
	// Groups do not wait for each other.
	if v, err := actor.Call(ctx, "quick"); v != "quick" {
		t.Errorf("%v, %v", v, err)
	}
	if ready, _, err := s.Ready(ctx, []*ray.ObjectRef{held}); len(ready) != 0 || err != nil {
		t.Errorf("%v, %v", ready, err)
	}
	if err := s.Kill(ctx, actor, true); err != nil {
		t.Error(err)
	}
	if _, err := s.CreateActor(ctx, class, ray.ActorOptions{}); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), "ConcurrencyGroups") || ray.SentOf(err) != ray.SentNo {
		t.Errorf("without the group of a method: %v", err)
	}
	for field, o := range map[string]ray.ActorOptions{
		"max task retries": {MaxTaskRetries: 1}, "concurrency groups": {ConcurrencyGroups: map[string]int{"": 1}},
		"max pending calls": {MaxPendingCalls: -1}, "runtime env: env vars": {RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"": ""}}},
	} {
		if err := second(s.CreateActor(ctx, class, o)); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func testConditions(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	if _, err := call(t, s, function("crash"), ray.TaskOptions{MaxRetries: new(0)}); !errors.Is(err, ray.ErrWorkerCrashed) || ray.SentOf(err) != ray.SentMaybe {
		t.Error(err)
	}
	// A failure behind a failure is told, and not mistaken for one of this call.
	actor := counter(t, s, ray.ActorOptions{})
	if err := s.Kill(ctx, actor, true); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the actor's death", func() bool { return errors.Is(second(actor.Call(ctx, "value")), ray.ErrActorDied) })
	for fn, want := range map[string]error{"call_dead_actor": ray.ErrActorDied, "impatient": ray.ErrGetTimeout} {
		var args []any
		if fn == "call_dead_actor" {
			args = []any{actor}
		}
		ref, err := s.Submit(ctx, function(fn), args...)
		if err != nil {
			t.Fatal(err)
		}
		err = second(s.Get(ctx, ref))
		task, ok := errors.AsType[*ray.TaskError](err)
		if !ok || errors.Is(err, want) || !errors.Is(task.Cause, want) || task.IP == "" || ray.SentOf(err) != ray.SentYes {
			t.Errorf("%s: %v, %+v", fn, err, task)
		}
	}
	// An exception that goes through several calls is that of the innermost, whose text is in the traceback of the outermost.
	nested := ray.Function{Name: "outer", Source: "import ray\ndef inner():\n    raise ValueError('inner broke')\n" +
		"def outer():\n    return ray.get(ray.remote(inner).options(num_cpus=0).remote())\n"}
	_, err := call(t, s, nested, ray.TaskOptions{NumCPUs: new(0.0)})
	task, ok := errors.AsType[*ray.TaskError](err)
	if !ok || task.Class != "ValueError" || task.Message != "inner broke" || !strings.Contains(task.Function, "outer") || task.Cause != nil ||
		!strings.Contains(task.Traceback, "ray::inner()") || !strings.Contains(task.Traceback, "in outer") {
		t.Errorf("%v, %+v", err, task)
	}
	broken, err := call(t, s, function("echo"), ray.TaskOptions{RuntimeEnv: &ray.RuntimeEnv{WorkingDir: "gcs://_ray_pkg_0123456789abcdef.zip"}}, 1)
	if !errors.Is(err, ray.ErrRuntimeEnvSetup) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v, %v", broken, err)
	}
	first, err := s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{Name: "taken", Namespace: s.Info().Namespace + "-x"})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	if err := second(s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{Name: "taken", Namespace: s.Info().Namespace + "-x"})); !errors.Is(err, ray.ErrActorExists) {
		t.Error(err)
	}
}

func testOrderAndLabels(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for outOfOrder, want := range map[bool]int64{false: 5, true: 0} {
		if outOfOrder && raytest.RayBefore(t, "2.54") { // which does not know the option
			err := second(s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{OutOfOrder: true}))
			if remote, ok := errors.AsType[*ray.TaskError](err); !ok || remote.Class != "ValueError" {
				t.Errorf("out of order: %v", err)
			}
			continue
		}
		actor := counter(t, s, ray.ActorOptions{OutOfOrder: outOfOrder})
		defer actor.Release()
		if err := second(actor.Call(ctx, "value")); err != nil {
			t.Fatal(err)
		}
		late, err := s.SubmitWith(ctx, function("sleep_then"), ray.TaskOptions{NumCPUs: new(0.0)}, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		if err := second(actor.Submit(ctx, "incr", late[0])); err != nil {
			t.Fatal(err)
		}
		if v, err := actor.Call(ctx, "value"); v != want || err != nil {
			t.Errorf("out of order %v: %v, %v", outOfOrder, v, err)
		}
	}
	if raytest.RayBefore(t, "2.60") {
		return
	}
	nowhere, here := map[string]string{"unicorn": "yes"}, map[string]string{"ray.io/node-id": s.Info().NodeID}
	if v, err := call(t, s, function("echo"), ray.TaskOptions{LabelSelector: nowhere, FallbackLabels: []map[string]string{nowhere, here}}, 7); v != int64(7) || err != nil {
		t.Errorf("a task: %v, %v", v, err)
	}
	actor := counter(t, s, ray.ActorOptions{LabelSelector: nowhere, FallbackLabels: []map[string]string{here}})
	defer actor.Release()
	if v, err := actor.Call(ctx, "incr"); v != int64(1) || err != nil {
		t.Errorf("an actor: %v, %v", v, err)
	}
}
