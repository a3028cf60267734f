package field_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/field"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	var b []byte
	size := 0
	for n, v := range []uint64{0, 1, 1 << 63} {
		number := protowire.Number(n + 1)
		b, size = field.AppendVarint(b, number, v), size+field.SizeVarint(number, v)
	}
	b, size = field.AppendBytes(b, 4, "text"), size+field.SizeBytes(4, "text")
	b, size = field.AppendBytes(b, 5, []byte(nil)), size+field.SizeBytes(5, []byte(nil))
	b, size = field.AppendHead(b, 6, 0), size+field.SizeMessage(6, 0)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 7, protowire.Fixed32Type), 7)
	if len(b) != size+5 {
		t.Errorf("%d bytes, said to be %d", len(b)-5, size)
	}
	var tags []uint64
	var wholes []byte
	err := field.Each(b, func(f field.Field, whole []byte) error {
		tags, wholes = append(tags, f.Tag), append(wholes, whole...)
		if f.Tag == 4<<3|field.Bytes && string(append(f.Data, '!')) != "text!" {
			t.Errorf("%q", f.Data)
		}
		return nil
	})
	want := []uint64{2<<3 | field.Varint, 3<<3 | field.Varint, 4<<3 | field.Bytes, 6<<3 | field.Bytes, 7<<3 | uint64(protowire.Fixed32Type)}
	if err != nil || !bytes.Equal(wholes, b) {
		t.Errorf("%v, and the fields together are %x of %x", err, wholes, b)
	}
	if len(tags) != len(want) {
		t.Fatal(tags)
	}
	for i := range want {
		if tags[i] != want[i] {
			t.Errorf("field %d has the tag %d, want %d", i, tags[i], want[i])
		}
	}
}

func TestAMessageThatEndsTooSoonIsAnError(t *testing.T) {
	whole := field.AppendVarint(field.AppendBytes(nil, 1, "text"), 2, 300)
	for n := 1; n < len(whole); n++ {
		if n == len(whole)-3 {
			continue // between the fields
		}
		if err := field.Each(whole[:n], func(field.Field, []byte) error { return nil }); err == nil {
			t.Errorf("%x is taken for a message", whole[:n])
		}
	}
}
