package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

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
	others := unstartable(t, clientOf(t, conn))
	if err := org.Bootstrap(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "PENDING_CREATION") {
		t.Errorf("a program that is no worker: %v", err)
	}
	others.Wait()
}

// foreign is the beginning of a program for Linux on ARM.
var foreign = append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0, 16: 2, 18: 183, 20: 1, 52: 64}, make([]byte, 64)...)

// unstartable creates actors whose programs cannot run in other ways, and waits for the reasons in the background.
func unstartable(t *testing.T, client *ray.Client) *sync.WaitGroup {
	t.Helper()
	session := client.Session()
	class, err := session.GoClass(t.Context(), "Organ", []string{"ping"})
	if err != nil {
		t.Fatal(err)
	}
	upload := func(program []byte) string {
		pkg, err := ray.FilePackage(fstest.MapFS{ray.PackagedBinary: {Data: program, Mode: 0o755}})
		if err != nil {
			t.Fatal(err)
		}
		uri, err := session.UploadPackage(t.Context(), pkg)
		if err != nil {
			t.Fatal(err)
		}
		return uri
	}
	const absent = "gcs://_ray_pkg_0123456789abcdef.zip"
	var waits sync.WaitGroup
	for _, c := range []struct {
		what, uri string
		kind      error
		waited    bool // until the deadline
		texts     []string
	}{
		{"a program that fails", upload([]byte("#!/bin/sh\necho there is no license >&2\nexit 3\n")), ray.ErrNotStarted, true, []string{"PENDING_CREATION", "there is no license"}},
		{"a program for other machines", upload(foreign), ray.ErrNotStarted, true, []string{"PENDING_CREATION", "Exec format error"}},
		{"a package that is gone", absent, ray.ErrPackageGone, false, []string{absent}},
	} {
		actor, err := session.CreateActor(t.Context(), class, ray.ActorOptions{NumCPUs: 0.1, RuntimeEnv: ray.GoRuntimeEnv(c.uri)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = session.Kill(context.Background(), actor, true) })
		waits.Go(func() {
			var err error
			for end := time.Now().Add(time.Minute); time.Now().Before(end); { // the program may take a while to fail
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				err = client.AwaitActor(ctx, actor.ID())
				cancel()
				says := err != nil
				for _, text := range c.texts {
					says = says && strings.Contains(err.Error(), text)
				}
				if says && errors.Is(err, c.kind) && errors.Is(err, context.DeadlineExceeded) == c.waited {
					return
				}
			}
			t.Errorf("%s: %v", c.what, err)
		})
	}
	return &waits
}
