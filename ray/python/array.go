package python

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/govalue"
)

// MaxDimensions is how many dimensions an Array may have; every numpy can read as many.
const MaxDimensions = 32

// Array is a numpy array. Get its elements with [Slice], make one with [NewArray]. Arrays of Python objects and of
// records have no such form; they arrive as an Object.
type Array struct {
	// DType is the type of the elements in numpy's words: the byte order (< little, > big, | none), the kind (b bool, i and
	// u integers, f float, c complex, U text, S bytes, M datetime64, m timedelta64) and the size, as in "<f8" or "<M8[ns]".
	DType string
	// Shape is the length of each dimension; without one the array is a single element.
	Shape []int
	// Fortran tells that the first index varies fastest in Data, not the last.
	Fortran bool
	// Data are the elements, one behind the other.
	Data []byte
}

// Element is what the elements of an Array can be in Go. Floats of 16 bits become float32 or float64; datetime64 and
// timedelta64 become int64, in the unit that DType names.
type Element interface {
	bool | int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64 | float32 | float64 | complex64 | complex128 | string
}

// dtype is a parsed DType.
type dtype struct {
	kind  byte
	size  int // of an element in bytes
	order binary.ByteOrder
}

// unit is the unit of datetime64 and timedelta64.
var unit = regexp.MustCompile(`\[([1-9]\d{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]$`)

// parse reads DType.
func (a *Array) parse() (dtype, error) {
	bad := fmt.Errorf("python: %.40q is no type of elements that is known here", a.DType)
	if len(a.DType) < 3 {
		return dtype{}, bad
	}
	d := dtype{kind: a.DType[1], order: binary.LittleEndian}
	switch a.DType[0] {
	case '<', '|':
	case '>':
		d.order = binary.BigEndian
	default:
		return dtype{}, bad
	}
	number := a.DType[2:]
	if d.kind == 'M' || d.kind == 'm' {
		number = unit.ReplaceAllString(number, "")
	}
	size, err := strconv.Atoi(number)
	sizes := map[byte][]int{'b': {1}, 'i': {1, 2, 4, 8}, 'u': {1, 2, 4, 8}, 'f': {2, 4, 8}, 'c': {8, 16}, 'M': {8}, 'm': {8}}[d.kind]
	if err != nil || number != strconv.Itoa(size) {
		return dtype{}, bad
	}
	switch d.kind {
	case 'U':
		if size < 0 || size > math.MaxInt32/4 {
			return dtype{}, bad
		}
		d.size = 4 * size
	case 'S':
		if size < 0 || size > math.MaxInt32 {
			return dtype{}, bad
		}
		d.size = size
	default:
		if !slices.Contains(sizes, size) {
			return dtype{}, bad
		}
		d.size = size
	}
	return d, nil
}

// Len returns the number of elements; 0 of a nil array.
func (a *Array) Len() int {
	if a == nil {
		return 0
	}
	n := 1
	for _, length := range a.Shape {
		n *= length
	}
	return n
}

// Check returns an error if the parts of the array do not fit together.
func (a *Array) Check() error {
	_, err := a.check()
	return err
}

func (a *Array) check() (dtype, error) {
	if a == nil {
		return dtype{}, errors.New("python: the array is nil")
	}
	d, err := a.parse()
	if err != nil {
		return d, err
	}
	if len(a.Shape) > MaxDimensions {
		return d, fmt.Errorf("python: an array of %d dimensions; at most %d are known", len(a.Shape), MaxDimensions)
	}
	const most = math.MaxInt32 * 64
	n, parts := 1, 1
	for _, length := range a.Shape {
		if length < 0 || length > most || parts > most/max(1, length) {
			return d, fmt.Errorf("python: the shape %v is negative or too large", a.Shape)
		}
		n *= length
		parts *= max(1, length)
	}
	// What has no bytes must not have very many parts either.
	if n*d.size != len(a.Data) || len(a.Data) == 0 && parts > 1<<16 {
		return d, fmt.Errorf("python: %d bytes for an array of shape %v and type %s", len(a.Data), a.Shape, a.DType)
	}
	return d, nil
}

