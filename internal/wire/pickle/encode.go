package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// Marshal returns v as a pickle of protocol 5, without frames and without memo entries except those of *Shared. Equal
// values give equal bytes.
//
// It takes nil, bool, all integer and float types of Go, string, []byte, *big.Int, []any and []string (lists),
// map[string]any, map[string]string and map[string]float64 (dicts, keys sorted), everything Unmarshal returns, and Call,
// New, Persistent and *Shared. Other types, defined ones included, nil pointers, and strings that Python could not read
// are an EncodeError that wraps ErrUnsupported. Containers nested deeper than 200, a container that holds itself, and
// more than 10,000,000 values are one that wraps ErrLimit.
//
// It does not check that Python can import or call what the value names.
func Marshal(v any) ([]byte, error) {
	e := encoder{buf: make([]byte, 0, 64)}
	if err := e.whole(v); err != nil {
		return nil, err
	}
	return e.buf, nil
}

// MarshalParts is Marshal in parts that make the pickle when put one behind the other. Bytes (also those of a ByteArray) of
// at least min are not copied: they are a part of their own, in the memory of v, which has to stay as it is. With a min of 0
// there is one part.
func MarshalParts(v any, min int) ([][]byte, error) {
	e := encoder{buf: make([]byte, 0, 64), borrow: min}
	if err := e.whole(v); err != nil {
		return nil, err
	}
	return append(e.parts, e.buf), nil
}

// whole writes a pickle from its first to its last byte.
func (e *encoder) whole(v any) error {
	e.op(opProto)
	e.buf = append(e.buf, highestProtocol)
	if err := e.value(v, 0); err != nil {
		var ee *EncodeError
		if !errors.As(err, &ee) {
			return &EncodeError{Err: err}
		}
		ee.Path = clip(ee.Path)
		return ee
	}
	e.op(opStop)
	return nil
}

// plainCallMax is up to which size of their text and bytes MarshalPlainCall takes arguments.
const plainCallMax = 64 << 10

// MarshalPlainCall is Marshal of (args, {}), args as a tuple, for arguments that are all nil, bool, numbers of Go's own
// types, UTF-8 text or bytes, of at most 64 KiB together: the common case, in one piece of memory. It reports false for
// any others.
func MarshalPlainCall(args []any) ([]byte, bool) {
	size := 16 + 16*len(args)
	for _, arg := range args {
		switch x := arg.(type) {
		case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		case string:
			size += len(x)
		case []byte:
			size += len(x)
		default:
			return nil, false
		}
		if size > plainCallMax {
			return nil, false
		}
	}
	e := encoder{buf: make([]byte, 0, size)}
	e.buf = append(e.buf, byte(opProto), highestProtocol)
	if len(args) > 3 {
		e.op(opMark)
	}
	for _, arg := range args {
		if e.value(arg, 0) != nil {
			return nil, false // text that is not UTF-8
		}
	}
	e.op(tupleOf(len(args)))
	e.buf = append(e.buf, byte(opEmptyDict), byte(opTuple2), byte(opStop))
	return e.buf, true
}

// tupleOf is the opcode that makes a tuple of n values.
func tupleOf(n int) opcode {
	switch n {
	case 0:
		return opEmptyTuple
	case 1:
		return opTuple1
	case 2:
		return opTuple2
	case 3:
		return opTuple3
	}
	return opTuple
}

// clip shortens the path of a value that is nested without end.
func clip(path string) string {
	const head, tail = 120, 40
	if len(path) <= head+tail {
		return path
	}
	return path[:head] + "..." + path[len(path)-tail:]
}

type encoder struct {
	buf []byte
	// borrow is the size from which bytes are parts of their own, if not 0; parts are those before buf.
	borrow int
	parts  [][]byte
	items  int
	// shared maps to the memo index, or to unfinished while the value is being written.
	shared   map[*Shared]int
	memoized int
}

