package pyvalue

import (
	"encoding/json"
	"math/big"
	"time"
	"unicode/utf8"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray/python"
)

const (
	maxDepth  = 100
	maxValues = 10_000_000
)

// ErrUnsupported is wrapped by every error about a value that has no form, in a *govalue.Error that names the place.
var ErrUnsupported = govalue.ErrUnsupported

// Encoder turns Go values into what package pickle writes. It lets through only what Python reads without importing more
// than its standard library, and what it reads without raising: an argument that the server cannot read ends the whole
// session. The zero value works, except that it refuses all text and bytes; see MaxBytes.
type Encoder struct {
	// Ref returns the form of a value that only its owner knows, such as a ref, and whether it is one. May be nil.
	Ref func(v any) (form any, known bool, err error)
	// MaxBytes bounds all text and bytes together, so that too much is refused before it is copied.
	MaxBytes int
	// NumPy is set when a value needs numpy at the other side.
	NumPy bool

	bytes  int
	values int
}

// Value returns the form of v, which may alias v. Values of types that are not plain go by govalue.Unfold.
func (e *Encoder) Value(v any) (any, error) { return e.value(v, 0) }

func unsupported(format string, args ...any) error {
	return &govalue.Error{Err: govalue.Unsupported(format, args...)}
}

func (e *Encoder) value(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, unsupported("nested deeper than %d, or it holds itself", maxDepth)
	}
	if e.values++; e.values > maxValues {
		return nil, unsupported("more than %d values", maxValues)
	}
	switch x := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return v, nil
	case []byte:
		return v, e.count(len(x))
	case string:
		return v, e.text(x)
	case *big.Int:
		if x == nil {
			return nil, nil
		}
		return v, e.count(x.BitLen() / 8)
	case []any:
		return e.list(x, depth)
	case map[string]any:
		return e.named(x, depth)
	case map[any]any:
		return e.mixed(x, depth)
	case []string:
		for i, item := range x {
			if err := e.text(item); err != nil {
				return nil, govalue.Within(govalue.At(i), err)
			}
		}
		return v, nil
	case map[string]string:
		for key, item := range x {
			for _, text := range []string{key, item} {
				if err := e.text(text); err != nil {
					return nil, govalue.Within(govalue.Named(key), err)
				}
			}
		}
		return v, nil
	case complex128:
		return pickle.Call{Func: builtin("complex"), Args: pickle.Tuple{real(x), imag(x)}}, nil
	case complex64:
		return pickle.Call{Func: builtin("complex"), Args: pickle.Tuple{float64(real(x)), float64(imag(x))}}, nil
	case time.Time:
		return instant(x)
	case time.Duration:
		return timedelta(x)
	case python.Value:
		return e.python(x, depth)
	case python.Array: // not as a struct
		return e.array(&x)
	case python.Object:
		return e.python(&x, depth)
	case json.Number:
		if n, ok := new(big.Int).SetString(string(x), 10); ok && n.Sign() != 0 && !n.IsInt64() && !n.IsUint64() {
			return n, e.count(len(x))
		}
	case govalue.Map:
		return e.entries(x, depth)
	}
	if e.Ref != nil {
		if form, known, err := e.Ref(v); known || err != nil {
			return form, err
		}
	}
	parts, err := govalue.Unfold(v)
	if err != nil {
		return nil, err
	}
	// What was unfolded counts as a level, so that a pointer to itself ends.
	return e.value(parts, depth+1)
}

func (e *Encoder) list(items []any, depth int) ([]any, error) {
	out := make([]any, len(items))
	for i, item := range items {
		var err error
		if out[i], err = e.value(item, depth+1); err != nil {
			return nil, govalue.Within(govalue.At(i), err)
		}
	}
	return out, nil
}

func (e *Encoder) named(m map[string]any, depth int) (any, error) {
	out := make(map[string]any, len(m))
	for key, item := range m {
		err := e.text(key)
		if err == nil {
			out[key], err = e.value(item, depth+1)
		}
		if err != nil {
			return nil, govalue.Within(govalue.Named(key), err)
		}
	}
	return out, nil
}

