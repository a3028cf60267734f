// Package field writes and reads single fields of protobuf messages, for the few messages that are encoded by hand.
//
//	b = field.AppendBytes(b, 1, id)
//	b = field.AppendVarint(b, 2, field.Bit(valid))
//	...
//	err := field.Each(b, func(f field.Field, _ []byte) error {
//		switch f.Tag {
//		case 1<<3 | field.Bytes:
//			id = f.Data
//		case 2<<3 | field.Varint:
//			valid = f.Number != 0
//		}
//		return nil
//	})
package field

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The wire types, as they stand in a tag beside the number of the field.
const (
	Varint = uint64(protowire.VarintType)
	Bytes  = uint64(protowire.BytesType)
)

// Field is one field of a message: a number or bytes, by its wire type. It has neither if it is of another type.
type Field struct {
	Tag    uint64 // number and wire type, as on the wire
	Number uint64
	Data   []byte // in the message, with no room behind it
}

// Next reads the field that b begins with, and returns its length.
func Next(b []byte) (f Field, length int, err error) {
	number, wireType, n := protowire.ConsumeTag(b)
	if n < 0 {
		return Field{}, 0, protowire.ParseError(n)
	}
	f.Tag = protowire.EncodeTag(number, wireType)
	size := 0
	switch wireType {
	case protowire.VarintType:
		f.Number, size = protowire.ConsumeVarint(b[n:])
	case protowire.BytesType:
		f.Data, size = protowire.ConsumeBytes(b[n:])
		f.Data = slices.Clip(f.Data)
	default:
		size = protowire.ConsumeFieldValue(number, wireType, b[n:])
	}
	if size < 0 {
		return Field{}, 0, protowire.ParseError(size)
	}
	return f, n + size, nil
}

// Each hands the fields of a message to read, each with the bytes that it takes there. It ends with the first error.
func Each(b []byte, read func(f Field, whole []byte) error) error {
	for len(b) > 0 {
		f, length, err := Next(b)
		if err != nil {
			return err
		}
		if err := read(f, b[:length]); err != nil {
			return err
		}
		b = b[length:]
	}
	return nil
}

// AppendVarint appends a number, and nothing for 0.
func AppendVarint(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// SizeVarint is the length of what AppendVarint appends.
func SizeVarint(n protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeVarint(v)
}

// AppendBytes appends text or bytes, and nothing if there are none.
func AppendBytes[T string | []byte](b []byte, n protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(AppendHead(b, n, len(v)), v...)
}

// SizeBytes is the length of what AppendBytes appends.
func SizeBytes[T string | []byte](n protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return SizeMessage(n, len(v))
}

// AppendHead begins a field of so many bytes, which are to follow: a message, or bytes that may be empty.
func AppendHead(b []byte, n protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), uint64(size))
}

// SizeMessage is the length of a field with its head and so many bytes.
func SizeMessage(n protowire.Number, size int) int {
	return protowire.SizeTag(n) + protowire.SizeBytes(size)
}

// Bit is the number that stands for a truth value.
func Bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
