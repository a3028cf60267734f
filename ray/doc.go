// Package ray talks to a Ray cluster from Go, without cgo and without Python in the process.
//
// It offers two ways to a cluster. A [Session] is one connection to the Ray Client server (`ray://host:10001`): it
// puts and gets objects, runs Python functions, creates actors, calls them and uploads packages. A [GCS] reads the
// cluster's own actor table, and [Direct] calls named actors in the process where they run, past every proxy. A
// [Client] pairs the two and chooses for each call.
//
// # Values
//
// Arguments and results are plain Go values. Nil, bool, the integers, floats, strings, []byte, slices and maps with text
// keys are sent as the Python values that they resemble; what comes back is nil, bool, int64 (*big.Int or uint64 beyond
// it), float64, string, []byte, []any and map[string]any. Refs and actor handles travel through a session only. A Python
// object that has no such form arrives from a session as an error and from a direct call as its inspectable parts; nothing
// that arrives is ever executed.
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
