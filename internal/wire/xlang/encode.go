package xlang

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/ray/python"
)

// Metadata values: they say how the data of an argument or result is to be read.
const (
	MetadataRaw    = "RAW"
	MetadataXLang  = "XLANG"
	MetadataPython = "PYTHON"
)

const (
	// headerLen is the room that Ray leaves before the msgpack bytes: their length, itself a msgpack integer, padded.
	headerLen = 9
	// maxDepth bounds nesting in both directions; Python's own msgpack stops at 511.
	maxDepth = 200
	// maxValues and maxSize bound what is written: a few values that occur in each other many times describe very much.
	maxValues = 10_000_000
	maxSize   = math.MaxInt32
)

// ErrUnsupported is wrapped by every error about a value that has no cross-language form.
var ErrUnsupported = govalue.ErrUnsupported

var (
	metadataRaw   = []byte(MetadataRaw)
	metadataXLang = []byte(MetadataXLang)
)

// Encode returns the data and metadata of v. A []byte is passed on without a copy, as RAW. Nil, booleans, integers of 64
// bits, floats (NaN and the infinities too), UTF-8 strings, bytes, slices, maps with text or integer keys and structs (by
// their json tags) become XLANG, by the rules of govalue.Unfold; map keys are sorted, so equal values have equal bytes.
// Anything else, at any depth, wraps ErrUnsupported in a *govalue.Error that names the place: so do values that hold
// themselves, that nest deeper than 200 (what is taken apart by reflection counts on its own) or that have more than
// 10,000,000 parts or 2 GiB. The metadata must not be modified.
func Encode(v any) (data, metadata []byte, err error) {
	if raw, ok := v.([]byte); ok {
		return raw, metadataRaw, nil
	}
	data, err = EncodeXLang(v)
	return data, metadataXLang, err
}

// EncodeXLang encodes v as XLANG even when it is a []byte.
func EncodeXLang(v any) ([]byte, error) {
	e := encoder{b: make([]byte, headerLen, headerLen+64)}
	if err := e.value(v, 0); err != nil {
		return nil, err
	}
	// Ray accepts a uint64 header whatever the length is.
	e.b[0] = 0xcf
	binary.BigEndian.PutUint64(e.b[1:headerLen], uint64(len(e.b)-headerLen))
	return e.b, nil
}

// encoder appends msgpack.
type encoder struct {
	b      []byte
	values int
}

func unsupported(format string, args ...any) error {
	return &govalue.Error{Err: govalue.Unsupported(format, args...)}
}

// value writes the plain types itself, without reflection, since they are nearly all that a call carries; what is left is
// unfolded to them.
func (e *encoder) value(v any, depth int) error {
	if depth > maxDepth {
		return unsupported("nested deeper than %d, or it holds itself", maxDepth)
	}
	if e.values++; e.values > maxValues || len(e.b) > maxSize {
		return unsupported("more than %d values or %d bytes", maxValues, maxSize)
	}
	switch x := v.(type) {
	case nil:
		e.b = append(e.b, 0xc0)
	case bool:
		if x {
			e.b = append(e.b, 0xc3)
		} else {
			e.b = append(e.b, 0xc2)
		}
	case int:
		e.int(int64(x))
	case int32:
		e.int(int64(x))
	case int64:
		e.int(x)
	case uint32:
		e.int(int64(x))
	case uint64:
		if x <= math.MaxInt64 {
			e.int(int64(x))
		} else {
			e.b = binary.BigEndian.AppendUint64(append(e.b, 0xcf), x)
		}
	case float64:
		e.float(x)
	case float32:
		e.float(float64(x))
	case string:
		return e.text(x)
	case []byte:
		if err := e.length(len(x), 0, 0, 0xc4, 0xc5, 0xc6); err != nil {
			return err
		}
		e.b = append(e.b, x...)
	case []any:
		return list(e, x, depth)
	case []string:
		return list(e, x, depth)
	case []float64:
		return list(e, x, depth)
	case []int:
		return list(e, x, depth)
	case map[string]any:
		return dict(e, x, depth)
	case map[string]float64:
		return dict(e, x, depth)
	case map[string]string:
		return dict(e, x, depth)
	case govalue.Map:
		return e.entries(x, depth)
	case python.Value, python.Array, python.Object:
		return unsupported("a %T, which only Python knows", v)
	default:
		parts, err := govalue.Unfold(v)
		if err != nil {
			return err
		}
		// What was unfolded counts as a level, so that a pointer to itself ends.
		return e.value(parts, depth+1)
	}
	return nil
}

