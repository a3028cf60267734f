package xlang_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/xlang"
)

func values() []any {
	long := strings.Repeat("x", 70000)
	list := make([]any, 70000)
	for i := range list {
		list[i] = int64(i % 7)
	}
	return []any{
		nil, true, false, int64(0), int64(127), int64(128), int64(255), int64(256), int64(65535), int64(65536),
		int64(math.MaxUint32), int64(math.MaxUint32 + 1), int64(math.MaxInt64), int64(-1), int64(-32), int64(-33),
		int64(-128), int64(-129), int64(-32768), int64(-32769), int64(math.MinInt32), int64(math.MinInt32) - 1,
		int64(math.MinInt64), uint64(math.MaxUint64), 1.5, -0.25, math.Inf(1), "", "a", strings.Repeat("y", 31),
		strings.Repeat("y", 32), strings.Repeat("y", 256), long, "\u00e4\u4e16",
		[]any{},
		[]any{int64(1), "two", 3.0, nil, []any{true}},
		list,
		map[string]any{},
		map[string]any{"type": "general", "nested": map[string]any{"n": int64(1), "b": []byte{0, 1}}},
		map[any]any{int64(1): "one", int64(2): nil},
	}
}

func TestDecodeReversesEncode(t *testing.T) {
	for _, want := range values() {
		if _, ok := want.(map[any]any); ok {
			continue // written by Python only
		}
		data, metadata, err := xlang.Encode(want)
		if err != nil {
			t.Fatalf("%.40v: %v", want, err)
		}
		got, err := xlang.Decode(data, metadata)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.40v came back as %.40v, %v", want, got, err)
		}
	}
}

func TestBytesTravelRawAndUncopied(t *testing.T) {
	in := []byte{0, 1, 2}
	data, metadata, err := xlang.Encode(in)
	if err != nil || string(metadata) != xlang.MetadataRaw || &data[0] != &in[0] {
		t.Fatalf("data %v metadata %s: %v", data, metadata, err)
	}
}

func TestStructsTravelByJSONTags(t *testing.T) {
	type inner struct {
		N int `json:"n"`
	}
	type task struct {
		Type  string         `json:"type"`
		Inner inner          `json:"inner"`
		Extra map[string]int `json:"extra,omitempty"`
	}
	data, metadata, err := xlang.Encode(task{Type: "general", Inner: inner{3}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := xlang.Decode(data, metadata)
	want := map[string]any{"type": "general", "inner": map[string]any{"n": int64(3)}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	var back task
	if err := xlang.DecodeInto(data, metadata, &back); err != nil || back.Inner.N != 3 || back.Type != "general" {
		t.Fatalf("got %+v, %v", back, err)
	}
	if err := xlang.DecodeInto(data, metadata, new([]int)); !errors.Is(err, govalue.ErrMismatch) {
		t.Fatalf("a map into []int: %v", err)
	}
}

func TestWhatHasNoFormIsRefused(t *testing.T) {
	cyclic := []any{nil}
	cyclic[0] = cyclic
	for _, v := range []any{make(chan int), func() {}, map[string]any{"f": func() {}}, cyclic} {
		if _, _, err := xlang.Encode(v); !errors.Is(err, xlang.ErrUnsupported) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestMalformedBytesAreErrors(t *testing.T) {
	header := func(body ...byte) []byte { return append([]byte{byte(len(body)), 9, 9, 9, 9, 9, 9, 9, 9}, body...) }
	for name, data := range map[string][]byte{
		"empty":            {},
		"short header":     {1, 2, 3},
		"longer than data": {5, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"header is text":   {0xa1, 'x', 0, 0, 0, 0, 0, 0, 0},
		"cut string":       header(0xa5, 'x'),
		"huge list":        header(0xdd, 0xff, 0xff, 0xff, 0xff),
		"huge map":         header(0xdf, 0xff, 0xff, 0xff, 0xff),
		"list as key":      header(0x81, 0x90, 0x01),
		"rest":             header(1, 2),
		"unknown code":     header(0xc1),
		"extension":        header(0xd4, 101, 0),
		"deep":             header(bytes.Repeat([]byte{0x91}, 120)...),
	} {
		if v, err := xlang.Decode(data, []byte(xlang.MetadataXLang)); err == nil {
			t.Errorf("%s decoded to %v", name, v)
		}
	}
	if _, err := xlang.Decode(nil, []byte("ARROW")); !errors.Is(err, xlang.ErrUnsupported) {
		t.Errorf("unknown metadata: %v", err)
	}
}

// TestPythonAgrees lets Ray's own serializer read what we write and write what we read.
func TestPythonAgrees(t *testing.T) {
	const script = `
import json, sys, msgpack
from ray._raylet import MessagePackSerializer

def canon(v):
    if isinstance(v, bytes): return ["bytes", v.hex()]
    if isinstance(v, float): return ["float", repr(v)]
    if isinstance(v, dict): return ["dict", sorted([[canon(k), canon(x)] for k, x in v.items()], key=repr)]
    if isinstance(v, (list, tuple)): return [type(v).__name__, [canon(x) for x in v]]
    return [type(v).__name__, repr(v)]

out = []
for line in sys.stdin:
    data = bytes.fromhex(line.strip())
    u = msgpack.Unpacker(strict_map_key=False); u.feed(data[:9]); length = u.unpack()
    v = MessagePackSerializer.loads(data[9:9+length], None)
    again = MessagePackSerializer.dumps(v, None)
    head = msgpack.packb(len(again)); head += b"\xee" * (9 - len(head))
    out.append([canon(v), (head + again).hex()])
print(json.dumps(out))
`
	var stdin bytes.Buffer
	var want []any
	for _, v := range values() {
		if _, ok := v.(map[any]any); ok {
			continue
		}
		if b, ok := v.([]byte); ok {
			v = b
		}
		data, err := xlang.EncodeXLang(v)
		if err != nil {
			t.Fatal(err)
		}
		stdin.WriteString(hex.EncodeToString(data) + "\n")
		want = append(want, v)
	}
	python, err := filepath.Abs("../../../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = &stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python (run `make setup` first): %v\n%s", err, stderr.String())
	}
	var rows [][2]json.RawMessage
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(want) {
		t.Fatalf("%d answers for %d values", len(rows), len(want))
	}
	for i, row := range rows {
		var text string
		if err := json.Unmarshal(row[1], &text); err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := xlang.Decode(data, []byte(xlang.MetadataXLang))
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("python turned %.60v (%.60s) into %.60v, %v", want[i], row[0], got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range []any{nil, int64(300), "text", []any{1.5, map[string]any{"k": []byte{1}}}} {
		data, err := xlang.EncodeXLang(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, xlang.MetadataXLang)
	}
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0xd4, 101, 0}, xlang.MetadataPython)
	f.Add(pythonValue(array, []buffer{{8, 16}}, make([]byte, 24)), xlang.MetadataPython)
	f.Fuzz(func(t *testing.T, data []byte, metadata string) {
		before := allocated()
		v, err := xlang.Decode(data, []byte(metadata))
		if got := allocated() - before; got > allowance(data) {
			t.Fatalf("%d bytes allocated for an input of %d", got, len(data))
		}
		if err != nil || metadata != xlang.MetadataXLang {
			return
		}
		switch v.(type) {
		case map[any]any:
			return
		}
		again, err := xlang.EncodeXLang(v)
		if err != nil {
			return // a map[any]any deeper inside
		}
		if _, err := xlang.Decode(again, []byte(metadata)); err != nil {
			t.Fatalf("%v encoded and did not decode: %v", v, err)
		}
	})
}
