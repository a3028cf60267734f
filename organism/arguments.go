package organism

import (
	"errors"
	"fmt"
	"math"
)

// ErrArgument is wrapped by every error about the arguments of an actor's method or constructor. The method did not run.
var ErrArgument = errors.New("organism: unusable argument")

// arguments is what a call brings; worker.Args is one.
type arguments interface {
	Len() int
	Value(i int) (any, error)
	Named(name string) (any, bool, error)
}

// call reads the arguments of one method call, each by position or by name, as Python callers may give them.
type call struct {
	method string // "Class.method", for errors
	names  []string
	args   arguments
}

// newCall fails when there are more arguments than names.
func newCall(args arguments, method string, names ...string) (call, error) {
	c := call{method: method, names: names, args: args}
	if got := args.Len(); got > len(names) {
		return c, fmt.Errorf("%w: %s takes %d and got %d", ErrArgument, method, len(names), got)
	}
	return c, nil
}

func (c call) fail(i int, format string, args ...any) error {
	return fmt.Errorf("%w: %s, %s: %w", ErrArgument, c.method, c.names[i], fmt.Errorf(format, args...))
}

// value returns argument i, or nil and false when it was left out.
func (c call) value(i int) (any, bool, error) {
	named, byName, err := c.args.Named(c.names[i])
	if err != nil {
		return nil, false, c.fail(i, "%w", err)
	}
	if i >= c.args.Len() {
		return named, byName, nil
	}
	if byName {
		return nil, false, c.fail(i, "it was given twice")
	}
	value, err := c.args.Value(i)
	if err != nil {
		return nil, false, c.fail(i, "%w", err)
	}
	return value, true, nil
}

func (c call) required(i int) (any, error) {
	value, ok, err := c.value(i)
	if err == nil && !ok {
		err = c.fail(i, "it is missing")
	}
	return value, err
}

func (c call) text(i int) (string, error) {
	value, err := c.required(i)
	if err != nil {
		return "", err
	}
	text, ok := value.(string)
	if !ok {
		return "", c.wrongType(i, "text", value)
	}
	return text, nil
}

// optionalText returns "" for an argument that was left out or is null.
func (c call) optionalText(i int) (string, error) {
	value, _, err := c.value(i)
	if err != nil || value == nil {
		return "", err
	}
	return c.text(i)
}

func (c call) integer(i int) (int64, error) {
	value, err := c.required(i)
	if err != nil {
		return 0, err
	}
	number, ok := toInt(value)
	if !ok {
		return 0, c.wrongType(i, "a whole number", value)
	}
	return number, nil
}

func (c call) optionalInteger(i int, absent int64) (int64, error) {
	value, _, err := c.value(i)
	if err != nil {
		return 0, err
	}
	if value == nil {
		return absent, nil
	}
	return c.integer(i)
}

func (c call) mapping(i int) (map[string]any, error) {
	value, err := c.required(i)
	if err != nil {
		return nil, err
	}
	mapping, ok := value.(map[string]any)
	if !ok {
		return nil, c.wrongType(i, "a map with text keys", value)
	}
	return mapping, nil
}

// optionalTexts returns nil for an argument that was left out or is null.
func (c call) optionalTexts(i int) ([]string, error) {
	value, _, err := c.value(i)
	if err != nil || value == nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok {
		return nil, c.wrongType(i, "a list of text", value)
	}
	texts := make([]string, len(list))
	for at, item := range list {
		if texts[at], ok = item.(string); !ok {
			return nil, c.fail(i, "it must be a list of text, and item %d is a %T", at, item)
		}
	}
	return texts, nil
}

func (c call) wrongType(i int, want string, got any) error {
	if got == nil {
		return c.fail(i, "it must be %s, and is null", want)
	}
	return c.fail(i, "it must be %s, and is a %T", want, got)
}

// toFloat returns the value of any number that decoding can produce.
func toFloat(value any) (float64, bool) {
	switch number := value.(type) {
	case float64:
		return number, true
	case float32:
		return float64(number), true
	case int:
		return float64(number), true
	case int64:
		return float64(number), true
	case uint64:
		return float64(number), true
	default:
		return 0, false
	}
}

// toInt returns the value of any whole number that decoding can produce and an int64 holds.
func toInt(value any) (int64, bool) {
	switch number := value.(type) {
	case int:
		return int64(number), true
	case int64:
		return number, true
	case uint64:
		return int64(number), number <= math.MaxInt64
	case float64: // JSON has no integers
		return int64(number), number == math.Trunc(number) && math.Abs(number) < 1<<53
	default:
		return 0, false
	}
}
