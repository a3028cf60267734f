// Package govalue stands between the types of a Go program and the few plain forms that a wire format knows. [Unfold]
// takes a value apart, by the names that encoding/json would use; [Store] puts plain forms into a typed destination. Both
// go by an allow-list: a value that has no faithful form is an error that names the place, never an empty one.
//
// All functions are safe for concurrent use; values are not synchronized.
package govalue
