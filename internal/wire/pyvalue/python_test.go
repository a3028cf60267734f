package pyvalue_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
	"github.com/seedcore/seedcore/ray/python"
)

// wrong is how the oracle names what it did not find equal.
type wrong struct{ Wrong [][2]any }

// read decodes a pickle in base64.
func read(encoded string) (any, error) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	v, err := pickle.Unmarshal(data, pickle.Options{})
	if err != nil {
		return nil, err
	}
	return pyvalue.NewDecoder(len(data)).Value(v)
}

// write encodes a value as a pickle in base64.
func write(v any) (string, error) {
	e := pyvalue.Encoder{MaxBytes: 1 << 30}
	form, err := e.Value(v)
	if err != nil {
		return "", err
	}
	data, err := pickle.Marshal(form)
	return base64.StdEncoding.EncodeToString(data), err
}

// dump is a text by which values are compared: NaN equals itself in it, and -0 differs from 0.
func dump(v any) string {
	switch x := v.(type) {
	case []any:
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = dump(x[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	case map[string]any:
		var parts []string
		for k, item := range x {
			parts = append(parts, fmt.Sprintf("%q:%s", k, dump(item)))
		}
		slices.Sort(parts)
		return "map{" + strings.Join(parts, " ") + "}"
	case map[any]any:
		var parts []string
		for k, item := range x {
			parts = append(parts, dump(k)+":"+dump(item))
		}
		slices.Sort(parts)
		return "any{" + strings.Join(parts, " ") + "}"
	case python.Dict:
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = dump(x[i].Key) + ":" + dump(x[i].Value)
		}
		return "dict{" + strings.Join(parts, " ") + "}"
	case python.Tuple:
		return "tuple" + dump([]any(x))
	case python.FrozenSet:
		return "frozen" + dump([]any(x))
	case *python.Object:
		return fmt.Sprintf("object(%s %s %s %s %s %s)", x.Class, dump(x.Args), dump(x.Kwargs), dump(x.State), dump(x.Items), dump(x.Entries))
	case *python.Array:
		return fmt.Sprintf("array(%s %v %t %x)", x.DType, x.Shape, x.Fortran, x.Data)
	case time.Time:
		return x.Format("time(2006-01-02T15:04:05.999999999-07:00:00 MST)")
	}
	return fmt.Sprintf("%T(%v)", v, v)
}

func array[T python.Element](data []T, shape ...int) *python.Array {
	a, err := python.NewArray(data, shape...)
	if err != nil {
		panic(err)
	}
	return a
}

// big2 returns 2^n, or -2^n for a negative n.
func big2(n int) *big.Int {
	if n < 0 {
		return new(big.Int).Neg(big2(-n))
	}
	return new(big.Int).Lsh(big.NewInt(1), uint(n))
}

// pairs are Python expressions and what they are in Go. Where both is set, Go writes want, or send if that is not nil, and
// Python must read the very value of back, or of the expression if back is empty, with its types.
type pair struct {
	python string
	want   any
	both   bool
	send   any
	back   string
}

func pairs(t *testing.T) []pair {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	both := func(python string, want any) pair { return pair{python: python, want: want, both: true} }
	return []pair{
		both("None", nil),
		both("True", true),
		both("False", false),
		both("0", int64(0)),
		both("-1", int64(-1)),
		both("2**63-1", int64(math.MaxInt64)),
		both("-2**63", int64(math.MinInt64)),
		both("2**63", uint64(1<<63)),
		both("2**64-1", uint64(math.MaxUint64)),
		both("2**64", big2(64)),
		both("-2**63-1", new(big.Int).Sub(big2(-63), big.NewInt(1))),
		both("-2**100", big2(-100)),
		both("1.5", 1.5),
		both("-0.0", math.Copysign(0, -1)),
		both("math.inf", math.Inf(1)),
		both("-math.inf", math.Inf(-1)),
		both("math.nan", math.NaN()),
		both("'gr\\u00fc\\u00df \\U0001f600'", "gr\u00fc\u00df \U0001f600"),
		both("b'\\x00\\xff'", []byte{0, 255}),
		both("b''", []byte{}),
		{python: "bytearray(b'xy')", want: []byte("xy")},
		{python: "bytearray()", want: []byte{}},
		both("[1, 'a', None, [2.5]]", []any{int64(1), "a", nil, []any{2.5}}),
		{python: "(1, 'a')", want: []any{int64(1), "a"}, both: true, send: python.Tuple{1, "a"}},
		{python: "()", want: []any{}, both: true, send: python.Tuple{}},
		{python: "{7}", want: []any{int64(7)}, both: true, send: python.Set{7}},
		{python: "set()", want: []any{}, both: true, send: python.Set{}},
		{python: "frozenset(['x'])", want: []any{"x"}, both: true, send: python.FrozenSet{"x"}},
		{python: "{(1, 'x')}", want: []any{[]any{int64(1), "x"}}, both: true, send: python.Set{python.Tuple{1, "x"}}},
		both("{'a': {'b': []}}", map[string]any{"a": map[string]any{"b": []any{}}}),
		both("{}", map[string]any{}),
		both("{1: 'one', None: 2, 1.5: True}", map[any]any{int64(1): "one", nil: int64(2), 1.5: true}),
		both("{(1, 2): 'x'}", python.Dict{{Key: python.Tuple{int64(1), int64(2)}, Value: "x"}}),
		both("{b'k': 1, frozenset([2]): 3}", python.Dict{{Key: []byte("k"), Value: int64(1)}, {Key: python.FrozenSet{int64(2)}, Value: int64(3)}}),
		both("complex(1, -2.5)", complex(1, -2.5)),
		both("D(2026, 11, 24)", python.Date{Year: 2026, Month: 11, Day: 24}),
		both("D.max", python.Date{Year: 9999, Month: 12, Day: 31}),
		both("T(8, 30, 15, 250)", python.Time{Hour: 8, Minute: 30, Second: 15, Microsecond: 250}),
		both("DT(2026, 11, 24, 8, 30)", python.DateTime{Date: python.Date{Year: 2026, Month: 11, Day: 24}, Time: python.Time{Hour: 8, Minute: 30}}),
		both("DT(2026, 11, 24, 8, 30, 0, 7, tzinfo=UTC)", time.Date(2026, 11, 24, 8, 30, 0, 7000, time.UTC)),
		both("DT.min.replace(tzinfo=UTC)", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)),
		both("DT(2026, 1, 1, tzinfo=TZ(TD(hours=-5, minutes=-30)))", time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", -19800))),
		{python: "DT(2026, 1, 1, tzinfo=TZ(TD(hours=2), 'X'))", want: time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("X", 7200)), both: true},
		{python: "DT(2026, 1, 1, tzinfo=TZ(TD(microseconds=5)))", want: &python.Object{Class: "datetime.datetime"}},
		{python: "DT(2026, 1, 1, fold=1)", want: &python.Object{Class: "datetime.datetime"}},
		{python: "T(1, tzinfo=UTC)", want: &python.Object{Class: "datetime.time"}},
		both("TD(days=-1, seconds=5, microseconds=7)", -24*time.Hour+5*time.Second+7*time.Microsecond),
		both("TD(0)", time.Duration(0)),
		{python: "TD.max", want: &python.Object{Class: "datetime.timedelta", Args: []any{int64(999999999), int64(86399), int64(999999)}}},
		both("decimal.Decimal('3.14159265358979323846')", python.Decimal("3.14159265358979323846")),
		both("decimal.Decimal('-1E+500')", python.Decimal("-1E+500")),
		both("decimal.Decimal('NaN')", python.Decimal("NaN")),
		both("decimal.Decimal('-Infinity')", python.Decimal("-Infinity")),
		both("uuid.UUID('12345678-1234-5678-9abc-def012345678')", python.UUID{0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78}),
		both("uuid.UUID(int=5)", python.UUID{15: 5}),
		{python: "len", want: python.Global{Module: "builtins", Name: "len"}},
		{python: "collections.OrderedDict([('z', 1), ('a', 2)])", want: &python.Object{
			Class: "collections.OrderedDict", Args: []any{}, Entries: python.Dict{{Key: "z", Value: int64(1)}, {Key: "a", Value: int64(2)}},
		}},
		{python: "collections.deque([1, 2], maxlen=5)", want: &python.Object{Class: "collections.deque", Args: []any{[]any{}, int64(5)}, Items: []any{int64(1), int64(2)}}},
		{python: "Job('n', [1])", want: &python.Object{
			Class: "__main__.Job", Args: []any{}, State: map[string]any{"name": "n", "sizes": []any{int64(1)}, "parent": nil},
		}},
		{python: "Slotted()", want: &python.Object{Class: "__main__.Slotted", Args: []any{}, State: []any{nil, map[string]any{"a": int64(1), "b": "x"}}}},
		{python: "Pair(1, 'r')", want: &python.Object{Class: "__main__.Pair", Args: []any{int64(1), "r"}}},
		{python: "Colour.RED", want: &python.Object{Class: "__main__.Colour", Args: []any{int64(1)}}},
		{python: "Many([1])", want: &python.Object{Class: "__main__.Many", Args: []any{}, Items: []any{int64(1)}}},
		{python: "range(1, 9, 2)", want: &python.Object{Class: "builtins.range", Args: []any{int64(1), int64(9), int64(2)}}},
		{python: "ValueError('bad', 42)", want: &python.Object{Class: "builtins.ValueError", Args: []any{"bad", int64(42)}}},

		both("np.arange(6, dtype='<f8').reshape(2, 3)", array([]float64{0, 1, 2, 3, 4, 5}, 2, 3)),
		both("np.array([1, -2], dtype='<i8')", array([]int{1, -2})),
		both("np.array([1, 2**64-1], dtype='<u8')", array([]uint64{1, math.MaxUint64})),
		both("np.array([[True], [False]])", array([]bool{true, false}, 2, 1)),
		both("np.array([1, -2], dtype='i1')", array([]int8{1, -2})),
		both("np.array([1, 255], dtype='u1')", array([]byte{1, 255})),
		both("np.array([1, -2], dtype='<i2')", array([]int16{1, -2})),
		both("np.array([1, 2], dtype='<u2')", array([]uint16{1, 2})),
		both("np.array([1, -2], dtype='<i4')", array([]int32{1, -2})),
		both("np.array([1, 2], dtype='<u4')", array([]uint32{1, 2})),
		both("np.array([1.5, np.nan], dtype='<f4')", array([]float32{1.5, float32(math.NaN())})),
		both("np.array([1+2j], dtype='<c8')", array([]complex64{1 + 2i})),
		both("np.array([1+2j], dtype='<c16')", array([]complex128{1 + 2i})),
		both("np.array(['a', 'b\\U0001f600c'])", array([]string{"a", "b\U0001f600c"})),
		both("np.array([], dtype='<f8')", array([]float64{})),
		both("np.zeros((0, 3), dtype='<f8')", array([]float64{}, 0, 3)),
		both("np.array(2.5)", &python.Array{DType: "<f8", Shape: []int{}, Data: array([]float64{2.5}).Data}),
		both("np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3))", &python.Array{
			DType: ">i4", Shape: []int{2, 3}, Fortran: true, Data: []byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 5},
		}),
		{python: "np.arange(4, dtype='<u2')[::2]", want: array([]uint16{0, 2}), both: true},
		both("np.array([b'ab', b'c'])", &python.Array{DType: "|S2", Shape: []int{2}, Data: []byte("abc\x00")}),
		both("np.array(['2026-11-24'], dtype='M8[s]')", &python.Array{DType: "<M8[s]", Shape: []int{1}, Data: array([]int64{1795478400}).Data}),
		both("np.array([3], dtype='m8[25ms]')", &python.Array{DType: "<m8[25ms]", Shape: []int{1}, Data: array([]int64{3}).Data}),
		both("np.array([1, 0.5], dtype='<f2')", &python.Array{DType: "<f2", Shape: []int{2}, Data: []byte{0, 0x3c, 0, 0x38}}),
		{python: "np.float32(1.5)", want: 1.5},
		{python: "np.float64(0.1)", want: 0.1},
		{python: "np.int8(-3)", want: int64(-3)},
		{python: "np.uint64(2**64-1)", want: uint64(math.MaxUint64)},
		{python: "np.bool_(True)", want: true},
		{python: "np.complex64(1+2j)", want: 1 + 2i},
		{python: "np.str_('abc')", want: "abc"},
		{python: "np.datetime64(5, 'ns')", want: &python.Array{DType: "<M8[ns]", Shape: []int{}, Data: array([]int64{5}).Data}},
		{python: "np.array([1, 'x'], dtype=object)", want: &python.Object{Class: "numpy._core.multiarray._reconstruct"}},
		{python: "np.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', 'f8')])", want: &python.Object{Class: "numpy."}},

		// What only Go can say.
		{python: "None", both: true, send: (*int)(nil)},
		{python: "{'name': 'n', 'size': 3}", want: map[string]any{"name": "n", "size": int64(3)}, both: true, send: struct {
			Name string `json:"name"`
			Size *int   `json:"size"`
			Skip int    `json:"skip,omitempty"`
		}{"n", ptr(3), 0}},
		{python: "{3: [1.5]}", want: map[any]any{int64(3): []any{1.5}}, both: true, send: map[uint8][]float32{3: {1.5}}},
		{python: "b'\\x01\\x02'", want: []byte{1, 2}, both: true, send: [2]byte{1, 2}},
		{python: "['a', 'b']", want: []any{"a", "b"}, both: true, send: []string{"a", "b"}},
		{python: "{'a': 'b'}", want: map[string]any{"a": "b"}, both: true, send: map[string]string{"a": "b"}},
		{python: "{'a': 2.0}", want: map[string]any{"a": 2.0}, both: true, send: map[string]float64{"a": 2}},
		{python: "TD(hours=1)", want: time.Hour, both: true, send: ptr(time.Hour)},
		{
			python: "DT(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", want: time.Date(2026, 7, 1, 12, 0, 0, 0, berlin),
			both: true, back: "DT(2026, 7, 1, 12, tzinfo=TZ(TD(hours=2)))",
		},
		{ // clocks show this twice
			python: "DT(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", want: time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC).In(berlin),
		},
		{
			python: "DT(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'), fold=1)", want: time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC).In(berlin),
		},
		// and this never
		{python: "DT(2026, 3, 29, 2, 30, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", want: &python.Object{Class: "datetime.datetime"}},
	}
}

