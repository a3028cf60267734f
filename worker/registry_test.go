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
	methods := worker.Methods[*thing]{"b": (*thing).do, "a": (*thing).do}
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
	methods := worker.Methods[*thing]{"do": (*thing).do}
	for _, test := range []struct {
		name      string
		construct any
		methods   worker.Methods[*thing]
		want      string
	}{
		{"", newThing, methods, "empty"},
		{"two words", newThing, methods, "identifier"},
		{"9lives", newThing, methods, "identifier"},
		{"caf\u00e9", newThing, methods, "identifier"},
		{"class", newThing, methods, "keyword"},
		{"__Thing", newThing, methods, "reserved"},
		{"Thing", nil, methods, "constructor"},
		{"Thing", (func() *thing)(nil), methods, "constructor"},
		{"Thing", "text", methods, "constructor: a function"},
		{"Thing", func() {}, methods, "does not return the actor"},
		{"Thing", func() (*thing, int) { return nil, 0 }, methods, "does not return the actor"},
		{"Thing", func(chan int) *thing { return nil }, methods, "chan int cannot travel"},
		{"Thing", func() *Tally { return nil }, methods, "a *worker_test.thing and the constructor makes a *worker_test.Tally"},
		{"Thing", newThing, worker.Methods[*thing]{}, "no methods"},
		{"Thing", newThing, worker.Methods[*thing]{"do": nil}, "nil"},
		{"Thing", newThing, worker.Methods[*thing]{"a.b": (*thing).do}, "identifier"},
		{"Thing", newThing, worker.Methods[*thing]{"lambda": (*thing).do}, "keyword"},
		{"Thing", newThing, worker.Methods[*thing]{"__init__": (*thing).do}, "reserved"},
		{"Thing", newThing, worker.Methods[*thing]{"_ray_x": (*thing).do}, "reserved"},
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
	worker.Register("a-b", newThing, worker.Methods[*thing]{"do": (*thing).do})
}
