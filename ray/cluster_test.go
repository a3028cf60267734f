package ray_test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func testKV(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for _, space := range []string{"", "space-of-" + t.Name()} {
		prefix := raytest.Namespace(t) + "-"
		key := prefix + "a"
		if _, found, err := s.KVGet(ctx, space, key); found || err != nil {
			t.Errorf("get of nothing: %v, %v", found, err)
		}
		if existed, err := s.KVPut(ctx, space, key, []byte{0, 1}, false); existed || err != nil {
			t.Errorf("first put: %v, %v", existed, err)
		}
		if existed, err := s.KVPut(ctx, space, key, []byte("kept out"), false); !existed || err != nil {
			t.Errorf("second put: %v, %v", existed, err)
		}
		if v, found, err := s.KVGet(ctx, space, key); !found || err != nil || !bytes.Equal(v, []byte{0, 1}) {
			t.Errorf("get: %v, %v, %v", v, found, err)
		}
		if existed, err := s.KVPut(ctx, space, key, nil, true); !existed || err != nil {
			t.Errorf("overwriting put: %v, %v", existed, err)
		}
		if v, found, err := s.KVGet(ctx, space, key); !found || err != nil || len(v) != 0 {
			t.Errorf("get of an empty value: %v, %v, %v", v, found, err)
		}
		if _, err := s.KVPut(ctx, space, prefix+"b", []byte("x"), true); err != nil {
			t.Error(err)
		}
		keys, err := s.KVList(ctx, space, prefix)
		slices.Sort(keys)
		if err != nil || !slices.Equal(keys, []string{prefix + "a", prefix + "b"}) {
			t.Errorf("list: %v, %v", keys, err)
		}
		if exists, err := s.KVExists(ctx, space, key); !exists || err != nil {
			t.Errorf("exists: %v, %v", exists, err)
		}
		for _, want := range []bool{true, false} {
			if existed, err := s.KVDel(ctx, space, key); existed != want || err != nil {
				t.Errorf("delete: %v, %v", existed, err)
			}
		}
		if exists, err := s.KVExists(ctx, space, key); exists || err != nil {
			t.Errorf("exists after delete: %v, %v", exists, err)
		}
		if _, err := s.KVDel(ctx, space, prefix+"b"); err != nil {
			t.Error(err)
		}
	}
}

func testCluster(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	total, err := s.ClusterResources(ctx)
	if err != nil || total["CPU"] != 8 {
		t.Errorf("%v, %v", total, err)
	}
	free, err := s.AvailableResources(ctx)
	if err != nil || free["CPU"] > total["CPU"] || free["memory"] == 0 {
		t.Errorf("%v, %v", free, err)
	}
	nodes, err := s.Nodes(ctx)
	if err != nil || len(nodes) != 1 || nodes[0]["NodeID"] != s.Info().NodeID || nodes[0]["Alive"] != true {
		t.Errorf("%v, %v", nodes, err)
	}
}

// elfFile is the header of a program for this machine, or what change makes of it, and content behind it.
func elfFile(content string, change ...func(header []byte)) string {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01\x00")
	h[16], h[18], h[20] = byte(elf.ET_EXEC), byte(elf.EM_X86_64), 1
	if runtime.GOARCH == "arm64" {
		h[18] = byte(elf.EM_AARCH64)
	}
	h[52], h[54], h[58] = 64, 56, 64 // sizes of this header and of those of segments and sections
	for _, c := range change {
		c(h)
	}
	return string(h) + content
}

// toForeign makes it one for another architecture, which foreignArch names.
func toForeign(h []byte) {
	if h[18] = byte(elf.EM_AARCH64); runtime.GOARCH == "arm64" {
		h[18] = byte(elf.EM_X86_64)
	}
}

func foreignArch() string {
	if runtime.GOARCH == "arm64" {
		return "linux/amd64"
	}
	return "linux/arm64"
}