func ptr[T any](v T) *T { return &v }

// Every value of the table reads the same from each protocol, and what Go writes is the same value in Python.
func TestValuesOfTheTable(t *testing.T) {
	o := oracle.StartWithNumPy(t)
	table := pairs(t)
	var expressions []string
	for _, p := range table {
		expressions = append(expressions, p.python)
	}
	var answer struct{ Pickles [][]string }
	o.Ask(t, map[string]any{"ask": "write", "expressions": expressions}, &answer)
	var back, written []string
	for i, p := range table {
		for j, encoded := range answer.Pickles[i] {
			v, err := read(encoded)
			if err != nil {
				t.Errorf("%s, protocol %d: %v", p.python, j+2, err)
				continue
			}
			if j < 2 && strings.Contains(p.python, "fold") { // these protocols do not tell
				continue
			}
			if object, ok := p.want.(*python.Object); ok && object.Args == nil { // only the class is looked at
				got, ok := v.(*python.Object)
				if !ok || !strings.HasPrefix(got.Class, strings.TrimSuffix(object.Class, "_reconstruct")) || len(got.Args) == 0 {
					t.Errorf("%s, protocol %d: %s", p.python, j+2, dump(v))
				}
				continue
			}
			if got, want := dump(v), dump(p.want); got != want {
				t.Errorf("%s, protocol %d: %s instead of %s", p.python, j+2, got, want)
			}
		}
		if !p.both {
			continue
		}
		v := p.want
		if p.send != nil {
			v = p.send
		}
		encoded, err := write(v)
		if err != nil {
			t.Errorf("%s: %v", p.python, err)
			continue
		}
		if p.back == "" {
			p.back = p.python
		}
		back, written = append(back, p.back), append(written, encoded)
	}
	var w wrong
	o.Ask(t, map[string]any{"ask": "read", "expressions": back, "pickles": written}, &w)
	for _, x := range w.Wrong {
		t.Errorf("%v: Python reads %v", back[int(x[0].(float64))], x[1])
	}
}

