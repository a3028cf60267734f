package ray_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/xlang"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/python"
)

// result submits a function of drivertest and gets what it returns.
func result(t *testing.T, s *ray.Session, name string, args ...any) (any, error) {
	t.Helper()
	ref, err := s.Submit(deadline(t), function(name), args...)
	if err != nil {
		return nil, err
	}
	defer ref.Release()
	return s.Get(deadline(t), ref)
}

func testValuesOfOtherClasses(t *testing.T, s *ray.Session) {
	v, err := ray.As[map[string]any](result(t, s, "things"))
	if err != nil {
		t.Fatal(err)
	}
	parent := &python.Object{Class: "drivertest.Job", Args: []any{}, State: map[string]any{"name": "parent", "sizes": []any{}, "parent": nil}}
	for name, want := range map[string]any{
		"job": &python.Object{Class: "drivertest.Job", Args: []any{}, State: map[string]any{
			"name": "child", "sizes": []any{int64(1), int64(2)}, "parent": parent,
		}},
		"pair":     &python.Object{Class: "drivertest.Pair", Args: []any{int64(1), "r"}},
		"colour":   &python.Object{Class: "drivertest.Colour", Args: []any{int64(1)}},
		"function": python.Global{Module: "posix", Name: "getpid"},
		"ordered": &python.Object{
			Class: "collections.OrderedDict", Args: []any{}, Entries: python.Dict{{Key: "z", Value: int64(1)}, {Key: "a", Value: int64(2)}},
		},
		"by tuple": python.Dict{{Key: python.Tuple{int64(1), int64(2)}, Value: "x"}},
	} {
		if !reflect.DeepEqual(v[name], want) {
			t.Errorf("%s is %#v", name, v[name])
		}
	}
	// An exception that was returned is a value; a class is one, too.
	if v, err := result(t, s, "returned_exception"); err != nil || v.(*python.Object).Class != "builtins.KeyError" {
		t.Errorf("a returned exception: %v, %v", v, err)
	}
	if v, err := result(t, s, "a_class"); err != nil || v != (python.Global{Module: "drivertest", Name: "CustomError"}) {
		t.Errorf("a class: %v, %v", v, err)
	}
}

func testValuesOfPythonsTypes(t *testing.T, s *ray.Session) {
	berlin := time.FixedZone("CET", 3600)
	want := []string{
		"tuple (1, 'a', (None,))", "set {7}", "frozenset frozenset({b'x'})", "dict {(1, 2): [3.5]}", "complex (1+2j)",
		"datetime datetime.datetime(2026, 11, 24, 8, 30, tzinfo=datetime.timezone(datetime.timedelta(seconds=3600)))",
		"datetime datetime.datetime(2026, 11, 24, 8, 30)", "date datetime.date(2026, 11, 24)", "time datetime.time(8, 30, 0, 5)",
		"timedelta datetime.timedelta(days=-1, seconds=86399)", "Decimal Decimal('0.10')", "UUID UUID('00000000-0000-0000-0000-000000000005')",
		"int 1267650600228229401496703205376", "int 12", "int 123456789012345678901234567890", "float 0.5", "dict {'n': 1, 'inner': {'tags': ['x']}}", "dict {3: 'three'}", "NoneType None",
	}
	type inner struct {
		Tags []string `json:"tags"`
	}
	got, err := ray.As[[]string](result(
		t, s, "show", python.Tuple{1, "a", python.Tuple{nil}}, python.Set{7}, python.FrozenSet{[]byte("x")},
		python.Dict{{Key: python.Tuple{1, 2}, Value: []float64{3.5}}}, 1+2i, time.Date(2026, 11, 24, 8, 30, 0, 0, berlin),
		python.DateTime{Date: python.Date{Year: 2026, Month: 11, Day: 24}, Time: python.Time{Hour: 8, Minute: 30}},
		python.Date{Year: 2026, Month: 11, Day: 24}, python.Time{Hour: 8, Minute: 30, Microsecond: 5}, -time.Second, python.Decimal("0.10"),
		python.UUID{15: 5}, new(big.Int).Lsh(big.NewInt(1), 100),
		json.Number("12"), json.Number("123456789012345678901234567890"), json.Number("5e-1"), struct {
			N     int   `json:"n"`
			Inner inner `json:"inner"`
		}{1, inner{[]string{"x"}}}, map[int]string{3: "three"}, (*inner)(nil),
	))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Python saw\n%s\n%v", strings.Join(got, "\n"), err)
	}
}

