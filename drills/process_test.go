package drills_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

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
