package pickle

import (
	"bytes"
	"fmt"
	"math"
	"sync"
)

// Options tunes Unmarshal. The zero value works.
type Options struct {
	// Persistent turns the id of a PERSID (a string) or BINPERSID (any decoded form) into the value that takes its
	// place. Nil: such a pickle is an error. An error of the hook ends Unmarshal, which wraps it. If the hook returns a
	// container of this package, the rest of the pickle may change it: return a fresh one, or a type of your own. The
	// rest may change id too: take from it what is needed during the call, when it has no cycles and at most MaxDepth
	// levels.
	Persistent func(id any) (any, error)
	// Buffers are what the pickle left out, in the order in which it asks for them (NEXT_BUFFER of protocol 5). They become
	// *ByteArray, or []byte where the pickle says that they cannot be written to, and are aliased.
	Buffers [][]byte
	// MaxDepth bounds how many containers (an Object and its Args count as two) may nest. Default 200; more than
	// 100,000 is taken as 100,000, since walking a value takes stack.
	MaxDepth int
	// MaxItems bounds how many values the pickle may push, references to earlier ones included. Default 10,000,000.
	MaxItems int
}

// Unmarshal reads one pickle of protocol 0 to 5, which must be all of data. It returns nil, bool, int64, *big.Int (only
// outside the range of int64), float64, string, []byte, *ByteArray, Tuple, *List, *Dict, *Set, Global, *Object, and what
// Options.Persistent returned.
//
// []byte and *ByteArray alias data (or Options.Buffers): keep data unchanged while they are in use, or copy them. Memory is bounded by a
// multiple of len(data), whatever lengths and numbers data claims. The result may hold itself, and may hold one value in
// many places, so that walking it needs limits: Marshal has them, reflect.DeepEqual does not end early.
//
// What Python would do only for its effect (functions whose result is popped, such as the state setters of cloudpickle)
// is dropped. All errors are a *DecodeError.
func Unmarshal(data []byte, opts Options) (any, error) {
	d := decoders.Get().(*decoder)
	defer func() {
		*d = decoder{}
		decoders.Put(d)
	}()
	*d = decoder{
		data:       data,
		persistent: opts.Persistent,
		buffers:    opts.Buffers,
		maxDepth:   opts.MaxDepth,
		maxItems:   opts.MaxItems,
	}
	d.stack, d.memo.dense = d.room[:0:4], d.room[4:4]
	if d.maxDepth <= 0 {
		d.maxDepth = defaultMaxDepth
	}
	d.maxDepth = min(d.maxDepth, highestMaxDepth)
	if d.maxItems <= 0 {
		d.maxItems = defaultMaxItems
	}
	d.ids = walker{maxDepth: d.maxDepth, budget: d.maxItems}
	v, err := d.run()
	if err != nil {
		e := &DecodeError{Offset: d.at, Err: err}
		if d.at < len(data) {
			e.Opcode = opcode(data[d.at]).String()
		}
		return nil, e
	}
	return v, nil
}

// decoders are kept for later pickles. Nothing that a pickle brought stays in them.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decoder is the pickle machine: it runs opcodes over a stack. It does not recurse.
type decoder struct {
	data []byte
	pos  int // of the next byte
	at   int // of the opcode at work

	stack []any
	// marks are the stack heights at which MARK was seen. Nothing below the last one can be popped.
	marks []int
	memo  memo
	// items counts pushes.
	items int
	// aliased: some container was pushed a second time, so the value may be no tree.
	aliased bool
	// ids checks what is passed to the hook; its budget is for all ids together.
	ids walker

	persistent func(any) (any, error)
	buffers    [][]byte // not yet asked for
	maxDepth   int
	maxItems   int

	// room is where stack and memo begin: small pickles need no more.
	room [8]any
}

func (d *decoder) run() (any, error) {
	for {
		d.at = d.pos
		if d.pos >= len(d.data) {
			return nil, fmt.Errorf("%w: ends without STOP", ErrSyntax)
		}
		op := opcode(d.data[d.pos])
		d.pos++
		if op == opStop {
			return d.stop()
		}
		if err := d.step(op); err != nil {
			return nil, err
		}
	}
}

// stop checks that exactly one value is left, and how deeply it nests.
func (d *decoder) stop() (any, error) {
	if n := len(d.data) - d.pos; n > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind it", ErrSyntax, n)
	}
	if len(d.stack) != 1 || len(d.marks) != 0 {
		return nil, fmt.Errorf("%w: %d values and %d marks left instead of one value", ErrSyntax, len(d.stack), len(d.marks))
	}
	// Each value is looked at once for every push: no other budget is needed.
	w := walker{maxDepth: d.maxDepth, budget: math.MaxInt}
	if d.aliased {
		w.heights = map[any]int{}
	}
	_, err := w.height(d.stack[0], 0)
	return d.stack[0], err
}

