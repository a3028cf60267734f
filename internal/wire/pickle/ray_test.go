package pickle_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

var stubClass = global("ray.util.client.client_pickler", "PickleStub")

// stub builds the persistent id of a ref as the Ray Client server expects it.
func stub(kind, client string, id []byte) pickle.Persistent {
	return pickle.Persistent{ID: pickle.New{Class: stubClass, Args: pickle.Tuple{kind, client, id, nil, nil}}}
}

// Ray's own pickles: errors, classes by value, and the ids of refs.
func TestRay(t *testing.T) {
	o := oracle.Start(t)
	var answer map[string]string
	o.Ask(t, map[string]any{"ask": "ray"}, &answer)
	read := func(t *testing.T, name string, opts pickle.Options) any {
		t.Helper()
		data := base64Bytes(t, answer[name])
		if len(data) == 0 {
			t.Fatalf("no pickle %q", name)
		}
		v, err := pickle.Unmarshal(data, opts)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	object := func(t *testing.T, v any) *pickle.Object {
		t.Helper()
		obj, ok := v.(*pickle.Object)
		if !ok {
			t.Fatalf("a %T", v)
		}
		return obj
	}
	load := func(t *testing.T, v any, into any) {
		t.Helper()
		data, err := pickle.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		o.Ask(t, map[string]any{"ask": "ray-load", "pickle": base64.StdEncoding.EncodeToString(data)}, into)
	}

	t.Run("RayTaskError", func(t *testing.T) {
		e := object(t, read(t, "error", pickle.Options{}))
		if e.Class != global("ray.exceptions", "RayTaskError") {
			t.Fatalf("class %v", e.Class)
		}
		state, ok := e.State.(*pickle.Dict)
		if !ok {
			t.Fatalf("state is a %T", e.State)
		}
		for key, want := range map[string]any{
			"function_name": "f", "traceback_str": "Traceback ...\nValueError: boom", "proctitle": "ray::f",
			"pid": int64(42), "ip": "127.0.0.1", "actor_repr": nil,
		} {
			if got, ok := state.Get(key); !ok || got != want {
				t.Errorf("%s = %v, %t", key, got, ok)
			}
		}
		cause, _ := state.Get("cause")
		if c := object(t, cause); c.Class != global("builtins", "ValueError") || fmt.Sprint(c.Args) != "[boom]" {
			t.Errorf("cause %v%v", c.Class, c.Args)
		}
		type loaded struct {
			Type, Cause, Traceback, Function, IP string
			PID                                  int
		}
		want := loaded{"RayTaskError", "ValueError('boom')", "Traceback ...\nValueError: boom", "f", "127.0.0.1", 42}
		var again loaded
		if load(t, e, &again); again != want {
			t.Errorf("written back: %+v", again)
		}
		// The same error made here.
		var made loaded
		load(t, pickle.Call{Func: global("ray.exceptions", "RayTaskError"), Args: pickle.Tuple{
			"f", "Traceback ...\nValueError: boom",
			pickle.Call{Func: global("builtins", "ValueError"), Args: pickle.Tuple{"boom"}},
			"ray::f", 42, "127.0.0.1",
		}}, &made)
		if made != want {
			t.Errorf("made here: %+v", made)
		}
	})

	t.Run("ActorDiedError", func(t *testing.T) {
		e := object(t, read(t, "died", pickle.Options{}))
		if e.Class != global("ray.exceptions", "ActorDiedError") {
			t.Errorf("class %v", e.Class)
		}
	})

	// Classes that travel by value: functions that build them, cycles and all.
	for name, function := range map[string]string{
		"dual": "_make_skeleton_class", "class": "_make_skeleton_class", "instance": "", "lambda": "_make_function",
	} {
		t.Run(name, func(t *testing.T) {
			obj := object(t, read(t, name, pickle.Options{}))
			if inner, ok := obj.Class.(*pickle.Object); ok {
				obj = inner // an instance of such a class
			}
			if function == "" {
				function = "_make_skeleton_class"
			}
			g, ok := obj.Class.(pickle.Global)
			if !ok || g.Name != function || !strings.HasPrefix(g.Module, "ray.cloudpickle") {
				t.Errorf("class %v", obj.Class)
			}
		})
	}

	t.Run("stubs from Python", func(t *testing.T) {
		var ids []string
		v := read(t, "stubs", pickle.Options{Persistent: func(id any) (any, error) {
			// copyreg._reconstructor(PickleStub, tuple, (type, client_id, ref_id, name, options))
			obj := object(t, id)
			if obj.Class != global("copyreg", "_reconstructor") || len(obj.Args) != 3 || obj.Args[0] != stubClass {
				t.Errorf("id %v%v", obj.Class, obj.Args)
			}
			fields, ok := obj.Args[2].(pickle.Tuple)
			if !ok || len(fields) != 5 {
				return nil, fmt.Errorf("fields are %v", obj.Args[2])
			}
			ids = append(ids, fmt.Sprintf("%s %s %s %v %v", fields...))
			return len(ids), nil
		}})
		client := strings.Repeat("c", 32)
		want := []string{
			"Object " + client + " " + strings.Repeat("r", 28) + " <nil> <nil>",
			"Object " + client + " " + strings.Repeat("s", 28) + " <nil> <nil>",
			"Ray " + client + "  <nil> <nil>",
		}
		if fmt.Sprintf("%q", ids) != fmt.Sprintf("%q", want) {
			t.Errorf("ids %q", ids)
		}
		args, ok := v.(pickle.Tuple)
		if !ok || len(args) != 2 {
			t.Fatalf("got %v", v)
		}
		kwargs, ok := args[1].(*pickle.Dict)
		if !ok {
			t.Fatalf("got %v", v)
		}
		if ref, _ := kwargs.Get("again"); ref != 2 {
			t.Errorf("again = %v", ref)
		}
	})

	t.Run("stubs for Python", func(t *testing.T) {
		v := pickle.Tuple{
			pickle.Tuple{stub("Object", "me", []byte("r")), []any{stub("Actor", "me", []byte("a"))}}, map[string]any{},
		}
		var got struct {
			Type  string
			Stubs [][]any
		}
		load(t, v, &got)
		if want := "[[Object me 72 <nil> <nil>] [Actor me 61 <nil> <nil>]]"; fmt.Sprint(got.Stubs) != want {
			t.Errorf("got %+v", got)
		}
	})
}
