package worker_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
)

// blocks returns the code of docs/go-actors.md in a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(raytest.Root(t), "docs", "go-actors.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, part := range strings.Split(string(content), "```"+language+"\n")[1:] {
		code, _, _ := strings.Cut(part, "```")
		found = append(found, code)
	}
	return found
}

// tutorialProgram types in the program of the tutorial, with its test, and builds it.
func tutorialProgram(t *testing.T) (dir, program string) {
	t.Helper()
	code := blocks(t, "go")
	if len(code) != 2 {
		t.Fatalf("%d programs in the tutorial", len(code))
	}
	// Inside of the module, which it would otherwise have to require.
	cache := filepath.Join(raytest.Root(t), ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "tutorial")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for i, name := range []string{"main.go", "main_test.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code[i]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, dir, "go", "build", "-o", "counter", ".")
	return dir, filepath.Join(dir, "counter")
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// tutorial does what docs/go-actors.md says, on the test's head.
func tutorial(t *testing.T, head *rayhead.Head) {
	t.Helper()
	dir, program := tutorialProgram(t)
	command(t, dir, "go", "test", "-count=1", ".")
	if out := command(t, dir, program, head.ClientAddress()); !strings.Contains(out, "the sum is 42\n") {
		t.Errorf("the program printed %s", out)
	}
	python := blocks(t, "python")
	if len(python) != 1 {
		t.Fatalf("%d scripts", len(python))
	}
	out := raytest.Python(t, strings.ReplaceAll(python[0], "127.0.0.1:10001", head.ClientAddress()))
	if out != "Python makes it 50\nrefused: True\n" {
		t.Errorf("the script printed %q", out)
	}
}
