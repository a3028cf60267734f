package ray_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/docnames"
	"github.com/seedcore/seedcore/internal/raytest"
)

var (
	// inGo is a name of this package or of another one here, with what may follow it.
	inGo = regexp.MustCompile(`^((?:ray|worker|python|seedcore|connector|organism)\.)?([A-Z]\w*(?:\.[A-Z]\w*)?)(?:\[\w+\])?(?:\(.*\))?$`)
	// aTest is the name of a test, of a part of one, or of one in another directory.
	aTest = regexp.MustCompile(`^(?:([a-z]\w*)\.)?([tT]est[A-Z]\w*)(?:/([\w ]+))?$`)
)

// isThere tells whether something in Go that a document of actors names exists.
func isThere(there *docnames.Module, name string) bool {
	match := inGo.FindStringSubmatch(name)
	if match == nil {
		return true // no name in Go
	}
	pkg, name := strings.TrimSuffix(match[1], "."), match[2]
	if pkg == "" {
		return there.Declares("ray."+name) || there.DeclaresMember("ray", name)
	}
	return there.Declares(pkg + "." + name)
}

// isTested tells whether a test that docs/ray.md names exists, and is run.
func isTested(t *testing.T, there *docnames.Module, root, name string) bool {
	t.Helper()
	if match := aTest.FindStringSubmatch(name); match != nil {
		dir := match[1]
		if dir == "" {
			dir = "ray"
		}
		return there.Tests(dir, match[2]) && (match[3] == "" || there.Says(dir, match[3])) &&
			(strings.HasPrefix(match[2], "Test") || inOneSession(t, match[2]))
	}
	for _, dir := range []string{"", "ray"} {
		if _, err := os.Stat(filepath.Join(root, dir, name)); err == nil {
			return strings.Contains(name, "/") // of another package; in this one tests have names
		}
	}
	return false
}

// inOneSession tells whether TestOneSession has a test.
func inOneSession(t *testing.T, name string) bool {
	t.Helper()
	text, err := os.ReadFile("main_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`": +` + name + `,`).Match(text)
}

// The tables of docs/ray.md that say what is here, and by which test, speak of what there is.
func TestTheTablesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	root := raytest.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "ray.md"))
	if err != nil {
		t.Fatal(err)
	}
	there, err := docnames.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	for title, least := range map[string]int{"What it can do, and the test that holds it": 36, "What it survives": 12} {
		section, _ := docnames.Section(string(text), title)
		rows := docnames.Rows(section)
		if len(rows) < least {
			t.Errorf("%s: there are %d rows instead of %d", title, len(rows), least)
		}
		for _, cells := range rows {
			if len(cells) != 3 {
				t.Errorf("%d cells: %q", len(cells), cells)
				continue
			}
			for _, name := range docnames.Quoted(cells[1]) {
				if !isThere(there, name) {
					t.Errorf("there is no %s: %s", name, cells[0])
				}
			}
			tests := docnames.Quoted(cells[2])
			if len(tests) == 0 {
				t.Errorf("no test: %s", cells[0])
			}
			for _, name := range tests {
				if !isTested(t, there, root, name) {
					t.Errorf("there is no test %s: %s", name, cells[0])
				}
			}
		}
	}
}

// What the documents of the driver and of Go actors name in Go exists.
func TestTheDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	root := raytest.Root(t)
	there, err := docnames.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{"ray.md", "go-actors.md", "limits.md"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", document))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, name := range docnames.Quoted(string(text)) {
			if match := inGo.FindStringSubmatch(name); match == nil || match[1] == "" || strings.HasPrefix(match[2], "Test") {
				continue
			}
			if found++; !isThere(there, name) {
				t.Errorf("%s: there is no %s", document, name)
			}
		}
		if found < 3 {
			t.Errorf("%s names %d things", document, found)
		}
	}
}
