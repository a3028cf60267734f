package python

import (
	"iter"
	"maps"
	"math"
)

// Global names a class, a function or another thing that a module holds. It arrives where a value is such a thing; it
// cannot be sent, for a name that the cluster cannot import would end the session. Use Session.Submit and PythonClass.
type Global struct{ Module, Name string }

// String returns the dotted name.
func (g Global) String() string { return g.Module + "." + g.Name }

// Object is an instance of a class that this package does not know, as the parts from which Python would make it again: an
// instance of a dataclass or another plain class (State holds its attributes), a namedtuple or a member of an enum (Args
// holds the values), an OrderedDict (Entries) and so on. It cannot be sent.
type Object struct {
	// Class is what would be called: the dotted name of a class, or of a function that makes instances of one. A class
	// that cannot be imported, because it was defined in a script, has its bare name.
	Class string
	// Args and Kwargs are the arguments of the call.
	Args   []any
	Kwargs map[string]any
	// State is what would be set afterwards: mostly the attributes, a map[string]any. Nil if there is nothing.
	State any
	// Items are the elements of an instance of a list, a deque or the like.
	Items []any
	// Entries are the keys and values of an instance of a dict.
	Entries Dict
}

// Attributes returns the attributes of a plain instance, with those in slots, or else the entries of a dict if all keys are
// text; nil if the object has neither. It is what a struct or a map is filled from. The caller must not change it.
func (o *Object) Attributes() map[string]any {
	if o == nil {
		return nil
	}
	switch state := o.State.(type) {
	case map[string]any:
		return state
	case []any: // (attributes or None, slots)
		if len(state) != 2 {
			return nil
		}
		attributes, ok := state[0].(map[string]any)
		slots, okSlots := state[1].(map[string]any)
		if !ok && state[0] != nil || !okSlots {
			return nil
		}
		all := make(map[string]any, len(attributes)+len(slots))
		for _, m := range []map[string]any{attributes, slots} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	pairs := o.Pairs()
	if pairs == nil {
		return nil
	}
	named := map[string]any{}
	for key, value := range pairs {
		text, ok := key.(string)
		if !ok {
			return nil
		}
		named[text] = value
	}
	return named
}

// Pairs returns the keys and values of an instance of a dict, an OrderedDict, defaultdict and Counter among them; nil for all
// else. It is what a map is filled from.
func (o *Object) Pairs() iter.Seq2[any, any] {
	switch {
	case o == nil:
		return nil
	case len(o.Entries) > 0, o.Class == "collections.OrderedDict", o.Class == "collections.defaultdict":
		return o.Entries.All()
	case o.Class == "collections.Counter" && len(o.Args) == 1: // its only argument is a dict
		switch counts := o.Args[0].(type) {
		case Dict:
			return counts.All()
		case map[any]any:
			return maps.All(counts)
		case map[string]any:
			return func(yield func(any, any) bool) {
				for key, value := range counts {
					if !yield(key, value) {
						return
					}
				}
			}
		}
	}
	return nil
}

// Elements returns Items, or Args if there are none: the values of a list, a deque, a namedtuple or an enum member. Those of a
// range are its numbers. Nil if the object has something else instead, such as attributes. It is what a slice is filled from.
func (o *Object) Elements() []any {
	switch {
	case o == nil:
		return nil
	case len(o.Items) > 0:
		return o.Items
	case o.Class == "collections.deque": // the arguments are others
		return []any{}
	case o.Class == "builtins.range":
		return o.numbers()
	case len(o.Args) == 0 && (o.State != nil || len(o.Entries) > 0):
		return nil
	}
	return o.Args
}

// maxRange bounds the numbers of a range, which takes a few bytes however many there are.
const maxRange = 1_000_000

// numbers are those of range(start, stop, step); nil if there are more than maxRange.
func (o *Object) numbers() []any {
	if len(o.Args) != 3 {
		return nil
	}
	start, ok1 := o.Args[0].(int64)
	stop, ok2 := o.Args[1].(int64)
	step, ok3 := o.Args[2].(int64)
	if !ok1 || !ok2 || !ok3 || step == 0 {
		return nil
	}
	all := []any{}
	for n := start; step > 0 && n < stop || step < 0 && n > stop; n += step {
		if len(all) == maxRange {
			return nil
		}
		all = append(all, n)
		if step > 0 && n > math.MaxInt64-step || step < 0 && n < math.MinInt64-step {
			break
		}
	}
	return all
}
