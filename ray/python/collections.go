package python

import "iter"

// Tuple is sent as a tuple. Tuples arrive as []any.
type Tuple []any

// Set is sent as a set. Its elements, and those of a FrozenSet, must be hashable in Python: text, bytes, numbers, nil,
// bool, times, a Tuple or a FrozenSet of such. Sets arrive as []any, in the order of Python's iteration.
type Set []any

// FrozenSet is sent as a frozenset. Frozen sets arrive as []any.
type FrozenSet []any

// Dict is a dict in its order. It is sent as one, and is what a dict arrives as when its keys are neither text nor other
// scalars; keys must be hashable like the elements of a Set. A key that occurs twice has the last of its values.
type Dict []Item

// All returns the keys and values in their order.
func (d Dict) All() iter.Seq2[any, any] {
	return func(yield func(key, value any) bool) {
		for _, item := range d {
			if !yield(item.Key, item.Value) {
				return
			}
		}
	}
}

// Pairs is All: it is what a map is filled from.
func (d Dict) Pairs() iter.Seq2[any, any] { return d.All() }

// Elements returns the tuple's elements.
func (t Tuple) Elements() []any { return t }

// Item is one key of a Dict with its value.
type Item struct{ Key, Value any }
