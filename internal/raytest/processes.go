package raytest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Processes returns the ids of the living processes whose command line has all of the words, but for the test itself and
// the guards of heads, which have the arguments of `ray start` among their own. In a command line a NUL ends each argument.
func Processes(t testing.TB, words ...string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || len(line) == 0 {
			continue // it ended
		}
		has := !bytes.Contains(line, []byte("seedcore_guard"))
		for _, word := range words {
			has = has && bytes.Contains(line, []byte(word))
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		if has && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// Process is Processes where there has to be one.
func Process(t testing.TB, words ...string) int {
	t.Helper()
	found := Processes(t, words...)
	if len(found) != 1 {
		t.Fatalf("the processes with %q are %v, want one", words, found)
	}
	return found[0]
}

// Halt stops a process with SIGSTOP and waits until all its threads stand still, which the signal alone does not ensure.
func Halt(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		moving := moves(t, pid)
		if moving == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d does not stand still: %s", pid, moving)
		}
	}
}

// moves returns the state of a thread of a process that is not stopped; empty: all are.
func moves(t testing.TB, pid int) string {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	for _, file := range threads {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		// The state follows the name, which is in parentheses.
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' {
			return string(stat)
		}
	}
	return ""
}
