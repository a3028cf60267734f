package rayhead

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	markVariable = "SEEDCORE_HEAD"
	// How long sweep goes on: a killed process is gone in milliseconds, unless the kernel holds it.
	sweepTimeout  = 10 * time.Second
	sweepInterval = 20 * time.Millisecond
)

// mark is the entry that the environment of every process of this head holds, and of no other process.
func (h *Head) mark() string { return markVariable + "=" + h.name }

// sweep kills what a guard has left behind that was killed itself. `ray start` and most of Ray's processes are gone by
// then, but the raylet's agents would stay for minutes.
func (h *Head) sweep() {
	if h.cmd.ProcessState != nil && h.cmd.ProcessState.Exited() {
		return // the guard did its work
	}
	for deadline := time.Now().Add(sweepTimeout); time.Now().Before(deadline); time.Sleep(sweepInterval) {
		pids := processes(h.cmd.Process.Pid, h.mark())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
		}
	}
}

// processes returns the pids of the processes that are in the session or hold the entry in their environment. One alone
// would not do: a process may start a session of its own, and one that changes its title overwrites its environment.
func processes(session int, entry string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed, the only error there is
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || sessionOf(dir) != session && !hasEntry(dir, entry) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

// sessionOf returns the session of the process, 0 if it has ended.
func sessionOf(dir string) int {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	// pid (command) state ppid pgrp session ...; the command may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 4 || fields[0][0] == 'Z' {
		return 0
	}
	session, err := strconv.Atoi(string(fields[3]))
	if err != nil {
		return 0
	}
	return session
}

// hasEntry is false for a process that has ended, and for another user's.
func hasEntry(dir, entry string) bool {
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	return err == nil && bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+entry+"\x00"))
}