// NewArray makes an array of data in C order: the last index varies fastest. Without a shape it has one dimension. The
// product of the shape must be the number of elements.
func NewArray[T Element](data []T, shape ...int) (*Array, error) {
	if len(shape) == 0 {
		shape = []int{len(data)}
	}
	a := &Array{Shape: slices.Clone(shape)}
	var err error
	switch x := any(data).(type) {
	case []string:
		err = a.setText(x)
	case []int:
		a.DType = "<i8"
		a.Data = make([]byte, 0, 8*len(x))
		for _, n := range x {
			a.Data = binary.LittleEndian.AppendUint64(a.Data, uint64(n))
		}
	case []uint:
		a.DType = "<u8"
		a.Data = make([]byte, 0, 8*len(x))
		for _, n := range x {
			a.Data = binary.LittleEndian.AppendUint64(a.Data, uint64(n))
		}
	default:
		a.DType = fixedDType[T]()
		a.Data, err = binary.Append(nil, binary.LittleEndian, data)
	}
	if err != nil {
		return nil, err
	}
	return a, a.Check()
}

// fixedDType names the numpy type that has the bits of T; empty for T without a fixed size.
func fixedDType[T Element]() string {
	switch any(*new(T)).(type) {
	case bool:
		return "|b1"
	case int8:
		return "|i1"
	case uint8:
		return "|u1"
	case int16:
		return "<i2"
	case uint16:
		return "<u2"
	case int32:
		return "<i4"
	case uint32:
		return "<u4"
	case int64:
		return "<i8"
	case uint64:
		return "<u8"
	case float32:
		return "<f4"
	case float64:
		return "<f8"
	case complex64:
		return "<c8"
	case complex128:
		return "<c16"
	}
	return ""
}

// setText stores text as numpy does, four bytes for each character and as many characters in each element.
func (a *Array) setText(texts []string) error {
	longest := 1
	for i, text := range texts {
		if strings.HasSuffix(text, "\x00") {
			return fmt.Errorf("python: [%d]: numpy drops NUL characters at the end of a text", i)
		}
		longest = max(longest, len([]rune(text)))
	}
	a.DType = "<U" + strconv.Itoa(longest)
	a.Data = make([]byte, 4*longest*len(texts))
	for i, text := range texts {
		at := 4 * longest * i
		for _, r := range text {
			binary.LittleEndian.PutUint32(a.Data[at:], uint32(r))
			at += 4
		}
	}
	return nil
}

// Slice returns the elements of an array in C order, whatever the order in memory. It fails if the array is damaged and
// if an element does not fit exactly; float16 and float32 fit into wider floats, integers into types that hold them. Text
// fits into string, and so do bytes that are UTF-8.
func Slice[T Element](a *Array) ([]T, error) {
	d, err := a.check()
	if err != nil {
		return nil, err
	}
	out := make([]T, a.Len())
	same := fixedDType[T]()
	if same != "" && a.DType[1:] == same[1:] && len(out) > 0 {
		if _, err := binary.Decode(a.Data, d.order, out); err != nil {
			return nil, fmt.Errorf("python: %w", err)
		}
		if !a.Fortran || len(a.Shape) < 2 {
			return out, nil
		}
		ordered := make([]T, len(out))
		i := 0
		for at := range a.places() {
			ordered[i] = out[at]
			i++
		}
		return ordered, nil
	}
	i := 0
	for at := range a.places() {
		if err := store(a.at(d, at), &out[i]); err != nil {
			return nil, govalue.Within(govalue.At(i), err)
		}
		i++
	}
	return out, nil
}

func store[T Element](v any, into *T) error {
	if z, ok := v.(complex128); ok {
		switch p := any(into).(type) {
		case *complex128:
			*p = z
			return nil
		case *complex64:
			if complex128(complex64(z)) == z {
				*p = complex64(z)
				return nil
			}
		}
	}
	return govalue.Store(v, into)
}

// places yields where the elements lie in Data, counted in elements, in C order.
func (a *Array) places() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		n := a.Len()
		if !a.Fortran || len(a.Shape) < 2 {
			for i := range n {
				if !yield(i) {
					return
				}
			}
			return
		}
		stride := make([]int, len(a.Shape))
		for i, step := 0, 1; i < len(stride); i++ {
			stride[i] = step
			step *= a.Shape[i]
		}
		index := make([]int, len(a.Shape))
		for at := 0; n > 0; n-- {
			if !yield(at) {
				return
			}
			for i := len(index) - 1; i >= 0; i-- {
				index[i]++
				at += stride[i]
				if index[i] < a.Shape[i] {
					break
				}
				at -= stride[i] * index[i]
				index[i] = 0
			}
		}
	}
}

