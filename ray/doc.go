// Package ray talks to a Ray cluster from Go, without cgo and without Python in the process.
//
// It offers two ways to a cluster. A [Session] is one connection to the Ray Client server (`ray://host:10001`): it
// puts and gets objects, runs Python functions, creates actors, calls them and uploads packages. A [GCS] reads the
// cluster's own actor table, and [Direct] calls named actors in the process where they run, past every proxy. A
// [Client] pairs the two and chooses for each call.
package ray
