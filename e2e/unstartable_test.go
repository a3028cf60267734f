package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
)

// The raylet counts programs that never become workers among those that just start, for a minute, and starts few at a
// time. This file's name makes its test the last one on the shared head, which so waits for nobody.

// A binary that cannot run is refused before upload, or reported with the cluster's reason instead of a hang.
func TestABinaryThatCannotRunIsReported(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	org, err := organism.New(conn, oneOrgan(), organism.Options{Binary: script})
	if err != nil {
		t.Fatal(err)
	}
	if err := org.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "ELF") {
		t.Errorf("a shell script as worker binary: %v", err)
	}
	org, err = organism.New(conn, oneOrgan(), organism.Options{Binary: "/bin/true", StartTimeout: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeActors(t, conn) })
	if err := org.Bootstrap(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "PENDING_CREATION") {
		t.Errorf("a program that is no worker: %v", err)
	}
}
