package pyvalue_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
	"github.com/seedcore/seedcore/ray/python"
)

// Nothing that Python could not read, or only with an import, gets into a pickle; and the error says where it was.
func TestEncoderRefuses(t *testing.T) {
	loop := []any{nil}
	loop[0] = loop
	wide := make([]any, 5000)
	many := make([]any, 5000)
	for i := range many {
		many[i] = wide
	}
	type pointer *pointer
	var p pointer
	p = &p
	for name, c := range map[string]struct {
		v    any
		path string
	}{
		"instance":       {map[string]any{"x": &python.Object{Class: "os.system"}}, "x: "},
		"global":         {[]any{python.Global{Module: "os", Name: "system"}}, "[0]: "},
		"no date":        {python.Tuple{python.Date{Year: 2025, Month: 2, Day: 29}}, "[0]: "},
		"no month":       {python.Date{Year: 2025, Month: 13, Day: 1}, ""},
		"no time":        {python.Time{Hour: 24}, ""},
		"no datetime":    {python.DateTime{Date: python.Date{Year: 1, Month: 1, Day: 1}, Time: python.Time{Second: 60}}, ""},
		"no decimal":     {python.Decimal("0x10"), ""},
		"empty decimal":  {python.Decimal(""), ""},
		"list in a set":  {map[string]any{"s": python.Set{1, []any{}}}, "s[1]: "},
		"deep in a set":  {python.Set{python.Tuple{1, python.Tuple{[]string{}}}}, "[0][1][0]: "},
		"signalling NaN": {python.Set{python.Decimal("sNaN")}, "[0]: "},
		"key":            {python.Dict{{Key: 1}, {Key: python.Set{}}}, "[1].Key: "},
		"key of a map":   {map[any]any{struct{ A int }{1}: 1}, ""},
		"nanoseconds":    {time.Unix(0, 1), ""},
		"short":          {time.Duration(1), ""},
		"far year":       {time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		"far zone":       {time.Date(2025, 1, 1, 0, 0, 0, 0, time.FixedZone("", 86400)), ""},
		"array":          {[]any{&python.Array{DType: "<f8", Shape: []int{3}}}, "[0]: "},
		"objects":        {&python.Array{DType: "|O8", Shape: []int{1}, Data: make([]byte, 8)}, ""},
		"no bytes":       {&python.Array{DType: "<U0", Shape: []int{1}}, ""},
		"text":           {[]string{"a", "\xff"}, "[1]: "},
		"text in a map":  {map[string]string{"k": "\xff"}, "k: "},
		"key text":       {map[string]int{"\xff": 1}, "UTF-8"},
		"too much":       {[]any{make([]byte, 600), make([]byte, 600)}, "[1]: "},
		"itself":         {loop, "[0][0]"},
		"pointer":        {p, ""},
		"expansion":      {many, ""},
		"function":       {struct{ F func() }{func() {}}, "F: "},
	} {
		e := pyvalue.Encoder{MaxBytes: 1000}
		_, err := e.Value(c.v)
		var at *govalue.Error
		if !errors.Is(err, pyvalue.ErrUnsupported) || !errors.As(err, &at) || !strings.Contains(err.Error(), c.path) || len(err.Error()) > 500 {
			t.Errorf("%s: %.600v", name, err)
		}
	}
}

// A hook sees what is not plain first, and its error comes with the place.
func TestEncoderAsksForRefs(t *testing.T) {
	type ref struct{ id string }
	gone := errors.New("gone")
	e := pyvalue.Encoder{MaxBytes: 1000, Ref: func(v any) (any, bool, error) {
		r, ok := v.(*ref)
		if ok && r == nil {
			return nil, true, gone
		}
		if !ok {
			return nil, false, nil
		}
		return pickle.Persistent{ID: r.id}, true, nil
	}}
	form, err := e.Value(map[string][]*ref{"refs": {{"a"}}})
	want := &pickle.Dict{Items: []pickle.Item{{Key: "refs", Value: []any{pickle.Persistent{ID: "a"}}}}}
	if err != nil || !reflect.DeepEqual(form, want) {
		t.Errorf("%v, %v", form, err)
	}
	if _, err := e.Value(map[string][]*ref{"refs": {{"a"}, nil}}); !errors.Is(err, gone) || !strings.Contains(err.Error(), "refs[1]") {
		t.Errorf("%v", err)
	}
}

// Objects that look like a known class, and are not what that class would write, keep their parts.
func TestUnknownFormsKeepTheirParts(t *testing.T) {
	global := func(module, name string) pickle.Global { return pickle.Global{Module: module, Name: name} }
	call := func(module, name string, args ...any) *pickle.Object {
		return &pickle.Object{Class: global(module, name), Args: args}
	}
	dtype := func(name, order string, more ...any) *pickle.Object {
		o := call("numpy", "dtype", name, false, true)
		o.State = append(pickle.Tuple{int64(3), order, nil, nil, nil, int64(-1), int64(-1), int64(0)}, more...)
		return o
	}
	buffer := func(parts ...any) *pickle.Object { return call("numpy._core.numeric", "_frombuffer", parts...) }
	zone := func(args ...any) *pickle.Object {
		return call("datetime", "datetime", []byte{7, 234, 1, 1, 0, 0, 0, 0, 0, 0}, call("zoneinfo", "ZoneInfo._unpickle", args...))
	}
	for name, v := range map[string]*pickle.Object{
		"datetime without":     call("datetime", "datetime"),
		"datetime short":       call("datetime", "datetime", []byte{1, 2}),
		"datetime impossible":  call("datetime", "datetime", []byte{7, 234, 13, 1, 0, 0, 0, 0, 0, 0}),
		"datetime microsecond": call("datetime", "datetime", []byte{7, 234, 1, 1, 0, 0, 0, 255, 255, 255}),
		"no zone":              zone("No/Where", int64(1)),
		"a zone in the dark":   zone("../../../etc/passwd", int64(1)),
		"the local zone":       zone("Local", int64(1)),
		"zone without a name":  zone("", int64(1)),
		"date of text":         call("datetime", "date", "2026"),
		"timedelta of text":    call("datetime", "timedelta", "1", "2", "3"),
		"decimal of a number":  call("decimal", "Decimal", int64(1)),
		"decimal of words":     call("decimal", "Decimal", "ten"),
		"uuid of nothing":      call("uuid", "UUID"),
		"uuid too long":        {Class: global("uuid", "UUID"), State: &pickle.Dict{Items: []pickle.Item{{Key: "int", Value: big2(128)}}}},
		"uuid below zero":      {Class: global("uuid", "UUID"), State: &pickle.Dict{Items: []pickle.Item{{Key: "int", Value: int64(-1)}}}},
		"complex of text":      call("builtins", "complex", "1+2j"),
		"set of a tuple":       call("builtins", "set", pickle.Tuple{}),
		"bytes of a number":    call("builtins", "bytes", int64(1<<40)),
		"bytes of text":        call("_codecs", "encode", "x", "utf-8"),
		"bytes beyond latin1":  call("_codecs", "encode", "\u20ac", "latin1"),
		"array too short":      buffer([]byte{1}, dtype("f8", "<"), pickle.Tuple{int64(1)}, "C"),
		"array of negatives":   buffer([]byte{}, dtype("f8", "<"), pickle.Tuple{int64(-1)}, "C"),
		"array without order":  buffer(make([]byte, 8), dtype("f8", "<"), pickle.Tuple{int64(1)}, "K"),
		"array overflowing":    buffer([]byte{}, dtype("f8", "<"), pickle.Tuple{int64(1 << 62), int64(1 << 62)}, "C"),
		"array of no bytes":    buffer([]byte{}, dtype("S0", "|"), pickle.Tuple{int64(1 << 30)}, "C"),
		"array of empty rows":  buffer([]byte{}, dtype("f8", "<"), pickle.Tuple{int64(1 << 30), int64(0)}, "C"),
		"array of objects":     buffer(make([]byte, 8), dtype("O8", "|"), pickle.Tuple{int64(1)}, "C"),
		"array of no type":     buffer(make([]byte, 8), nil, pickle.Tuple{int64(1)}, "C"),
		"array without unit":   buffer(make([]byte, 8), dtype("M8", "<"), pickle.Tuple{int64(1)}, "C"),
		"array of odd order":   buffer(make([]byte, 8), dtype("f8", "x"), pickle.Tuple{int64(1)}, "C"),
		"scalar too short":     call("numpy._core.multiarray", "scalar", dtype("f8", "<"), []byte{1}),
		"reconstruct":          call("numpy._core.multiarray", "_reconstruct", global("numpy", "ndarray"), pickle.Tuple{int64(0)}, []byte("b")),
		"with state":           {Class: global("decimal", "Decimal"), Args: pickle.Tuple{"1"}, State: "more"},
	} {
		got, err := pyvalue.NewDecoder(1000).Value(v)
		if o, ok := got.(*python.Object); err != nil || !ok || o.Class != pyvalue.ClassName(v.Class) {
			t.Errorf("%s became %v, %v", name, got, err)
		}
	}
}

func TestDecoderLimits(t *testing.T) {
	self := &pickle.List{}
	self.Items = []any{self}
	object := &pickle.Object{Class: pickle.Global{Module: "m", Name: "C"}}
	object.State = &pickle.Dict{Items: []pickle.Item{{Key: "self", Value: object}}}
	key := pickle.Tuple{}
	for range 400 {
		key = pickle.Tuple{key}
	}
	bomb := any(pickle.Tuple{})
	for range 60 {
		bomb = pickle.Tuple{bomb, bomb}
	}
	for name, v := range map[string]any{
		"a list in itself": self, "an object in itself": object, "expansion": bomb,
		"a deep key": &pickle.Dict{Items: []pickle.Item{{Key: key}}}, "a key that expands": &pickle.Dict{Items: []pickle.Item{{Key: bomb}}},
		"a hook's value": &struct{}{},
	} {
		before := allocated()
		if _, err := pyvalue.NewDecoder(300).Value(v); !errors.Is(err, pyvalue.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if n := allocated() - before; n > 32<<20 {
			t.Errorf("%s: %d bytes for nothing", name, n)
		}
	}
}

// allocated returns how many bytes were allocated so far by the process.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestClassName(t *testing.T) {
	skeleton := &pickle.Object{Class: pickle.Global{Module: "ray.cloudpickle.cloudpickle", Name: "_make_skeleton_class"}, Args: pickle.Tuple{nil, "Local"}}
	inner := &pickle.Object{Class: pickle.Global{Module: "__builtin__", Name: "getattr"}, Args: pickle.Tuple{pickle.Global{Module: "m", Name: "Outer"}, "Inner"}}
	for want, class := range map[string]any{"Local": skeleton, "m.Outer.Inner": inner, "m.C": pickle.Global{Module: "m", Name: "C"}, "unknown": int64(1)} {
		if got := pyvalue.ClassName(class); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}

func Example() {
	var e pyvalue.Encoder
	e.MaxBytes = 1000
	form, err := e.Value(map[string]any{"took": 90 * time.Second})
	if err != nil {
		panic(err)
	}
	data, err := pickle.Marshal(form)
	if err != nil {
		panic(err)
	}
	v, err := pickle.Unmarshal(data, pickle.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(pyvalue.NewDecoder(len(data)).Value(v))
	// Output: map[took:1m30s] <nil>
}

// FuzzDecode requires that whatever package pickle reads becomes a Go value or an error, within bounds, and that what can be
// written again reads as the same.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{
		time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), time.Second,
		python.Tuple{1, python.Set{"x"}},
		python.Decimal("1.5"),
		python.UUID{1},
		1i,
		python.Date{Year: 2026, Month: 1, Day: 1},
		array([]float64{1, 2}, 1, 2),
		python.Dict{{Key: python.Tuple{1}, Value: []byte{1}}},
	} {
		e := pyvalue.Encoder{MaxBytes: 1000}
		form, err := e.Value(v)
		if err != nil {
			f.Fatal(err)
		}
		data, err := pickle.Marshal(form)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("cdatetime\ndatetime\n(C\n\x07\xea\x0b\x18\x08\x1e\x00\x00\x00\x00tR."))
	f.Add([]byte("\x80\x05cnumpy._core.numeric\n_frombuffer\n(C\x08\x00\x00\x00\x00\x00\x00\xf0?cnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbK\x01\x85\x8c\x01CtR."))
	f.Fuzz(func(t *testing.T, data []byte) {
		form, err := pickle.Unmarshal(data, pickle.Options{})
		if err != nil {
			return
		}
		before := allocated()
		v, err := pyvalue.NewDecoder(len(data)).Value(form)
		if n := allocated() - before; n > 32<<20+1000*uint64(len(data)) {
			t.Fatalf("%d bytes for %d", n, len(data))
		}
		if err != nil {
			return
		}
		e := pyvalue.Encoder{MaxBytes: 1 << 30}
		again, err := e.Value(v)
		if err != nil {
			return
		}
		if _, err := pickle.Marshal(again); err != nil && !errors.Is(err, pickle.ErrLimit) && !errors.Is(err, pickle.ErrUnsupported) {
			t.Fatal(err)
		}
	})
}
