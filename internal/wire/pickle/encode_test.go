package pickle_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

func TestMarshalIsDeterministic(t *testing.T) {
	m := map[string]any{}
	for i := range 100 {
		m[fmt.Sprint("key", i)] = map[string]float64{"CPU": 1, "GPU": 2, "memory": 3}
	}
	first, err := pickle.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, err := pickle.Marshal(m); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("another pickle of the same map: %v", err)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	type named string
	self := &pickle.Shared{}
	self.Value = []any{self}
	for name, c := range map[string]struct {
		value any
		is    error
		says  string
	}{
		"struct":         {struct{ A int }{1}, pickle.ErrUnsupported, "pickle: cannot write value: not supported: Go type struct"},
		"defined type":   {named("x"), pickle.ErrUnsupported, "Go type pickle_test.named"},
		"duration":       {time.Second, pickle.ErrUnsupported, "Go type time.Duration"},
		"path":           {map[string]any{"a": []any{1, func() {}}}, pickle.ErrUnsupported, `value["a"][1]: not supported: Go type func()`},
		"args path":      {pickle.Call{Func: global("a", "b"), Args: pickle.Tuple{1, make(chan int)}}, pickle.ErrUnsupported, "value.Args[1]:"},
		"key path":       {&pickle.Dict{Items: items(pickle.Tuple{named("k")}, 1)}, pickle.ErrUnsupported, "value.key(pickle.Tuple)[0]:"},
		"state path":     {&pickle.Object{Class: global("a", "b"), State: map[string]any{"s": named("")}}, pickle.ErrUnsupported, `value.State["s"]:`},
		"id path":        {pickle.Persistent{ID: named("")}, pickle.ErrUnsupported, "value.ID:"},
		"invalid utf-8":  {[]any{"ab\xff"}, pickle.ErrUnsupported, "value[0]: not supported: byte 2 of a string is not UTF-8 (0xff); send it as []byte"},
		"invalid key":    {map[string]any{"\xed\x9f": 1}, pickle.ErrUnsupported, "not UTF-8"},
		"half surrogate": {"\xed\xa0", pickle.ErrUnsupported, "byte 0"},
		"empty global":   {global("", "x"), pickle.ErrUnsupported, "Module and Name"},
		"bad global":     {global("a", "\xff"), pickle.ErrUnsupported, "value.Name:"},
		"nil big":        {(*big.Int)(nil), pickle.ErrUnsupported, "nil *big.Int"},
		"nil list":       {(*pickle.List)(nil), pickle.ErrUnsupported, "nil *pickle.List"},
		"nil dict":       {(*pickle.Dict)(nil), pickle.ErrUnsupported, "nil *pickle.Dict"},
		"nil set":        {(*pickle.Set)(nil), pickle.ErrUnsupported, "nil *pickle.Set"},
		"nil object":     {(*pickle.Object)(nil), pickle.ErrUnsupported, "nil *pickle.Object"},
		"nil bytearray":  {(*pickle.ByteArray)(nil), pickle.ErrUnsupported, "nil *pickle.ByteArray"},
		"nil shared":     {(*pickle.Shared)(nil), pickle.ErrUnsupported, "nil *pickle.Shared"},
		"shared in self": {self, pickle.ErrUnsupported, "contains itself"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := pickle.Marshal(c.value)
			if err == nil {
				t.Fatalf("wrote %q", data)
			}
			var e *pickle.EncodeError
			if !errors.As(err, &e) || !errors.Is(err, c.is) {
				t.Errorf("a %T that is not %v: %v", err, c.is, err)
			}
			if !bytes.Contains([]byte(err.Error()), []byte(c.says)) {
				t.Errorf("%q does not say %q", err, c.says)
			}
		})
	}
}

func TestPlainCallsAreMarshalledAsAllElse(t *testing.T) {
	for _, args := range [][]any{
		nil,
		{1},
		{nil, true},
		{"text", []byte("bytes"), 1.5},
		{1, uint8(2), int64(-3), float32(4)},
		{uint64(math.MaxUint64), strings.Repeat("x", 300), make([]byte, 50_000), int16(-1), false},
	} {
		want, err := pickle.Marshal(pickle.Tuple{pickle.Tuple(args), map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := pickle.MarshalPlainCall(args); !ok || !bytes.Equal(got, want) {
			t.Errorf("%.80v: %t, %.80q instead of %.80q", args, ok, got, want)
		}
	}
	for _, args := range [][]any{{[]any{1}}, {"\xff"}, {make([]byte, 1<<20)}, {struct{}{}}} {
		if _, ok := pickle.MarshalPlainCall(args); ok {
			t.Errorf("%.80v was taken", args)
		}
	}
}

func TestLargeBytesAreNotCopiedIntoParts(t *testing.T) {
	first, second, short := make([]byte, 1000), bytes.Repeat([]byte("x"), 1000), make([]byte, 999)
	shared := &pickle.Shared{Value: []any{first, &pickle.ByteArray{Data: second}}}
	v := []any{short, shared, "text", shared}
	want, err := pickle.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := pickle.MarshalParts(v, 1000)
	if err != nil || len(parts) != 5 || &parts[1][0] != &first[0] || &parts[3][0] != &second[0] {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	if !bytes.Equal(bytes.Join(parts, nil), want) {
		t.Error("the parts together are another pickle")
	}
	if _, err := pickle.MarshalParts([]any{first, func() {}}, 1000); !errors.Is(err, pickle.ErrUnsupported) {
		t.Error(err)
	}
}
