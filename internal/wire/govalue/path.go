package govalue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// maxPath bounds the text of a path, which is long when a value holds itself.
const maxPath = 200

// Error says which part of a value is the trouble.
type Error struct {
	// Path leads from the value to the part, as in ".items[2].ref"; empty for the value itself.
	Path string
	// Err is the trouble.
	Err error
}

func (e *Error) Error() string {
	path := strings.TrimPrefix(e.Path, ".")
	if path == "" {
		return e.Err.Error()
	}
	if len(path) > maxPath {
		path = strings.ToValidUTF8(path[:maxPath-50], "") + "..." + strings.ToValidUTF8(path[len(path)-50:], "")
	}
	return path + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Within puts a step in front of the path of err.
func Within(step string, err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // one that is wrapped has its path in the text of the wrapper
		return &Error{Path: step + e.Path, Err: e.Err}
	}
	return &Error{Path: step, Err: err}
}

// At returns the step to an element of a list.
func At(i int) string { return "[" + strconv.Itoa(i) + "]" }

// Named returns the step to an entry of a map or to a field.
func Named(name string) string {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return fmt.Sprintf("[%.40q]", name)
		}
	}
	if name == "" {
		return `[""]`
	}
	return "." + name
}

// Key returns the step to an entry of a map by its key.
func Key(key any) string {
	if name, ok := key.(string); ok {
		return Named(name)
	}
	return fmt.Sprintf("[%.40s]", fmt.Sprint(key))
}

// ErrUnsupported is wrapped by the errors of Unfold.
var ErrUnsupported = errors.New("unsupported value")

// Unsupported returns an error that wraps ErrUnsupported and what the format does. Its text is that of the format alone: it
// stands behind words of the caller that say what a value could not do.
func Unsupported(format string, args ...any) error {
	return unsupportedError{fmt.Errorf(format, args...)}
}

type unsupportedError struct{ error }

func (e unsupportedError) Unwrap() []error { return []error{ErrUnsupported, e.error} }

// ErrMismatch is wrapped by the errors of Store.
var ErrMismatch = errors.New("the value does not fit")
