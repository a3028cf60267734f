package ray_test

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

//go:embed testdata/package
var packaged embed.FS

func packageOf(t *testing.T, files fs.FS) *ray.Package {
	t.Helper()
	p, err := ray.FilePackage(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A Go program brings its Python code along, and its data, without any of it on the cluster before.
func TestSessionWithPackages(t *testing.T) {
	t.Parallel()
	modules, err := fs.Sub(packaged, "testdata/package")
	if err != nil {
		t.Fatal(err)
	}
	code := packageOf(t, modules)
	data := packageOf(t, fstest.MapFS{"data/hello.txt": {Data: []byte("hello from " + t.Name())}})
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{
		Namespace: ns, Packages: []*ray.Package{code, data},
		RuntimeEnv: &ray.RuntimeEnv{PyModules: []string{code.URI()}, WorkingDir: data.URI(), EnvVars: map[string]string{"DRIVER_TEST": "of the session"}},
	})
	ctx := deadline(t)
	for fn, want := range map[ray.Function]any{
		{Module: "shipped.answers", Name: "answer"}:    int64(42),
		{Module: "drivertest", Name: "in_working_dir"}: "hello from " + t.Name(),
	} {
		ref, err := s.Submit(ctx, fn)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(ctx, ref); v != want {
			t.Errorf("%v: %v, %v", fn, v, err)
		}
	}
	ref, err := s.Submit(ctx, function("variable"), "DRIVER_TEST")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, ref); v != "of the session" {
		t.Errorf("%v, %v", v, err)
	}
	// An exception of a class that only the package has.
	if ref, err = s.Submit(ctx, ray.Function{Module: "shipped.answers", Name: "refuse"}); err != nil {
		t.Fatal(err)
	}
	if task, ok := errors.AsType[*ray.TaskError](second(s.Get(ctx, ref))); !ok || task.Class != "ShippedError" || task.Message != "no answer" {
		t.Errorf("%+v", task)
	}
	// The env of an actor of a later session, in place of the session's.
	actor, err := s.CreateActor(ctx, pythonClass(t, s, "Counter"), ray.ActorOptions{RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"DRIVER_TEST": "of the actor"}}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := actor.Call(ctx, "env", "DRIVER_TEST"); v != "of the actor" {
		t.Errorf("%v, %v", v, err)
	}
}

func TestRuntimeEnvThatCannotBeSetUp(t *testing.T) {
	t.Parallel()
	cfg := ray.Config{
		Address: raytest.Head(t).ClientAddress(), Namespace: "x",
		RuntimeEnv: &ray.RuntimeEnv{WorkingDir: "gcs://_ray_pkg_0000000000000000.zip", SetupTimeout: time.Minute},
	}
	_, err := ray.Open(deadline(t), cfg)
	if !errors.Is(err, ray.ErrRuntimeEnvSetup) {
		t.Error(err)
	}
	cfg.RuntimeEnv = &ray.RuntimeEnv{WorkingDir: "."}
	if _, err := ray.Open(deadline(t), cfg); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), "working dir") {
		t.Error(err)
	}
}

