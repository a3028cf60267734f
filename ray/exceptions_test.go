package ray_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray"
)

func rayException(class string, state map[string]any, args ...any) *pickle.Object {
	o := &pickle.Object{Class: pickle.Global{Module: "ray.exceptions", Name: class}, Args: args}
	if state != nil {
		d := &pickle.Dict{}
		for k, v := range state {
			d.Items = append(d.Items, pickle.Item{Key: k, Value: v})
		}
		o.State = d
	}
	return o
}

func builtin(class string, args ...any) *pickle.Object {
	return &pickle.Object{Class: pickle.Global{Module: "builtins", Name: class}, Args: args}
}

// dynamic is how cloudpickle sends a class that cannot be imported.
func dynamic(name string, args ...any) *pickle.Object {
	class := &pickle.Object{
		Class: pickle.Global{Module: "ray.cloudpickle.cloudpickle", Name: "_make_skeleton_class"},
		Args:  pickle.Tuple{pickle.Global{Module: "builtins", Name: "type"}, name, pickle.Tuple{}, &pickle.Dict{}, "id", nil},
	}
	return &pickle.Object{Class: class, Args: args}
}

func pickled(t testing.TB, v any) []byte {
	t.Helper()
	data, err := pickle.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func exceptions() map[string]struct {
	value any
	want  ray.TaskError
	is    error
} {
	type expected = struct {
		value any
		want  ray.TaskError
		is    error
	}
	state := map[string]any{
		"function_name": "f", "traceback_str": "\x1b[36mray::f()\x1b[39m\nValueError: text", "pid": 7, "cause": builtin("ValueError", "text"),
	}
	return map[string]expected{
		"task, by attributes": {
			rayException("RayTaskError", state, "f", "", nil),
			ray.TaskError{Class: "ValueError", Function: "f", Message: "text", Traceback: "ray::f()\nValueError: text", PID: 7},
			nil,
		},
		"task, by arguments": {
			rayException("RayTaskError", nil, "Agent.run", "goroutine 1", builtin("RuntimeError", "no plan"), "proc", 9, "10.0.0.1"),
			ray.TaskError{Class: "RuntimeError", Function: "Agent.run", Message: "no plan", Traceback: "goroutine 1", PID: 9, IP: "10.0.0.1"},
			nil,
		},
		"task without its cause": {
			rayException("RayTaskError", nil, "f", "Traceback:\n  x\npkg.Odd: it: broke", nil),
			ray.TaskError{Class: "Odd", Function: "f", Message: "it: broke", Traceback: "Traceback:\n  x\npkg.Odd: it: broke"},
			nil,
		},
		"task and cause in one class": {
			dynamic("RayTaskError(ValueError)", builtin("ValueError", "both")),
			ray.TaskError{Class: "ValueError", Function: "target", Message: "both"},
			nil,
		},
		"a class of the user":  {dynamic("Custom", "a", 2), ray.TaskError{Class: "Custom", Function: "target", Message: "('a', 2)"}, nil},
		"a key":                {builtin("KeyError", "k"), ray.TaskError{Class: "KeyError", Function: "target", Message: "'k'"}, nil},
		"a file":               {builtin("OSError", 2, "No such file", "/x"), ray.TaskError{Class: "OSError", Function: "target", Message: "[Errno 2] No such file: '/x'"}, nil},
		"no text":              {builtin("ValueError"), ray.TaskError{Class: "ValueError", Function: "target"}, nil},
		"a runtime env":        {rayException("RuntimeEnvSetupError", map[string]any{"error_message": "no such package"}), ray.TaskError{}, ray.ErrRuntimeEnvSetup},
		"a dead actor":         {rayException("ActorDiedError", map[string]any{"error_msg": "it was killed"}), ray.TaskError{}, ray.ErrActorDied},
		"an actor of no node":  {rayException("ActorUnschedulableError", nil, "no such node"), ray.TaskError{}, ray.ErrActorDied},
		"a busy actor":         {rayException("ActorUnavailableError", map[string]any{"error_msg": "it restarts"}), ray.TaskError{}, ray.ErrActorUnavailable},
		"an actor of old Rays": {rayException("RayActorError", nil, "id", "gone"), ray.TaskError{}, ray.ErrActorDied},
	}
}

func TestExceptionsBecomeErrors(t *testing.T) {
	for name, c := range exceptions() {
		err := ray.FailureOf("target", pickled(t, c.value))
		if c.is != nil {
			if !errors.Is(err, c.is) || ray.SentOf(err) == ray.SentYes || !strings.Contains(err.Error(), "target") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if remote, ok := errors.AsType[*ray.TaskError](err); !ok || *remote != c.want {
			t.Errorf("%s: %+v, want %+v", name, remote, c.want)
		}
	}
	for _, v := range []any{nil, "text", pickle.Global{Module: "builtins", Name: "ValueError"}} {
		if err := ray.FailureOf("target", pickled(t, v)); err != nil {
			t.Errorf("%v is an error: %v", v, err)
		}
	}
}

// FuzzFailure reads what claims to be a pickled exception.
func FuzzFailure(f *testing.F) {
	for _, c := range exceptions() {
		f.Add(pickled(f, c.value))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := ray.FailureOf("target", data); err != nil && err.Error() == "" {
			t.Error("an error without text")
		}
	})
}
