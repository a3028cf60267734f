package xlang

import (
	"errors"
	"fmt"
	"math"

	"github.com/seedcore/seedcore/internal/wire/govalue"
)

// ErrMalformed is wrapped by every error about bytes that are not a value.
var ErrMalformed = errors.New("xlang: malformed value")

// pythonObject is the msgpack extension type under which Ray refers to a pickled value by its index.
const pythonObject = 101

// Decode returns the value of data: a []byte for RAW (which aliases data), and nil, bool, int64, uint64 (above the range
// of int64), float64, string, []byte, []any and map[string]any for XLANG; a map that has other keys than strings becomes
// a map[any]any. PYTHON values add the forms of package pyvalue. Depth is bounded, and memory by the length of data.
func Decode(data, metadata []byte) (any, error) {
	switch string(metadata) {
	case MetadataRaw:
		return data, nil
	case MetadataXLang:
		body, _, err := split(data)
		if err != nil {
			return nil, err
		}
		return decodeAll(body, nil)
	case MetadataPython:
		body, rest, err := split(data)
		if err != nil {
			return nil, err
		}
		objects, err := pickledObjects(rest, len(data)-len(rest))
		if err != nil {
			return nil, err
		}
		return decodeAll(body, objects)
	default:
		return nil, govalue.Unsupported("metadata %q is none of RAW, XLANG and PYTHON", clip(metadata))
	}
}

// DecodeInto stores the value of data in what into points to, by the rules of govalue.Store: a value that does not fit is
// a *govalue.Error that wraps govalue.ErrMismatch, and into may then be half filled. Bytes in it alias data.
func DecodeInto(data, metadata []byte, into any) error {
	v, err := Decode(data, metadata)
	if err != nil {
		return err
	}
	return govalue.Store(v, into)
}

// split separates the msgpack bytes from what follows them. Only the header's first integer counts: Ray leaves the
// padding behind it uninitialised.
func split(data []byte) (body, rest []byte, err error) {
	if len(data) < headerLen {
		return nil, nil, fmt.Errorf("%w: %d bytes are too short for the header", ErrMalformed, len(data))
	}
	d := decoder{b: data[:headerLen]}
	v, err := d.value(0)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	n, ok := v.(int64)
	if !ok || n < 0 || n > int64(len(data)-headerLen) {
		return nil, nil, fmt.Errorf("%w: header says %v bytes of %d", ErrMalformed, v, len(data)-headerLen)
	}
	return data[headerLen : headerLen+n], data[headerLen+n:], nil
}

func decodeAll(body []byte, objects []any) (any, error) {
	d := decoder{b: body, objects: objects}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.pos != len(d.b) {
		return nil, fmt.Errorf("%w: %d bytes behind the value", ErrMalformed, len(d.b)-d.pos)
	}
	return v, nil
}

// decoder reads msgpack into plain Go values.
type decoder struct {
	b       []byte
	pos     int
	objects []any
	// promised counts the values that lists and maps which are being read still wait for.
	promised uint64
}

func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.b)-d.pos) {
		return nil, fmt.Errorf("%w: %d bytes wanted at %d of %d", ErrMalformed, n, d.pos, len(d.b))
	}
	b := d.b[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return b, nil
}