const unfinished = -1

var le = binary.LittleEndian

func (e *encoder) op(op opcode) { e.buf = append(e.buf, byte(op)) }

// value writes v, which has depth containers around it.
func (e *encoder) value(v any, depth int) error {
	if e.items++; e.items > defaultMaxItems {
		return tooMany(defaultMaxItems)
	}
	switch x := v.(type) {
	case nil:
		e.op(opNone)
	case bool:
		if x {
			e.op(opNewTrue)
		} else {
			e.op(opNewFalse)
		}
	case int:
		e.int(int64(x))
	case int8:
		e.int(int64(x))
	case int16:
		e.int(int64(x))
	case int32:
		e.int(int64(x))
	case int64:
		e.int(x)
	case uint:
		return e.uint(uint64(x))
	case uint8:
		e.int(int64(x))
	case uint16:
		e.int(int64(x))
	case uint32:
		e.int(int64(x))
	case uint64:
		return e.uint(x)
	case uintptr:
		return e.uint(uint64(x))
	case *big.Int:
		return e.big(x)
	case float32:
		e.float(float64(x))
	case float64:
		e.float(x)
	case string:
		return e.text(x)
	case []byte:
		e.sized(opShortBytes, opBinBytes, opBinBytes8, len(x))
		e.bytes(x)
	case Global:
		return e.global(x)
	case *ByteArray:
		if x == nil {
			return nilPointer(v)
		}
		e.op(opByteArray8)
		e.buf = le.AppendUint64(e.buf, uint64(len(x.Data)))
		e.bytes(x.Data)
	default:
		if depth >= defaultMaxDepth {
			return tooDeep(defaultMaxDepth)
		}
		return e.container(v, depth+1)
	}
	return nil
}

func (e *encoder) bytes(b []byte) {
	if e.borrow == 0 || len(b) < e.borrow {
		e.buf = append(e.buf, b...)
		return
	}
	e.parts = append(e.parts, e.buf, b)
	e.buf = make([]byte, 0, 64)
}

func nilPointer(v any) error { return fmt.Errorf("%w: nil %T", ErrUnsupported, v) }

// container writes a value that has others in it; depth counts the container.
func (e *encoder) container(v any, depth int) error {
	switch x := v.(type) {
	case []any:
		e.op(opEmptyList)
		return e.append(opAppends, x, "", depth)
	case []string:
		e.op(opEmptyList)
		return e.strings(x, depth)
	case map[string]any:
		return sorted(e, x, depth)
	case map[string]string:
		return sorted(e, x, depth)
	case map[string]float64:
		return sorted(e, x, depth)
	case Tuple:
		return e.tuple(x, depth)
	case *List:
		if x == nil {
			return nilPointer(v)
		}
		e.op(opEmptyList)
		return e.append(opAppends, x.Items, "", depth)
	case *Dict:
		if x == nil {
			return nilPointer(v)
		}
		return e.dict(x, depth)
	case *Set:
		if x == nil {
			return nilPointer(v)
		}
		return e.set(x, depth)
	case *Object:
		if x == nil {
			return nilPointer(v)
		}
		return e.object(x, depth)
	case Call:
		return e.object(&Object{Class: x.Func, Args: x.Args}, depth)
	case New:
		return e.object(&Object{Class: x.Class, Args: x.Args, New: true}, depth)
	case Persistent:
		if err := e.value(x.ID, depth); err != nil {
			return within(err, ".ID")
		}
		e.op(opBinPersID)
		return nil
	case *Shared:
		if x == nil {
			return nilPointer(v)
		}
		return e.share(x, depth)
	default:
		return fmt.Errorf("%w: Go type %T; convert it to one that Marshal lists", ErrUnsupported, v)
	}
}

