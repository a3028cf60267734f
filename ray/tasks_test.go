package ray_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

func testFunctions(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	sum, err := s.Submit(ctx, function("add"), 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	// A ref as argument stands for its value.
	more, err := s.Submit(ctx, function("add"), sum, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	sum.Release()
	if v, err := s.Get(ctx, more); v != 7.5 {
		t.Errorf("%v, %v", v, err)
	}
	library, err := s.Submit(ctx, ray.Function{Module: "textwrap", Name: "shorten"}, "Hello  world!", 12)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, library); v != "Hello world!" {
		t.Errorf("%v, %v", v, err)
	}
}

func testFunctionsAreImportedOnce(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	before := s.Stats()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			ref, err := s.Submit(ctx, function("echo"), "x")
			if err != nil {
				t.Error(err)
				return
			}
			ref.Release()
		})
	}
	wg.Wait()
	// One put, ten tasks, and a few releases.
	if n := s.Stats().Requests - before.Requests; n > 14 {
		t.Errorf("%d requests", n)
	}
}

func testExceptionsOfTasks(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for name, want := range map[string]struct {
		args           []any
		class, message string
	}{
		"fail":           {[]any{"on purpose"}, "ValueError", "on purpose"},
		"fail_with_file": {[]any{"/no/such/file"}, "FileNotFoundError", "[Errno 2] No such file or directory: '/no/such/file'"},
		"fail_custom":    {nil, "CustomError", "(1, 'two')"},
	} {
		ref, err := s.Submit(ctx, function(name), want.args...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(ctx, ref)
		remote, ok := errors.AsType[*ray.TaskError](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if remote.Class != want.class || remote.Message != want.message || !strings.Contains(remote.Function, name) ||
			!strings.Contains(remote.Traceback, "drivertest.py") || remote.PID == 0 {
			t.Errorf("%s: %+v", name, remote)
		}
		if ray.SentOf(err) != ray.SentYes {
			t.Errorf("%s: sent %v", name, ray.SentOf(err))
		}
	}
	ref, err := s.Submit(ctx, function("fail"), "upstream")
	if err != nil {
		t.Fatal(err)
	}
	downstream, err := s.Submit(ctx, function("echo"), ref)
	if err != nil {
		t.Fatal(err)
	}
	if remote, ok := errors.AsType[*ray.TaskError](second(s.Get(ctx, downstream))); !ok || remote.Class != "ValueError" {
		t.Errorf("an argument that failed: %v", remote)
	}
}

func testWhatCannotBeImported(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for _, c := range []struct {
		fn    ray.Function
		class string // of the remote error; "" for what is refused by ErrUnsupportedValue
	}{
		{ray.Function{Module: "no_such_module", Name: "f"}, "ModuleNotFoundError"},
		{ray.Function{Module: "drivertest", Name: "no_such_function"}, "AttributeError"},
		{ray.Function{Module: "operator", Name: "add"}, ""}, // not written in Python
		{ray.Function{Module: "drivertest", Name: "Counter"}, ""},
		{ray.Function{Module: "os; import x", Name: "f"}, ""},
		{ray.Function{Module: "os", Name: "f()"}, ""},
		{ray.Function{Module: "", Name: "f"}, ""},
		{ray.Function{Module: "os.", Name: "1f"}, ""},
	} {
		_, err := s.Submit(ctx, c.fn)
		if c.class == "" {
			if !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
				t.Errorf("%v: %v", c.fn, err)
			}
			continue
		}
		if remote, ok := errors.AsType[*ray.TaskError](err); !ok || remote.Class != c.class || remote.Message == "" {
			t.Errorf("%v: %v", c.fn, err)
		}
	}
	if err := second(s.PythonClass(ctx, "no_such_module", "C")); err == nil {
		t.Error("a class of no module")
	}
	class, err := s.PythonClass(ctx, "drivertest", "echo")
	if err != nil {
		t.Fatal(err)
	}
	if remote, ok := errors.AsType[*ray.TaskError](second(s.CreateActor(ctx, class, ray.ActorOptions{}))); !ok {
		t.Errorf("an actor of a function: %v", remote)
	}
	if err := s.Ping(ctx); err != nil {
		t.Errorf("the session suffered: %v", err)
	}
}
