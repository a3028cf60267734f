package python

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

// Attributes returns the attributes of a plain instance, with those in slots, or else the entries of a dict that have text
// keys; nil if the object has neither. It is what a struct or a map is filled from. The caller must not change it.
func (o *Object) Attributes() map[string]any {
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
	if len(o.Entries) == 0 {
		return nil
	}
	named := make(map[string]any, len(o.Entries))
	for _, item := range o.Entries {
		if key, ok := item.Key.(string); ok {
			named[key] = item.Value
		}
	}
	return named
}

// Elements returns Items, or Args if there are none: the values of a list, a deque, a namedtuple or an enum member. It is
// what a slice is filled from.
func (o *Object) Elements() []any {
	if len(o.Items) > 0 {
		return o.Items
	}
	return o.Args
}
