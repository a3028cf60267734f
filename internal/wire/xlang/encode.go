package xlang

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vmihailenco/msgpack/v5"
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
)

// ErrUnsupported is wrapped by every error about a value that has no cross-language form.
var ErrUnsupported = errors.New("xlang: unsupported value")

var (
	metadataRaw   = []byte(MetadataRaw)
	metadataXLang = []byte(MetadataXLang)
)

// Encode returns the data and metadata of v. A []byte is passed on without a copy, as RAW. Nil, booleans, integers,
// floats, strings, slices, maps with string keys and structs (by their json tags) become XLANG; map keys are sorted, so
// equal values have equal bytes. Anything else is ErrUnsupported. The metadata must not be modified.
func Encode(v any) (data, metadata []byte, err error) {
	if raw, ok := v.([]byte); ok {
		return raw, metadataRaw, nil
	}
	data, err = EncodeXLang(v)
	return data, metadataXLang, err
}

// EncodeXLang encodes v as XLANG even when it is a []byte.
func EncodeXLang(v any) ([]byte, error) {
	buf := make([]byte, headerLen, headerLen+64)
	buf, err := appendValue(buf, v, 0)
	if err != nil {
		return nil, err
	}
	// Ray accepts a uint64 header whatever the length is.
	buf[0] = 0xcf
	binary.BigEndian.PutUint64(buf[1:headerLen], uint64(len(buf)-headerLen))
	return buf, nil
}

// appendValue writes the plain types itself, without reflection, since they are nearly all that a call carries; what is
// left goes through the msgpack library.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrUnsupported, maxDepth)
	}
	switch x := v.(type) {
	case nil:
		return append(b, 0xc0), nil
	case bool:
		if x {
			return append(b, 0xc3), nil
		}
		return append(b, 0xc2), nil
	case int:
		return appendInt(b, int64(x)), nil
	case int32:
		return appendInt(b, int64(x)), nil
	case int64:
		return appendInt(b, x), nil
	case uint32:
		return appendInt(b, int64(x)), nil
	case uint64:
		if x <= math.MaxInt64 {
			return appendInt(b, int64(x)), nil
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcf), x), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(x)), nil
	case float32:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(float64(x))), nil
	case string:
		return appendString(b, x), nil
	case []byte:
		return appendBytes(b, x), nil
	case []any:
		return appendSlice(b, x, depth)
	case []string:
		return appendSlice(b, x, depth)
	case []float64:
		return appendSlice(b, x, depth)
	case map[string]any:
		return appendMap(b, x, depth)
	case map[string]float64:
		return appendMap(b, x, depth)
	case map[string]string:
		return appendMap(b, x, depth)
	}
	return appendReflected(b, v)
}

func appendSlice[T any](b []byte, items []T, depth int) ([]byte, error) {
	b = appendLen(b, len(items), 0x90, 16, 0, 0xdc, 0xdd)
	var err error
	for _, item := range items {
		if b, err = appendValue(b, item, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendMap[T any](b []byte, m map[string]T, depth int) ([]byte, error) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = appendLen(b, len(m), 0x80, 16, 0, 0xde, 0xdf)
	var err error
	for _, k := range keys {
		b = appendString(b, k)
		if b, err = appendValue(b, m[k], depth+1); err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
	}
	return b, nil
}

func appendInt(b []byte, n int64) []byte {
	switch {
	case n >= -32 && n <= math.MaxInt8:
		return append(b, byte(n))
	case n >= 0 && n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n >= 0 && n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	case n >= math.MinInt8 && n < 0:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16 && n < 0:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	case n >= math.MinInt32 && n < 0:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
	}
}

func appendString(b []byte, s string) []byte {
	return append(appendLen(b, len(s), 0xa0, 32, 0xd9, 0xda, 0xdb), s...)
}

func appendBytes(b, data []byte) []byte {
	return append(appendLen(b, len(data), 0, 0, 0xc4, 0xc5, 0xc6), data...)
}

// appendLen writes the shortest msgpack length prefix: the fixed form below fixLimit, then the 8-bit form where there
// is one (code8 != 0), the 16-bit and the 32-bit form.
func appendLen(b []byte, n int, fix byte, fixLimit int, code8, code16, code32 byte) []byte {
	switch {
	case n < fixLimit:
		return append(b, fix|byte(n))
	case code8 != 0 && n <= math.MaxUint8:
		return append(b, code8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, code16), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, code32), uint32(n))
	}
}

func appendReflected(b []byte, v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.NewEncoder(&buf)
	enc.SetCustomStructTag("json")
	enc.SetSortMapKeys(true)
	enc.UseCompactInts(true)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrUnsupported, v, err)
	}
	return append(b, buf.Bytes()...), nil
}
