package worker_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/worker"
)

type thing struct{}

func newThing(context.Context, worker.Args) (*thing, error) { return &thing{}, nil }

func (*thing) do(context.Context, worker.Args) (any, error) { return nil, nil }

func TestRegisteredClassesAreListedSorted(t *testing.T) {
	var r worker.Registry
	methods := map[string]worker.Method[*thing]{"b": (*thing).do, "a": (*thing).do}
	for _, name := range []string{"Zebra", "Ant_2"} {
		if err := worker.RegisterIn(&r, name, newThing, methods); err != nil {
			t.Fatal(err)
		}
	}
	methods["c"] = (*thing).do // the caller's map is the caller's
	want := []worker.Class{{Name: "Ant_2", Methods: []string{"a", "b"}}, {Name: "Zebra", Methods: []string{"a", "b"}}}
	list := r.List()
	if !reflect.DeepEqual(list, want) {
		t.Fatalf("%v", list)
	}
	list[0].Methods[0] = "changed"
	if !reflect.DeepEqual(r.List(), want) {
		t.Error("the list shares memory with the registry")
	}
}

func TestWrongRegistrationsAreRefused(t *testing.T) {
	methods := map[string]worker.Method[*thing]{"do": (*thing).do}
	for _, test := range []struct {
		name      string
		construct func(context.Context, worker.Args) (*thing, error)
		methods   map[string]worker.Method[*thing]
		want      string
	}{
		{"", newThing, methods, "empty"},
		{"two words", newThing, methods, "identifier"},
		{"9lives", newThing, methods, "identifier"},
		{"caf\u00e9", newThing, methods, "identifier"},
		{"class", newThing, methods, "keyword"},
		{"__Thing", newThing, methods, "reserved"},
		{"Thing", nil, methods, "constructor"},
		{"Thing", newThing, nil, "no methods"},
		{"Thing", newThing, map[string]worker.Method[*thing]{"do": nil}, "nil"},
		{"Thing", newThing, map[string]worker.Method[*thing]{"a.b": (*thing).do}, "identifier"},
		{"Thing", newThing, map[string]worker.Method[*thing]{"lambda": (*thing).do}, "keyword"},
		{"Thing", newThing, map[string]worker.Method[*thing]{"__init__": (*thing).do}, "reserved"},
		{"Thing", newThing, map[string]worker.Method[*thing]{"_ray_x": (*thing).do}, "reserved"},
		{"Taken", newThing, methods, "twice"},
	} {
		var r worker.Registry
		if err := worker.RegisterIn(&r, "Taken", newThing, methods); err != nil {
			t.Fatal(err)
		}
		err := worker.RegisterIn(&r, test.name, test.construct, test.methods)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q, %v: %v, not about %q", test.name, test.methods, err, test.want)
		}
		if n := len(r.List()); n != 1 {
			t.Errorf("%q: %d classes after the refusal", test.name, n)
		}
	}
}

func TestRegisterPanicsOnAWrongProgram(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, `worker.Register: class: "a-b"`) {
			t.Errorf("%q", text)
		}
	}()
	worker.Register("a-b", newThing, map[string]worker.Method[*thing]{"do": (*thing).do})
}
