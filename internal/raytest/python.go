package raytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pythonTimeout bounds a script; connecting a Python client alone may take half a minute on a busy machine.
const pythonTimeout = 3 * time.Minute

// pythonVariable names the interpreter that the tests use in place of the one of `make setup`: one with another version of
// Ray, relative to the module's root or absolute.
const pythonVariable = "SEEDCORE_TEST_PYTHON"

// Namespace returns a Ray namespace that no other test uses.
func Namespace(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return name + "-" + strings.ToLower(rand.Text()[:8])
}

// PythonPath returns the directory of the modules that Python code on the head can import.
func PythonPath(t testing.TB) string {
	t.Helper()
	path, err := pythonPath()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// VenvPython returns the interpreter of the environment that `make setup` makes, and fails the test without it.
func VenvPython(t testing.TB) string {
	t.Helper()
	python, err := venvPython()
	if err != nil {
		t.Fatal(err)
	}
	return python
}

// Python runs a script with the interpreter of the environment that `make setup` makes and returns what it prints on
// standard output. The entries of env, "KEY=value", are added to the environment, from which Ray's own variables are
// missing. The script can import seedtest. It is killed, and the test fails, after three minutes.
func Python(t testing.TB, script string, env ...string) string {
	t.Helper()
	python, path := VenvPython(t), PythonPath(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "script.py")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), pythonTimeout, errors.New("the script took too long"))
	defer cancel()
	cmd := exec.CommandContext(ctx, python, file)
	cmd.Dir = dir
	cmd.Env = append(withoutRay(os.Environ()), "PYTHONPATH="+path, "PYTHONUNBUFFERED=1")
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr strings.Builder
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	// A group of its own, so that what the script started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		t.Fatalf("python: %v\nstdout:\n%s\nstderr:\n%s", err, &stdout, &stderr)
	}
	return stdout.String()
}

func withoutRay(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "RAY_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func pythonPath() (string, error) {
	dir, err := root()
	return filepath.Join(dir, "internal", "raytest", "pymod"), err
}

func venvPython() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	python := os.Getenv(pythonVariable)
	if python == "" {
		python = filepath.Join(dir, ".venv", "bin", "python")
	} else if !filepath.IsAbs(python) {
		python = filepath.Join(dir, python)
	}
	if _, err := os.Stat(python); err != nil {
		return "", fmt.Errorf("raytest: the tests need a real Ray, run make setup: %w", err)
	}
	return python, nil
}
