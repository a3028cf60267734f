package rayletipc

import (
	"encoding/binary"
	"fmt"
)

// table reads the root table of a flatbuffer. The runtime that comes with flatbuffers trusts its input and panics on
// a bad offset, hence these bounds checks: every offset is checked before it is followed, in 64 bits, where the sum
// of two 32-bit offsets cannot wrap around.
type table struct {
	buf    []byte
	pos    int64 // where the table begins in buf
	size   int64 // its length
	vtable []byte
}

const (
	vtableHeader = 4 // a vtable begins with its own size and the table's, two uint16
	tableHeader  = 4 // a table begins with the signed distance to its vtable
)

func rootTable(buf []byte) (table, error) {
	total := int64(len(buf))
	if total < 4 {
		return table{}, fmt.Errorf("%w: %d bytes cannot hold a flatbuffer", ErrMalformed, total)
	}
	pos := int64(binary.LittleEndian.Uint32(buf))
	if pos+tableHeader > total {
		return table{}, fmt.Errorf("%w: root table at %d of %d bytes", ErrMalformed, pos, total)
	}
	vpos := pos - int64(int32(binary.LittleEndian.Uint32(buf[pos:])))
	if vpos < 0 || vpos+vtableHeader > total {
		return table{}, fmt.Errorf("%w: vtable at %d of %d bytes", ErrMalformed, vpos, total)
	}
	vsize := int64(binary.LittleEndian.Uint16(buf[vpos:]))
	size := int64(binary.LittleEndian.Uint16(buf[vpos+2:]))
	if vsize < vtableHeader || vpos+vsize > total {
		return table{}, fmt.Errorf("%w: vtable of %d bytes at %d of %d", ErrMalformed, vsize, vpos, total)
	}
	if size < tableHeader || pos+size > total {
		return table{}, fmt.Errorf("%w: table of %d bytes at %d of %d", ErrMalformed, size, pos, total)
	}
	return table{buf: buf, pos: pos, size: size, vtable: buf[vpos : vpos+vsize]}, nil
}

// field returns where in buf the width bytes of a slot are, and false when the slot is absent, which means its default.
func (t table) field(slot int, width int64) (int64, bool, error) {
	entry := vtableHeader + 2*slot
	if entry+2 > len(t.vtable) {
		return 0, false, nil
	}
	off := int64(binary.LittleEndian.Uint16(t.vtable[entry:]))
	if off == 0 {
		return 0, false, nil
	}
	if off < tableHeader || off+width > t.size {
		return 0, false, fmt.Errorf("%w: slot %d at %d in a table of %d bytes", ErrMalformed, slot, off, t.size)
	}
	return t.pos + off, true, nil
}

// A reader takes fields out of a table and keeps the first error, so that a message is read without a check a field.
type reader struct {
	table
	err error
}

func newReader(buf []byte) *reader {
	t, err := rootTable(buf)
	return &reader{table: t, err: err}
}

// slots is the number of slots that the writer knew, up to the last one that it filled.
func (r *reader) slots() int {
	if r.err != nil {
		return 0
	}
	return (len(r.vtable) - vtableHeader) / 2
}

func (r *reader) at(slot int, width int64) (int64, bool) {
	if r.err != nil {
		return 0, false
	}
	at, ok, err := r.field(slot, width)
	r.err = err
	return at, ok
}

func (r *reader) bool(slot int) bool {
	at, ok := r.at(slot, 1)
	return ok && r.buf[at] != 0
}

func (r *reader) int32(slot int) int32 {
	at, ok := r.at(slot, 4)
	if !ok {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(r.buf[at:]))
}

func (r *reader) int64(slot int) int64 {
	at, ok := r.at(slot, 8)
	if !ok {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r.buf[at:]))
}

// bytes returns a copy of a string or a vector of bytes, nil when the slot is absent.
func (r *reader) bytes(slot int) []byte {
	at, ok := r.at(slot, 4)
	if !ok {
		return nil
	}
	total := int64(len(r.buf))
	start := at + int64(binary.LittleEndian.Uint32(r.buf[at:])) // relative to where the offset itself is
	if start+4 > total {
		r.err = fmt.Errorf("%w: slot %d points to %d of %d bytes", ErrMalformed, slot, start, total)
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(r.buf[start:]))
	start += 4
	if start+n > total {
		r.err = fmt.Errorf("%w: slot %d has %d bytes at %d of %d", ErrMalformed, slot, n, start, total)
		return nil
	}
	return append(make([]byte, 0, n), r.buf[start:start+n]...)
}