// uint reads a big-endian integer of size bytes.
func (d *decoder) uint(size int) (uint64, error) {
	b, err := d.take(uint64(size))
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n, nil
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
	}
	code, err := d.uint(1)
	if err != nil {
		return nil, err
	}
	switch c := byte(code); {
	case c < 0x80:
		return int64(c), nil
	case c >= 0xe0:
		return int64(int8(c)), nil
	case c < 0x90:
		return d.dict(uint64(c&0x0f), depth)
	case c < 0xa0:
		return d.list(uint64(c&0x0f), depth)
	case c < 0xc0:
		return d.str(uint64(c & 0x1f))
	}
	switch code {
	case 0xc0:
		return nil, nil
	case 0xc2:
		return false, nil
	case 0xc3:
		return true, nil
	case 0xc4, 0xc5, 0xc6:
		n, err := d.uint(1 << (code - 0xc4))
		if err != nil {
			return nil, err
		}
		return d.take(n)
	case 0xc7, 0xc8, 0xc9:
		n, err := d.uint(1 << (code - 0xc7))
		if err != nil {
			return nil, err
		}
		return d.ext(n)
	case 0xca:
		n, err := d.uint(4)
		return float64(math.Float32frombits(uint32(n))), err
	case 0xcb:
		n, err := d.uint(8)
		return math.Float64frombits(n), err
	case 0xcc, 0xcd, 0xce, 0xcf:
		n, err := d.uint(1 << (code - 0xcc))
		if err == nil && n > math.MaxInt64 {
			return n, nil
		}
		return int64(n), err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		size := 1 << (code - 0xd0)
		n, err := d.uint(size)
		shift := 64 - 8*size
		return int64(n<<shift) >> shift, err
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return d.ext(1 << (code - 0xd4))
	case 0xd9, 0xda, 0xdb:
		n, err := d.uint(1 << (code - 0xd9))
		if err != nil {
			return nil, err
		}
		return d.str(n)
	case 0xdc, 0xdd:
		n, err := d.uint(2 << (code - 0xdc))
		if err != nil {
			return nil, err
		}
		return d.list(n, depth)
	case 0xde, 0xdf:
		n, err := d.uint(2 << (code - 0xde))
		if err != nil {
			return nil, err
		}
		return d.dict(n, depth)
	}
	return nil, fmt.Errorf("%w: code %#x at %d", ErrMalformed, code, d.pos-1)
}

func (d *decoder) str(n uint64) (any, error) {
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	return string(b), nil
}

// promise notes that n more values have to follow, and refuses more of them than there are bytes: each takes one at least,
// those that lists around this one still wait for included. So the input bounds what lists and maps allocate in advance,
// however they nest.
func (d *decoder) promise(n uint64) error {
	if left := uint64(len(d.b) - d.pos); n > left || d.promised+n > left {
		return fmt.Errorf("%w: %d values in %d bytes, %d of which others need", ErrMalformed, n, left, d.promised)
	}
	d.promised += n
	return nil
}

// promisedValue reads a value that a list or map waits for.
func (d *decoder) promisedValue(depth int) (any, error) {
	d.promised--
	return d.value(depth)
}

func (d *decoder) list(n uint64, depth int) (any, error) {
	if err := d.promise(n); err != nil {
		return nil, err
	}
	items := make([]any, n)
	for i := range items {
		v, err := d.promisedValue(depth + 1)
		if err != nil {
			return nil, err
		}
		items[i] = v
	}
	return items, nil
}

func (d *decoder) dict(n uint64, depth int) (any, error) {
	if err := d.promise(2 * n); err != nil {
		return nil, err
	}
	named := make(map[string]any, n)
	var other map[any]any
	for range n {
		k, err := d.promisedValue(depth + 1)
		if err != nil {
			return nil, err
		}
		v, err := d.promisedValue(depth + 1)
		if err != nil {
			return nil, err
		}
		if name, ok := k.(string); ok && other == nil {
			named[name] = v
			continue
		}
		switch k.(type) {
		case nil, bool, int64, uint64, float64, string:
		default:
			return nil, fmt.Errorf("%w: a %T as map key", ErrMalformed, k)
		}
		if other == nil {
			other = make(map[any]any, n)
			for name, v := range named {
				other[name] = v
			}
		}
		other[k] = v
	}
	if other != nil {
		return other, nil
	}
	return named, nil
}

// ext resolves a reference to a pickled object; its data is the object's index, a msgpack integer.
func (d *decoder) ext(n uint64) (any, error) {
	typ, err := d.uint(1)
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	// An index has no objects of its own: extensions inside extensions must not recurse.
	if typ != pythonObject || d.objects == nil {
		return nil, govalue.Unsupported("msgpack extension type %d is unknown", typ)
	}
	v, err := decodeAll(b, nil)
	if err != nil {
		return nil, err
	}
	i, ok := v.(int64)
	if !ok || i < 0 || i >= int64(len(d.objects)) {
		return nil, fmt.Errorf("%w: no pickled object %v among %d", ErrMalformed, v, len(d.objects))
	}
	return d.objects[i], nil
}

func clip(b []byte) []byte { return b[:min(len(b), 40)] }
