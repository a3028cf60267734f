package pickle

// Tuple is a Python tuple.
type Tuple []any

// List is a Python list. It is a pointer type when decoded, because Python lists have an identity: the same *List may
// occur more than once in a value, even inside itself.
type List struct{ Items []any }

// Item is one key of a dict with its value.
type Item struct{ Key, Value any }

// Dict is a Python dict in insertion order. Keys may be any value. A key that occurs twice has the last of its values.
type Dict struct{ Items []Item }

// Get returns the value of a string key.
func (d *Dict) Get(key string) (any, bool) {
	if d == nil {
		return nil, false
	}
	for i := len(d.Items) - 1; i >= 0; i-- {
		if k, ok := d.Items[i].Key.(string); ok && k == key {
			return d.Items[i].Value, true
		}
	}
	return nil, false
}

// Set is a Python set, or a frozenset.
type Set struct {
	Items  []any
	Frozen bool
}

// ByteArray is a Python bytearray.
type ByteArray struct{ Data []byte }

// Global names something importable: a class, a function, a module-level value. Name may have dots. Pickles of protocol
// 2 and older name the modules of Python 2 (__builtin__, copy_reg); the names are kept as they stand in the pickle.
type Global struct{ Module, Name string }

// String returns the dotted name.
func (g Global) String() string { return g.Module + "." + g.Name }

// Object is what a pickle would have built by calling something. Unmarshal makes one of every REDUCE, NEWOBJ,
// NEWOBJ_EX, INST and OBJ; it calls nothing. Marshal writes it back.
type Object struct {
	// Class is what would have been called, mostly a Global.
	Class any
	// Args are the positional arguments.
	Args Tuple
	// Kwargs are the keyword arguments of NEWOBJ_EX; nil for the others.
	Kwargs *Dict
	// New tells Class.__new__(Class, *Args), that is NEWOBJ and NEWOBJ_EX, from a plain call Class(*Args).
	New bool
	// State is the argument of BUILD; nil if there was none.
	State any
	// Items were appended (APPENDS, ADDITEMS), Entries set (SETITEMS), before State.
	Items   []any
	Entries []Item
}

// Call makes Python call Func with Args when it reads the pickle (REDUCE). Marshal only.
type Call struct {
	Func any
	Args Tuple
}

// New makes Python call Class.__new__(Class, *Args) when it reads the pickle (NEWOBJ). Marshal only.
type New struct {
	Class any
	Args  Tuple
}

// Persistent is an id that the reader resolves by means of its own (BINPERSID). Marshal only; Unmarshal passes ids to
// Options.Persistent.
type Persistent struct{ ID any }

// Shared gives a value an identity: where the same *Shared occurs more than once in what Marshal writes, Python reads
// one object. The Value must not contain its own *Shared. Marshal only.
type Shared struct{ Value any }

// isContainer reports whether v may have other values in it.
func isContainer(v any) bool {
	switch v.(type) {
	case Tuple, *List, *Dict, *Set, *Object:
		return true
	}
	return false
}