func TestBinaryPackage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	binary := write("one", elfFile(string(pattern(300_000))))
	p, err := ray.BinaryPackage(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^gcs://_ray_pkg_[0-9a-f]{32}\.zip$`).MatchString(p.URI()) {
		t.Error(p.URI())
	}
	same, err := ray.BinaryPackage(write("same", elfFile(string(pattern(300_000)))))
	if err != nil || same.URI() != p.URI() {
		t.Errorf("the same content: %v, %v", same.URI(), err)
	}
	other, err := ray.BinaryPackage(write("other", elfFile("other")))
	if err != nil || other.URI() == p.URI() {
		t.Errorf("another content: %v, %v", other.URI(), err)
	}
	here, there := "linux/"+runtime.GOARCH, foreignArch()
	if p.Platform() != here {
		t.Error(p.Platform())
	}
	foreign := write("foreign", elfFile("", toForeign))
	for name, file := range map[string]string{
		"script": "#!/bin/sh\n", "short": "\x7fELF", "windows": "MZ" + string(pattern(200)),
		"object":  elfFile("", func(h []byte) { h[16] = byte(elf.ET_REL) }),
		"freebsd": elfFile("", func(h []byte) { h[7] = byte(elf.ELFOSABI_FREEBSD) }),
		"riscv":   elfFile("", func(h []byte) { h[18] = byte(elf.EM_RISCV) }),
	} {
		if _, err := ray.BinaryPackage(write(name, file)); !errors.Is(err, ray.ErrUnsupportedBinary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	both := here + "=" + binary + ", " + there + "=" + foreign
	for _, test := range []struct {
		programs  string
		platforms []string
		fails     string
	}{
		{binary, []string{here}, ""},
		{both, []string{here, there}, ""},
		{there + "=" + foreign + "," + here + "=" + binary, []string{here, there}, ""},
		{both + "," + binary, nil, "are both for " + here},
		{here + "=" + foreign, nil, "is a program for " + there + ", not for " + here},
	} {
		packages, err := ray.BinaryPackages(test.programs)
		var joined *ray.Package
		if err == nil {
			joined, err = ray.JoinPackages(packages...)
		}
		if test.fails != "" {
			if !errors.Is(err, ray.ErrUnsupportedBinary) || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		slices.Sort(test.platforms)
		if err != nil || joined.Platform() != strings.Join(test.platforms, ",") || (joined.URI() == p.URI()) != (len(test.platforms) == 1) {
			t.Errorf("%+v: %v, %v", test, joined, err)
		}
	}
	files, err := ray.FilePackage(fstest.MapFS{"a": {}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ray.JoinPackages(p, files); !errors.Is(err, ray.ErrUnsupportedBinary) {
		t.Errorf("joined with files: %v", err)
	}
	for _, bad := range []string{write("script", "#!/bin/sh\n"), write("short", "\x7fE"), write("empty", ""), filepath.Join(dir, "absent"), dir} {
		if _, err := ray.BinaryPackage(bad); err == nil {
			t.Errorf("%s became a package", bad)
		}
	}
}

func testPackageUpload(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte(elfFile(string(pattern(300_000)))), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ray.BinaryPackage(binary)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := s.UploadPackage(ctx, p)
	if err != nil || uri != p.URI() {
		t.Fatalf("%v, %v", uri, err)
	}
	foreign := filepath.Join(t.TempDir(), "arm")
	if err := os.WriteFile(foreign, []byte(elfFile("", toForeign)), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := ray.BinaryPackage(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPackage(ctx, other); !errors.Is(err, ray.ErrUnsupportedBinary) || !strings.Contains(err.Error(), "GOARCH="+runtime.GOARCH) {
		t.Errorf("a program for another architecture: %v", err)
	}
	if found, err := s.KVExists(ctx, "", other.URI()); found || err != nil {
		t.Errorf("it was uploaded: %v, %v", found, err)
	}
	stored, found, err := s.KVGet(ctx, "", uri)
	if err != nil || !found {
		t.Fatalf("%v, %v", found, err)
	}
	archive, err := zip.NewReader(bytes.NewReader(stored), int64(len(stored)))
	if err != nil || len(archive.File) != 1 || archive.File[0].Name != ray.PackagedBinary || archive.File[0].Mode() != 0o755 {
		t.Fatalf("%v, %v", archive, err)
	}
	f, err := archive.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(f)
	if err != nil || string(content) != elfFile(string(pattern(300_000))) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	// There already: the file is not even read.
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPackage(ctx, p); err != nil {
		t.Error(err)
	}
	if _, err := s.KVDel(ctx, "", uri); err != nil {
		t.Error(err)
	}
	// Dropped by the cluster: the archive that was built before is sent again.
	if _, err := s.UploadPackage(ctx, p); err != nil {
		t.Error(err)
	}
	again, _, err := s.KVGet(ctx, "", uri)
	if err != nil || !bytes.Equal(again, stored) {
		t.Errorf("sent again, it has %d bytes instead of %d, %v", len(again), len(stored), err)
	}
	// Another program takes its place, and the file is needed again.
	second := filepath.Join(t.TempDir(), "second")
	if err := os.WriteFile(second, []byte(elfFile("second")), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err = ray.BinaryPackage(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPackage(ctx, other); err != nil {
		t.Error(err)
	}
	for _, dropped := range []string{uri, other.URI()} {
		if _, err := s.KVDel(ctx, "", dropped); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.UploadPackage(ctx, p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := os.WriteFile(binary, []byte(elfFile("changed")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPackage(ctx, p); err == nil {
		t.Error("a file that changed was uploaded under the old name")
	}
}
