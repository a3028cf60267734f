package raytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildTimeout bounds one build; without a warm build cache, grpc alone takes a minute on two busy cores.
const buildTimeout = 8 * time.Minute

// builds are the programs that this test binary has built, by package.
var builds struct {
	mu     sync.Mutex // guards byPkg, and is held while building
	byPkg  map[string]string
	errors map[string]error
}

// Binary builds ./cmd/seedcore, once for each test binary, and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	return BuildGo(t, "./cmd/seedcore")
}

// BuildGo builds a main package as a static program, as `make build` does, once for each test binary, and returns its
// path. The package is named as in `go build`, relative to the module's root. The program stays in the module's .cache
// directory, where the next build finds it up to date.
func BuildGo(t testing.TB, pkg string) string {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.byPkg == nil {
		builds.byPkg = map[string]string{}
		builds.errors = map[string]error{}
	}
	if _, known := builds.byPkg[pkg]; !known {
		builds.byPkg[pkg], builds.errors[pkg] = build(pkg)
	}
	if err := builds.errors[pkg]; err != nil {
		t.Fatal(err)
	}
	return builds.byPkg[pkg]
}

func build(pkg string) (path string, err error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(dir, ".cache", "test-bin")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("raytest: %w", err)
	}
	name := strings.Trim(strings.ReplaceAll(pkg, "/", "-"), ".-")
	unlock, err := lock(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	path = filepath.Join(cache, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.WaitDelay = 5 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("raytest: go build %s: %w\n%s", pkg, err, output)
	}
	return path, nil
}

// lock keeps test binaries that run at the same time from writing one program at once.
func lock(path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("raytest: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("raytest: lock %s: %w", path, err), file.Close())
	}
	return file.Close, nil // which gives the lock back
}
