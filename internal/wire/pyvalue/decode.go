package pyvalue

import (
	"math/big"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray/python"
)

// Decoder turns what package pickle read into Go values.
type Decoder struct {
	// Ref returns the value of what Options.Persistent made, and whether it knows it. May be nil.
	Ref func(v any) (value any, known bool)

	left int
}

// NewDecoder returns a decoder for a pickle of size bytes. A pickle can name a part again and again in a few bytes; what
// comes out has a copy at each place, so the size of the pickle bounds how many there may be.
func NewDecoder(size int) *Decoder { return &Decoder{left: min(maxValues, 100_000+8*size)} }

// Value returns the Go value of v. Byte strings and arrays alias what v aliases. Values that hold themselves, nest deeper
// than 200 or repeat parts too often wrap ErrUnsupported; everything else has a form.
func (d *Decoder) Value(v any) (any, error) { return d.value(v, 0) }

func (d *Decoder) value(v any, depth int) (any, error) {
	if d.left--; d.left < 0 || depth > 2*maxDepth {
		return nil, unsupported("the value repeats parts too often, is nested deeper than %d, or holds itself", 2*maxDepth)
	}
	switch x := v.(type) {
	case nil, bool, int64, float64, string:
		return v, nil
	case []byte:
		if len(x) == 1 {
			// CPython has one object for each of these, so that unrelated values of a pickle share it.
			return []byte{x[0]}, nil
		}
		return x, nil
	case *big.Int:
		if x.IsUint64() {
			return x.Uint64(), nil
		}
		return x, nil
	case *pickle.ByteArray:
		return x.Data, nil
	case pickle.Tuple:
		return d.list(x, depth)
	case *pickle.List:
		return d.list(x.Items, depth)
	case *pickle.Set:
		return d.list(x.Items, depth)
	case *pickle.Dict:
		return d.dict(x.Items, depth)
	case pickle.Global:
		return python.Global{Module: canonical(x).Module, Name: x.Name}, nil
	case *pickle.Object:
		return d.object(x, depth)
	}
	if d.Ref != nil {
		if value, known := d.Ref(v); known {
			return value, nil
		}
	}
	return nil, unsupported("a %T has no form in Go", v)
}

