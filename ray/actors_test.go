package ray_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func testActorsKeepStateAndOrder(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{}, 100)
	defer actor.Release()
	var refs []*ray.ObjectRef
	for range 50 {
		ref, err := actor.Submit(ctx, "incr")
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	for i, ref := range refs {
		if v, err := s.Get(ctx, ref); v != int64(101+i) {
			t.Fatalf("call %d gave %v, %v", i, v, err)
		}
		ref.Release()
	}
	// A handle as argument.
	ref, err := s.Submit(ctx, function("ask"), actor)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, ref); v != int64(150) {
		t.Errorf("%v, %v", v, err)
	}
	// And back as a result.
	v, err := actor.Call(ctx, "echo", []any{actor})
	if err != nil {
		t.Fatal(err)
	}
	again, ok := v.([]any)[0].(*ray.ActorHandle)
	if !ok || again.ID() != actor.ID() {
		t.Fatalf("%v", v)
	}
	again.Release()
	if v, err := actor.Call(ctx, "value"); v != int64(150) {
		t.Errorf("after one of two handles was released: %v, %v", v, err)
	}
}

func testErrorsOfActors(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{})
	defer actor.Release()
	if remote, ok := errors.AsType[*ray.TaskError](second(actor.Call(ctx, "fail", "inside"))); !ok || remote.Class != "RuntimeError" || remote.Message != "inside" {
		t.Errorf("%v", remote)
	}
	for _, method := range []string{"no_such_method", "not a name", ""} {
		err := second(actor.Call(ctx, method))
		if none, ok := errors.AsType[*ray.NoSuchMethodError](err); !ok || none.Method != method || !errors.Is(err, ray.ErrNoSuchMethod) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%q: %v", method, err)
		}
	}
	if remote, ok := errors.AsType[*ray.TaskError](second(actor.Call(ctx, "value", "too", "many"))); !ok || remote.Class != "TypeError" {
		t.Errorf("too many arguments: %v", remote)
	}
	err := second(actor.Call(ctx, "exit"))
	if !errors.Is(err, ray.ErrActorDied) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("a process that ended: %v", err)
	}
	if err := second(actor.Call(ctx, "value")); !errors.Is(err, ray.ErrActorDied) {
		t.Errorf("after that: %v", err)
	}
	broken, err := s.CreateActor(ctx, pythonClass(t, s, "Broken"), ray.ActorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = second(broken.Call(ctx, "value"))
	if !errors.Is(err, ray.ErrActorDied) || !strings.Contains(err.Error(), "ValueError: cannot be built") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a constructor that raises: %v", err)
	}
}

func TestNamedActors(t *testing.T) {
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Namespace: ns})
	ctx := deadline(t)
	first := counter(t, s, ray.ActorOptions{Name: "one", Detached: true}, 1)
	err := second(s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{Name: "one"}))
	wantType(t, err)
	if taken, ok := errors.AsType[*ray.ActorExistsError](err); !ok || taken.Name != "one" || taken.Namespace != ns || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a name that is taken: %v", err)
	}
	same := counter(t, s, ray.ActorOptions{Name: "one", GetIfExists: true}, 99)
	if same.ID() != first.ID() {
		t.Error("get if exists made another actor")
	}
	if v, err := same.Call(ctx, "value"); v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
	elsewhere := counter(t, s, ray.ActorOptions{Name: "one", Namespace: ns + "-other"}, 2)
	found, err := s.GetActor(ctx, "one", ns+"-other")
	if err != nil || found.ID() != elsewhere.ID() {
		t.Errorf("in the other namespace: %v", err)
	}
	list, err := s.ListNamedActors(ctx, false)
	if err != nil || !slices.Equal(list, []ray.NamedActor{{Name: "one", Namespace: ns}}) {
		t.Errorf("%v, %v", list, err)
	}
	list, err = s.ListNamedActors(ctx, true)
	if err != nil || !slices.Contains(list, ray.NamedActor{Name: "one", Namespace: ns + "-other"}) {
		t.Errorf("%v, %v", list, err)
	}
	for _, name := range []string{"two", ""} {
		err := second(s.GetActor(ctx, name, ""))
		if none, ok := errors.AsType[*ray.ActorNotFoundError](err); !ok || *none != (ray.ActorNotFoundError{Name: name, Namespace: ns}) || !errors.Is(err, ray.ErrActorNotFound) {
			t.Errorf("actor %q: %v", name, err)
		}
	}
	if err := s.Kill(ctx, first, true); err != nil {
		t.Error(err)
	}
	waitFor(t, "the name to be free", func() bool { return errors.Is(second(s.GetActor(ctx, "one", "")), ray.ErrActorNotFound) })
	if err := s.Kill(ctx, first, true); err != nil {
		t.Errorf("killing a dead actor: %v", err)
	}
}