// What a session's environment that could not be set up left at the server goes with its grace period; a package that is not
// there leaves nothing.
func TestARefusedRuntimeEnvLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a head of its own")
	}
	t.Parallel()
	head := raytest.NewHead(t, rayhead.Config{Env: []string{"RUNTIME_ENV_RETRY_TIMES=1"}})
	s := open(t, ray.Config{Address: head.ClientAddress()})
	clients := func() int {
		t.Helper()
		n, err := s.NumClients(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	refuse := func(uri string) error {
		t.Helper()
		_, err := ray.Open(deadline(t), ray.Config{
			Address: head.ClientAddress(), Namespace: "x", ReconnectGrace: time.Second, RuntimeEnv: &ray.RuntimeEnv{WorkingDir: uri, SetupTimeout: time.Minute},
		})
		wantType(t, err)
		if !errors.Is(err, ray.ErrRuntimeEnvSetup) {
			t.Fatal(err)
		}
		return err
	}
	const missing = "gcs://_ray_pkg_0000000000000001.zip"
	err := refuse(missing)
	if setup, ok := errors.AsType[*ray.RuntimeEnvSetupError](err); !ok || setup.Package() != missing || !errors.Is(err, ray.ErrPackageGone) {
		t.Error(err)
	}
	if n := clients(); n != 1 {
		t.Errorf("the server counts %d clients", n)
	}
	for range 3 {
		if err := refuse("file:///no/such/place.zip"); errors.Is(err, ray.ErrPackageGone) {
			t.Error(err)
		}
	}
	waitFor(t, "the server to forget the clients", func() bool { return clients() == 1 })
	if processes := clientServers(t, head, "specific-server"); len(processes) != 1 {
		t.Errorf("processes of sessions: %v", processes)
	}
	open(t, ray.Config{Address: head.ClientAddress()})
}

func TestPackagesAreNamedByTheirContent(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("m/__init__.py", "x = 1", 0o600)
	write("run.sh", "#!/bin/sh", 0o755)
	first := packageOf(t, os.DirFS(dir)).URI()
	same := fstest.MapFS{"run.sh": {Data: []byte("#!/bin/sh"), Mode: 0o700, ModTime: time.Now()}, "m/__init__.py": {Data: []byte("x = 1")}}
	if uri := packageOf(t, same).URI(); uri != first {
		t.Errorf("the same files are %s and %s", first, uri)
	}
	for name, change := range map[string]func(){
		"content":   func() { write("m/__init__.py", "x = 2", 0o600) },
		"mode":      func() { write("run.sh", "#!/bin/sh", 0o644) },
		"new files": func() { write("m/other.py", "", 0o600) },
	} {
		before := packageOf(t, os.DirFS(dir)).URI()
		change()
		if packageOf(t, os.DirFS(dir)).URI() == before {
			t.Errorf("%s makes no difference", name)
		}
	}
	before := packageOf(t, os.DirFS(dir)).URI()
	write("m/__pycache__/x.pyc", "x", 0o600)
	write(".git/config", "x", 0o600)
	if packageOf(t, os.DirFS(dir)).URI() != before {
		t.Error("what is left out makes a difference")
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]fs.FS{"a link": os.DirFS(dir), "nothing": fstest.MapFS{}, "no directory": os.DirFS(filepath.Join(dir, "none"))} {
		if p, err := ray.FilePackage(files); err == nil {
			t.Errorf("%s became %s", name, p.URI())
		}
	}
}

func testChangedPackage(t *testing.T, s *ray.Session) {
	files := fstest.MapFS{"a.py": {Data: []byte("a = 1 # " + raytest.Namespace(t))}}
	p := packageOf(t, files)
	files["a.py"] = &fstest.MapFile{Data: []byte("a = 2")}
	if err := second(s.UploadPackage(deadline(t), p)); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Error(err)
	}
}

// Ray itself leaves the hook of a client out, of a single task or actor too: all of these would see no variable.
func TestSetupHookOfProcesses(t *testing.T) {
	t.Parallel()
	hook := func(name string) *ray.RuntimeEnv {
		return &ray.RuntimeEnv{EnvVars: map[string]string{"DRIVER_TEST": name}, More: map[string]any{"worker_process_setup_hook": "drivertest." + name}}
	}
	const variable = "DRIVER_TEST_HOOK"
	whole := open(t, ray.Config{RuntimeEnv: hook("mark_process")})
	if v, err := call(t, whole, function("variable"), ray.TaskOptions{}, variable); v != "ran" || err != nil {
		t.Errorf("of the session: %v, %v", v, err)
	}
	s := open(t, ray.Config{})
	if v, err := call(t, s, function("variable"), ray.TaskOptions{}, variable); v != nil || err != nil {
		t.Errorf("of nothing: %v, %v", v, err)
	}
	for name, want := range map[string]any{variable: "ran", "DRIVER_TEST": "mark_process"} {
		if v, err := call(t, s, function("variable"), ray.TaskOptions{RuntimeEnv: hook("mark_process")}, name); v != want || err != nil {
			t.Errorf("of a task: %s: %v, %v", name, v, err)
		}
	}
	class, err := s.Class(deadline(t), ray.Function{Name: "Asked", Source: "import os\nclass Asked:\n    def variable(self, name):\n        return os.environ.get(name)\n"})
	if err != nil {
		t.Fatal(err)
	}
	actor, err := s.CreateActor(deadline(t), class, ray.ActorOptions{RuntimeEnv: hook("mark_process")})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	if v, err := actor.Call(deadline(t), "variable", variable); v != "ran" || err != nil {
		t.Errorf("of an actor: %v, %v", v, err)
	}
	if v, err := call(t, s, function("variable"), ray.TaskOptions{RuntimeEnv: hook("nothing_there"), MaxRetries: new(0)}, variable); !errors.Is(err, ray.ErrWorkerCrashed) {
		t.Errorf("a hook that does not exist: %v, %v", v, err)
	}
}
