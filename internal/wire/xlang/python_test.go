package xlang_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/xlang"
	"github.com/seedcore/seedcore/ray/python"
)

// buffer is where a worker put one, as offset and length.
type buffer struct{ address, length uint64 }

// pythonValue lays out a value as a worker does: the header, a reference to object 0, two lengths, the pickle, the
// description of the buffers, and these from the next multiple of 64 on.
func pythonValue(pickled string, buffers []buffer, raw []byte) []byte {
	var message []byte
	message = protowire.AppendVarint(protowire.AppendTag(message, 1, protowire.VarintType), uint64(len(pickled)))
	message = protowire.AppendVarint(protowire.AppendTag(message, 2, protowire.VarintType), uint64(len(raw)))
	for _, b := range buffers {
		var m []byte
		m = protowire.AppendVarint(protowire.AppendTag(m, 1, protowire.VarintType), b.address)
		m = protowire.AppendVarint(protowire.AppendTag(m, 2, protowire.VarintType), b.length)
		m = protowire.AppendString(protowire.AppendTag(m, 6, protowire.BytesType), "d")
		message = protowire.AppendBytes(protowire.AppendTag(message, 3, protowire.BytesType), m)
	}
	data := framed([]byte{0xd4, 101, 0})
	data = binary.LittleEndian.AppendUint64(data, uint64(len(pickled)))
	data = binary.LittleEndian.AppendUint64(data, uint64(len(message)))
	data = append(append(data, pickled...), message...)
	if len(raw) > 0 {
		data = append(data, bytes.Repeat([]byte{0xee}, (64-len(data)%64)%64)...)
		data = append(append(data, raw...), make([]byte, 64)...) // the room that was too much
	}
	return data
}

// array is the pickle of a list with an array whose data lies outside.
const array = "](cnumpy._core.numeric\n_frombuffer\n(\x97\x98cnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbK\x02\x85\x8c\x01CtRe."

func TestArraysLieBesideThePickle(t *testing.T) {
	raw := make([]byte, 80)
	two, err := python.NewArray([]float64{1.5, -2})
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[64:], two.Data)
	data := pythonValue(array, []buffer{{64, 16}}, raw)
	if got, err := xlang.Decode(data, []byte(xlang.MetadataPython)); err != nil || !reflect.DeepEqual(got, two) {
		t.Errorf("%#v, %v", got, err)
	}
	var numbers []float64
	if err := xlang.DecodeInto(data, []byte(xlang.MetadataPython), &numbers); err != nil || !reflect.DeepEqual(numbers, []float64{1.5, -2}) {
		t.Errorf("%v, %v", numbers, err)
	}
	for name, data := range map[string][]byte{
		"no buffer":           pythonValue(array, nil, raw),
		"beyond the end":      pythonValue(array, []buffer{{1 << 40, 16}}, raw),
		"longer than what is": pythonValue(array, []buffer{{64, 1 << 40}}, raw),
		"overflow":            pythonValue(array, []buffer{{1<<64 - 8, 16}}, raw),
		"cut":                 data[:len(data)-80-64],
	} {
		_, err := xlang.Decode(data, []byte(xlang.MetadataPython))
		if !errors.Is(err, xlang.ErrMalformed) && !errors.Is(err, pickle.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An array that is shorter than it says keeps its parts.
	got, err := xlang.Decode(pythonValue(array, []buffer{{64, 8}}, raw), []byte(xlang.MetadataPython))
	if _, ok := got.(*python.Object); err != nil || !ok {
		t.Errorf("%#v, %v", got, err)
	}
}