// step runs one opcode.
func (d *decoder) step(op opcode) error {
	switch op {
	case opProto:
		b, err := d.take(1)
		if err == nil && b[0] > highestProtocol {
			err = fmt.Errorf("%w: protocol %d; the highest is %d", ErrUnsupported, b[0], highestProtocol)
		}
		return err
	case opFrame: // a hint for readers of streams
		n, err := d.uint(8)
		if err == nil && n > uint64(len(d.data)-d.pos) {
			err = d.short(n)
		}
		return err
	case opMark:
		// An open mark is a container to be, so that more of them than containers may nest are useless.
		if len(d.marks) >= d.maxDepth {
			return tooDeep(d.maxDepth)
		}
		d.marks = append(d.marks, len(d.stack))
		return nil
	case opPop:
		if n := len(d.marks); n > 0 && d.marks[n-1] == len(d.stack) {
			d.marks = d.marks[:n-1]
			return nil
		}
		_, err := d.pop()
		return err
	case opPopMark:
		_, err := d.popMark()
		return err
	case opDup:
		v, err := d.top()
		if err != nil {
			return err
		}
		return d.pushAgain(v)
	case opGet, opBinGet, opLongBinGet:
		return d.get(op)
	case opPut, opBinPut, opLongBinPut, opMemoize:
		return d.put(op)
	case opNextBuffer:
		if len(d.buffers) == 0 {
			return fmt.Errorf("%w: a buffer outside the pickle that was not given (Options.Buffers)", ErrUnsupported)
		}
		b := &ByteArray{Data: d.buffers[0]}
		d.buffers = d.buffers[1:]
		return d.push(b)
	case opROBuffer:
		return d.readOnly()
	case opExt1, opExt2, opExt4:
		return fmt.Errorf("%w: codes of the copyreg extension registry", ErrUnsupported)
	}
	if v, ok, err := d.scalar(op); ok || err != nil {
		if err != nil {
			return err
		}
		return d.push(v)
	}
	return d.build(op)
}

// take returns the next n bytes, which alias the input.
func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.data)-d.pos) {
		return nil, d.short(n)
	}
	end := d.pos + int(n)
	b := d.data[d.pos:end:end]
	d.pos = end
	return b, nil
}

func (d *decoder) short(n uint64) error {
	return fmt.Errorf("%w: wants %d bytes, %d are left", ErrSyntax, n, len(d.data)-d.pos)
}

// uint reads a little-endian number of size bytes.
func (d *decoder) uint(size uint64) (uint64, error) {
	b, err := d.take(size)
	var n uint64
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n, err
}

// sized reads a length of size bytes and that many bytes behind it.
func (d *decoder) sized(size uint64) ([]byte, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// line reads up to the next newline, which it leaves out.
func (d *decoder) line() (string, error) {
	n := bytes.IndexByte(d.data[d.pos:], '\n')
	if n < 0 {
		return "", fmt.Errorf("%w: a line without an end", ErrSyntax)
	}
	s := string(d.data[d.pos : d.pos+n])
	d.pos += n + 1
	return s, nil
}

func (d *decoder) push(v any) error {
	if d.items++; d.items > d.maxItems {
		return tooMany(d.maxItems)
	}
	d.stack = append(d.stack, v)
	return nil
}

// pushAgain pushes a value that is known elsewhere.
func (d *decoder) pushAgain(v any) error {
	if isContainer(v) {
		d.aliased = true
	}
	return d.push(v)
}

// floor is the stack height below which nothing can be reached.
func (d *decoder) floor() int {
	if n := len(d.marks); n > 0 {
		return d.marks[n-1]
	}
	return 0
}

func (d *decoder) top() (any, error) {
	if len(d.stack) <= d.floor() {
		return nil, fmt.Errorf("%w: no value on the stack", ErrSyntax)
	}
	return d.stack[len(d.stack)-1], nil
}

func (d *decoder) pop() (any, error) {
	v, err := d.top()
	if err != nil {
		return nil, err
	}
	d.stack[len(d.stack)-1] = nil
	d.stack = d.stack[:len(d.stack)-1]
	return v, nil
}

// popN returns the n topmost values, which alias the stack until the next push.
func (d *decoder) popN(n int) ([]any, error) {
	if len(d.stack)-n < d.floor() {
		return nil, fmt.Errorf("%w: %d values wanted, %d on the stack", ErrSyntax, n, len(d.stack)-d.floor())
	}
	vs := d.stack[len(d.stack)-n:]
	d.stack = d.stack[:len(d.stack)-n]
	return vs, nil
}

// popMark removes the last mark and returns what was above it, which aliases the stack until the next push.
func (d *decoder) popMark() ([]any, error) {
	n := len(d.marks)
	if n == 0 {
		return nil, fmt.Errorf("%w: no mark on the stack", ErrSyntax)
	}
	vs := d.stack[d.marks[n-1]:]
	d.stack = d.stack[:d.marks[n-1]]
	d.marks = d.marks[:n-1]
	return vs, nil
}

func (d *decoder) get(op opcode) error {
	index, err := d.index(op)
	if err != nil {
		return err
	}
	v, ok := d.memo.get(index)
	if !ok {
		return fmt.Errorf("%w: no memo entry %d", ErrSyntax, index)
	}
	return d.pushAgain(v)
}

func (d *decoder) put(op opcode) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	index := d.memo.next()
	if op != opMemoize {
		if index, err = d.index(op); err != nil {
			return err
		}
	}
	d.memo.put(index, v)
	return nil
}

// index reads the memo index of a GET or PUT.
func (d *decoder) index(op opcode) (uint64, error) {
	switch op {
	case opGet, opPut:
		return d.decimalIndex()
	case opBinGet, opBinPut:
		return d.uint(1)
	default:
		return d.uint(4)
	}
}
