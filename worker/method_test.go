package worker_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seedcore/seedcore/worker"
)

type point struct {
	X int     `json:"x"`
	Y float64 `json:"y"`
}

// gauge has methods of every form.
type gauge struct {
	unit   string
	mu     sync.Mutex // guards exited
	exited int
}

func newGauge(unit string) (*gauge, error) {
	if unit == "" {
		return nil, errors.New("a gauge needs a unit")
	}
	return &gauge{unit: unit}, nil
}

func (g *gauge) Unit(context.Context) string { return g.unit }
func (g *gauge) Nothing(context.Context)     {}
func (g *gauge) Check(_ context.Context, n int) error {
	return fmt.Errorf("%d %s is too much", n, g.unit)
}

func (g *gauge) Sum(_ context.Context, ns ...int64) (n int64, _ error) {
	for _, x := range ns {
		n += x
	}
	return n, nil
}

func (g *gauge) Move(_ context.Context, p point, by float64) point { return point{p.X + 1, p.Y + by} }

func (g *gauge) Keys(_ context.Context, m map[string]any) []string { return slices.Sorted(keysOf(m)) }
func (g *gauge) Raw(_ context.Context, b []byte) ([]byte, error)   { return append(b, '!'), nil }
func (g *gauge) Any(_ context.Context, v any) (any, error)         { return v, nil }
func (g *gauge) Both(context.Context) (string, int, error)         { return "a", 1, nil }
func (g *gauge) Args(_ context.Context, a worker.Args) (any, error) {
	v, _, err := a.Named("k")
	return v, err
}
func (g *gauge) GetHTTPCode2(context.Context) int { return 200 }
func (g *gauge) String() string                   { return "not a method for callers" }
func (g *gauge) Add(int) int                      { return 0 }
func (g *gauge) OnExit(ctx context.Context)       { g.mu.Lock(); g.exited++; g.mu.Unlock() }

func (g *gauge) Later(_ context.Context, n int) (worker.Async, error) {
	if n == 0 {
		return nil, errors.New("nothing to wait for")
	}
	return func(context.Context) (any, error) {
		if n < 0 {
			panic("later")
		}
		return n, nil
	}, nil
}

func keysOf(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestMethodsAreFoundByReflection(t *testing.T) {
	var r worker.Registry
	if err := worker.RegisterIn(&r, "Gauge", newGauge); err != nil {
		t.Fatal(err)
	}
	want := []string{"any", "args", "both", "check", "get_http_code2", "keys", "later", "move", "nothing", "raw", "sum", "unit"}
	if got := r.List()[0].Methods; !slices.Equal(got, want) {
		t.Errorf("methods %q", got)
	}
	if _, err := worker.LocalIn(&r, "Gauge"); err == nil || !strings.Contains(err.Error(), "the method takes 1, and the call has 0") {
		t.Errorf("no argument for the constructor: %v", err)
	}
	if _, err := worker.LocalIn(&r, "Gauge", ""); err == nil || err.Error() != "a gauge needs a unit" {
		t.Errorf("the constructor's error: %v", err)
	}
	g, err := worker.LocalIn(&r, "Gauge", "bar")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(t.Context())
	for _, test := range []struct {
		method string
		args   []any
		want   any    // or
		fails  string // a part of the error
	}{
		{"unit", nil, "bar", ""},
		{"nothing", nil, nil, ""},
		{"check", []any{3}, nil, "3 bar is too much"},
		{"sum", nil, int64(0), ""},
		{"sum", []any{1, 2, 3}, int64(6), ""},
		{"move", []any{map[string]any{"x": 1, "y": 2.5}, 0.5}, map[string]any{"x": int64(2), "y": 3.0}, ""},
		{"keys", []any{map[string]any{"b": 1, "a": nil}}, []any{"a", "b"}, ""},
		{"raw", []any{[]byte("hi")}, []byte("hi!"), ""},
		{"any", []any{[]any{nil, true, 1.5}}, []any{nil, true, 1.5}, ""},
		{"both", nil, []any{"a", int64(1)}, ""},
		{"args", []any{worker.Keyword{Name: "k", Value: "v"}}, "v", ""},
		{"get_http_code2", nil, int64(200), ""},
		{"later", []any{7}, int64(7), ""},
		{"later", []any{0}, nil, "nothing to wait for"},
		{"later", []any{-1}, nil, "panic: later"},
		{"unit", []any{1}, nil, "takes 0, and the call has 1"},
		{"sum", []any{1, "two"}, nil, "argument 1: "},
		{"check", []any{worker.Keyword{Name: "n", Value: 1}}, nil, `"n" was given by name`},
		{"move", []any{1, 2}, nil, "argument 0: "},
		{"string", nil, nil, `no method "string"`},
		{"on_exit", nil, nil, "no method"},
		{"any", []any{make(chan int)}, nil, "argument 0: "},
	} {
		got, err := g.Call(t.Context(), test.method, test.args...)
		if test.fails == "" && (err != nil || !reflect.DeepEqual(got, test.want)) {
			t.Errorf("%s(%v) = %#v, %v", test.method, test.args, got, err)
		}
		if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%s(%v): %v, not %q", test.method, test.args, err, test.fails)
		}
	}
}

