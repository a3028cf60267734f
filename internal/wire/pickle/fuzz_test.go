package pickle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// FuzzUnmarshal feeds bytes of anyone. Unmarshal must not panic and must allocate by the length of its input. What it
// accepts must end in Marshal, and must be the same after it was written and read again.
func FuzzUnmarshal(f *testing.F) {
	for _, c := range written {
		if data, err := pickle.Marshal(c.value); err == nil && len(data) < 1000 {
			f.Add(data)
		}
	}
	for _, data := range byHand {
		f.Add([]byte(data))
	}
	for _, c := range malformed {
		if len(c.data) < 1000 {
			f.Add([]byte(c.data))
		}
	}
	opts := pickle.Options{
		Persistent: func(id any) (any, error) { return pickle.Persistent{ID: id}, nil },
		MaxItems:   10_000,
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := allocated()
		v, err := pickle.Unmarshal(data, opts)
		if got, max := allocated()-before, allowance(data); got > max {
			t.Fatalf("%d bytes allocated for an input of %d", got, len(data))
		}
		if err != nil {
			var e *pickle.DecodeError
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(data) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		first, err := pickle.Marshal(v)
		if errors.Is(err, pickle.ErrLimit) {
			return // it holds itself, or describes very much
		}
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		opts := opts
		opts.MaxItems = 0    // references are now copies
		opts.MaxDepth = 1000 // the hook wraps ids
		again, err := pickle.Unmarshal(first, opts)
		if err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
		second, err := pickle.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%q became %q", first, second)
		}
	})
}

// FuzzRoundTrip makes values of the input and requires that what Marshal writes reads as the same value.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\x08\x03\x09\x02\x0a\x03\x05abc\x06\x03xyz\x0b\x04\x0c\x02\x0d\x01\x0e\x01"))
	f.Add(bytes.Repeat([]byte("\x0d\x02"), 60))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := generator{data: data}
		v := g.value(0)
		pickled, err := pickle.Marshal(v)
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		for _, min := range []int{1, 3, 1000} {
			if parts, err := pickle.MarshalParts(v, min); err != nil || !bytes.Equal(bytes.Join(parts, nil), pickled) {
				t.Fatalf("%#v in parts from %d bytes: %v, %q instead of %q", v, min, err, parts, pickled)
			}
		}
		got, err := pickle.Unmarshal(pickled, pickle.Options{})
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		if got, want := asJSON(canon(got)), asJSON(canon(v)); got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	})
}

// generator makes decoded forms of bytes.
type generator struct{ data []byte }

func (g *generator) take(n int) []byte {
	n = min(n, len(g.data))
	b := g.data[:n]
	g.data = g.data[n:]
	return b
}

func (g *generator) number(limit int) int {
	if len(g.data) == 0 {
		return 0
	}
	return int(g.take(1)[0]) % limit
}

func (g *generator) bits() uint64 {
	var b [8]byte
	copy(b[:], g.take(8))
	return binary.LittleEndian.Uint64(b[:])
}

func (g *generator) text() string {
	return string(bytes.ToValidUTF8(g.take(g.number(300)), []byte("?")))
}

func (g *generator) values(depth int) []any {
	out := make([]any, g.number(6))
	for i := range out {
		out[i] = g.value(depth + 1)
	}
	return out
}

func (g *generator) entries(depth int) []pickle.Item {
	out := make([]pickle.Item, g.number(5))
	for i := range out {
		out[i] = pickle.Item{Key: g.value(depth + 1), Value: g.value(depth + 1)}
	}
	return out
}

func (g *generator) value(depth int) any {
	kind := g.number(16)
	if depth > 60 || len(g.data) == 0 {
		kind %= 8
	}
	switch kind {
	case 1:
		return g.number(2) == 1
	case 2:
		return int64(g.bits()) >> g.number(64)
	case 3: // outside the range of int64
		n := new(big.Int).Lsh(big.NewInt(1), uint(63+8*g.number(256)))
		n.Add(n, new(big.Int).SetUint64(g.bits()))
		if g.number(2) == 1 {
			n.Neg(n).Sub(n, big.NewInt(1))
		}
		return n
	case 4:
		return math.Float64frombits(g.bits())
	case 5:
		return g.text()
	case 6:
		return bytes.Clone(g.take(g.number(300)))
	case 7:
		return &pickle.ByteArray{Data: bytes.Clone(g.take(g.number(300)))}
	case 8:
		return pickle.Tuple(g.values(depth))
	case 9:
		return &pickle.List{Items: g.values(depth)}
	case 10:
		return &pickle.Dict{Items: g.entries(depth)}
	case 11, 12:
		return &pickle.Set{Items: g.values(depth), Frozen: kind == 12}
	case 13, 14:
		o := &pickle.Object{
			Class: pickle.Global{Module: "m" + g.text(), Name: "n" + g.text()}, Args: g.values(depth), New: kind == 14,
			Items: g.values(depth), Entries: g.entries(depth), State: g.value(depth + 1),
		}
		if o.New && g.number(2) == 1 {
			o.Kwargs = &pickle.Dict{Items: g.entries(depth)}
		}
		return o
	case 15:
		return pickle.Global{Module: "m" + g.text(), Name: "n" + g.text()}
	}
	return nil
}
