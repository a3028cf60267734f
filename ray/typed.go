package ray

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/govalue"
)

// Decode stores a value that Get or Call returned in what into points to, by the rules of encoding/json where they apply:
//   - a value fits into its own type, and anything into any;
//   - integers fit into every integer and float type that holds them exactly, and into big.Int; floats into floats, never
//     into integers; bytes that are UTF-8 also into string;
//   - lists, tuples, sets, deques, arrays and ranges of up to a million numbers fit into slices, and into Go arrays of their
//     length; an Array of several dimensions into slices of slices;
//   - dicts fit into maps (an OrderedDict, defaultdict or Counter, too), and into structs by the names of json tags, in any
//     case: unknown names are passed over, fields without a value keep what they have. So do the attributes of an instance of a class (a dataclass, say), and the
//     values of a namedtuple into a slice;
//   - text fits into an encoding.TextUnmarshaler, and so do Decimal, UUID, Date and DateTime: a Decimal into a big.Rat;
//   - None makes pointers, slices, maps and interfaces nil, leaves a field of a struct as it is, and fits into nothing else.
//
// What does not fit wraps ErrValueMismatch and names the place, as in "items[2].size: ...", and into may then be half
// filled. Bytes may alias those of v.
func Decode(v, into any) error {
	if err := govalue.Store(v, into); err != nil {
		return fmt.Errorf("%w: %w", ErrValueMismatch, err)
	}
	return nil
}

// As turns the result of a call into a T by the rules of Decode. It takes what Get and Call return:
//
//	total, err := ray.As[float64](actor.Call(ctx, "total"))
//
// An error of the call is passed on. A value that does not fit wraps ErrValueMismatch in a CallError with SentYes: the
// call has run.
func As[T any](v any, err error) (T, error) {
	var out T
	if err != nil {
		return out, err
	}
	if err := Decode(v, &out); err != nil {
		var none T
		return none, &CallError{Target: "result", Sent: SentYes, Err: err}
	}
	return out, nil
}

// Get waits for the value of a ref and returns it as a T. See Session.Get for the waiting and As for the rest.
func Get[T any](ctx context.Context, s *Session, ref *ObjectRef) (T, error) {
	if s == nil {
		return As[T](nil, &CallError{Target: "get", Sent: SentNo, Err: fmt.Errorf("%w: the session is nil", ErrNoSession)})
	}
	return As[T](s.Get(ctx, ref))
}
