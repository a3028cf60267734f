package connector_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
)

// sources is what the module declares.
type sources struct {
	tests map[string]bool
	names map[string]bool // exported, as package.Name and package.Type.Member
}

func readSources(t *testing.T, root string) sources {
	t.Helper()
	found := sources{map[string]bool{}, map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.Type().IsRegular() || filepath.Ext(path) != ".go":
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasSuffix(path, "_test.go") {
				found.tests[f.Name.Name] = true
			}
			if !strings.HasSuffix(path, "_test.go") {
				found.declared(file.Name.Name, d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (s sources) declared(pkg string, d ast.Decl) {
	if f, ok := d.(*ast.FuncDecl); ok {
		name := f.Name.Name
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if pointer, ok := of.(*ast.StarExpr); ok {
				of = pointer.X
			}
			receiver, ok := of.(*ast.Ident)
			if !ok {
				return // of a generic type
			}
			name = receiver.Name + "." + name
		}
		s.names[pkg+"."+name] = true
		return
	}
	for _, spec := range d.(*ast.GenDecl).Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				s.names[pkg+"."+name.Name] = true
			}
		case *ast.TypeSpec:
			s.names[pkg+"."+spec.Name.Name] = true
			if of, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range of.Fields.List {
					for _, name := range field.Names {
						s.names[pkg+"."+spec.Name.Name+"."+name.Name] = true
					}
				}
			}
		}
	}
}

var (
	quoted     = regexp.MustCompile("`([^`]+)`")
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
func (s sources) named(t *testing.T, root, name string) bool {
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
		return s.tests[name]
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
		return s.names[name]
	case identifier.MatchString(name):
		return s.names["connector."+name] || s.names["connector.Connector."+name]
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
	there := readSources(t, root)
	for title, rows := range map[string]int{"What users of connection managers expect": 17, "What users complain about elsewhere": 15} {
		_, section, found := strings.Cut(string(text), "## "+title+"\n")
		if !found {
			t.Fatalf("there is no section %q", title)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for line := range strings.Lines(section) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| feature ") || strings.HasPrefix(line, "| complaint ") {
				continue
			}
			if rows--; len(cells) != 3 {
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
			for _, name := range quoted.FindAllStringSubmatch(line, -1) {
				if !there.named(t, root, name[1]) {
					t.Errorf("there is no %s: %s", name[1], line)
				}
			}
			for _, link := range linked.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(root, "docs", link[1])); err != nil {
					t.Errorf("%v: %s", err, line)
				}
			}
		}
		if rows > 0 {
			t.Errorf("%s: %d rows are missing", title, rows)
		}
	}
}