func (e *Encoder) mixed(m map[any]any, depth int) (any, error) {
	out := &pickle.Dict{Items: make([]pickle.Item, 0, len(m))}
	for key, item := range m {
		err := hashable(key, depth)
		var pair pickle.Item
		if err == nil {
			pair.Key, err = e.value(key, depth+1)
		}
		if err == nil {
			pair.Value, err = e.value(item, depth+1)
		}
		if err != nil {
			return nil, govalue.Within(govalue.Key(key), err)
		}
		out.Items = append(out.Items, pair)
	}
	return out, nil
}

func (e *Encoder) entries(m govalue.Map, depth int) (any, error) {
	out := &pickle.Dict{Items: make([]pickle.Item, len(m))}
	for i, entry := range m {
		key, err := e.value(entry.Key, depth+1)
		if err == nil {
			out.Items[i].Key = key
			out.Items[i].Value, err = e.value(entry.Value, depth+1)
		}
		if err != nil {
			return nil, govalue.Within(govalue.Key(entry.Key), err)
		}
	}
	return out, nil
}

// count adds to the size.
func (e *Encoder) count(n int) error {
	if e.bytes += n; e.bytes > e.MaxBytes {
		return unsupported("at least %d bytes; %d can be sent at once", e.bytes, e.MaxBytes)
	}
	return nil
}

func (e *Encoder) text(s string) error {
	if !utf8.ValidString(s) {
		return unsupported("a string that is not UTF-8; give []byte")
	}
	return e.count(len(s))
}

// python returns the form of a value of package python.
func (e *Encoder) python(v python.Value, depth int) (any, error) {
	switch x := v.(type) {
	case python.Tuple:
		items, err := e.list(x, depth)
		return pickle.Tuple(items), err
	case python.Set:
		return e.set(x, false, depth)
	case python.FrozenSet:
		return e.set(x, true, depth)
	case python.Dict:
		return e.dict(x, depth)
	case python.Date:
		if err := x.Check(); err != nil {
			return nil, unsupported("%w", err)
		}
		return pickle.Call{Func: datetimeName("date"), Args: pickle.Tuple{x.Year, int(x.Month), x.Day}}, nil
	case python.Time:
		if err := x.Check(); err != nil {
			return nil, unsupported("%w", err)
		}
		return pickle.Call{Func: datetimeName("time"), Args: pickle.Tuple{x.Hour, x.Minute, x.Second, x.Microsecond}}, nil
	case python.DateTime:
		if err := x.Check(); err != nil {
			return nil, unsupported("%w", err)
		}
		return pickle.Call{Func: datetimeName("datetime"), Args: pickle.Tuple{
			x.Date.Year, int(x.Date.Month), x.Date.Day, x.Time.Hour, x.Time.Minute, x.Time.Second, x.Time.Microsecond,
		}}, nil
	case python.Decimal:
		if err := x.Check(); err != nil {
			return nil, unsupported("%w", err)
		}
		return pickle.Call{Func: pickle.Global{Module: "decimal", Name: "Decimal"}, Args: pickle.Tuple{string(x)}}, e.count(len(x))
	case python.UUID:
		// uuid.UUID(hex)
		return pickle.Call{Func: pickle.Global{Module: "uuid", Name: "UUID"}, Args: pickle.Tuple{x.String()}}, nil
	case *python.Array:
		return e.array(x)
	case *python.Object:
		if x == nil {
			return nil, nil
		}
		return nil, unsupported("an instance of %s: the cluster may not have the class; give its parts", x.Class)
	case python.Global:
		return nil, unsupported("the Python object %v: only functions and classes can be named, by Submit and PythonClass", x)
	}
	return nil, unsupported("a %T has no form in Python", v)
}

func (e *Encoder) set(items []any, frozen bool, depth int) (any, error) {
	for i, item := range items {
		if err := hashable(item, depth); err != nil {
			return nil, govalue.Within(govalue.At(i), err)
		}
	}
	out, err := e.list(items, depth)
	return &pickle.Set{Items: out, Frozen: frozen}, err
}

