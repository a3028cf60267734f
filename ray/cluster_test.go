package ray_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

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

func TestBinaryPackage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	binary := write("one", "\x7fELF"+string(pattern(300_000)))
	p, err := ray.BinaryPackage(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^gcs://_ray_pkg_[0-9a-f]{32}\.zip$`).MatchString(p.URI()) {
		t.Error(p.URI())
	}
	same, err := ray.BinaryPackage(write("same", "\x7fELF"+string(pattern(300_000))))
	if err != nil || same.URI() != p.URI() {
		t.Errorf("the same content: %v, %v", same.URI(), err)
	}
	other, err := ray.BinaryPackage(write("other", "\x7fELF other"))
	if err != nil || other.URI() == p.URI() {
		t.Errorf("another content: %v, %v", other.URI(), err)
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
	if err := os.WriteFile(binary, []byte("\x7fELF"+string(pattern(300_000))), 0o600); err != nil {
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
	if err != nil || string(content) != "\x7fELF"+string(pattern(300_000)) {
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
	if err := os.WriteFile(second, []byte("\x7fELF second"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := ray.BinaryPackage(second)
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
	if err := os.WriteFile(binary, []byte("\x7fELF changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPackage(ctx, p); err == nil {
		t.Error("a file that changed was uploaded under the old name")
	}
}
