package pickle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// nested returns a pickle of n lists around None.
func nested(n int) []byte {
	return []byte(strings.Repeat("]", n) + "N" + strings.Repeat("a", n) + ".")
}

func TestUnmarshalMaxDepth(t *testing.T) {
	for _, c := range []struct {
		levels, limit int
		ok            bool
	}{{200, 0, true}, {201, 0, false}, {3, 3, true}, {4, 3, false}, {100_000, 0, false}, {5000, 5000, true}, {100_001, 1 << 30, false}} {
		_, err := pickle.Unmarshal(nested(c.levels), pickle.Options{MaxDepth: c.limit})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, pickle.ErrLimit) {
			t.Errorf("%d levels, MaxDepth %d: %v", c.levels, c.limit, err)
		}
	}
	deep := 400
	for name, data := range map[string]string{
		"tuples":  "N" + strings.Repeat("\x85", deep) + ".",
		"marks":   strings.Repeat("(", deep) + strings.Repeat("t", deep) + ".",
		"dicts":   strings.Repeat("}N", deep) + "N" + strings.Repeat("s", deep) + ".",
		"keys":    strings.Repeat("}", deep) + "N" + strings.Repeat("Ns", deep) + ".",
		"objects": strings.Repeat("ca\nb\n", deep) + "N" + strings.Repeat("\x85R", deep) + ".",
		"states":  strings.Repeat("ca\nb\n)R", deep) + "N" + strings.Repeat("b", deep) + ".",
		"kwargs":  strings.Repeat("ca\nb\n)}N", deep) + "N" + strings.Repeat("s\x92", deep) + ".",
		"entries": strings.Repeat("ca\nb\n)RN", deep) + "N" + strings.Repeat("s", deep) + ".",
		"items":   strings.Repeat("ca\nb\n)R", deep) + "N" + strings.Repeat("a", deep) + ".",
		"sets":    strings.Repeat("(", 200) + strings.Repeat("\x91", 200) + "\x85.",
		"late":    lateNesting(deep),
		"late by memo": func() string { // each tuple holds the one before, which the memo repeats
			return ")q\x00" + strings.Repeat("0h\x00\x85q\x00", deep) + "."
		}(),
	} {
		if _, err := pickle.Unmarshal([]byte(data), pickle.Options{}); !errors.Is(err, pickle.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lateNesting makes n lists first, and then puts each into the one before it through the memo, the outermost first: no
// list is deep when it is put into another one.
func lateNesting(n int) string {
	var b bytes.Buffer
	index := func(op byte, i int) {
		b.WriteByte(op)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(i)))
	}
	for i := range n {
		b.WriteByte(']')
		index('r', i)
		b.WriteByte('0')
	}
	for i := range n - 1 {
		index('j', i)
		index('j', i+1)
		b.WriteString("a0")
	}
	index('j', 0)
	b.WriteByte('.')
	return b.String()
}

func TestUnmarshalMaxItems(t *testing.T) {
	ten := "(" + strings.Repeat("N", 9) + "t."
	if _, err := pickle.Unmarshal([]byte(ten), pickle.Options{MaxItems: 10}); err != nil {
		t.Error(err)
	}
	for name, data := range map[string]string{
		"values":     ten,
		"references": "Nq\x00(" + strings.Repeat("h\x00", 9) + "t\x86.",
		"popped":     strings.Repeat("N0", 10) + "N.",
		"dup":        "N" + strings.Repeat("2", 10) + ".",
	} {
		if _, err := pickle.Unmarshal([]byte(data), pickle.Options{MaxItems: 9}); !errors.Is(err, pickle.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMarshalLimits(t *testing.T) {
	wrap := func(n int) any {
		var v any
		for range n {
			v = []any{v}
		}
		return v
	}
	if _, err := pickle.Marshal(wrap(200)); err != nil {
		t.Errorf("200 levels: %v", err)
	}
	if _, err := pickle.Marshal(wrap(201)); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("201 levels: %v", err)
	}
	l := list(1)
	l.Items = append(l.Items, l, l)
	_, err := pickle.Marshal(l)
	if !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("a list in itself: %v", err)
	} else if len(err.Error()) > 400 {
		t.Errorf("an endless message: %v", err)
	}
	m := map[string]any{}
	m["m"] = m
	if _, err := pickle.Marshal(m); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("a map in itself: %v", err)
	}
}

// A small pickle can describe a value of 2^n parts. Reading it is cheap; what would expand it must refuse.
func TestExpansionIsBounded(t *testing.T) {
	tuples := "N" + strings.Repeat("2\x86", 100) + "."
	wide := "]q\x00(" + strings.Repeat("N", 5000) + "e(" + strings.Repeat("h\x00", 5000) + "t\x86."
	for name, data := range map[string]string{"tuples": tuples, "wide": wide} {
		v, err := pickle.Unmarshal([]byte(data), pickle.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := pickle.Marshal(v); !errors.Is(err, pickle.ErrLimit) {
			t.Errorf("%s: Marshal: %v", name, err)
		}
	}
	// The ids of a hook: one wide id, asked for again and again.
	ids := "](" + strings.Repeat("N", 5000) + "eq\x000(" + strings.Repeat("h\x00Q", 5000) + "t."
	calls := 0
	hook := func(any) (any, error) { calls++; return nil, nil }
	if _, err := pickle.Unmarshal([]byte(ids), pickle.Options{Persistent: hook}); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("ids: %v after %d calls", err, calls)
	}
}

// allocated returns how many bytes were allocated so far by the process.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// allowance is what Unmarshal may allocate in total for an input, whatever it claims.
func allowance(data []byte) uint64 { return 1<<20 + 1000*uint64(len(data)) }

func TestUnmarshalAllocatesByInputLength(t *testing.T) {
	const n = 100_000
	for name, data := range map[string]string{
		"memo index":    "N" + strings.Repeat("r\xff\xff\xff\xff", n) + ".",
		"memo indices":  sparse(n),
		"memo decimal":  "Np9223372036854775807\n.",
		"empty lists":   "(" + strings.Repeat("]", n) + "t.",
		"empty tuples":  "(" + strings.Repeat(")", n) + "t.",
		"empty dicts":   "(" + strings.Repeat("}", n) + "t.",
		"empty sets":    "(" + strings.Repeat("\x8f", n) + "t.",
		"objects":       "(" + strings.Repeat("N)R", n) + "t.",
		"doubled":       "]" + strings.Repeat("2\x86", n) + ".",
		"memoized":      "(" + strings.Repeat("]\x94", n) + "h\x00t.",
		"marks":         strings.Repeat("(", n) + ".",
		"nones":         "(" + strings.Repeat("N", n) + "t.",
		"appended":      "]" + strings.Repeat("Na", n) + ".",
		"appended self": "]" + strings.Repeat("2a", n) + ".",
		"long lines":    "(" + strings.Repeat("L9\n", n) + "t.",
		"claims":        strings.Repeat("(", 100) + "\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
	} {
		before := allocated()
		_, err := pickle.Unmarshal([]byte(data), pickle.Options{})
		if got, max := allocated()-before, allowance([]byte(data)); got > max {
			t.Errorf("%s: %d bytes for an input of %d (%v)", name, got, len(data), err)
		}
	}
}

// sparse uses n memo indices that are far apart.
func sparse(n int) string {
	var b bytes.Buffer
	b.WriteByte('N')
	for i := range n {
		b.WriteByte('r')
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(i)*40_000+7))
	}
	b.WriteByte('.')
	return b.String()
}
