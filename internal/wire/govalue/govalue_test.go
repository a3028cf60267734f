package govalue_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/govalue"
)

type (
	Left   struct{ Same, OnlyLeft int }
	Right  struct{ Same, OnlyRight int }
	Tagged struct {
		Other int `json:"Same"`
	}
	Deep   struct{ Left }
	hidden struct {
		Shown  int
		silent int
	}
)

// structs are compared with encoding/json, whose rules for names hold.
var structs = []any{
	struct{}{},
	struct {
		A int `json:"a"`
		B int `json:",omitempty"`
		C int `json:"-"`
		E string
	}{},
	struct {
		Left
		Right
	}{},
	struct {
		Left
		Tagged
	}{},
	struct {
		Deep
		OnlyLeft string
	}{},
	struct {
		*Left
		Right
	}{},
	struct {
		*Left
		Right
	}{Left: &Left{}},
	struct{ hidden }{hidden{1, 2}},
	struct {
		Left `json:"left"`
	}{},
	struct {
		A []int          `json:"a,omitempty"`
		B map[string]int `json:"b,omitempty"`
		C *int           `json:"c,omitempty"`
		D any            `json:"d,omitempty"`
		E [0]int         `json:"e,omitempty"`
		F Left           `json:"f,omitempty"`
		G Left           `json:"g,omitzero"`
		H float64        `json:"h,omitempty"`
	}{},
}

func TestFieldsAreThoseOfJSON(t *testing.T) {
	for _, v := range structs {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		got, err := govalue.Unfold(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		m := got.(govalue.Map)
		for _, entry := range m {
			if _, ok := want[entry.Key.(string)]; !ok {
				t.Errorf("%T: %v is not in %s", v, entry.Key, text)
			}
		}
		if len(m) != len(want) {
			t.Errorf("%T: %d fields, not those of %s", v, len(m), text)
		}
	}
}

func TestStore(t *testing.T) {
	type point struct {
		X, Y int
		Tags []string `json:"tags"`
		Next *point   `json:"next"`
		More map[string]float64
	}
	one := 1
	for _, c := range []struct{ v, into, want any }{
		{nil, new(any), nil},
		{nil, &[]int{1}, []int(nil)},
		{nil, new(*int), (*int)(nil)},
		{int64(1), new(*int), &one},
		{int64(5), new(int8), int8(5)},
		{int64(5), new(float64), 5.0},
		{uint64(1 << 63), new(uint64), uint64(1 << 63)},
		{int64(7), new(time.Duration), time.Duration(7)},
		{int64(7), new(*big.Int), big.NewInt(7)},
		{0.1, new(float32), float32(0.1)},
		{math.Inf(1), new(float32), float32(math.Inf(1))},
		{"x", new(string), "x"},
		{[]byte("x"), new(string), "x"},
		{[]byte("x"), new([1]byte), [1]byte{'x'}},
		{[]byte("x"), new(any), []byte("x")},
		{"127.0.0.1", new(netip.Addr), netip.MustParseAddr("127.0.0.1")},
		{[]any{int64(1), nil}, new([]*int), []*int{&one, nil}},
		{[]any{true}, new([1]bool), [1]bool{true}},
		{[]any{}, new([]int), []int{}},
		{map[string]any{"a": int64(1)}, new(map[string]int), map[string]int{"a": 1}},
		{map[any]any{int64(1): "x"}, new(map[uint8]string), map[uint8]string{1: "x"}},
		{map[string]any{}, new(map[int]int), map[int]int{}},
		{map[string]any{"a": []any{int64(1)}}, new(map[string][]any), map[string][]any{"a": {int64(1)}}},
		{
			map[string]any{"x": int64(3), "y": nil, "Tags": []any{"t"}, "next": map[string]any{"Y": int64(4)}, "unknown": 1.5, "More": map[string]any{"k": int64(2)}},
			&point{X: 1, Y: 2},
			point{X: 3, Y: 2, Tags: []string{"t"}, Next: &point{Y: 4}, More: map[string]float64{"k": 2}},
		},
		{map[string]any{"A": int64(1), "a": int64(2)}, new(struct{ A int }), struct{ A int }{1}},
	} {
		if err := govalue.Store(c.v, c.into); err != nil {
			t.Errorf("%v into %T: %v", c.v, c.into, err)
		} else if got := reflect.ValueOf(c.into).Elem().Interface(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v into %T: %v", c.v, c.into, got)
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	type inner struct {
		Sizes []int8 `json:"sizes"`
	}
	loop := []any{nil}
	loop[0] = loop
	type nest []nest
	for _, c := range []struct {
		v, into any
		says    string
	}{
		{1.0, new(int), "a float into a Go int"},
		{nil, new(int), "None into a Go int"},
		{[]any{nil}, new([]float64), "[0]: "},
		{int64(300), new(int8), "out of its range"},
		{int64(-1), new(uint), "out of its range"},
		{int64(1<<53 + 1), new(float64), "out of its range"},
		{1e300, new(float32), "out of its range"},
		{new(big.Int).Lsh(big.NewInt(1), 70), new(int64), "out of its range"},
		{"x", new([]byte), "text into a Go []uint8"},
		{"x", new(netip.Addr), "ParseAddr"},
		{[]byte{0xff}, new(string), "UTF-8"},
		{[]byte{1}, new([2]byte), "1 bytes"},
		{[]any{int64(1)}, new([2]int), "1 elements"},
		{map[string]any{"items": []any{map[string]any{"sizes": []any{int64(1), int64(1000)}}}}, new(map[string][]inner), "items[0].sizes[1]: "},
		{map[any]any{int64(1): int64(2)}, new(inner), "not all text"},
		{map[any]any{int64(1): "x"}, new(map[int]int), "[1]: "},
		{map[string]any{"a": int64(1)}, new(map[int]int), "keys are text"},
		{loop, new(nest), "deeper"},
		{int64(1), 5, "pointer"},
		{int64(1), (*int)(nil), "pointer"},
		{true, new(string), "a bool into a Go string"},
		{int64(1), new(error), "an int into a Go error"},
	} {
		err := govalue.Store(c.v, c.into)
		var e *govalue.Error
		if !errors.Is(err, govalue.ErrMismatch) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.50v into %T: %.300v", c.v, c.into, err)
		}
	}
}
