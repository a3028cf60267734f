//go:build !linux

package ray

import "syscall"

// limitUnacknowledged does nothing: only Linux has a portable name for it.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
