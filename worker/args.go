package worker

import (
	"errors"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/xlang"
)

// Args are the arguments of a constructor or a method. Values are decoded when they are asked for. The zero value has
// no arguments. Args may be kept and read from several goroutines; bytes and arrays in what they return lie in the
// arguments themselves and must not be written to.
type Args struct {
	positional []encoded
	named      map[string]encoded
}

type encoded struct{ data, metadata []byte }

// Keyword is a keyword argument for NewArgs, as Python callers give them.
type Keyword struct {
	Name  string
	Value any
}

// NewArgs makes arguments of values, in the form in which Ray would have brought them: a Keyword becomes a keyword
// argument. It fails with a value that cannot travel. It is for tests of methods.
func NewArgs(values ...any) (Args, error) {
	var args Args
	for i, v := range values {
		k, isNamed := v.(Keyword)
		if isNamed {
			v = k.Value
		}
		data, metadata, err := xlang.Encode(v)
		if err != nil {
			return Args{}, fmt.Errorf("argument %d: %w", i, err)
		}
		if !isNamed {
			args.positional = append(args.positional, encoded{data, metadata})
			continue
		}
		if args.named == nil {
			args.named = make(map[string]encoded)
		}
		args.named[k.Name] = encoded{data, metadata}
	}
	return args, nil
}

// Len is the number of positional arguments.
func (a Args) Len() int { return len(a.positional) }

// Value returns a positional argument: nil, bool, int64, float64, string, []byte, []any or map[string]any; an integer
// above the range of int64 is a uint64, and a dict that has other keys than strings a map[any]any. Tuples and sets are
// []any; times, arrays of numpy and other values of Python's own are those of package ray/python, an instance of another
// class its parts. It fails when there is no such argument.
func (a Args) Value(i int) (any, error) {
	arg, err := a.at(i)
	if err != nil {
		return nil, err
	}
	v, err := xlang.Decode(arg.data, arg.metadata)
	if err != nil {
		return nil, fmt.Errorf("argument %d: %w", i, err)
	}
	return v, nil
}

// Bytes returns a positional argument that is Python bytes, without a copy. It fails on any other value.
func (a Args) Bytes(i int) ([]byte, error) {
	v, err := a.Value(i)
	if err != nil {
		return nil, err
	}
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("argument %d: bytes are needed, not a %T", i, v)
	}
	return b, nil
}

// Decode stores a positional argument in what into points to: a struct by its json tags, a slice, a map, or a scalar. The
// rules are those of ray.Decode. It fails when the value does not fit, and names the place; into may then be half filled. Bytes are not copied.
func (a Args) Decode(i int, into any) error {
	arg, err := a.at(i)
	if err != nil {
		return err
	}
	if err := xlang.DecodeInto(arg.data, arg.metadata, into); err != nil {
		return fmt.Errorf("argument %d: %w", i, err)
	}
	return nil
}

// Named returns a keyword argument in the forms of Value, and false when the caller did not give it.
func (a Args) Named(name string) (any, bool, error) {
	arg, ok := a.named[name]
	if !ok {
		return nil, false, nil
	}
	v, err := xlang.Decode(arg.data, arg.metadata)
	if err != nil {
		return nil, true, fmt.Errorf("argument %s: %w", name, err)
	}
	return v, true, nil
}

func (a Args) at(i int) (encoded, error) {
	if i < 0 || i >= len(a.positional) {
		return encoded{}, fmt.Errorf("argument %d is missing: the call has %d", i, len(a.positional))
	}
	return a.positional[i], nil
}

// errArguments is wrapped by errors about the number and kind of a call's arguments.
var errArguments = errors.New("wrong arguments")

// expect checks that there are n positional arguments, or at least n, and nothing else.
func (a Args) expect(n int, orMore bool) error {
	for name := range a.named {
		return fmt.Errorf("%w: %q was given by name, and this method takes arguments by position", errArguments, name)
	}
	if got := len(a.positional); got < n || got > n && !orMore {
		least := ""
		if orMore {
			least = "at least "
		}
		return fmt.Errorf("%w: the method takes %s%d, and the call has %d", errArguments, least, n, got)
	}
	return nil
}

// all decodes exactly these arguments.
func (a Args) all(into ...any) error {
	if err := a.expect(len(into), false); err != nil {
		return err
	}
	for i, p := range into {
		if err := a.Decode(i, p); err != nil {
			return err
		}
	}
	return nil
}

// positionalKey stands where a keyword argument has its name: Python flattens the arguments of a call into pairs.
const positionalKey = "__RAY_DUMMY__"

// parseArgs reads the arguments of a task. Its errors are for the caller of the method.
func parseArgs(flat []*corepb.TaskArg) (Args, error) {
	if len(flat)%2 != 0 {
		return Args{}, fmt.Errorf("%d values are not pairs of names and arguments", len(flat))
	}
	args := Args{positional: make([]encoded, 0, len(flat)/2)}
	for i := 0; i < len(flat); i += 2 {
		key, arg := flat[i], flat[i+1]
		if isTraceKeyword(key) {
			continue
		}
		if key.GetObjectRef() != nil || arg.GetObjectRef() != nil {
			return Args{}, byReference(i / 2)
		}
		value := encoded{data: arg.GetData(), metadata: arg.GetMetadata()}
		if len(value.data) > MaxValue {
			return Args{}, tooLarge(fmt.Sprintf("argument %d", i/2), len(value.data))
		}
		if string(key.GetData()) == positionalKey {
			args.positional = append(args.positional, value)
			continue
		}
		var name string
		if err := xlang.DecodeInto(key.GetData(), key.GetMetadata(), &name); err != nil {
			return Args{}, fmt.Errorf("name of argument %d: %w", i/2, err)
		}
		if args.named == nil {
			args.named = make(map[string]encoded)
		}
		args.named[name] = value
	}
	return args, nil
}

func argsSize(flat []*corepb.TaskArg) int64 {
	var n int64
	for _, arg := range flat {
		n += int64(len(arg.GetData()) + len(arg.GetMetadata()))
	}
	return n
}
