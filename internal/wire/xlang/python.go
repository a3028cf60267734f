package xlang

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
)

// bufferAlign is where Ray lets the buffers begin: at the next multiple, counted from the start of the value, since it
// keeps values at such addresses.
const bufferAlign = 64

// pickledObjects reads the Python objects behind the msgpack bytes, which begin at offset in the value: two little-endian
// lengths, a pickle of a list, a PythonObject message that describes the buffers that the pickle left out, and these.
func pickledObjects(b []byte, offset int) ([]any, error) {
	const lengths = 16
	if len(b) < lengths {
		return nil, fmt.Errorf("%w: no pickled part behind the msgpack", ErrMalformed)
	}
	size, described := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	room := uint64(len(b) - lengths)
	if size > room || described > room-size {
		return nil, fmt.Errorf("%w: pickled part says %d and %d bytes of %d", ErrMalformed, size, described, room)
	}
	end := lengths + int(size) + int(described)
	buffers, err := buffersOf(b[lengths+int(size):end], b, end+(bufferAlign-(offset+end)%bufferAlign)%bufferAlign)
	if err != nil {
		return nil, err
	}
	v, err := pickle.Unmarshal(b[lengths:lengths+int(size)], pickle.Options{Buffers: buffers})
	if err != nil {
		return nil, govalue.Unsupported("%w", err)
	}
	list, ok := v.(*pickle.List)
	if !ok {
		return nil, fmt.Errorf("%w: pickled part is a %T, not a list", ErrMalformed, v)
	}
	plain, err := pyvalue.NewDecoder(int(size)).Value(list)
	if err != nil {
		return nil, err
	}
	items, ok := plain.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: pickled list became a %T", ErrMalformed, plain)
	}
	return items, nil
}

// Field numbers of ray.serialization.PythonObject and PythonBuffer.
const (
	fieldBuffer  protowire.Number = 3
	fieldAddress protowire.Number = 1
	fieldLength  protowire.Number = 2
)

// buffersOf returns the buffers that a PythonObject describes, which lie in data from start on.
func buffersOf(message, data []byte, start int) ([][]byte, error) {
	var buffers [][]byte
	err := fields(message, func(number protowire.Number, _ uint64, inner []byte) error {
		if number != fieldBuffer {
			return nil
		}
		var address, length uint64
		if err := fields(inner, func(number protowire.Number, n uint64, _ []byte) error {
			switch number {
			case fieldAddress:
				address = n
			case fieldLength:
				length = n
			}
			return nil
		}); err != nil {
			return err
		}
		room := uint64(max(0, len(data)-start))
		if address > room || length > room-address {
			return fmt.Errorf("%w: a buffer of %d bytes at %d of %d", ErrMalformed, length, address, room)
		}
		if length == 0 {
			buffers = append(buffers, []byte{})
			return nil
		}
		from, to := start+int(address), start+int(address+length)
		buffers = append(buffers, data[from:to:to])
		return nil
	})
	return buffers, err
}

// fields calls f for each field of a protobuf message, with its number or its bytes.
func fields(message []byte, f func(number protowire.Number, n uint64, inner []byte) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return fmt.Errorf("%w: description of buffers: %w", ErrMalformed, protowire.ParseError(size))
		}
		message = message[size:]
		var n uint64
		var inner []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			inner, size = protowire.ConsumeBytes(message)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return fmt.Errorf("%w: description of buffers: %w", ErrMalformed, protowire.ParseError(size))
		}
		message = message[size:]
		if err := f(number, n, inner); err != nil {
			return err
		}
	}
	return nil
}