func testActorOptions(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{
		MaxRestarts: 1, NumCPUs: 0.5, MaxConcurrency: 3, RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"DRIVERTEST": "set"}},
	})
	defer actor.Release()
	if v, err := actor.Call(ctx, "env", "DRIVERTEST"); v != "set" {
		t.Errorf("%v, %v", v, err)
	}
	pid, err := actor.Call(ctx, "pid")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(ctx, actor, false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the restart", func() bool {
		again, err := actor.Call(ctx, "pid")
		if err != nil && !errors.Is(err, ray.ErrActorUnavailable) && !errors.Is(err, ray.ErrActorDied) {
			t.Fatal(err)
		}
		return err == nil && again != pid
	})
	for field, opts := range map[string]ray.ActorOptions{
		"max restarts":    {MaxRestarts: -2},
		"num cpus":        {NumCPUs: -1},
		"max concurrency": {MaxConcurrency: -1},
		"get if exists":   {GetIfExists: true},
		"namespace":       {Namespace: "x"},
	} {
		err := second(s.CreateActor(ctx, pythonClass(t, s, "Counter"), opts))
		if !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), field) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	if err := second(s.CreateActor(ctx, nil, ray.ActorOptions{})); ray.SentOf(err) != ray.SentNo {
		t.Errorf("no class: %v", err)
	}
}

// named reports whether an actor of that name lives in the session's namespace.
func named(t testing.TB, s *ray.Session, name string) bool {
	t.Helper()
	list, err := s.ListNamedActors(deadline(t), false)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(list, ray.NamedActor{Name: name, Namespace: s.Info().Namespace})
}

func TestTheGarbageCollectorEndsNoActor(t *testing.T) {
	s := open(t, ray.Config{})
	counter(t, s, ray.ActorOptions{Name: "kept"}) // the handle is dropped
	ref, err := s.Put(deadline(t), "dropped as well")
	if err != nil {
		t.Fatal(err)
	}
	refs := s.Stats().Refs
	runtime.KeepAlive(ref)
	waitFor(t, "the garbage collector", func() bool {
		runtime.GC()
		return s.Stats().Refs < refs
	})
	if !named(t, s, "kept") {
		t.Error("the actor ended")
	}
}

func TestActorEndsWithItsLastHandle(t *testing.T) {
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Namespace: ns})
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{Name: "mortal"})
	if err := second(actor.Call(ctx, "value")); err != nil {
		t.Fatal(err)
	}
	actor.Release()
	if err := second(actor.Call(ctx, "value")); !errors.Is(err, ray.ErrReleased) {
		t.Errorf("a released handle: %v", err)
	}
	// Not by GetActor, which would take hold of the actor again.
	waitFor(t, "the actor to end", func() bool { return !named(t, s, "mortal") })
}

