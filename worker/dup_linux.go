package worker

import "syscall"

// dup2 by way of dup3, since Linux has no dup2 on every architecture.
func dup2(from, to int) error { return syscall.Dup3(from, to, 0) }