func list[T any](e *encoder, items []T, depth int) error {
	if err := e.length(len(items), 0x90, 16, 0, 0xdc, 0xdd); err != nil {
		return err
	}
	for i := range items {
		if err := e.value(items[i], depth+1); err != nil {
			return govalue.Within(govalue.At(i), err)
		}
	}
	return nil
}

func dict[T any](e *encoder, m map[string]T, depth int) error {
	if err := e.length(len(m), 0x80, 16, 0, 0xde, 0xdf); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if err := e.text(key); err != nil {
			return govalue.Within(govalue.Named(key), err)
		}
		if err := e.value(m[key], depth+1); err != nil {
			return govalue.Within(govalue.Named(key), err)
		}
	}
	return nil
}

func (e *encoder) entries(m govalue.Map, depth int) error {
	if err := e.length(len(m), 0x80, 16, 0, 0xde, 0xdf); err != nil {
		return err
	}
	for _, entry := range m {
		for _, v := range []any{entry.Key, entry.Value} {
			if err := e.value(v, depth+1); err != nil {
				return govalue.Within(govalue.Key(entry.Key), err)
			}
		}
	}
	return nil
}

func (e *encoder) int(n int64) {
	switch {
	case n >= -32 && n <= math.MaxInt8:
		e.b = append(e.b, byte(n))
	case n >= 0 && n <= math.MaxUint8:
		e.b = append(e.b, 0xcc, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		e.b = binary.BigEndian.AppendUint16(append(e.b, 0xcd), uint16(n))
	case n >= 0 && n <= math.MaxUint32:
		e.b = binary.BigEndian.AppendUint32(append(e.b, 0xce), uint32(n))
	case n >= math.MinInt8 && n < 0:
		e.b = append(e.b, 0xd0, byte(n))
	case n >= math.MinInt16 && n < 0:
		e.b = binary.BigEndian.AppendUint16(append(e.b, 0xd1), uint16(n))
	case n >= math.MinInt32 && n < 0:
		e.b = binary.BigEndian.AppendUint32(append(e.b, 0xd2), uint32(n))
	default:
		e.b = binary.BigEndian.AppendUint64(append(e.b, 0xd3), uint64(n))
	}
}

func (e *encoder) float(f float64) {
	e.b = binary.BigEndian.AppendUint64(append(e.b, 0xcb), math.Float64bits(f))
}

func (e *encoder) text(s string) error {
	if !utf8.ValidString(s) {
		return unsupported("a string that is not UTF-8; give []byte")
	}
	if err := e.length(len(s), 0xa0, 32, 0xd9, 0xda, 0xdb); err != nil {
		return err
	}
	e.b = append(e.b, s...)
	return nil
}

// length writes the shortest msgpack length prefix: the fixed form below fixLimit, then the 8-bit form where there is one
// (code8 != 0), the 16-bit and the 32-bit form.
func (e *encoder) length(n int, fix byte, fixLimit int, code8, code16, code32 byte) error {
	switch {
	case n < fixLimit:
		e.b = append(e.b, fix|byte(n))
	case code8 != 0 && n <= math.MaxUint8:
		e.b = append(e.b, code8, byte(n))
	case n <= math.MaxUint16:
		e.b = binary.BigEndian.AppendUint16(append(e.b, code16), uint16(n))
	case n <= maxSize:
		e.b = binary.BigEndian.AppendUint32(append(e.b, code32), uint32(n))
	default:
		return unsupported("a part of %d; at most %d bytes or elements", n, maxSize)
	}
	return nil
}
