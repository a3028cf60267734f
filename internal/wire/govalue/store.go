package govalue

import (
	"encoding"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/big"
	"reflect"
	"unicode/utf8"
)

// maxDepth bounds how deeply Store follows a value.
const maxDepth = 400

// Attributed is a value with named parts that may be stored in a struct or a map, such as an object of a Python class.
type Attributed interface {
	// Attributes returns the parts, nil if there are none; the caller does not change them.
	Attributes() map[string]any
}

// Sequence is a value of another type that may be stored in slices and arrays.
type Sequence interface {
	// Elements returns the elements, some of which may be a Sequence or a []any; nil if there can be none.
	Elements() []any
}

// Mapping is a value of another type that may be stored in a map.
type Mapping interface {
	// Pairs returns the keys and values; nil if there can be none.
	Pairs() iter.Seq2[any, any]
}

// Storer is a value that knows some destinations better than Store does.
type Storer interface {
	// StoreIn stores the value in what into points to, if it can, and reports whether it took the task on.
	StoreIn(into any) (bool, error)
}

// Store puts v into what into points to. v is made of nil, bool, int64, uint64, *big.Int, float64, string, []byte, []any,
// map[string]any, map[any]any and values of other types. The rules:
//   - a value fits into its own type, and into an interface that it implements; anything fits into any;
//   - integers fit into every integer and float type that holds them exactly, and into big.Int; floats into floats that
//     do not overflow, never into integers; bytes and text into string and []byte of their own kind, UTF-8 bytes also into
//     a string;
//   - lists fit into slices, and into arrays of their length; maps into maps, and into structs by the names of json tags,
//     in any case, where unknown names are passed over and fields without a value keep what they have;
//   - text fits into an encoding.TextUnmarshaler, and so does an encoding.TextMarshaler;
//   - nil makes pointers, slices, maps and interfaces nil, leaves a field of a struct as it is, and fits into nothing else.
//
// An error is an *Error that wraps ErrMismatch and names the place; what into points to may then be half filled. into may
// alias v.
func Store(v, into any) error {
	dst := reflect.ValueOf(into)
	if dst.Kind() != reflect.Pointer || dst.IsNil() {
		return &Error{Err: fmt.Errorf("%w: a destination must be a pointer that is not nil, not a %T", ErrMismatch, into)}
	}
	return store(dst.Elem(), v, 0)
}

func store(dst reflect.Value, v any, depth int) error {
	if depth > maxDepth {
		return &Error{Err: fmt.Errorf("%w: nested deeper than %d, or it holds itself", ErrMismatch, maxDepth)}
	}
	if v == nil {
		switch dst.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
			dst.SetZero()
			return nil
		default:
			return mismatch(dst, v, "")
		}
	}
	src := reflect.ValueOf(v)
	if src.Type().AssignableTo(dst.Type()) {
		dst.Set(src)
		return nil
	}
	if done, err := storeText(dst, v); done {
		return err
	}
	if dst.Kind() == reflect.Pointer {
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		return store(dst.Elem(), v, depth+1)
	}
	if storer, ok := v.(Storer); ok && dst.CanAddr() {
		if done, err := storer.StoreIn(dst.Addr().Interface()); done {
			return err
		}
	}
	switch x := v.(type) {
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(x)
			return nil
		}
	case int64, uint64, *big.Int:
		return storeInteger(dst, v)
	case float64:
		return storeFloat(dst, x)
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(x)
			return nil
		}
	case []byte:
		return storeBytes(dst, x)
	case []any:
		return storeList(dst, x, v, depth)
	case map[string]any:
		return storeNamed(dst, x, v, depth)
	case map[any]any:
		return storeMixed(dst, x, depth)
	}
	return storeOther(dst, v, depth)
}

// storeOther stores the parts of a value that is none of the plain forms.
func storeOther(dst reflect.Value, v any, depth int) error {
	switch dst.Kind() {
	case reflect.Struct, reflect.Map:
		if x, ok := v.(Mapping); ok && dst.Kind() == reflect.Map {
			if pairs := x.Pairs(); pairs != nil {
				return storePairs(dst, pairs, depth)
			}
		}
		if x, ok := v.(Attributed); ok {
			if attributes := x.Attributes(); attributes != nil {
				return storeNamed(dst, attributes, v, depth)
			}
		}
	case reflect.Slice, reflect.Array:
		if x, ok := v.(Sequence); ok {
			if elements := x.Elements(); elements != nil {
				return storeList(dst, elements, v, depth)
			}
		}
	}
	return mismatch(dst, v, "")
}

// storeText serves destinations that read text.
func storeText(dst reflect.Value, v any) (done bool, err error) {
	if !dst.CanAddr() {
		return false, nil
	}
	reader, ok := dst.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok {
		return false, nil
	}
	var text []byte
	switch x := v.(type) {
	case string:
		text = []byte(x)
	case *big.Int:
		return false, nil
	case encoding.TextMarshaler:
		if text, err = x.MarshalText(); err != nil {
			return true, mismatch(dst, v, err.Error())
		}
	default:
		return false, nil
	}
	if err := reader.UnmarshalText(text); err != nil {
		return true, mismatch(dst, v, err.Error())
	}
	return true, nil
}

