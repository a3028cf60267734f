//go:build !linux

package worker

// renice does nothing: actors run on Linux.
func renice(int) error { return nil }