// A Go actor must look like any other actor to drivers in Python: found by name, with its methods. This one can never be
// placed, so that no process is needed.
func TestPythonDriversSeeTheMethodsOfGoClasses(t *testing.T) {
	t.Parallel()
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Namespace: ns})
	ctx := deadline(t)
	class, err := s.GoClass(ctx, "Agent", []string{"execute_task", "Heartbeat", "Heartbeat"})
	if err != nil {
		t.Fatal(err)
	}
	if class.Name() != "Agent" {
		t.Error(class.Name())
	}
	if err := second(s.CreateActor(ctx, class, ray.ActorOptions{Name: "agent", Detached: true, NumCPUs: 1e6}, "argument", []byte{1})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, ns, "agent") })
	const script = `
import os, ray
ray.init(os.environ["ADDRESS"], namespace=os.environ["NS"], log_to_driver=False, logging_level="ERROR")
actor = ray.get_actor("agent", namespace=os.environ["NS"])
print(*[m for m in dir(actor) if m in ("execute_task", "Heartbeat", "absent")], sep=",")
actor.execute_task.remote("x", key=1)
try:
    actor.absent
except AttributeError:
    print("refused")
`
	for _, address := range []string{"ray://" + raytest.Head(t).ClientAddress(), raytest.Head(t).GCSAddress()} {
		if out := strings.TrimSpace(raytest.Python(t, script, "ADDRESS="+address, "NS="+ns)); out != "Heartbeat,execute_task\nrefused" {
			t.Errorf("through %s Python sees %q", address, out)
		}
	}
	again, err := s.GetActor(ctx, "agent", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := second(again.Submit(ctx, "absent")); !errors.Is(err, ray.ErrNoSuchMethod) {
		t.Error(err)
	}
}

func testGoClassInAPythonProcess(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	class, err := s.GoClass(ctx, "Agent", []string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	actor, err := s.CreateActor(ctx, class, ray.ActorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := second(actor.Call(ctx, "run")); !errors.Is(err, ray.ErrActorDied) || !strings.Contains(err.Error(), "runtime_env") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "1st", "class", "a b", "x):\n  pass", "__init__", "a.b"} {
		for _, err := range []error{second(s.GoClass(ctx, "Agent", []string{"fine", bad})), second(s.GoClass(ctx, strings.TrimPrefix(bad, "__init__"), nil))} {
			if !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
}

func TestStubSourceIsDeterministic(t *testing.T) {
	a, err := ray.StubSource("A", []string{"y", "x"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := ray.StubSource("A", []string{"x", "y", "x"})
	if err != nil || a != b {
		t.Errorf("%s\n%s\n%v", a, b, err)
	}
	if !strings.HasPrefix(a, "class A:\n") || strings.Count(a, "    def ") != 3 {
		t.Error(fmt.Sprint(a))
	}
}

func TestStubSourceWithGroups(t *testing.T) {
	source, err := ray.StubSource("A", []string{"ping", "work"}, ray.ConcurrencyGroup{Name: "health", MaxConcurrency: 1, Methods: []string{"ping"}})
	if err != nil || strings.Count(source, "__ray_concurrency_group__") != 1 || !strings.Contains(source, "ping.__ray_concurrency_group__ = \"health\"\n") {
		t.Errorf("%v\n%s", err, source)
	}
	for what, groups := range map[string][]ray.ConcurrencyGroup{
		"no calls at once":    {{Name: "g"}},
		"no name":             {{MaxConcurrency: 1}},
		"an unknown method":   {{Name: "g", MaxConcurrency: 1, Methods: []string{"rest"}}},
		"a method twice":      {{Name: "g", MaxConcurrency: 1, Methods: []string{"work"}}, {Name: "h", MaxConcurrency: 1, Methods: []string{"work"}}},
		"a name with a quote": {{Name: "g\"", MaxConcurrency: 1}},
	} {
		if _, err := ray.StubSource("A", []string{"ping", "work"}, groups...); !errors.Is(err, ray.ErrUnsupportedValue) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