func (d *Decoder) list(items []any, depth int) ([]any, error) {
	out := make([]any, len(items))
	for i, item := range items {
		var err error
		if out[i], err = d.value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dict gives a map[string]any where it can, else a map[any]any, else a python.Dict.
func (d *Decoder) dict(items []pickle.Item, depth int) (any, error) {
	text, simple := true, true
	for i := range items {
		switch items[i].Key.(type) {
		case string:
		case nil, bool, int64, float64:
			text = false
		default:
			text, simple = false, false
		}
	}
	switch {
	case text:
		out := make(map[string]any, len(items))
		for _, item := range items {
			v, err := d.value(item.Value, depth+1)
			if err != nil {
				return nil, err
			}
			out[item.Key.(string)] = v
		}
		return out, nil
	case simple:
		out := make(map[any]any, len(items))
		for _, item := range items {
			v, err := d.value(item.Value, depth+1)
			if err != nil {
				return nil, err
			}
			out[item.Key] = v
		}
		return out, nil
	}
	return d.pairs(items, depth)
}

func (d *Decoder) pairs(items []pickle.Item, depth int) (python.Dict, error) {
	out := make(python.Dict, len(items))
	for i, item := range items {
		var err error
		if out[i].Key, err = d.key(item.Key, depth+1); err != nil {
			return nil, err
		}
		if out[i].Value, err = d.value(item.Value, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// key keeps tuples and frozen sets what they are, so that the dict can be sent again.
func (d *Decoder) key(v any, depth int) (any, error) {
	var parts []any
	frozen := false
	switch x := v.(type) {
	case pickle.Tuple:
		parts = x
	case *pickle.Set:
		parts, frozen = x.Items, true
	case *pickle.Object: // frozenset([...]) of older protocols
		class, _ := x.Class.(pickle.Global)
		list, ok := only(x).(*pickle.List)
		if canonical(class) != builtin("frozenset") || !ok {
			return d.value(v, depth)
		}
		parts, frozen = list.Items, true
	default:
		return d.value(v, depth)
	}
	if d.left--; d.left < 0 || depth > 2*maxDepth {
		return nil, unsupported("a key of too many parts")
	}
	out := make([]any, len(parts))
	for i, part := range parts {
		var err error
		if out[i], err = d.key(part, depth+1); err != nil {
			return nil, err
		}
	}
	if frozen {
		return python.FrozenSet(out), nil
	}
	return python.Tuple(out), nil
}

// object gives the Go form of a class that is known, and the parts of any other.
func (d *Decoder) object(o *pickle.Object, depth int) (any, error) {
	if class, ok := o.Class.(pickle.Global); ok {
		if convert := classes[canonical(class)]; convert != nil {
			if v, ok := convert(o); ok {
				return v, nil
			}
		}
		if v, ok, err := d.collection(canonical(class), o, depth); ok || err != nil {
			return v, err
		}
	}
	args, err := d.list(o.Args, depth+1)
	if err != nil {
		return nil, err
	}
	out := &python.Object{Class: ClassName(o.Class), Args: args}
	if o.Kwargs != nil {
		kwargs, err := d.dict(o.Kwargs.Items, depth+1)
		if err != nil {
			return nil, err
		}
		named, ok := kwargs.(map[string]any)
		if !ok {
			return nil, unsupported("keyword arguments of %s without names", out.Class)
		}
		out.Kwargs = named
	}
	if o.State != nil {
		if out.State, err = d.value(o.State, depth+1); err != nil {
			return nil, err
		}
	}
	if len(o.Items) > 0 {
		if out.Items, err = d.list(o.Items, depth+1); err != nil {
			return nil, err
		}
	}
	if len(o.Entries) > 0 {
		if out.Entries, err = d.pairs(o.Entries, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// collection reads what older protocols write as the call of a type: set([...]), frozenset([...]).
func (d *Decoder) collection(class pickle.Global, o *pickle.Object, depth int) (any, bool, error) {
	list, ok := only(o).(*pickle.List)
	if class != builtin("set") && class != builtin("frozenset") || !ok {
		return nil, false, nil
	}
	v, err := d.list(list.Items, depth)
	return v, true, err
}

// only returns the only part of an object that is nothing but a call with one argument, else nil.
func only(o *pickle.Object) any {
	if len(o.Args) != 1 || !bare(o) {
		return nil
	}
	return o.Args[0]
}

// bare tells that an object is nothing but a call.
func bare(o *pickle.Object) bool {
	return o.Kwargs == nil && o.State == nil && len(o.Items) == 0 && len(o.Entries) == 0
}

// canonical gives the name of today for those of Python 2, which protocol 2 still writes.
func canonical(g pickle.Global) pickle.Global {
	switch g.Module {
	case "__builtin__":
		g.Module = "builtins"
		if g.Name == "xrange" {
			g.Name = "range"
		}
	case "exceptions":
		g.Module = "builtins"
	case "copy_reg":
		g.Module = "copyreg"
	}
	return g
}

// ClassName names what an object is an instance of. A class that is not importable travels as a call of cloudpickle's
// _make_skeleton_class(type, name, bases, ...), one of an enum as _make_skeleton_enum(bases, name, ...), and what belongs to a class as getattr(class, name).
func ClassName(class any) string {
	switch c := class.(type) {
	case pickle.Global:
		return canonical(c).String()
	case *pickle.Object:
		f, ok := c.Class.(pickle.Global)
		if !ok || len(c.Args) < 2 {
			break
		}
		name, ok := c.Args[1].(string)
		owner, isGlobal := c.Args[0].(pickle.Global)
		switch {
		case ok && (strings.HasSuffix(f.Name, "_make_skeleton_class") || strings.HasSuffix(f.Name, "_make_skeleton_enum")):
			return name
		case ok && isGlobal && canonical(f) == builtin("getattr"):
			return canonical(owner).String() + "." + name
		}
	}
	return "unknown"
}