func TestATableOfMethodsTakesThePlaceOfReflection(t *testing.T) {
	var r worker.Registry
	err := worker.RegisterIn(&r, "Gauge", newGauge, worker.Methods[*gauge]{
		"name": worker.Takes0(func(g *gauge, _ context.Context) (string, error) { return g.unit, nil }),
		"raw":  worker.Takes1((*gauge).Raw),
		"mul":  worker.Takes2(func(_ *gauge, _ context.Context, a int, b float64) (float64, error) { return float64(a) * b, nil }),
		"args": (*gauge).Args,
	}, worker.ConcurrencyGroup{Name: "io", MaxConcurrency: 2, Methods: []string{"raw"}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := worker.LocalIn(&r, "Gauge", "bar")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(t.Context())
	for _, test := range []struct {
		method string
		args   []any
		want   string
	}{
		{"name", nil, "bar <nil>"},
		{"raw", []any{[]byte("x")}, "[120 33] <nil>"},
		{"mul", []any{2, 1.5}, "3 <nil>"},
		{"mul", []any{2}, "<nil> wrong arguments: the method takes 2, and the call has 1"},
		{"name", []any{2}, "<nil> wrong arguments: the method takes 0, and the call has 1"},
	} {
		v, err := g.Call(t.Context(), test.method, test.args...)
		if got := fmt.Sprint(v, " ", err); strings.ReplaceAll(got, "  ", " ") != test.want {
			t.Errorf("%s: %s", test.method, got)
		}
	}
	if groups := r.List()[0].Groups; len(groups) != 1 || groups[0].Name != "io" || groups[0].MaxConcurrency != 2 {
		t.Errorf("%+v", groups)
	}
}

type (
	mute   struct{}
	wrong  struct{}
	twice  struct{}
	behind interface{ Do(context.Context) }
)

func (wrong) Send(context.Context, chan int)          {}
func (twice) DoIt(context.Context)                    {}
func (twice) Do_It(context.Context)                   {} //nolint:revive // to collide
func (*mute) Unfit(context.Context, worker.Args, int) {}
func (*thing) Complex(context.Context) (error, int)   { return nil, 0 } //nolint:revive,staticcheck // to be refused

func TestTypesThatCannotBeActorsAreRefused(t *testing.T) {
	table := worker.Methods[*thing]{"do": (*thing).do}
	for _, test := range []struct {
		construct any
		options   []worker.Option
		want      string
	}{
		{func() *point { return nil }, nil, "no exported method whose first parameter is a context.Context"},
		{func() wrong { return wrong{} }, nil, "method Send: parameter 2: a chan int cannot travel"},
		{func() twice { return twice{} }, nil, "two methods are called do_it"},
		{func() behind { return nil }, nil, "the constructor returns the interface"},
		{func() *mute { return nil }, nil, "method Unfit: parameter 2 is worker.Args"},
		{newThing, nil, "method Complex: result 1 is an error"},
		{newThing, []worker.Option{table, nil}, "an option is nil"},
		{newThing, []worker.Option{table, worker.ConcurrencyGroup{Name: "io", MaxConcurrency: 0}}, "concurrency group io"},
		{newThing, []worker.Option{table, worker.ConcurrencyGroup{Name: "i o", MaxConcurrency: 1}}, "identifier"},
		{newThing, []worker.Option{table, worker.ConcurrencyGroup{Name: "io", MaxConcurrency: 1, Methods: []string{"none"}}}, `method "none"`},
		{newThing, []worker.Option{worker.Methods[*thing]{"do": worker.Takes1[*thing, int, int](nil)}}, "method do is nil"},
	} {
		var r worker.Registry
		if err := worker.RegisterIn(&r, "Thing", test.construct, test.options...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%T: %v, not %q", test.construct, err, test.want)
		}
	}
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"Add": "add", "AddAll": "add_all", "GetHTTPCode": "get_http_code", "HTTP": "http", "ID2": "id2", "X1Y": "x1_y", "Do_It": "do_it",
	} {
		if got := worker.SnakeCase(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}
