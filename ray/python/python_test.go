package python_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/ray/python"
)

func ExampleNewArray() {
	a, err := python.NewArray([]float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if err != nil {
		panic(err)
	}
	fmt.Println(a.DType, a.Shape)
	// Output: <f8 [2 3]
}

func ExampleSlice() {
	// As numpy.asfortranarray([[1, 2], [3, 4]], dtype=">i2") arrives.
	a := &python.Array{DType: ">i2", Shape: []int{2, 2}, Fortran: true, Data: []byte{0, 1, 0, 3, 0, 2, 0, 4}}
	fmt.Println(python.Slice[int](a))
	// Output: [1 2 3 4] <nil>
}

func roundTrip[T python.Element](t *testing.T, data []T) {
	t.Helper()
	for _, shape := range [][]int{nil, {len(data) / 2, 2}, {1, 2, len(data) / 2}} {
		a, err := python.NewArray(data, shape...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := python.Slice[T](a); err != nil || !slices.Equal(got, data) {
			t.Errorf("%T %v: %v, %v", data, shape, got, err)
		}
	}
}

func TestElementsSurvive(t *testing.T) {
	roundTrip(t, []bool{true, false, false, true})
	roundTrip(t, []int{math.MinInt64, -1, 0, math.MaxInt64})
	roundTrip(t, []int8{-128, 127})
	roundTrip(t, []int16{math.MinInt16, 5})
	roundTrip(t, []int32{math.MinInt32, 5})
	roundTrip(t, []int64{math.MinInt64, 1<<53 + 1})
	roundTrip(t, []uint{math.MaxUint64, 1})
	roundTrip(t, []uint8{255, 0})
	roundTrip(t, []uint16{65535, 1})
	roundTrip(t, []uint32{math.MaxUint32, 1})
	roundTrip(t, []uint64{math.MaxUint64, 1 << 63})
	roundTrip(t, []float32{0.1, float32(math.Inf(1))})
	roundTrip(t, []float64{0.1, -5e-324})
	roundTrip(t, []complex64{1 + 2i, -1})
	roundTrip(t, []complex128{0.1 + 2i, -1})
	roundTrip(t, []string{"", "gr\u00fc\u00df \U0001f600"})
}

func TestSliceWidensAndKeepsBits(t *testing.T) {
	half := &python.Array{DType: "<f2", Shape: []int{6}, Data: []byte{0, 0x3c, 0xff, 0x7b, 1, 0, 0, 0xfc, 0, 0x80, 0, 0x7e}}
	want := []float64{1, 65504, math.Ldexp(1, -24), math.Inf(-1), math.Copysign(0, -1)}
	got, err := python.Slice[float64](half)
	if err != nil || !reflect.DeepEqual(got[:5], want) || !math.IsNaN(got[5]) || !math.Signbit(got[4]) {
		t.Errorf("%v, %v", got, err)
	}
	wide := &python.Array{DType: ">i8", Shape: []int{2}, Data: []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 44}}
	if got, err := python.Slice[int16](wide); err != nil || !slices.Equal(got, []int16{1, 300}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := python.Slice[int8](wide); !errors.Is(err, govalue.ErrMismatch) || !strings.Contains(err.Error(), "[1]: ") {
		t.Errorf("300 into an int8: %v", err)
	}
	if _, err := python.Slice[string](wide); err == nil {
		t.Error("integers into text")
	}
	text := &python.Array{DType: "|S3", Shape: []int{2}, Data: []byte("a\x00\x00bcd")}
	if got, err := python.Slice[string](text); err != nil || !slices.Equal(got, []string{"a", "bcd"}) {
		t.Errorf("%v, %v", got, err)
	}
	times := &python.Array{DType: "<M8[ns]", Shape: []int{1}, Data: []byte{5, 0, 0, 0, 0, 0, 0, 0}}
	if got, err := python.Slice[int64](times); err != nil || got[0] != 5 {
		t.Errorf("%v, %v", got, err)
	}
	z := &python.Array{DType: ">c8", Shape: []int{1}, Data: []byte{0x3f, 0x80, 0, 0, 0x40, 0, 0, 0}}
	if got, err := python.Slice[complex128](z); err != nil || got[0] != 1+2i {
		t.Errorf("%v, %v", got, err)
	}
}

// An array in Fortran's order has the elements of its transpose in C's, whatever the dimensions.
func TestFortranOrder(t *testing.T) {
	const a, b, c = 2, 3, 4
	data := make([]byte, a*b*c)
	want := make([]int, 0, a*b*c)
	for i := range a {
		for j := range b {
			for k := range c {
				data[i+j*a+k*a*b] = byte(100*i + 10*j + k)
				want = append(want, 100*i+10*j+k)
			}
		}
	}
	array := &python.Array{DType: "|u1", Shape: []int{a, b, c}, Fortran: true, Data: data}
	if got, err := python.Slice[int](array); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := python.Slice[uint8](array); err != nil || int(got[len(got)-1]) != want[len(want)-1] {
		t.Errorf("%v, %v", got, err)
	}
	var nested [a][b][c]int
	if err := govalue.Store(array, &nested); err != nil || nested[1][2][3] != 123 || nested[0][1][2] != 12 {
		t.Errorf("%v, %v", nested, err)
	}
}

func TestDamagedArrays(t *testing.T) {
	for name, a := range map[string]*python.Array{
		"short":      {DType: "<f8", Shape: []int{2}, Data: make([]byte, 8)},
		"long":       {DType: "<f8", Shape: []int{}, Data: make([]byte, 9)},
		"negative":   {DType: "<f8", Shape: []int{-1}},
		"overflow":   {DType: "<f8", Shape: []int{1 << 31, 1 << 31, 1 << 31}},
		"empty rows": {DType: "<f8", Shape: []int{1 << 40, 0}},
		"no size":    {DType: "<U0", Shape: []int{1 << 30}},
		"dimensions": {DType: "<f8", Shape: make([]int, 33)},
		"no type":    {DType: "", Shape: []int{0}},
		"odd size":   {DType: "<i3", Shape: []int{0}},
		"odd order":  {DType: "=i4", Shape: []int{0}},
		"odd unit":   {DType: "<i4[s]", Shape: []int{0}},
		"half unit":  {DType: "<M8[s", Shape: []int{0}},
		"no unit":    {DType: "<M8[fortnights]", Shape: []int{0}},
		"zero units": {DType: "<M8[0s]", Shape: []int{0}},
		"objects":    {DType: "|O8", Shape: []int{0}},
		"padded":     {DType: "<i04", Shape: []int{0}},
	} {
		if err := a.Check(); err == nil {
			t.Errorf("%s passes", name)
		}
		if _, err := python.Slice[float64](a); err == nil {
			t.Errorf("%s has elements", name)
		}
		if n := len(a.Elements()); n != 0 {
			t.Errorf("%s has %d parts", name, n)
		}
		if err := govalue.Store(a, new([]float64)); err == nil {
			t.Errorf("%s can be stored", name)
		}
	}
	if _, err := python.NewArray([]int{1, 2, 3}, 2, 2); err == nil {
		t.Error("3 elements make 2x2")
	}
	if _, err := python.NewArray([]string{"ends in NUL\x00"}); err == nil {
		t.Error("NUL at the end would be lost")
	}
}

func TestTexts(t *testing.T) {
	u := python.UUID{0x12, 0x34, 15: 0xff}
	d := python.DateTime{Date: python.Date{Year: 26, Month: time.March, Day: 4}, Time: python.Time{Hour: 1, Microsecond: 20}}
	text, err := json.Marshal([]any{u, d.Date, d.Time, d, python.Decimal("1.50")})
	const want = `["12340000-0000-0000-0000-0000000000ff","0026-03-04","01:00:00.000020","0026-03-04T01:00:00.000020","1.50"]`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	var back struct {
		U python.UUID
		D python.Date
		P python.Decimal
	}
	if err := json.Unmarshal([]byte(`{"U":"12340000-0000-0000-0000-0000000000ff","D":"0026-03-04","P":"1e5"}`), &back); err != nil || back.U != u || back.D != d.Date || back.P != "1e5" {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{`{"U":"1234"}`, `{"U":"1234000000000-0000-0000-0000000000ff00"}`, `{"U":"g2340000-0000-0000-0000-0000000000ff"}`, `{"D":"2026-02-30"}`, `{"P":"1,5"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
	if at := d.In(time.UTC); !at.Equal(time.Date(26, 3, 4, 1, 0, 0, 20_000, time.UTC)) {
		t.Error(at)
	}
}

func TestObjectsHaveAttributes(t *testing.T) {
	slots := &python.Object{State: []any{map[string]any{"a": 1}, map[string]any{"b": 2}}}
	if got := slots.Attributes(); !reflect.DeepEqual(got, map[string]any{"a": 1, "b": 2}) {
		t.Error(got)
	}
	for name, o := range map[string]*python.Object{
		"nothing": {}, "odd state": {State: "x"}, "a triple": {State: []any{nil, nil, nil}}, "no slots": {State: []any{nil, nil}},
	} {
		if got := o.Attributes(); got != nil {
			t.Errorf("%s: %v", name, got)
		}
		if err := govalue.Store(o, new(struct{ A int })); !errors.Is(err, govalue.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a value holds, its methods return, nil and damaged ones' too.
func TestOddValues(t *testing.T) {
	try := func(name string, f func() error) {
		t.Helper()
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("%s: panic: %v", name, p)
			}
		}()
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	second := func(_ any, err error) error { return err }
	for name, a := range map[string]*python.Array{
		"nil": nil, "zero": {}, "negative": {DType: "<f8", Shape: []int{-1, 2}, Fortran: true}, "huge": {DType: "<f8", Shape: []int{1 << 62, 4}},
		"short": {DType: "<f8", Shape: []int{3}, Data: []byte{1}}, "no type": {DType: "\u00e9", Shape: []int{1}},
	} {
		try(name+": check", a.Check)
		try(name+": slice", func() error { return second(python.Slice[string](a)) })
		try(name+": store", func() error { return second(a.StoreIn(new([]float64))) })
		try(name+": store in nil", func() error { return second(a.StoreIn(nil)) })
		try(name+": the rest", func() error {
			_, ok := a.Item()
			if a.Len(); a.Elements() != nil || ok {
				return nil
			}
			return errors.New("as it should be")
		})
		if name != "nil" {
			try(name+": decode", func() error { return govalue.Store(a, new([]float64)) })
		}
	}
	number := &python.Array{DType: "<c16", Data: make([]byte, 16)}
	list := &python.Array{DType: "<f8", Shape: []int{1}, Data: make([]byte, 8)}
	try("complex into nil", func() error { return second(number.StoreIn((*complex128)(nil))) })
	try("list into nil", func() error { return second(list.StoreIn((*[]float64)(nil))) })
	try("too many parts", func() error { return second(python.NewArray([]float64{}, 1<<62, 0)) })
	try("negative parts", func() error { return second(python.NewArray([]float64{1}, -1, -1)) })
	try("UUID", func() error { return (*python.UUID)(nil).UnmarshalText([]byte("12345678-1234-1234-1234-123456789012")) })
	try("date", func() error { return (*python.Date)(nil).UnmarshalText([]byte("2020-01-01")) })
	try("decimal", func() error { return (*python.Decimal)(nil).UnmarshalText([]byte("1")) })
	try("object", func() error {
		if o := (*python.Object)(nil); o.Attributes() != nil || o.Elements() != nil || o.Pairs() != nil {
			return nil
		}
		return errors.New("as it should be")
	})
	day := python.Date{Year: 2026, Month: time.March, Day: 4}
	if at := day.In(nil); !at.Equal(day.In(time.UTC)) {
		t.Errorf("%v", at)
	}
}