func (e *Encoder) dict(d python.Dict, depth int) (any, error) {
	out := &pickle.Dict{Items: make([]pickle.Item, len(d))}
	for i, item := range d {
		err := hashable(item.Key, depth)
		if err == nil {
			out.Items[i].Key, err = e.value(item.Key, depth+1)
		}
		if err != nil {
			return nil, govalue.Within(govalue.At(i)+".Key", err)
		}
		if out.Items[i].Value, err = e.value(item.Value, depth+1); err != nil {
			return nil, govalue.Within(govalue.At(i)+".Value", err)
		}
	}
	return out, nil
}

// hashable refuses what Python could not put into a set or take for a key, for it would raise while it reads.
func hashable(v any, depth int) error {
	if depth > maxDepth {
		return unsupported("nested deeper than %d, or it holds itself", maxDepth)
	}
	var parts []any
	switch x := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128,
		string, []byte, *big.Int, time.Time, time.Duration, python.Date, python.Time, python.DateTime, python.UUID:
		return nil
	case python.Decimal:
		if len(x) > 0 && (x[0] == 's' || len(x) > 1 && x[1] == 's') {
			return unsupported("a signalling NaN as a key or an element of a set")
		}
		return nil
	case python.Tuple:
		parts = x
	case python.FrozenSet:
		parts = x
	default:
		return unsupported("a %T as a key or an element of a set: Python cannot hash it", v)
	}
	for i, part := range parts {
		if err := hashable(part, depth+1); err != nil {
			return govalue.Within(govalue.At(i), err)
		}
	}
	return nil
}

func builtin(name string) pickle.Global { return pickle.Global{Module: "builtins", Name: name} }

func datetimeName(name string) pickle.Global { return pickle.Global{Module: "datetime", Name: name} }

// instant returns an aware datetime with the offset that t has: the rules of its time zone stay behind.
func instant(t time.Time) (any, error) {
	_, offset := t.Zone()
	switch {
	case t.Year() < 1 || t.Year() > 9999:
		return nil, unsupported("a time in the year %d; Python's end at 9999", t.Year())
	case t.Nanosecond()%1000 != 0:
		return nil, unsupported("a time with %d nanoseconds; Python's have microseconds: t.Truncate(time.Microsecond) fits", t.Nanosecond())
	case offset <= -86400 || offset >= 86400:
		return nil, unsupported("a time zone %d seconds from UTC; Python's stay within a day", offset)
	}
	return pickle.Call{Func: datetimeName("datetime"), Args: pickle.Tuple{
		t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1000,
		pickle.Call{Func: datetimeName("timezone"), Args: pickle.Tuple{
			pickle.Call{Func: datetimeName("timedelta"), Args: pickle.Tuple{0, offset}},
		}},
	}}, nil
}

func timedelta(d time.Duration) (any, error) {
	if d%time.Microsecond != 0 {
		return nil, unsupported("a duration with nanoseconds; Python's have microseconds: d.Truncate(time.Microsecond) fits")
	}
	return pickle.Call{Func: datetimeName("timedelta"), Args: pickle.Tuple{
		int64(d / (24 * time.Hour)), int64(d % (24 * time.Hour) / time.Second), int64(d % time.Second / time.Microsecond),
	}}, nil
}

// array returns numpy.ndarray(shape, dtype, buffer, offset, strides, order): numpy's own constructor, of any version.
func (e *Encoder) array(a *python.Array) (any, error) {
	if a == nil {
		return nil, nil
	}
	if err := a.Check(); err != nil {
		return nil, unsupported("%w", err)
	}
	if len(a.DType) == 3 && a.DType[2] == '0' {
		return nil, unsupported("an array of %s, whose elements have no bytes", a.DType)
	}
	if err := e.count(len(a.Data)); err != nil {
		return nil, err
	}
	e.NumPy = true
	shape := make(pickle.Tuple, len(a.Shape))
	for i, n := range a.Shape {
		shape[i] = n
	}
	order := "C"
	if a.Fortran {
		order = "F"
	}
	return pickle.Call{Func: NumPyArray, Args: pickle.Tuple{shape, a.DType, &pickle.ByteArray{Data: a.Data}, 0, nil, order}}, nil
}

// NumPyArray is the class that values with NumPy need.
var NumPyArray = pickle.Global{Module: "numpy", Name: "ndarray"}
