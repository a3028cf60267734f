// Package ray talks to a Ray cluster from Go, without cgo and without Python in the process.
//
// It offers two ways to a cluster. A [Session] is one connection to the Ray Client server (`ray://host:10001`): it
// puts and gets objects, runs Python functions, creates actors, calls them and uploads packages. A [GCS] reads the
// cluster's own actor table, and [Direct] calls named actors in the process where they run, past every proxy. A
// [Client] pairs the two and chooses for each call. A [Dashboard] lists the cluster's state and runs jobs. docs/ray.md
// has what there is, and the way over from Python.
//
// # Values
//
// Arguments are plain Go values: nil, bool, numbers, UTF-8 strings, []byte, slices, maps with text or integer keys, and
// structs by the rules of encoding/json for tags, nested at will. What comes back is nil, bool, int64 (*big.Int or uint64
// beyond it), float64, string, []byte, []any and map[string]any; [As], [Get] and [Decode] put it into the types that a
// program has. No integer loses a bit on the way, in either direction; NaN and the infinities travel as they are.
//
// Tuples, sets, times, Decimal, UUID, complex numbers and arrays of numpy have a form in package ray/python, in package
// time or in Go itself. An instance of any other class arrives as its parts, a python.Object; nothing that arrives is ever
// executed. These, refs and actor handles are sent through a session only: a direct call carries what JSON could name, and
// bytes. A [Client] takes the session by itself for arguments that need it.
//
// A value that has no faithful form wraps [ErrUnsupportedValue] before anything is sent, and names the place, as in
// "args[0].items[2].ref". docs/ray.md has the table of types.
//
// # Errors
//
// Every failed call says whether it may have run: see [SentOf] and [CallError]. What the called code raised is a
// [TaskError]. Conditions to test for with errors.Is are the Err variables; errors.go has them all.
//
// # Concurrency
//
// All types are safe for concurrent use. Every call takes a context and returns promptly when that ends; what was sent by
// then goes on behind it.
package ray
