package connector_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/docnames"
	"github.com/seedcore/seedcore/internal/raytest"
)

var (
	linked     = regexp.MustCompile(`\]\(([^)]+)\)`)
	identifier = regexp.MustCompile(`^([a-z]+\.)?[A-Z]\w*(\.[A-Z]\w*)*$`)
	aPath      = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+$`)
	aMetric    = regexp.MustCompile(`^seedcore_\w+$`)
	aCommand   = regexp.MustCompile(`^seedcore ([a-z]+)$`)
	anAddress  = regexp.MustCompile(`^ray://|^auto$|^host:port$`)
)

// words of others, which nothing here declares.
var words = []string{"too_many_pings"}

// named tells whether something that a document names is there.
func named(t *testing.T, there *docnames.Module, root, name string) bool {
	t.Helper()
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	switch {
	case strings.HasPrefix(name, "Test"):
		return there.Tests("", name)
	case aMetric.MatchString(name):
		return strings.Contains(read("docs", "metrics.md"), "`"+name+"`")
	case aCommand.MatchString(name):
		return strings.Contains(read("internal", "command", "command.go"), " "+aCommand.FindStringSubmatch(name)[1]+"Command ")
	case aPath.MatchString(name):
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	case anAddress.MatchString(name):
		_, err := connector.New(connector.Config{Address: strings.ReplaceAll(name, ":port", ":10001")})
		return err == nil
	case identifier.MatchString(name) && strings.ToLower(name[:1]) == name[:1]:
		return there.Declares(name)
	case identifier.MatchString(name):
		return there.Declares("connector."+name) || there.Declares("connector.Connector."+name)
	default:
		return slices.Contains(words, name)
	}
}

// The tables of docs/connector.md that say what is here, and by which test, speak of what there is.
func TestTheTablesNameWhatIsThere(t *testing.T) {
	root := raytest.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "connector.md"))
	if err != nil {
		t.Fatal(err)
	}
	there, err := docnames.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	for title, least := range map[string]int{"What users of connection managers expect": 17, "What users complain about elsewhere": 15} {
		section, _ := docnames.Section(string(text), title)
		rows := docnames.Rows(section)
		if len(rows) < least {
			t.Errorf("%s: there are %d rows instead of %d", title, len(rows), least)
		}
		for _, cells := range rows {
			line := strings.Join(cells, " | ")
			if len(cells) != 3 {
				t.Errorf("%d cells: %s", len(cells), line)
				continue
			}
			refused := strings.HasPrefix(cells[1], "no, because ")
			if strings.HasPrefix(title, "What users of") && !refused && !strings.HasPrefix(cells[1], "yes: ") {
				t.Errorf("neither yes nor no: %s", line)
			}
			if !strings.Contains(cells[2], "`Test") && !refused {
				t.Errorf("no test: %s", line)
			}
			for _, name := range docnames.Quoted(line) {
				if !named(t, there, root, name) {
					t.Errorf("there is no %s: %s", name, line)
				}
			}
			for _, link := range linked.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(root, "docs", link[1])); err != nil {
					t.Errorf("%v: %s", err, line)
				}
			}
		}
	}
}

var (
	exported = regexp.MustCompile(`\b[A-Z]\w*`)
	aTest    = regexp.MustCompile("`(Test\\w+|[\\w/]+_test\\.go)`")
)

// docs/environment.md names for each variable of the connection a test, and for each function of the Python system what is here:
// all of these are there.
func TestTheEnvironmentsTablesNameWhatIsThere(t *testing.T) {
	root := raytest.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "environment.md"))
	if err != nil {
		t.Fatal(err)
	}
	there, err := docnames.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	section, _ := docnames.Section(string(text), "The connection")
	variables := docnames.Rows(section)
	for _, cells := range variables {
		tests := aTest.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(tests) == 0 {
			t.Errorf("no test: %q", cells)
		}
		for _, test := range tests {
			_, err := os.Stat(filepath.Join(root, test[1]))
			if !there.Tests("", test[1]) && err != nil {
				t.Errorf("there is no %s: %q", test[1], cells)
			}
		}
	}
	section, _ = docnames.Section(string(text), "From the functions of the Python system")
	functions := docnames.Rows(section)
	for _, cells := range functions {
		if len(cells) != 2 || cells[1] == "" {
			t.Errorf("nothing is here: %q", cells)
			continue
		}
		for _, code := range docnames.Quoted(cells[1]) {
			if aCommand.MatchString(code) && !named(t, there, root, code) {
				t.Errorf("there is no %s: %q", code, cells)
			}
			if strings.HasPrefix(code, "GET ") {
				continue // docs/api.md has these
			}
			for _, name := range exported.FindAllString(code, -1) {
				known := false
				for _, pkg := range []string{"connector", "ray"} {
					known = known || there.Declares(pkg+"."+name) || there.DeclaresMember(pkg, name)
				}
				if !known {
					t.Errorf("there is no %s: %q", name, cells)
				}
			}
		}
	}
	if len(variables) < 10 || len(functions) < 18 {
		t.Errorf("%d variables and %d functions", len(variables), len(functions))
	}
}