func storeInteger(dst reflect.Value, v any) error {
	n, ok := v.(*big.Int)
	if !ok {
		n = new(big.Int)
		if x, signed := v.(int64); signed {
			n.SetInt64(x)
		} else {
			n.SetUint64(v.(uint64))
		}
	}
	switch dst.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n.IsInt64() && !dst.OverflowInt(n.Int64()) {
			dst.SetInt(n.Int64())
			return nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if n.IsUint64() && !dst.OverflowUint(n.Uint64()) {
			dst.SetUint(n.Uint64())
			return nil
		}
	case reflect.Float32, reflect.Float64:
		f, exact := new(big.Float).SetInt(n).Float64()
		if exact == big.Exact && (dst.Kind() == reflect.Float64 || float64(float32(f)) == f) {
			dst.SetFloat(f)
			return nil
		}
	case reflect.Struct:
		if p, ok := dst.Addr().Interface().(*big.Int); ok {
			p.Set(n)
			return nil
		}
		return mismatch(dst, v, "")
	default:
		return mismatch(dst, v, "")
	}
	return mismatch(dst, v, fmt.Sprintf("%.40s is out of its range", n.String()))
}

func storeFloat(dst reflect.Value, f float64) error {
	switch dst.Kind() {
	case reflect.Float32, reflect.Float64:
		if dst.OverflowFloat(f) && !math.IsInf(f, 0) {
			return mismatch(dst, f, fmt.Sprintf("%v is out of its range", f))
		}
		dst.SetFloat(f)
		return nil
	}
	return mismatch(dst, f, "")
}

func storeBytes(dst reflect.Value, b []byte) error {
	switch {
	case dst.Kind() == reflect.Slice && dst.Type().Elem().Kind() == reflect.Uint8:
		dst.SetBytes(b)
		return nil
	case dst.Kind() == reflect.Array && dst.Type().Elem().Kind() == reflect.Uint8:
		if dst.Len() != len(b) {
			return mismatch(dst, b, fmt.Sprintf("there are %d bytes", len(b)))
		}
		for i, c := range b {
			dst.Index(i).SetUint(uint64(c))
		}
		return nil
	case dst.Kind() == reflect.String:
		if !utf8.Valid(b) {
			return mismatch(dst, b, "the bytes are not UTF-8")
		}
		dst.SetString(string(b))
		return nil
	}
	return mismatch(dst, b, "")
}

func storeList(dst reflect.Value, items []any, v any, depth int) error {
	switch dst.Kind() {
	case reflect.Slice:
		dst.Set(reflect.MakeSlice(dst.Type(), len(items), len(items)))
	case reflect.Array:
		if dst.Len() != len(items) {
			return mismatch(dst, v, fmt.Sprintf("there are %d elements", len(items)))
		}
	default:
		return mismatch(dst, v, "")
	}
	for i, item := range items {
		if err := store(dst.Index(i), item, depth+1); err != nil {
			return Within(At(i), err)
		}
	}
	return nil
}

func storeNamed(dst reflect.Value, m map[string]any, v any, depth int) error {
	switch dst.Kind() {
	case reflect.Struct:
		return storeStruct(dst, m, depth)
	case reflect.Map:
		if dst.Type().Key().Kind() != reflect.String {
			if len(m) > 0 {
				return mismatch(dst, v, "its keys are text")
			}
		}
		dst.Set(reflect.MakeMapWithSize(dst.Type(), len(m)))
		for key, item := range m {
			value := reflect.New(dst.Type().Elem()).Elem()
			if err := store(value, item, depth+1); err != nil {
				return Within(Named(key), err)
			}
			dst.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), value)
		}
		return nil
	default:
		return mismatch(dst, v, "")
	}
}

func storeStruct(dst reflect.Value, m map[string]any, depth int) error {
	info := infoOf(dst.Type())
	for key, item := range m {
		f, ok := info.find(key)
		if !ok || item == nil && !nilable(dst.Type().FieldByIndex(f.index).Type) {
			continue
		}
		if _, exact := m[f.name]; exact && key != f.name {
			continue // the exact name wins
		}
		target, err := fieldOf(dst, f)
		if err == nil {
			err = store(target, item, depth+1)
		}
		if err != nil {
			return Within(Named(f.name), err)
		}
	}
	return nil
}

func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	default:
		return false
	}
}

// fieldOf returns a field, and makes the embedded structs on the way to it.
func fieldOf(v reflect.Value, f field) (reflect.Value, error) {
	for i, n := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return v, fmt.Errorf("%w: it lies in an embedded pointer to an unexported type, which is nil", ErrMismatch)
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v, nil
}

func storeMixed(dst reflect.Value, m map[any]any, depth int) error {
	if dst.Kind() != reflect.Map {
		return mismatch(dst, m, "its keys are not all text")
	}
	return storePairs(dst, maps.All(m), depth)
}

func storePairs(dst reflect.Value, pairs iter.Seq2[any, any], depth int) error {
	dst.Set(reflect.MakeMap(dst.Type()))
	for key, item := range pairs {
		k, value := reflect.New(dst.Type().Key()).Elem(), reflect.New(dst.Type().Elem()).Elem()
		if err := store(k, key, depth+1); err != nil {
			return Within(Key(key), fmt.Errorf("key: %w", err))
		}
		if !k.Comparable() {
			return Within(Key(key), mismatch(k, key, "which cannot be a key in Go"))
		}
		if err := store(value, item, depth+1); err != nil {
			return Within(Key(key), err)
		}
		dst.SetMapIndex(k, value)
	}
	return nil
}

func mismatch(dst reflect.Value, v any, why string) error {
	err := fmt.Errorf("%w: %s into a Go %v", ErrMismatch, describe(v), dst.Type())
	if why != "" {
		err = fmt.Errorf("%w (%s)", err, why)
	}
	return &Error{Err: err}
}

// describe names a form in words that both sides know.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, uint64, *big.Int:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "text"
	case []byte:
		return "bytes"
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "a dict"
	}
	return fmt.Sprintf("a %T", v)
}
