package worker_test

import (
	"context"
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// joinedPackage creates an actor from a package that has, beside the program for this machine, one for another.
func joinedPackage(t *testing.T, session *ray.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	binary := raytest.BuildGo(t, "./worker/internal/testworker")
	other, arch := elf.EM_AARCH64, "arm64"
	if runtime.GOARCH == arch {
		other, arch = elf.EM_X86_64, "amd64"
	}
	header := make([]byte, 64) // of a program of that kind, and nothing else of it
	copy(header, []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 16: byte(elf.ET_EXEC), 18: byte(other), 20: 1, 52: 64})
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, header, 0o600); err != nil {
		t.Fatal(err)
	}
	packages, err := ray.BinaryPackages("linux/" + arch + "=" + foreign + ",linux/" + runtime.GOARCH + "=" + binary)
	if err != nil {
		t.Fatal(err)
	}
	joined, err := ray.JoinPackages(packages...)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := session.UploadPackage(ctx, joined)
	if err != nil {
		t.Fatal(err)
	}
	class, err := session.GoClass(ctx, "Subject", []string{"add"})
	if err != nil {
		t.Fatal(err)
	}
	actor, err := session.CreateActor(ctx, class, ray.ActorOptions{RuntimeEnv: ray.GoRuntimeEnv(uri)}, 40)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := actor.Call(ctx, "add", 2); n != int64(42) || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	if err := session.Kill(ctx, actor, true); err != nil {
		t.Error(err)
	}
}