func testTypedValues(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	type job struct {
		Name   string `json:"name"`
		Sizes  []int8 `json:"sizes"`
		Parent *job   `json:"parent"`
	}
	type things struct {
		Job     job
		Pair    []any
		When    time.Time     `json:"when"`
		Naive   string        `json:"naive"`
		Took    time.Duration `json:"took"`
		Price   *big.Rat
		ID      python.UUID
		Ordered map[string]int
		Missing string
	}
	got, err := ray.As[things](result(t, s, "things"))
	if err == nil || !strings.Contains(err.Error(), "naive: ") || !errors.Is(err, ray.ErrValueMismatch) || ray.SentOf(err) != ray.SentYes {
		t.Errorf("a datetime without zone into a string: %v", err)
	}
	if !reflect.ValueOf(got).IsZero() {
		t.Errorf("left over: %+v", got)
	}
	type fitting struct {
		things
		Naive python.DateTime `json:"naive"`
	}
	full, err := ray.As[fitting](result(t, s, "things"))
	want := fitting{things: things{
		Job:  job{Name: "child", Sizes: []int8{1, 2}, Parent: &job{Name: "parent", Sizes: []int8{}}},
		Pair: []any{int64(1), "r"}, When: time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC), Took: 90 * time.Second,
		Price: big.NewRat(199, 10), ID: python.UUID{15: 5}, Ordered: map[string]int{"z": 1, "a": 2},
	}, Naive: python.DateTime{Date: python.Date{Year: 2026, Month: 11, Day: 24}, Time: python.Time{Hour: 8, Minute: 30}}}
	if err != nil || !reflect.DeepEqual(full, want) {
		t.Errorf("%+v, %v", full, err)
	}

	ref, err := s.Put(ctx, map[string][]int{"sizes": {1, 300}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := ray.Get[map[string][]uint16](ctx, s, ref); err != nil || !slices.Equal(v["sizes"], []uint16{1, 300}) {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := ray.Get[map[string][]int8](ctx, s, ref); !errors.Is(err, ray.ErrValueMismatch) || !strings.Contains(err.Error(), "sizes[1]: ") {
		t.Errorf("300 into an int8: %v", err)
	}
	if _, err := ray.As[int](result(t, s, "fail", "no")); err == nil || errors.Is(err, ray.ErrValueMismatch) {
		t.Errorf("a task that fails: %v", err)
	}
}

// What Python takes for a list or a dict is one, whatever its class; and nothing else is.
func testContainers(t *testing.T, s *ray.Session) {
	v, err := ray.As[map[string]any](result(t, s, "containers"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"range": []int{1, 5, 9}, "down": []int8{3, 2, 1}, "counter": map[string]int{"a": 2, "b": 1, "c": 1}, "no counts": map[string]int{},
		"deque": []int{1, 2}, "empty": []int{}, "default": map[int][]int{1: {2}}, "ordered": map[string]int{}, "by pair": map[[2]int]string{{1, 2}: "x"},
	} {
		into := reflect.New(reflect.TypeOf(want))
		if err := ray.Decode(v[name], into.Interface()); err != nil || !reflect.DeepEqual(into.Elem().Interface(), want) {
			t.Errorf("%s: %v, %v", name, into.Elem(), err)
		}
	}
	for name, into := range map[string]any{
		"endless": new([]int), "job": new([]any), "default": new(map[string]any), "range": new(map[string]int), "by pair": new(map[any]any),
	} {
		if err := ray.Decode(v[name], into); !errors.Is(err, ray.ErrValueMismatch) {
			t.Errorf("%s into a %T: %v", name, into, err)
		}
	}
	if level, ok := v["level"].(*python.Object); !ok || level.Class != "Level" {
		t.Errorf("a member of an enum that cannot be imported: %v", v["level"])
	}
}

func testArrays(t *testing.T, s *ray.Session) {
	v, err := ray.As[map[string]any](result(t, s, "arrays"))
	if err != nil {
		t.Fatal(err)
	}
	checkArrays(t, v)

	// As a large one travels: in pieces, and from the object store.
	numbers := make([]float64, 1_500_000)
	for i := range numbers {
		numbers[i] = float64(i) / 3
	}
	large, err := python.NewArray(numbers, 1500, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := s.Put(deadline(t), large)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ray.Get[*python.Array](deadline(t), s, ref)
	if err != nil || !slices.Equal(back.Shape, []int{1500, 1000}) {
		t.Fatalf("%v", err)
	}
	if got, err := python.Slice[float64](back); err != nil || !slices.Equal(got, numbers) {
		t.Errorf("12 MB of numbers came back changed: %v", err)
	}

	// As an argument: numpy makes it, and it can be written to.
	small, err := python.NewArray([]int32{1, 2, 3, 4}, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	description, err := result(t, s, "describe", *small)
	want := map[string]any{
		"type": "ndarray", "dtype": "<i4", "shape": []any{int64(2), int64(2)},
		"values": []any{[]any{int64(1), int64(2)}, []any{int64(3), int64(4)}}, "writable": false, // arguments are read-only in Ray
	}
	if err != nil || !reflect.DeepEqual(description, want) {
		t.Errorf("Python saw %v, %v", description, err)
	}
}

func checkArrays(t *testing.T, v map[string]any) {
	t.Helper()
	for name, want := range map[string]any{
		"plain": [][]float64{{0, 1, 2}, {3, 4, 5}}, "fortran": [][]int{{0, 1, 2}, {3, 4, 5}}, "strided": []uint16{0, 2, 4, 6, 8},
		"text": []string{"a", "bcd"}, "flags": [][1]bool{{true}, {false}}, "scalar": 1.5, "single": int8(7),
	} {
		into := reflect.New(reflect.TypeOf(want))
		if err := ray.Decode(v[name], into.Interface()); err != nil || !reflect.DeepEqual(into.Elem().Interface(), want) {
			t.Errorf("%s: %v, %v", name, into.Elem(), err)
		}
	}
	if a, ok := v["fortran"].(*python.Array); !ok || !a.Fortran || a.DType != ">i4" {
		t.Errorf("fortran: %#v", v["fortran"])
	}
	large, ok := v["large"].(*python.Array)
	if !ok {
		t.Fatalf("large: %T", v["large"])
	}
	if numbers, err := python.Slice[int64](large); err != nil || len(numbers) != 1000 || numbers[999] != 999 {
		t.Errorf("large: %v", err)
	}
}

func testRefsAndHandlesInContainers(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{}, 5)
	one, err := s.Put(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Put(ctx, map[string]any{"in a value": []any{one}})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Ref    *ray.ObjectRef            `json:"ref"`
		Actor  *ray.ActorHandle          `json:"actor"`
		Nested map[string]*ray.ObjectRef `json:"nested"`
	}
	v := []any{holder{one, actor, map[string]*ray.ObjectRef{"two": two}}, python.Tuple{one, []*ray.ObjectRef{one}}}
	want := []any{
		map[string]any{"ref": "one", "actor": int64(5), "nested": map[string]any{"two": map[string]any{"in a value": []any{"one"}}}},
		[]any{"one", []any{"one"}},
	}
	if got, err := result(t, s, "resolve", v); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Python found %v, %v", got, err)
	}
	// And back, into Go types.
	back, err := ray.As[[]any](result(t, s, "return_same", v))
	if err != nil {
		t.Fatal(err)
	}
	var h holder
	if err := ray.Decode(back[0], &h); err != nil {
		t.Fatal(err)
	}
	var typed struct {
		Ref *ray.Ref[string] `json:"ref"`
	}
	if err := ray.Decode(back[0], &typed); err != nil {
		t.Fatal(err)
	}
	if got, err := typed.Ref.Get(ctx); err != nil || got != "one" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ray.Get[string](ctx, s, h.Ref); err != nil || got != "one" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ray.As[int](h.Actor.Call(ctx, "value")); err != nil || got != 5 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := result(t, s, "resolve", h.Nested["two"]); err != nil || !reflect.DeepEqual(got, map[string]any{"in a value": []any{"one"}}) {
		t.Errorf("%v, %v", got, err)
	}
	// What would end the session is refused first, wherever it hides.
	one.Release()
	for name, bad := range map[string]any{
		"released": []any{map[string]any{"ref": one}}, "nil": holder{Actor: actor}, "in a tuple": python.Tuple{one},
	} {
		err := second(s.Submit(ctx, function("echo"), bad))
		if !errors.Is(err, ray.ErrReleased) || ray.SentOf(err) != ray.SentNo || !strings.Contains(err.Error(), "args[0]") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := open(t, ray.Config{})
	foreign, err := other.Put(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(s.Submit(ctx, function("echo"), []any{foreign})); !errors.Is(err, ray.ErrStaleSession) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a ref of another session: %v", err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// What a worker answers to a direct call has the same Go forms as what comes through a session, arrays included, which lie
// beside the pickle there.
func TestDirectValuesOfPythonsTypes(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	ctx := deadline(t)
	class, err := x.session.PythonClass(ctx, "drivertest", "Values")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: "values", NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	arrays, err := ray.As[map[string]any](x.call(ctx, "values", "arrays"))
	if err != nil {
		t.Fatal(err)
	}
	checkArrays(t, arrays)
	got, err := x.call(ctx, "values", "things")
	want := map[string]any{
		"pair": []any{int64(1), "r"}, "price": python.Decimal("19.90"),
		"job": &python.Object{Class: "drivertest.Job", Args: []any{}, State: map[string]any{"name": "n", "sizes": []any{int64(1)}, "parent": nil}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	// Keyword arguments are the same by either path.
	if got, err := x.call(ctx, "values", "named", 1, ray.Kwargs{"c": []any{"x"}, "b": 2}); err != nil || !reflect.DeepEqual(got, []any{int64(1), int64(2), []any{"x"}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, v := range []any{python.Tuple{1}, time.Second, time.Unix(1, 0), arrays["plain"], []any{map[string]any{"x": python.Decimal("1")}}} {
		err := second(x.call(ctx, "values", "things", v))
		if !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo || !strings.Contains(err.Error(), "args[0]") {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// Keyword arguments of a direct call travel as pairs of a name and a value, behind the positional ones and sorted.
func TestDirectKeywordArguments(t *testing.T) {
	pairs, err := ray.EncodeDirect(1, ray.Kwargs{"c": []any{"x"}, "b": []byte("raw")})
	if err != nil || len(pairs) != 6 {
		t.Fatalf("%d parts, %v", len(pairs), err)
	}
	for i, want := range []any{[]byte("__RAY_DUMMY__"), int64(1), "b", []byte("raw"), "c", []any{"x"}} {
		if got, err := xlang.Decode(pairs[i].GetData(), pairs[i].GetMetadata()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("part %d is %v, %v", i, got, err)
		}
	}
	for _, bad := range []ray.Kwargs{{"not a name": 1}, {"b": func() {}}, {"b": ray.Kwargs{"\xff": 1}}} {
		if _, err := ray.EncodeDirect(1, bad); !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// What a user reads of a value that cannot travel: that once, then the place, then the reason.
func TestTheTextAboutAValue(t *testing.T) {
	for want, v := range map[string]any{
		`args[1].sizes[0]: a chan int has no form outside of Go`: map[string]any{"sizes": []any{make(chan int)}},
		`args[1]: a python.Tuple, which only Python knows`:       python.Tuple{1},
		`args[1]["a b"]: an integer of 65 bits; 64 fit`:          map[string]any{"a b": new(big.Int).Lsh(big.NewInt(1), 64)},
		`args["named"]: a string that is not UTF-8; give []byte`: ray.Kwargs{"named": "\xff"},
		`args[1].Inner: a func() has no form outside of Go`:      struct{ Inner any }{func() {}},
	} {
		want = "ray: unsupported value in a direct call: " + want
		if _, err := ray.EncodeDirect(1, v); err == nil || err.Error() != want || !errors.Is(err, ray.ErrUnsupportedValue) || !errors.Is(err, xlang.ErrUnsupported) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