func (e *encoder) int(n int64) {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		e.buf = append(e.buf, byte(opBinInt1), byte(n))
	case n >= 0 && n <= math.MaxUint16:
		e.op(opBinInt2)
		e.buf = le.AppendUint16(e.buf, uint16(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		e.op(opBinInt)
		e.buf = le.AppendUint32(e.buf, uint32(n))
	default:
		var b [8]byte
		le.PutUint64(b[:], uint64(n))
		e.long(b[:])
	}
}

func (e *encoder) uint(n uint64) error {
	if n > math.MaxInt64 {
		return e.big(new(big.Int).SetUint64(n))
	}
	e.int(int64(n))
	return nil
}

func (e *encoder) big(n *big.Int) error {
	if n == nil {
		return nilPointer(n)
	}
	if n.IsInt64() {
		e.int(n.Int64())
		return nil
	}
	size := n.BitLen()/8 + 1
	if size > math.MaxInt32 {
		return fmt.Errorf("%w: integer of %d bits", ErrUnsupported, n.BitLen())
	}
	if n.Sign() < 0 { // two's complement
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	b := n.FillBytes(make([]byte, size))
	slices.Reverse(b)
	e.long(b)
	return nil
}

// long writes b, two's complement with the low byte first, in its shortest form.
func (e *encoder) long(b []byte) {
	for len(b) > 1 {
		last, sign := b[len(b)-1], b[len(b)-2]&0x80
		if last == 0 && sign == 0 || last == 0xff && sign != 0 {
			b = b[:len(b)-1]
			continue
		}
		break
	}
	if len(b) <= math.MaxUint8 {
		e.buf = append(e.buf, byte(opLong1), byte(len(b)))
	} else {
		e.op(opLong4)
		e.buf = le.AppendUint32(e.buf, uint32(len(b)))
	}
	e.buf = append(e.buf, b...)
}

func (e *encoder) float(f float64) {
	e.op(opBinFloat)
	e.buf = binary.BigEndian.AppendUint64(e.buf, math.Float64bits(f))
}

func (e *encoder) text(s string) error {
	if err := checkText(s); err != nil {
		return fmt.Errorf("%w: %w; send it as []byte", ErrUnsupported, err)
	}
	e.sized(opShortUni, opBinUni, opBinUni8, len(s))
	e.buf = append(e.buf, s...)
	return nil
}

// sized writes the opcode that fits a length, and the length.
func (e *encoder) sized(short, normal, long opcode, n int) {
	switch {
	case n <= math.MaxUint8:
		e.buf = append(e.buf, byte(short), byte(n))
	case uint64(n) <= math.MaxUint32:
		e.op(normal)
		e.buf = le.AppendUint32(e.buf, uint32(n))
	default:
		e.op(long)
		e.buf = le.AppendUint64(e.buf, uint64(n))
	}
}

func (e *encoder) global(g Global) error {
	if g.Module == "" || g.Name == "" {
		return fmt.Errorf("%w: Global needs Module and Name, has %q and %q", ErrUnsupported, g.Module, g.Name)
	}
	if err := e.text(g.Module); err != nil {
		return within(err, ".Module")
	}
	if err := e.text(g.Name); err != nil {
		return within(err, ".Name")
	}
	e.op(opStackGlob)
	return nil
}

// append writes parts and the opcode that adds them to what was written before.
func (e *encoder) append(add opcode, parts []any, field string, depth int) error {
	if len(parts) == 0 {
		return nil
	}
	e.op(opMark)
	if err := e.all(parts, field, depth); err != nil {
		return err
	}
	e.op(add)
	return nil
}

func (e *encoder) all(parts []any, field string, depth int) error {
	for i, part := range parts {
		if err := e.value(part, depth); err != nil {
			return within(err, field+"["+strconv.Itoa(i)+"]")
		}
	}
	return nil
}

func (e *encoder) strings(list []string, depth int) error {
	if len(list) == 0 {
		return nil
	}
	e.op(opMark)
	for i, s := range list {
		if err := e.value(s, depth); err != nil {
			return within(err, "["+strconv.Itoa(i)+"]")
		}
	}
	e.op(opAppends)
	return nil
}

func sorted[V any](e *encoder, m map[string]V, depth int) error {
	e.op(opEmptyDict)
	if len(m) == 0 {
		return nil
	}
	e.op(opMark)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if err := e.entry(Item{Key: key, Value: m[key]}, depth); err != nil {
			return err
		}
	}
	e.op(opSetItems)
	return nil
}

func (e *encoder) entry(item Item, depth int) error {
	if err := e.value(item.Key, depth); err != nil {
		return within(err, ".key("+keyStep(item.Key)+")")
	}
	if err := e.value(item.Value, depth); err != nil {
		return within(err, "["+keyStep(item.Key)+"]")
	}
	return nil
}

func keyStep(key any) string {
	switch k := key.(type) {
	case string:
		return fmt.Sprintf("%.40q", k)
	case int, int64:
		return fmt.Sprint(k)
	}
	return fmt.Sprintf("%T", key)
}

func (e *encoder) setItems(items []Item, depth int) error {
	if len(items) == 0 {
		return nil
	}
	e.op(opMark)
	for _, item := range items {
		if err := e.entry(item, depth); err != nil {
			return err
		}
	}
	e.op(opSetItems)
	return nil
}

func (e *encoder) dict(d *Dict, depth int) error {
	e.op(opEmptyDict)
	return e.setItems(d.Items, depth)
}

func (e *encoder) set(s *Set, depth int) error {
	if s.Frozen {
		e.op(opMark)
		if err := e.all(s.Items, "", depth); err != nil {
			return err
		}
		e.op(opFrozenSet)
		return nil
	}
	e.op(opEmptySet)
	return e.append(opAddItems, s.Items, "", depth)
}

func (e *encoder) tuple(t Tuple, depth int) error {
	if len(t) == 0 {
		e.op(opEmptyTuple)
		return nil
	}
	if len(t) > 3 {
		e.op(opMark)
	}
	if err := e.all(t, "", depth); err != nil {
		return err
	}
	e.op(tupleOf(len(t)))
	return nil
}

func (e *encoder) object(o *Object, depth int) error {
	if err := e.value(o.Class, depth); err != nil {
		return within(err, ".Class")
	}
	if err := e.value(o.Args, depth); err != nil {
		return within(err, ".Args")
	}
	switch {
	case o.Kwargs != nil:
		if err := e.value(o.Kwargs, depth); err != nil {
			return within(err, ".Kwargs")
		}
		e.op(opNewObjEx)
	case o.New:
		e.op(opNewObj)
	default:
		e.op(opReduce)
	}
	if err := e.append(opAppends, o.Items, ".Items", depth); err != nil {
		return err
	}
	if err := e.setItems(o.Entries, depth); err != nil {
		return within(err, ".Entries")
	}
	if o.State == nil {
		return nil
	}
	if err := e.value(o.State, depth); err != nil {
		return within(err, ".State")
	}
	e.op(opBuild)
	return nil
}

// share writes the value at its first occurrence and a reference at the later ones.
func (e *encoder) share(s *Shared, depth int) error {
	index, ok := e.shared[s]
	switch {
	case ok && index == unfinished:
		return fmt.Errorf("%w: a Shared value contains itself", ErrUnsupported)
	case ok && index <= math.MaxUint8:
		e.buf = append(e.buf, byte(opBinGet), byte(index))
		return nil
	case ok:
		e.op(opLongBinGet)
		e.buf = le.AppendUint32(e.buf, uint32(index))
		return nil
	}
	if e.shared == nil {
		e.shared = map[*Shared]int{}
	}
	e.shared[s] = unfinished
	if err := e.value(s.Value, depth); err != nil {
		return within(err, ".Value")
	}
	e.op(opMemoize)
	e.shared[s] = e.memoized
	e.memoized++
	return nil
}
