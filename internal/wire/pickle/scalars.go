package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// maxDecimals bounds integers written in decimal, which are slow to read. CPython has the same limit.
const maxDecimals = 4300

// scalar reads the argument of an opcode that pushes a value without parts; ok is false for other opcodes.
func (d *decoder) scalar(op opcode) (v any, ok bool, err error) {
	switch op {
	case opNone:
		return nil, true, nil
	case opNewTrue:
		return true, true, nil
	case opNewFalse:
		return false, true, nil
	case opBinInt, opBinInt1, opBinInt2, opLong1, opLong4, opBinFloat:
		v, err = d.number(op)
	case opInt, opLong, opFloat:
		v, err = d.decimal(op)
	case opShortUni, opBinUni, opBinUni8, opUnicode, opString, opBinString, opShortBinS:
		v, err = d.text(op)
	case opShortBytes:
		v, err = d.sized(1)
	case opBinBytes:
		v, err = d.sized(4)
	case opBinBytes8:
		v, err = d.sized(8)
	case opByteArray8:
		b, err := d.sized(8)
		return &ByteArray{Data: b}, true, err
	case opGlobal:
		v, err = d.global()
	default:
		return nil, false, nil
	}
	return v, true, err
}

func (d *decoder) number(op opcode) (any, error) {
	switch op {
	case opBinInt1:
		n, err := d.uint(1)
		return int64(n), err
	case opBinInt2:
		n, err := d.uint(2)
		return int64(n), err
	case opBinInt:
		n, err := d.uint(4)
		return int64(int32(n)), err
	case opBinFloat:
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case opLong1:
		b, err := d.sized(1)
		return long(b), err
	default:
		n, err := d.uint(4)
		if err == nil && n > math.MaxInt32 {
			err = fmt.Errorf("%w: negative length", ErrSyntax)
		}
		if err != nil {
			return nil, err
		}
		b, err := d.take(n)
		return long(b), err
	}
}

// long reads two's complement with the low byte first.
func long(b []byte) any {
	if len(b) == 0 {
		return int64(0)
	}
	negative := b[len(b)-1]&0x80 != 0
	if len(b) <= 8 {
		var n uint64
		if negative {
			n = math.MaxUint64
		}
		for i := len(b) - 1; i >= 0; i-- {
			n = n<<8 | uint64(b[i])
		}
		return int64(n)
	}
	high := slices.Clone(b)
	slices.Reverse(high)
	n := new(big.Int).SetBytes(high)
	if negative {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return narrow(n)
}

func narrow(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// decimal reads the numbers of protocol 0.
func (d *decoder) decimal(op opcode) (any, error) {
	s, err := d.line()
	if err != nil {
		return nil, err
	}
	switch op {
	case opFloat:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %.40q is no float that fits 64 bits", ErrSyntax, s)
		}
		return f, nil
	case opInt:
		switch s { // the booleans of protocol 0 and 1
		case "00":
			return false, nil
		case "01":
			return true, nil
		}
	default:
		s = strings.TrimSuffix(s, "L")
	}
	if len(s) > maxDecimals+1 {
		return nil, fmt.Errorf("%w: integer of more than %d digits", ErrLimit, maxDecimals)
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("%w: %.40q is no integer", ErrSyntax, s)
	}
	return narrow(n), nil
}

func (d *decoder) decimalIndex() (uint64, error) {
	s, err := d.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %.40q is no memo index", ErrSyntax, s)
	}
	return n, nil
}

func (d *decoder) text(op opcode) (any, error) {
	var b []byte
	var err error
	switch op {
	case opUnicode, opString:
		line, err := d.line()
		if err != nil {
			return nil, err
		}
		if op == opUnicode {
			return rawUnicode(line)
		}
		return quoted(line)
	case opShortUni:
		b, err = d.sized(1)
	case opBinUni:
		b, err = d.sized(4)
	case opBinUni8:
		b, err = d.sized(8)
	case opShortBinS:
		b, err = d.sized(1)
	default: // BINSTRING, whose length is signed
		b, err = d.sized(4)
	}
	if err != nil {
		return nil, err
	}
	s := string(b)
	if op == opBinString || op == opShortBinS {
		return s, checkASCII(s)
	}
	if err := checkText(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return s, nil
}

// checkASCII refuses the byte strings of Python 2 whose encoding is unknown, as CPython does.
func checkASCII(s string) error {
	if i := asciiEnd(s); i < len(s) {
		return fmt.Errorf("%w: a Python 2 string that is not ASCII (byte %d is 0x%02x)", ErrUnsupported, i, s[i])
	}
	return nil
}

// asciiEnd returns the index of the first byte that is not ASCII, or the length.
func asciiEnd(s string) int {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return i
		}
	}
	return len(s)
}

// rawUnicode reads Python's raw-unicode-escape: Latin-1 with \uXXXX and \UXXXXXXXX.
func rawUnicode(s string) (string, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		digits := 0
		if s[i] == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case 'u':
				digits = 4
			case 'U':
				digits = 8
			case '\\': // an escaped backslash shields what follows, but both stay
				out = append(out, '\\', '\\')
				i++
				continue
			}
		}
		if digits == 0 {
			out = appendRune(out, rune(s[i]))
			continue
		}
		start, end := i+2, i+2+digits
		if end > len(s) {
			return "", fmt.Errorf("%w: truncated escape %.10q", ErrSyntax, s[i:])
		}
		n, err := strconv.ParseUint(s[start:end], 16, 32)
		if err != nil || n > 0x10ffff {
			return "", fmt.Errorf("%w: bad escape %.10q", ErrSyntax, s[i:])
		}
		out = appendRune(out, rune(n))
		i = end - 1
	}
	return string(out), nil
}

// quoted reads a Python 2 string literal with the escapes that its repr writes.
func quoted(s string) (string, error) {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '\'' && s[0] != '"' {
		return "", fmt.Errorf("%w: %.40q is not quoted", ErrSyntax, s)
	}
	rest := s[1 : len(s)-1]
	out := make([]byte, 0, len(rest))
	for rest != "" {
		if rest[0] != '\\' {
			out = append(out, rest[0])
			rest = rest[1:]
			continue
		}
		r, _, tail, err := strconv.UnquoteChar(rest, s[0])
		if err != nil || len(rest) < 2 || !strings.ContainsRune(`\'"nrtx`, rune(rest[1])) {
			return "", fmt.Errorf("%w: escape %.10q", ErrUnsupported, rest)
		}
		out = append(out, byte(r))
		rest = tail
	}
	text := string(out)
	return text, checkASCII(text)
}

// global reads the two lines of GLOBAL and INST.
func (d *decoder) global() (any, error) {
	module, err := d.line()
	if err != nil {
		return nil, err
	}
	name, err := d.line()
	if err != nil {
		return nil, err
	}
	return newGlobal(module, name)
}

func newGlobal(module, name string) (any, error) {
	if module == "" || name == "" {
		return nil, fmt.Errorf("%w: a global without a module or a name", ErrSyntax)
	}
	for _, s := range []string{module, name} {
		if err := checkText(s); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
	}
	return Global{Module: module, Name: name}, nil
}
