// Package python has the values of Python for which Go has no type of its own: what a session or a direct call returns
// when nothing simpler fits, and what a program gives to send such a value.
//
// Most values need none of it. None, bool, int, float, str, bytes, list and dict are nil, bool, int64 (uint64 and *big.Int
// beyond it), float64, string, []byte, []any and map[string]any; complex is complex128, an aware datetime is a time.Time,
// and a timedelta that fits is a time.Duration. Tuples and sets arrive as []any; give a [Tuple] or [Set] to send one.
//
// Nothing here is ever executed: an instance of a class that this package does not know arrives as an [Object], its parts
// side by side. Values are plain data and not synchronized.
package python

// Value is a value of one of the types of this package. Such values need Python's own form (pickle): they travel through
// a session, and cannot be arguments of a direct call.
type Value interface{ python() }

func (Tuple) python()     {}
func (Set) python()       {}
func (FrozenSet) python() {}
func (Dict) python()      {}
func (Date) python()      {}
func (DateTime) python()  {}
func (Time) python()      {}
func (Decimal) python()   {}
func (UUID) python()      {}
func (Global) python()    {}
func (*Object) python()   {}
func (*Array) python()    {}
