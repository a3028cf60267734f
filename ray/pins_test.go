package ray_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// shortPins lets Ray drop a package after seconds instead of ten minutes.
var shortPins = ray.SessionBounds{Pinned: 6 * time.Second}

// The packages of a session outlive their first pin, on which Ray drops those that nobody renews.
func TestPackagesAreThereWhenTheyAreNeeded(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	said := func(what string) *ray.Package {
		return packageOf(t, fstest.MapFS{"data/hello.txt": {Data: []byte(what + " of " + raytest.Namespace(t))}})
	}
	s := open(t, shortPins.With(ray.Config{}))
	kept := said("a file")
	if _, err := s.UploadPackage(ctx, kept); err != nil {
		t.Fatal(err)
	}
	// Pinned later, and by a session that does not renew it any more.
	gone := said("another file")
	other, err := ray.Open(ctx, shortPins.With(ray.Config{Address: raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t)}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.UploadPackage(ctx, gone); err != nil {
		t.Error(err)
	}
	closeSession(t, other)
	if !exists(t, s, gone) {
		t.Fatal("it was dropped at once")
	}
	waitFor(t, "the other package to be dropped", func() bool { return !exists(t, s, gone) })
	if !exists(t, s, kept) {
		t.Error("what the session needs was dropped, too")
	}

	env := &ray.RuntimeEnv{WorkingDir: kept.URI()}
	if text, err := call(t, s, function("in_working_dir"), ray.TaskOptions{RuntimeEnv: env}); err != nil || !strings.HasPrefix(fmt.Sprint(text), "a file of ") {
		t.Errorf("a task that begins after the first pin: %v, %v", text, err)
	}
	// A user deletes it: it comes back by itself.
	if _, err := s.KVDel(ctx, "", kept.URI()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the package to come back", func() bool { return exists(t, s, kept) })

	_, err = call(t, s, function("in_working_dir"), ray.TaskOptions{RuntimeEnv: &ray.RuntimeEnv{WorkingDir: gone.URI()}})
	wantGone(t, err, gone)
	gcs, err := ray.DialGCS(ctx, raytest.Head(t).GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gcs.Close() })
	actor := counter(t, s, ray.ActorOptions{RuntimeEnv: &ray.RuntimeEnv{WorkingDir: gone.URI()}})
	err = ray.NewClient(s, gcs, nil, nil).AwaitActor(ctx, actor.ID())
	wantGone(t, err, gone)
	wantType(t, err)
	_, err = ray.Open(ctx, ray.Config{
		Address: raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), RuntimeEnv: &ray.RuntimeEnv{PyModules: []string{gone.URI()}},
	})
	wantGone(t, err, gone)
}

// wantGone expects that a node said which package the cluster does not have.
func wantGone(t *testing.T, err error, p *ray.Package) {
	t.Helper()
	if setup, ok := errors.AsType[*ray.RuntimeEnvSetupError](err); !ok || setup.Package() != p.URI() || !errors.Is(err, ray.ErrPackageGone) || !strings.Contains(err.Error(), "upload it again") {
		t.Errorf("a package that was dropped: %v", err)
	}
}

func exists(t *testing.T, s *ray.Session, p *ray.Package) bool {
	t.Helper()
	is, err := s.KVExists(deadline(t), "", p.URI())
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A package that cannot be brought back is missed before a node tries, which would remember the failure for ten minutes.
func TestAPackageWhoseFilesAreGone(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	log := &logBuffer{}
	s := open(t, shortPins.With(ray.Config{Logger: slog.New(slog.NewTextHandler(log, nil))}))
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "hello.txt")
	write := func() {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte("hello "+s.Info().Namespace), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write()
	p := packageOf(t, os.DirFS(dir))
	if _, err := s.UploadPackage(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KVDel(ctx, "", p.URI()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log to tell", func() bool { return strings.Contains(log.String(), p.URI()) })
	env := &ray.RuntimeEnv{WorkingDir: p.URI()}
	_, err := call(t, s, function("in_working_dir"), ray.TaskOptions{RuntimeEnv: env})
	wantSent(t, err, ray.ErrPackageGone, ray.SentNo)
	_, err = s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{RuntimeEnv: env})
	wantSent(t, err, ray.ErrPackageGone, ray.SentNo)
	write()
	if text, err := call(t, s, function("in_working_dir"), ray.TaskOptions{RuntimeEnv: env}); text != "hello "+s.Info().Namespace {
		t.Errorf("with its files again: %v, %v", text, err)
	}
	if n := strings.Count(log.String(), "could not be kept"); n != 1 {
		t.Errorf("the log tells %d times:\n%s", n, log)
	}
}

// What a session keeps is bounded: the package that was uploaded first is left to Ray.
func TestTheLastPackagesAreKept(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := open(t, ray.SessionBounds{Pinned: 15 * time.Second}.With(ray.Config{}))
	ns := raytest.Namespace(t)
	all := make([]*ray.Package, ray.MaxPins+1)
	for i := range all {
		all[i] = packageOf(t, fstest.MapFS{"a.txt": {Data: fmt.Append(nil, ns, i)}})
		if _, err := s.UploadPackage(ctx, all[i]); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the first package to be dropped", func() bool { return !exists(t, s, all[0]) })
	for _, p := range all[1:] {
		if !exists(t, s, p) {
			t.Errorf("%s is gone", p.URI())
		}
	}
}
