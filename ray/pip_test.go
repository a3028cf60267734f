package ray_test

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// wheel makes a Python package that pip installs without any other, and has one module, which tells its version.
func wheel(t *testing.T, name, version string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name+"-"+version+"-py3-none-any.whl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	write := func(name, text string) {
		entry, err := w.Create(name)
		if err == nil {
			_, err = entry.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	info := name + "-" + version + ".dist-info/"
	record := info + "RECORD,,\n"
	for _, file := range []struct{ name, text string }{
		{name + ".py", fmt.Sprintf("def version():\n    return %q\n", version)},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
	} {
		write(file.name, file.text)
		sum := sha256.Sum256([]byte(file.text))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", file.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(file.text))
	}
	write(info+"RECORD", record)
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// What pip installs is there for the tasks of a session, and a failure tells what pip said. Open waits for pip longer than it
// would wait for the server.
func TestPip(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	version := ray.Function{Module: "seedcore_wheel", Name: "version"}
	of := func(s *ray.Session, fn ray.Function, opts ray.TaskOptions) (any, error) {
		refs, err := s.SubmitWith(ctx, fn, opts)
		if err != nil {
			return nil, err
		}
		defer refs[0].Release()
		return s.Get(ctx, refs[0])
	}
	s, err := ray.Open(ctx, ray.SessionBounds{Init: 3 * time.Second}.With(ray.Config{
		Address: raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t),
		RuntimeEnv: &ray.RuntimeEnv{Pip: []string{wheel(t, "seedcore_wheel", "1.2.3")}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer closeSession(t, s)
	if v, err := of(s, version, ray.TaskOptions{}); v != "1.2.3" {
		t.Errorf("the session's wheel: %v, %v", v, err)
	}
	bad := &ray.RuntimeEnv{Pip: []string{"/there/is/no-such-1.0-py3-none-any.whl"}}
	_, err = of(s, version, ray.TaskOptions{RuntimeEnv: bad})
	wantPip(t, err)
	_, err = ray.Open(ctx, ray.Config{Address: raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), RuntimeEnv: bad})
	wantPip(t, err)
}

// wantPip expects what pip said.
func wantPip(t *testing.T, err error) {
	t.Helper()
	wantType(t, err)
	setup, ok := errors.AsType[*ray.RuntimeEnvSetupError](err)
	if !ok || !strings.Contains(setup.Message, "no-such-1.0-py3-none-any.whl") || !strings.Contains(setup.Message, "No such file or directory") || setup.Package() != "" {
		t.Errorf("a requirement that does not exist: %v", err)
	}
}
