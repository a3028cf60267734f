package govalue

import (
	"cmp"
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
)

// Map is a map or a struct that was taken apart. Keys are string, int64 or uint64 (above the range of int64) and differ.
type Map []Entry

// Entry is one key of a Map with its value.
type Entry struct{ Key, Value any }

// Unfold takes v apart by one level, by the kind of its type. It returns
//   - nil for nil, a nil pointer and a nil interface; what a pointer points to, unfolded no further,
//   - bool, int64, uint64 (only above the range of int64), float64, string and []byte, also for arrays of bytes,
//   - []any for other slices and arrays, with their elements as they are; nil slices are empty,
//   - Map for maps with text or integer keys, sorted, and for structs, in the order of their fields.
//
// A json.Number is an integer or a float. Structs go by the names, omitempty and omitzero of json tags, embedded ones included. A []byte may alias v. Everything
// else has no faithful form and is an *Error that wraps ErrUnsupported: complex numbers, channels, functions, errors,
// types with a MarshalJSON or MarshalText of their own, time.Time and time.Duration, structs without an exported field,
// and a *big.Int outside the range of uint64 and int64.
func Unfold(v any) (any, error) {
	switch x := v.(type) {
	case nil:
		return nil, nil
	case *big.Int:
		return integer(x)
	case json.Number:
		return number(x)
	}
	rv := reflect.ValueOf(v)
	t := rv.Type()
	info := infoOf(t)
	if info.refusal != "" {
		return nil, &Error{Err: unsupported(t, info.refusal)}
	}
	switch rv.Kind() {
	case reflect.Bool:
		return rv.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned(rv.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return rv.Float(), nil
	case reflect.String:
		return rv.String(), nil
	case reflect.Pointer, reflect.Interface:
		if rv.IsNil() {
			return nil, nil
		}
		return rv.Elem().Interface(), nil
	case reflect.Slice, reflect.Array:
		return elements(rv), nil
	case reflect.Map:
		return entries(rv)
	case reflect.Struct:
		return fieldValues(rv, info)
	default:
		return nil, &Error{Err: unsupported(t, "has no form outside of Go")}
	}
}

// number is what encoding/json would write: an integer if it is written as one.
func number(text json.Number) (any, error) {
	if n, ok := new(big.Int).SetString(string(text), 10); ok && text[0] != '+' {
		return integer(n)
	}
	f, err := text.Float64()
	if err != nil || !json.Valid([]byte(text)) {
		return nil, &Error{Err: Unsupported("%.40q is no json.Number", string(text))}
	}
	return f, nil
}

func integer(n *big.Int) (any, error) {
	switch {
	case n == nil:
		return nil, nil
	case n.IsInt64():
		return n.Int64(), nil
	case n.IsUint64():
		return n.Uint64(), nil
	}
	return nil, &Error{Err: Unsupported("an integer of %d bits; 64 fit", n.BitLen())}
}

func unsigned(n uint64) any {
	if n > 1<<63-1 {
		return n
	}
	return int64(n)
}

func elements(rv reflect.Value) any {
	if rv.Type().Elem().Kind() == reflect.Uint8 && infoOf(rv.Type().Elem()).refusal == "" {
		if rv.Kind() == reflect.Slice {
			return rv.Bytes()
		}
		b := make([]byte, rv.Len())
		reflect.Copy(reflect.ValueOf(b), rv)
		return b
	}
	items := make([]any, rv.Len())
	for i := range items {
		items[i] = rv.Index(i).Interface()
	}
	return items
}

func entries(rv reflect.Value) (any, error) {
	out := make(Map, 0, rv.Len())
	for it := rv.MapRange(); it.Next(); {
		key, err := mapKey(it.Key())
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{key, it.Value().Interface()})
	}
	slices.SortFunc(out, func(a, b Entry) int { return compareKeys(a.Key, b.Key) })
	for i := range out[:max(0, len(out)-1)] {
		if out[i].Key == out[i+1].Key {
			return nil, Within(Key(out[i].Key), Unsupported("two keys of different types mean the same"))
		}
	}
	return out, nil
}

func mapKey(rv reflect.Value) (any, error) {
	for rv.Kind() == reflect.Interface && !rv.IsNil() {
		rv = rv.Elem()
	}
	t := rv.Type()
	refusal := infoOf(t).refusal
	if refusal == "" {
		switch rv.Kind() {
		case reflect.String:
			return rv.String(), nil
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return rv.Int(), nil
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			return unsigned(rv.Uint()), nil
		default:
			refusal = "is no text and no integer"
		}
	}
	return nil, &Error{Err: unsupported(t, "as a map key "+refusal)}
}

// compareKeys orders integers before text.
func compareKeys(a, b any) int {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
		return 1
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
		return -1
	case uint64:
		switch y := b.(type) {
		case int64:
			return 1
		case uint64:
			return cmp.Compare(x, y)
		}
	}
	return -1
}

func fieldValues(rv reflect.Value, info *typeInfo) (any, error) {
	out := make(Map, 0, len(info.fields))
	for _, f := range info.fields {
		v, err := rv.FieldByIndexErr(f.index)
		if err != nil || f.omitEmpty && isEmpty(v) || f.omitZero && isZero(v) { // err: a nil embedded pointer lends nothing
			continue
		}
		out = append(out, Entry{f.name, v.Interface()})
	}
	return out, nil
}

// isEmpty is what omitempty means.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// isZero is what omitzero means.
func isZero(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		return z.IsZero()
	}
	return v.IsZero()
}
