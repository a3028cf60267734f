package xlang_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/xlang"
)

type opaque struct{ id string }

type failure struct{ Code int }

func (failure) Error() string { return "failed" }

type coded int

func (coded) MarshalText() ([]byte, error) { return []byte("coded"), nil }

type ring struct{ Next any }

type (
	address *address
	tree    struct {
		Name     string  `json:"name"`
		Children []*tree `json:"children"`
	}
)

// What has no faithful form is refused wherever it hides, with the way to it.
func TestRefusalsNameThePlace(t *testing.T) {
	type task struct {
		Items []map[string]any `json:"items"`
	}
	loop := map[string]any{}
	loop["self"] = loop
	slice := []any{1, nil}
	slice[1] = slice
	r := &ring{}
	r.Next = r
	var p address
	p = &p
	root := &tree{Name: "root"}
	root.Children = []*tree{root}
	for _, c := range []struct {
		name string
		v    any
		path string
	}{
		{"a struct without exported fields", opaque{"x"}, "xlang_test.opaque"},
		{"nested, by pointer", task{[]map[string]any{{}, {}, {"ref": &opaque{}}}}, "items[2].ref: "},
		{"an error", map[string]any{"cause": failure{1}}, "cause: "},
		{"a wrapped error", []any{0, errors.New("x")}, "[1]: "},
		{"time", map[string]time.Time{"at": time.Unix(1, 0)}, "at: "},
		{"duration", []time.Duration{time.Second}, "[0]: "},
		{"a type with a text form", []any{coded(1)}, "[0]: "},
		{"a big integer", map[string]any{"n": new(big.Int).Lsh(big.NewInt(1), 64)}, "n: "},
		{"complex", struct{ Z complex128 }{1i}, "Z: "},
		{"a function", map[string]any{"a b": []any{func() {}}}, `["a b"][0]: `},
		{"a pointer to a channel", []any{new(chan int)}, "[0]: "},
		{"keys that are structs", map[struct{ A int }]int{{1}: 1}, "map key"},
		{"keys with a text form", map[coded]int{1: 1}, "map key"},
		{"keys of several types", map[any]any{1.5: 1}, "map key"},
		{"keys that mean the same", map[any]any{1: "a", int8(1): "b"}, "[1]: "},
		{"text that is none", []string{"ok", "\xff"}, "[1]: "},
		{"a key that is none", map[string]int{"\xff": 1}, "UTF-8"},
		{"a map in itself", loop, "self.self"},
		{"a slice in itself", slice, "[1][1]"},
		{"a struct in itself", r, "Next.Next"},
		{"a pointer to itself", p, "deeper"},
		{"a tree in itself", root, "children[0].children[0]"},
	} {
		_, _, err := xlang.Encode(c.v)
		if !errors.Is(err, xlang.ErrUnsupported) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %.300v", c.name, err)
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: an endless message: %v", c.name, err)
		}
	}
}

// Few parts can occur in each other so often that what they describe is too much.
func TestExpansionIsRefused(t *testing.T) {
	wide := make([]any, 5000)
	v := make([]any, 5000)
	for i := range v {
		v[i] = wide
	}
	if _, _, err := xlang.Encode(v); !errors.Is(err, xlang.ErrUnsupported) {
		t.Errorf("5000 times 5000 values: %v", err)
	}
}

