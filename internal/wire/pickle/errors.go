package pickle

import (
	"errors"
	"fmt"
)

// Conditions that callers test for with errors.Is.
var (
	// ErrSyntax: the bytes are not a pickle, or a truncated or damaged one.
	ErrSyntax = errors.New("malformed pickle")
	// ErrUnsupported: the value, or what the pickle asks for, has no form in this package.
	ErrUnsupported = errors.New("not supported")
	// ErrLimit: a value is nested too deeply (a cycle counts as that) or has too many parts.
	ErrLimit = errors.New("limit exceeded")
)

// DecodeError says where Unmarshal gave up. It wraps ErrSyntax, ErrUnsupported, ErrLimit or what Options.Persistent
// returned.
type DecodeError struct {
	Offset int    // of the opcode, in bytes from the start
	Opcode string // its name in CPython's pickletools, or its number; empty behind the last opcode
	Err    error
}

func (e *DecodeError) Error() string {
	if e.Opcode == "" {
		return fmt.Sprintf("pickle: at offset %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("pickle: %s at offset %d: %v", e.Opcode, e.Offset, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// EncodeError says which part of a value Marshal could not write. It wraps ErrUnsupported or ErrLimit.
type EncodeError struct {
	Path string // like [2]["name"].Args[0]; empty for the value itself
	Err  error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("pickle: cannot write value%s: %v", e.Path, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }

// within puts step in front of the path of err.
func within(err error, step string) error {
	var e *EncodeError
	if !errors.As(err, &e) {
		return &EncodeError{Path: step, Err: err}
	}
	e.Path = step + e.Path
	return e
}
