package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cpp is where scripts/ray_cpp.sh put Ray's C++ API and our caller.
type cpp struct {
	dir     string
	missing string // why there is none
}

// findCpp looks into the directory. A Ray that has none is not an error: not every machine has a compiler, nor every
// platform a package.
func findCpp(dir string) (cpp, error) {
	if dir == "" {
		return cpp{missing: "this run has no -cpp directory; make bench-actors makes one"}, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cpp{}, err
	}
	why, err := os.ReadFile(filepath.Join(dir, "missing"))
	switch {
	case err == nil:
		return cpp{missing: strings.TrimSpace(string(why))}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return cpp{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, "caller")); err != nil {
		return cpp{}, fmt.Errorf("%w; run scripts/ray_cpp.sh", err)
	}
	return cpp{dir: dir}, nil
}

// env is what the head needs: workers in C++ are started from a Ray that has the C++ API.
func (c cpp) env() []string {
	if c.missing != "" {
		return nil
	}
	return []string{"PYTHONPATH=" + filepath.Join(c.dir, "site")}
}

// command starts a caller, which makes the actors in C++ that are not there yet.
func (c cpp) command(gcs string, actors []string) []string {
	return []string{filepath.Join(c.dir, "caller"), gcs, namespace, filepath.Join(c.dir, "caller.so"), strings.Join(actors, ",")}
}