func TestTypesByTheirKind(t *testing.T) {
	type (
		name string
		base struct {
			ID     int `json:"id"`
			Hidden int `json:"-"`
			Name   string
		}
		inner struct{ Deep int8 }
		all   struct {
			base
			*inner
			Name   name           `json:"name"`
			Size   uint16         `json:"size,omitempty"`
			Empty  []int          `json:"empty,omitempty"`
			Nil    []int          `json:"nil"`
			NilMap map[string]int `json:"nilmap"`
			Zero   struct{}       `json:"zero,omitzero"`
			None   *int           `json:"none"`
			Hash   [4]byte        `json:"hash"`
			Pair   [2]bool        `json:"pair"`
			Ratio  float32        `json:"ratio"`
			Sizes  map[uint8]name `json:"sizes"`
			Any    any            `json:"any"`
			secret int
		}
	)
	n := 7
	v := all{
		base: base{ID: 1, Hidden: 2, Name: "lent"}, Name: "named", Hash: [4]byte{1, 2, 3, 4}, Pair: [2]bool{true, false}, Ratio: 0.5,
		Sizes: map[uint8]name{3: "x"}, Any: []*int{&n, nil}, secret: 1,
	}
	want := map[string]any{
		"id": int64(1), "Name": "lent", "name": "named", "nil": []any{}, "nilmap": map[string]any{}, "none": nil, "hash": []byte{1, 2, 3, 4},
		"pair": []any{true, false}, "ratio": 0.5, "sizes": map[any]any{int64(3): "x"}, "any": []any{int64(7), nil},
	}
	data, metadata, err := xlang.Encode(&v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := xlang.Decode(data, metadata); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	var back all
	if err := xlang.DecodeInto(data, metadata, &back); err != nil || back.ID != 1 || back.base.Name != "lent" || back.Sizes[3] != "x" || back.Hash != v.Hash {
		t.Errorf("%+v, %v", back, err)
	}
}

// No integer loses a bit on the way, in either direction.
func TestIntegersKeepTheirBits(t *testing.T) {
	for _, n := range []any{
		int64(math.MinInt64), int64(math.MaxInt64), int64(1<<53 + 1), uint64(math.MaxUint64), uint64(1 << 63), new(big.Int).SetUint64(1<<63 + 1),
		big.NewInt(-5), uint(math.MaxUint64), int8(-128), uint8(255), int16(-32768), uint16(65535),
	} {
		data, metadata, err := xlang.Encode(n)
		if err != nil {
			t.Fatal(err)
		}
		var back big.Int
		want, _ := new(big.Int).SetString(text(n), 10)
		if err := xlang.DecodeInto(data, metadata, &back); err != nil || back.Cmp(want) != 0 {
			t.Errorf("%v became %v, %v", n, &back, err)
		}
	}
	for into, n := range map[any]any{new(int32): int64(1 << 31), new(int64): uint64(1 << 63), new(uint): -1, new(float64): 1<<53 + 1, new(float32): 1<<24 + 1, new(int): 1.0} {
		data, metadata, err := xlang.Encode(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := xlang.DecodeInto(data, metadata, into); err == nil {
			t.Errorf("%v fitted into a %T as %v", n, into, reflect.ValueOf(into).Elem())
		}
	}
}

func text(n any) string {
	if b, ok := n.(*big.Int); ok {
		return b.String()
	}
	v := reflect.ValueOf(n)
	if v.CanInt() {
		return big.NewInt(v.Int()).String()
	}
	return new(big.Int).SetUint64(v.Uint()).String()
}

func TestNotANumberTravels(t *testing.T) {
	data, metadata, err := xlang.Encode([]float64{math.NaN(), math.Inf(-1)})
	if err != nil {
		t.Fatal(err)
	}
	var back []float64
	if err := xlang.DecodeInto(data, metadata, &back); err != nil || len(back) != 2 || !math.IsNaN(back[0]) || !math.IsInf(back[1], -1) {
		t.Errorf("%v, %v", back, err)
	}
}

// allocated returns how many bytes were allocated so far by the process.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// allowance is what Decode may allocate in total for an input, whatever it claims.
func allowance(data []byte) uint64 { return 1<<20 + 1000*uint64(len(data)) }

func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0xcf}, uint64(len(body))), body...)
}

func TestDecodeAllocatesByInputLength(t *testing.T) {
	const size = 256 << 10
	nested := func(code byte) []byte { // each claims as many parts as there are bytes
		var b []byte
		for range 190 {
			b = binary.BigEndian.AppendUint32(append(b, code), size/2-2000)
			if code == 0xdf {
				b = append(b, 0xa0)
			}
		}
		return append(b, bytes.Repeat([]byte{0xc0}, size-len(b))...)
	}
	bomb := "]" + strings.Repeat("q\x00]h\x00ah\x00aq\x00", 60) + "."
	bomb = "]r\xff\x00\x00\x00" + strings.ReplaceAll(bomb[1:len(bomb)-1], "]h", "0]h") + "r\x01\x00\x00\x000j\xff\x00\x00\x00j\x01\x00\x00\x00a."
	python := framed([]byte{0xd4, 101, 0})
	python = binary.LittleEndian.AppendUint64(python, uint64(len(bomb)))
	python = append(binary.LittleEndian.AppendUint64(python, 0), bomb...)
	for name, c := range map[string]struct {
		data     []byte
		metadata string
	}{
		"lists":     {framed(nested(0xdd)), xlang.MetadataXLang},
		"maps":      {framed(nested(0xdf)), xlang.MetadataXLang},
		"empty":     {framed(append(binary.BigEndian.AppendUint32([]byte{0xdd}, size), bytes.Repeat([]byte{0x80}, size)...)), xlang.MetadataXLang},
		"memo bomb": {python, xlang.MetadataPython},
	} {
		before := allocated()
		_, err := xlang.Decode(c.data, []byte(c.metadata))
		if got, most := allocated()-before, allowance(c.data); got > most {
			t.Errorf("%s: %d bytes for an input of %d (%v)", name, got, len(c.data), err)
		}
		if name != "empty" && err == nil {
			t.Errorf("%s was read", name)
		}
		if name == "memo bomb" && !errors.Is(err, xlang.ErrUnsupported) {
			t.Errorf("memo bomb: %v", err)
		}
	}
}
