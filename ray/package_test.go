package ray_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/seedcore/seedcore/ray"
)

// tree draws files, some of them below directories, some of them programs.
func tree(t *rapid.T) fstest.MapFS {
	files := fstest.MapFS{}
	name := rapid.StringMatching(`(d[0-2]/){0,2}f[a-c]{1,2}( \n)?\.py`)
	for _, name := range rapid.SliceOfNDistinct(name, 1, 6, rapid.ID).Draw(t, "names") {
		files[name] = &fstest.MapFile{
			Data: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data"),
			Mode: rapid.SampledFrom([]fs.FileMode{0o644, 0o755}).Draw(t, "mode"),
		}
	}
	return files
}

// written puts files into a directory in the order of names, at a time and for an owner of its own.
func written(t *rapid.T, dir string, files fstest.MapFS, names []string) fs.FS {
	for i, name := range names {
		to := filepath.Join(dir, name)
		mode := files[name].Mode & rapid.SampledFrom([]fs.FileMode{0o777, 0o700}).Draw(t, "for whom")
		changed := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "changed"), 0)
		err := os.MkdirAll(filepath.Dir(to), 0o755)
		for _, step := range []func() error{
			func() error { return os.WriteFile(to, files[name].Data, 0o600) },
			func() error { return os.Chmod(to, mode) },
			func() error { return os.Chtimes(to, changed, changed) },
		} {
			if err == nil {
				err = step()
			}
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Lchown(to, i, i) // root alone may
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return os.DirFS(dir)
}

// archive is the URI of a package, and the zip behind it.
func archive(t *rapid.T, p *ray.Package, err error) (uri string, data []byte) {
	if err == nil {
		data, err = ray.Archive(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p.URI(), data
}

// change makes one difference to the files, and says which.
func change(t *rapid.T, files fstest.MapFS) (what string) {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(files))).Draw(t, "of")
	file := files[name]
	switch rapid.IntRange(0, 4).Draw(t, "change") {
	case 0:
		if len(file.Data) > 0 {
			file.Data = bytes.Clone(file.Data)
			file.Data[rapid.IntRange(0, len(file.Data)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
			return "a byte of " + name
		}
		file.Data = []byte{0}
		return "a byte more in " + name
	case 1:
		delete(files, name)
		files[path.Join(path.Dir(name), "g.py")] = file
		return "the name of " + name
	case 2:
		file.Mode ^= 0o111
		return "the mode of " + name
	case 3:
		files["another.py"] = &fstest.MapFile{Mode: 0o644}
		return "another file"
	}
	if len(files) > 1 {
		delete(files, name)
		return "no " + name
	}
	delete(files, name) // the directory of the only file
	files["e/"+name] = file
	return "the directory of " + name
}

// The same files have the same name and become the same archive, wherever, whenever and by whom they were written; others
// have another name.
func TestFilesHaveOneName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dirs, err := os.MkdirTemp("", "files")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dirs) }()
		files := tree(t)
		p, err := ray.FilePackage(files)
		uri, data := archive(t, p, err)
		for i := range 2 {
			order := rapid.Permutation(slices.Sorted(maps.Keys(files))).Draw(t, "order")
			same, err := ray.FilePackage(written(t, filepath.Join(dirs, fmt.Sprint(i)), files, order))
			if again, bytesAgain := archive(t, same, err); again != uri || !bytes.Equal(bytesAgain, data) {
				t.Errorf("the same files are %s with %d bytes, and %s with %d", uri, len(data), again, len(bytesAgain))
			}
		}
		what := change(t, files)
		p, err = ray.FilePackage(files)
		if other, _ := archive(t, p, err); other == uri {
			t.Errorf("%s makes no difference: %s", what, other)
		}
	})
}

// A program is named by its bytes alone, and by all of them; several together by what they are, in any order.
func TestAProgramHasOneName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dirs, err := os.MkdirTemp("", "programs")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dirs) }()
		content := string(rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "content"))
		at := rapid.IntRange(0, len(content)-1).Draw(t, "at")
		changed := []byte(content)
		changed[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		files := fstest.MapFS{
			"a/program": {Data: []byte(elfFile(content)), Mode: 0o755}, "b": {Data: []byte(elfFile(content)), Mode: 0o644},
			"changed": {Data: []byte(elfFile(string(changed))), Mode: 0o755}, "foreign": {Data: []byte(elfFile(content, toForeign)), Mode: 0o755},
		}
		written(t, dirs, files, slices.Sorted(maps.Keys(files)))
		pack := func(name string) *ray.Package {
			p, err := ray.BinaryPackage(filepath.Join(dirs, name))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		join := func(names ...string) *ray.Package {
			var packages []*ray.Package
			for _, name := range names {
				packages = append(packages, pack(name))
			}
			p, err := ray.JoinPackages(packages...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, same := range [][2]*ray.Package{{pack("a/program"), pack("b")}, {join("b", "foreign"), join("foreign", "a/program")}} {
			first, data := archive(t, same[0], nil)
			// The last archive of a program is kept: another one in between makes it be built again.
			archive(t, pack("changed"), nil)
			if second, again := archive(t, same[1], nil); first != second || !bytes.Equal(data, again) {
				t.Errorf("the same program is %s with %d bytes, and %s with %d", first, len(data), second, len(again))
			}
		}
		names := map[string]string{}
		for what, p := range map[string]*ray.Package{
			"a program": pack("b"), "a changed one": pack("changed"), "a foreign one": pack("foreign"), "two": join("b", "foreign"),
			"two with a changed one": join("changed", "foreign"),
		} {
			if other := names[p.URI()]; other != "" {
				t.Errorf("%s has the name of %s", what, other)
			}
			names[p.URI()] = what
			if !strings.HasPrefix(p.URI(), "gcs://_ray_pkg_") {
				t.Error(p.URI())
			}
		}
	})
}