// at returns an element: bool, int64, uint64, float64, complex128, string or []byte.
func (a *Array) at(d dtype, place int) any {
	b := a.Data[place*d.size : (place+1)*d.size]
	float := func(b []byte) float64 {
		switch len(b) {
		case 2:
			return half(d.order.Uint16(b))
		case 4:
			return float64(math.Float32frombits(d.order.Uint32(b)))
		default:
			return math.Float64frombits(d.order.Uint64(b))
		}
	}
	switch d.kind {
	case 'b':
		return b[0] != 0
	case 'f':
		return float(b)
	case 'c':
		return complex(float(b[:d.size/2]), float(b[d.size/2:]))
	case 'S':
		return []byte(strings.TrimRight(string(b), "\x00"))
	case 'U':
		var text []rune
		for ; len(b) > 0; b = b[4:] {
			text = append(text, rune(d.order.Uint32(b)))
		}
		return strings.TrimRight(string(text), "\x00")
	}
	var n uint64
	switch d.size {
	case 1:
		n = uint64(b[0])
	case 2:
		n = uint64(d.order.Uint16(b))
	case 4:
		n = uint64(d.order.Uint32(b))
	default:
		n = d.order.Uint64(b)
	}
	if d.kind == 'u' {
		if n > math.MaxInt64 {
			return n
		}
		return int64(n)
	}
	shift := 64 - 8*d.size
	return int64(n<<shift) >> shift
}

// half widens a float of 16 bits.
func half(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 0x1f:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// Elements returns the parts along the first dimension: elements as bool, int64, uint64, float64, complex128, string or
// []byte, or arrays of one dimension less. An array that is damaged, or has no dimension, has none. It is what nested
// slices are filled from; Slice is faster.
func (a *Array) Elements() []any {
	d, err := a.check()
	if err != nil || len(a.Shape) == 0 {
		return nil
	}
	out := make([]any, a.Shape[0])
	if len(a.Shape) == 1 {
		for i := range out {
			out[i] = a.at(d, i)
		}
		return out
	}
	inner := a.Len() / max(1, a.Shape[0]) * d.size
	data := a.Data
	if a.Fortran {
		data = make([]byte, 0, len(a.Data))
		for at := range a.places() {
			data = append(data, a.Data[at*d.size:(at+1)*d.size]...)
		}
	}
	for i := range out {
		out[i] = &Array{DType: a.DType, Shape: a.Shape[1:], Data: data[i*inner : (i+1)*inner]}
	}
	return out
}

// Item returns the only element of an array without dimensions, as Elements does; false for another array.
func (a *Array) Item() (any, bool) {
	d, err := a.check()
	if err != nil || len(a.Shape) != 0 {
		return nil, false
	}
	return a.at(d, 0), true
}

var errNoDestination = errors.New("python: the destination is nil")

// StoreIn serves typed decoding: an array without dimensions is its element, and one with a single dimension fills a slice
// at once. It reports whether that was so.
func (a *Array) StoreIn(into any) (bool, error) {
	d, err := a.check()
	if err != nil {
		return true, err
	}
	switch len(a.Shape) {
	case 0:
		v := a.at(d, 0)
		if z, ok := v.(complex128); ok {
			p, ok := into.(*complex128)
			if !ok {
				return false, nil
			}
			if p == nil {
				return true, errNoDestination
			}
			*p = z
			return true, nil
		}
		return true, govalue.Store(v, into)
	case 1:
		switch p := into.(type) {
		case *[]float64:
			return fill(a, p)
		case *[]float32:
			return fill(a, p)
		case *[]int64:
			return fill(a, p)
		case *[]int32:
			return fill(a, p)
		case *[]uint8:
			return fill(a, p)
		case *[]bool:
			return fill(a, p)
		}
	}
	return false, nil
}

func fill[T Element](a *Array, into *[]T) (bool, error) {
	if into == nil {
		return true, errNoDestination
	}
	out, err := Slice[T](a)
	if err == nil {
		*into = out
	}
	return true, err
}
