package drills_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// process finds the one living process whose command line has all of the words.
func process(t *testing.T, words ...string) int {
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
		// The head's guard has the arguments of `ray start` among its own.
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
	if len(found) != 1 {
		t.Fatalf("the processes with %q are %v, want one", words, found)
	}
	return found[0]
}

func kill(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("signal %s to process %d: %v", signal, pid, err)
	}
}

// again is how to start a process of Ray's again after it was killed: as a supervisor of single processes would, with the
// same arguments and variables.
type again struct {
	path, dir string
	args, env []string
}

func remember(t *testing.T, pid int) again {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	list := func(name string) []string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	a := again{args: list("cmdline"), env: list("environ")}
	var err error
	if a.dir, err = os.Readlink(filepath.Join(dir, "cwd")); err != nil {
		t.Fatal(err)
	}
	a.path = a.args[0]
	return a
}

// start starts the process, and returns what kills it.
func (a again) start(t *testing.T) (stop func()) {
	t.Helper()
	cmd := exec.Command(a.path)
	cmd.Args, cmd.Env, cmd.Dir = a.args, a.env, a.dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	return func() {
		_ = cmd.Process.Kill() // or it ended by itself
		<-ended
	}
}
