package raytest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
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
