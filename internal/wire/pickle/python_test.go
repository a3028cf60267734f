package pickle_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// What CPython writes, in every protocol and by each of its picklers, reads as the parts that CPython put in, and what
// Marshal makes of it reads in CPython as the value that was there at first.
func TestUnmarshalReadsWhatCPythonWrites(t *testing.T) {
	o := oracle.Start(t)
	var answer struct {
		Values []struct {
			Name          string
			Protocol      int
			Pickle        string
			Canon, Canon5 json.RawMessage
		}
	}
	o.Ask(t, map[string]any{"ask": "values"}, &answer)
	if len(answer.Values) < 1000 {
		t.Fatalf("only %d pickles", len(answer.Values))
	}
	for _, v := range answer.Values {
		t.Run(v.Name, func(t *testing.T) {
			got, err := pickle.Unmarshal(base64Bytes(t, v.Pickle), pickle.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := asJSON(canon(got)), compact(t, v.Canon); got != want {
				t.Fatalf("read %s\nwant %s", clip(got), clip(want))
			}
			if !strings.HasSuffix(v.Name, "/c") {
				return
			}
			again, err := pickle.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := load(t, o, again, v.Protocol < 3), compact(t, v.Canon5); got != want {
				t.Errorf("CPython reads %s\nwant %s", clip(got), clip(want))
			}
		})
	}
}

func clip(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "..."
	}
	return s
}

