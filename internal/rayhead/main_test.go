package rayhead_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/internal/rayhead"
)

// childVariable makes this test binary a parent that starts a head, tells its directory and waits to be killed.
const childVariable = "RAYHEAD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		startAndWait()
	}
	goleak.VerifyTestMain(m)
}

func startAndWait() {
	head, err := rayhead.Start(context.Background(), rayhead.Config{Python: os.Getenv(childVariable)})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("up:", head.TempDir())
	select {}
}

// python returns the interpreter that `make setup` made.
func python(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	return path
}

// startContext is generous: the machine may be busy with other tests.
func startContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, cfg rayhead.Config) *rayhead.Head {
	t.Helper()
	cfg.Python = python(t)
	head, err := rayhead.Start(startContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(head.Kill)
	return head
}

// processesOf returns "pid command" of every process whose command line or environment holds the text.
func processesOf(t *testing.T, text string) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, dir := range stats {
		if filepath.Base(dir) == fmt.Sprint(os.Getpid()) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // gone meanwhile: not left behind
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if strings.Contains(string(command), text) || strings.Contains(string(environ), text) || strings.HasPrefix(cwd, text) {
			found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

// pidOf returns the pid of the one process of the head whose command line holds the text.
func pidOf(t *testing.T, head *rayhead.Head, text string) int {
	t.Helper()
	var pids []int
	for _, process := range processesOf(t, filepath.Dir(head.TempDir())) {
		if strings.Contains(process, text) {
			var pid int
			if _, err := fmt.Sscan(process, &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) != 1 {
		t.Fatalf("processes of the head with %q in their command line: %v, want one", text, pids)
	}
	return pids[0]
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// eventually polls: there is nothing to wait on for a process that is not a child.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func wantNothingLeft(t *testing.T, tempDir string) {
	t.Helper()
	if left := processesOf(t, filepath.Dir(tempDir)); len(left) != 0 {
		t.Errorf("processes left behind:\n%s", strings.Join(left, "\n"))
	}
	if base := filepath.Dir(tempDir); base == os.TempDir() {
		t.Errorf("%s is open to every user", tempDir)
	} else if _, err := os.Stat(base); !os.IsNotExist(err) {
		t.Errorf("%s was not removed (%v)", base, err)
	}
}