// Values that Python made up read the same from each protocol, and come back to Python as they were, as far as Go tells
// them apart.
func TestValuesMadeUpByPython(t *testing.T) {
	o := oracle.StartWithNumPy(t)
	const count = 800
	var answer struct{ Pickles [][]string }
	o.Ask(t, map[string]any{"ask": "invent", "seed": 20261124, "count": count}, &answer)
	if len(answer.Pickles) != count {
		t.Fatalf("%d values", len(answer.Pickles))
	}
	written := make([]string, count)
	for i, pickles := range answer.Pickles {
		last, err := read(pickles[len(pickles)-1])
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		for j, encoded := range pickles[:len(pickles)-1] {
			if v, err := read(encoded); err != nil || dump(v) != dump(last) {
				t.Errorf("%d: protocol %d: %.1000s, protocol 5: %.1000s, %v", i, j+2, dump(v), dump(last), err)
			}
		}
		if written[i], err = write(last); err != nil {
			t.Errorf("%d: %v: %.1000s", i, err, dump(last))
		}
	}
	var w wrong
	o.Ask(t, map[string]any{"ask": "check", "pickles": written}, &w)
	for _, x := range w.Wrong {
		t.Errorf("%v: Python reads %v", x[0], x[1])
	}
}

// What the encoder lets through, Python reads without raising, at the edges too.
func TestPythonReadsWhateverIsLetThrough(t *testing.T) {
	values := []any{
		python.Date{Year: 1, Month: 1, Day: 1},
		python.Date{Year: 2024, Month: 2, Day: 29},
		python.Time{Hour: 23, Minute: 59, Second: 59, Microsecond: 999_999},
		time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 86399)), time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -86399)),
		time.Duration(math.MaxInt64 / 1000 * 1000), time.Duration(math.MinInt64 / 1000 * 1000),
		python.UUID{},
		big2(5000),
		complex(math.NaN(), math.Inf(-1)),
		python.Set{math.NaN(), math.NaN(), nil, true, "", []byte{}, time.Second, python.Tuple{}, python.FrozenSet{}, 1i},
		python.Set{time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 86399)), python.Decimal("NaN"), python.UUID{}, python.Date{Year: 1, Month: 1, Day: 1}},
		python.Dict{{Key: python.Decimal("1E+99999999"), Value: 1}, {Key: python.Time{}, Value: 2}, {Key: python.DateTime{Date: python.Date{Year: 1, Month: 1, Day: 1}}, Value: 3}},
	}
	for _, text := range []string{
		"0", "-0", "+1.", ".5", "1E+99999999", "1e-99999999", "9.99E99999999", "Inf", "-infinity", "nan", "NaN123", "sNaN", "-sNaN1", "00", "1E+999999999",
		"1E+99999999999999999999", "1e", "e5", "", ".", "1_000", " 1", "0x1", "1\n", "\u0661",
	} {
		values = append(values, python.Decimal(text))
	}
	for _, kind := range []string{
		"|b1", "<b1", "|i1", ">i1", "<u8", "<f2", ">f8", "<f16", "<c8", ">c16", "<c32", "|S1", "|S0", "<U7", ">U7", "|U3", "<M8", "<M8[Y]", "<M8[as]", "<m8[25ms]",
		"<M8[999999999W]", "<M8[9999999999s]", "<M8[0s]", "<M8[x]", "<m8[]", "<M8[generic]", "<M8[s", "<M8[s][s]", "|O8", "|V8", "<i3", "=i4", "<i8[s]", "<i 8", "<I8",
	} {
		for _, shape := range [][]int{{}, {0}, {2}, {0, 3}, {1, 0, 65536}, make([]int, 32), make([]int, 33)} {
			for _, size := range []int{1, 2, 4, 8, 16, 28} {
				n := size
				for _, length := range shape {
					n *= length
				}
				values = append(values, &python.Array{DType: kind, Shape: shape, Fortran: size == 8, Data: make([]byte, n)})
			}
		}
	}
	var written []string
	var sent []any
	for _, v := range values {
		if encoded, err := write(v); err == nil {
			written, sent = append(written, encoded), append(sent, v)
		}
	}
	if len(sent) < 100 {
		t.Errorf("only %d values were let through", len(sent))
	}
	var w wrong
	oracle.StartWithNumPy(t).Ask(t, map[string]any{"ask": "load", "pickles": written}, &w)
	for _, x := range w.Wrong {
		t.Errorf("%#v: Python raises %v", sent[int(x[0].(float64))], x[1])
	}
}