func items(kv ...any) []pickle.Item {
	var out []pickle.Item
	for i := 0; i < len(kv); i += 2 {
		out = append(out, pickle.Item{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func list(vs ...any) *pickle.List { return &pickle.List{Items: vs} }

func dict(kv ...any) *pickle.Dict { return &pickle.Dict{Items: items(kv...)} }

func power(exponent uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), exponent) }

func global(module, name string) pickle.Global { return pickle.Global{Module: module, Name: name} }

// written pairs what Marshal takes with the decoded form of what CPython must read.
var written = map[string]struct{ value, reads any }{
	"nil":       {nil, nil},
	"bools":     {[]any{true, false}, list(true, false)},
	"ints":      {[]any{0, -1, int8(-128), int16(-32768), int32(math.MinInt32)}, list(int64(0), int64(-1), int64(-128), int64(-32768), int64(math.MinInt32))},
	"uints":     {[]any{uint(1), uint8(255), uint16(65535), uint32(math.MaxUint32), uintptr(7)}, list(int64(1), int64(255), int64(65535), int64(math.MaxUint32), int64(7))},
	"int64":     {[]any{int64(math.MinInt64), int64(math.MaxInt64), 1 << 31, -1<<31 - 1}, list(int64(math.MinInt64), int64(math.MaxInt64), int64(1<<31), int64(-1<<31-1))},
	"uint64":    {uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
	"big":       {[]any{power(63), new(big.Int).Neg(power(63)), power(2039), new(big.Int).Neg(power(2039)), power(4000), big.NewInt(5)}, list(power(63), int64(math.MinInt64), power(2039), new(big.Int).Neg(power(2039)), power(4000), int64(5))},
	"floats":    {[]any{1.5, float32(0.25), math.Inf(1), math.Copysign(0, -1), math.NaN()}, list(1.5, 0.25, math.Inf(1), math.Copysign(0, -1), math.NaN())},
	"string":    {"h\u00e9llo \U0001f600", "h\u00e9llo \U0001f600"},
	"surrogate": {"\xed\xb2\x80", "\xed\xb2\x80"},
	"strings":   {[]any{"", strings.Repeat("x", 255), strings.Repeat("y", 256), strings.Repeat("z", 70000)}, list("", strings.Repeat("x", 255), strings.Repeat("y", 256), strings.Repeat("z", 70000))},
	"bytes":     {[]any{[]byte(nil), []byte{}, []byte{0, 255}, make([]byte, 256), make([]byte, 70000)}, list([]byte{}, []byte{}, []byte{0, 255}, make([]byte, 256), make([]byte, 70000))},
	"bytearray": {&pickle.ByteArray{Data: []byte("ab")}, &pickle.ByteArray{Data: []byte("ab")}},
	"list":      {[]any{1, []any{}, []string{"a", "b"}, []string(nil)}, list(int64(1), list(), list("a", "b"), list())},
	"List":      {list(1, list()), list(int64(1), list())},
	"tuples":    {pickle.Tuple{pickle.Tuple{}, pickle.Tuple{1}, pickle.Tuple{1, 2}, pickle.Tuple{1, 2, 3, 4}}, pickle.Tuple{pickle.Tuple{}, pickle.Tuple{int64(1)}, pickle.Tuple{int64(1), int64(2)}, pickle.Tuple{int64(1), int64(2), int64(3), int64(4)}}},
	"maps":      {[]any{map[string]any{"b": 1, "a": nil}, map[string]float64{"CPU": 4}, map[string]string{"K": "v"}, map[string]any{}}, list(dict("a", nil, "b", int64(1)), dict("CPU", 4.0), dict("K", "v"), dict())},
	"Dict":      {dict(1, "int", pickle.Tuple{"t"}, nil), dict(int64(1), "int", pickle.Tuple{"t"}, nil)},
	"sets":      {[]any{&pickle.Set{Items: []any{1, 2}}, &pickle.Set{}, &pickle.Set{Items: []any{"x"}, Frozen: true}, &pickle.Set{Frozen: true}}, list(&pickle.Set{Items: []any{int64(1), int64(2)}}, &pickle.Set{}, &pickle.Set{Items: []any{"x"}, Frozen: true}, &pickle.Set{Frozen: true})},
	"global":    {global("collections", "OrderedDict"), global("collections", "OrderedDict")},
	"dotted":    {pickle.Call{Func: global("datetime", "datetime.fromisoformat"), Args: pickle.Tuple{"2026-11-24"}}, &pickle.Object{Class: global("datetime", "datetime"), Args: pickle.Tuple{[]byte("\x07\xea\x0b\x18\x00\x00\x00\x00\x00\x00")}}},
	"call":      {pickle.Call{Func: global("builtins", "int"), Args: pickle.Tuple{"2a", 16}}, int64(42)},
	"new":       {pickle.New{Class: global("builtins", "complex"), Args: pickle.Tuple{1.0, 2.0}}, &pickle.Object{Class: global("builtins", "complex"), Args: pickle.Tuple{1.0, 2.0}}},
	"object": {
		&pickle.Object{Class: global("types", "SimpleNamespace"), Args: pickle.Tuple{}, State: map[string]any{"a": 1}},
		&pickle.Object{Class: global("types", "SimpleNamespace"), Args: pickle.Tuple{}, State: dict("a", int64(1))},
	},
	"object items": {
		&pickle.Object{Class: global("collections", "deque"), Args: pickle.Tuple{pickle.Tuple{}, 3}, Items: []any{1, 2}},
		&pickle.Object{Class: global("collections", "deque"), Args: pickle.Tuple{pickle.Tuple{}, int64(3)}, Items: []any{int64(1), int64(2)}},
	},
	"object entries": {
		&pickle.Object{Class: global("collections", "OrderedDict"), Entries: items("z", 1, "a", 2)},
		&pickle.Object{Class: global("collections", "OrderedDict"), Args: pickle.Tuple{}, Entries: items("z", int64(1), "a", int64(2))},
	},
	"object kwargs": {
		&pickle.Object{Class: global("__main__", "KeywordNew"), Args: pickle.Tuple{1}, Kwargs: dict("y", 2), State: dict("x", 3, "y", 4)},
		&pickle.Object{Class: global("__main__", "KeywordNew"), New: true, Args: pickle.Tuple{int64(3)}, Kwargs: dict("y", int64(4)), State: dict("x", int64(3), "y", int64(4))},
	},
	"persistent": {
		pickle.Persistent{ID: pickle.Tuple{"Object", []byte("id")}},
		&pickle.Object{Class: global("types", "SimpleNamespace"), Args: pickle.Tuple{}, State: dict("persistent", pickle.Tuple{"Object", []byte("id")})},
	},
}

func TestMarshalWritesWhatCPythonReads(t *testing.T) {
	o := oracle.Start(t)
	for name, c := range written {
		t.Run(name, func(t *testing.T) {
			data, err := pickle.Marshal(c.value)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := load(t, o, data, false), asJSON(canon(c.reads)); got != want {
				t.Errorf("CPython reads %s\nwant %s", clip(got), clip(want))
			}
		})
	}
}

func TestSharedIsOneObjectInPython(t *testing.T) {
	o := oracle.Start(t)
	same := func(v any) bool {
		data, err := pickle.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Same bool }
		o.Ask(t, map[string]any{"ask": "sharing", "pickle": base64.StdEncoding.EncodeToString(data)}, &answer)
		return answer.Same
	}
	s := &pickle.Shared{Value: map[string]any{"a": 1}}
	if !same(pickle.Tuple{s, s}) {
		t.Error("one *Shared became two dicts")
	}
	if same(pickle.Tuple{s, &pickle.Shared{Value: map[string]any{"a": 1}}}) {
		t.Error("two *Shared became one dict")
	}
	if d := map[string]any{"a": 1}; same(pickle.Tuple{d, d}) {
		t.Error("a map without Shared became one dict")
	}
	// More than 256 memo entries need the long form of the index.
	var first []any
	for range 300 {
		inner := &pickle.Shared{Value: []any{}}
		first = append(first, inner, inner)
	}
	last := &pickle.Shared{Value: []any{first}}
	if !same(pickle.Tuple{last, last}) {
		t.Error("one *Shared with a long index became two lists")
	}
}

// A class may travel as source text that the reader runs in a namespace of its own.
func TestSharedCarriesANamespaceThroughExec(t *testing.T) {
	builtin := func(name string) any { return global("builtins", name) }
	getitem := func(v, key any) any {
		return pickle.Call{Func: global("operator", "getitem"), Args: pickle.Tuple{v, key}}
	}
	builtins := pickle.Call{Func: builtin("vars"), Args: pickle.Tuple{
		pickle.Call{Func: builtin("__import__"), Args: pickle.Tuple{"builtins"}},
	}}
	ns := &pickle.Shared{Value: map[string]any{"__builtins__": builtins, "__name__": "seedcore_go"}}
	src := "class Agent:\n    def ping(self, n):\n        return helper(n)\n\ndef helper(n):\n    return n + 22\n"
	run := pickle.Call{Func: builtin("exec"), Args: pickle.Tuple{src, ns}}
	data, err := pickle.Marshal(getitem(getitem(pickle.Tuple{ns, run}, 0), "Agent"))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Module, Name string
		Answer       int
	}
	o := oracle.Start(t)
	o.Ask(t, map[string]any{"ask": "evaluate", "pickle": base64.StdEncoding.EncodeToString(data)}, &answer)
	if answer.Module != "seedcore_go" || answer.Name != "Agent" || answer.Answer != 42 {
		t.Errorf("got %+v", answer)
	}
}

// CPython can write values that hold themselves. They can be read, and Marshal does not run forever on them.
func TestCyclesEnd(t *testing.T) {
	o := oracle.Start(t)
	var answer map[string]string
	o.Ask(t, map[string]any{"ask": "cycles"}, &answer)
	if len(answer) != 30 {
		t.Fatalf("%d pickles", len(answer))
	}
	for name, encoded := range answer {
		t.Run(name, func(t *testing.T) {
			v, err := pickle.Unmarshal(base64Bytes(t, encoded), pickle.Options{})
			if strings.HasPrefix(name, "deep") {
				if !errors.Is(err, pickle.ErrLimit) {
					t.Errorf("400 nested lists: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pickle.Marshal(v); !errors.Is(err, pickle.ErrLimit) {
				t.Errorf("Marshal: %v", err)
			}
		})
	}
}
