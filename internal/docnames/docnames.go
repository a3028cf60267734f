// Package docnames knows what the module declares, so that tests can hold its documents to it: a name, a test or a file
// that a document speaks of has to be there.
package docnames

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Module is what the Go files of a module declare.
type Module struct {
	names map[string]bool // exported and not, as package.Name and package.Type.Member
	tests map[string]bool // functions of tests, as directory.Name; tests of any directory as .Name
	texts map[string]bool // string literals of tests, as directory.text
}

// Read parses the Go files below root, without directories whose names begin with a dot.
func Read(root string) (*Module, error) {
	m := &Module{map[string]bool{}, map[string]bool{}, map[string]bool{}}
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
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "_test.go") {
			m.addTests(filepath.ToSlash(dir), file)
			return nil
		}
		for _, d := range file.Decls {
			m.add(file.Name.Name, d)
		}
		return nil
	})
	return m, err
}

func (m *Module) addTests(dir string, file *ast.File) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			m.tests[dir+"."+f.Name.Name] = true
			m.tests["."+f.Name.Name] = true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				m.texts[dir+"."+text] = true
			}
		}
		return true
	})
}

func (m *Module) add(pkg string, d ast.Decl) {
	if f, ok := d.(*ast.FuncDecl); ok {
		name := f.Name.Name
		if f.Recv != nil {
			name = receiver(f.Recv.List[0].Type) + "." + name
		}
		m.names[pkg+"."+name] = true
		return
	}
	for _, spec := range d.(*ast.GenDecl).Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				m.names[pkg+"."+name.Name] = true
			}
		case *ast.TypeSpec:
			m.names[pkg+"."+spec.Name.Name] = true
			if of, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range of.Fields.List {
					for _, name := range field.Names {
						m.names[pkg+"."+spec.Name.Name+"."+name.Name] = true
					}
				}
			}
		}
	}
}

// receiver is the name of a method's type.
func receiver(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.StarExpr:
		return receiver(of.X)
	case *ast.IndexExpr:
		return receiver(of.X)
	case *ast.Ident:
		return of.Name
	}
	return ""
}

// Declares tells whether a package declares something, named as package.Name or package.Type.Member.
func (m *Module) Declares(name string) bool { return m.names[name] }

// DeclaresMember tells whether any type of a package has a field or method of that name.
func (m *Module) DeclaresMember(pkg, member string) bool {
	for name := range m.names {
		if strings.HasPrefix(name, pkg+".") && strings.HasSuffix(name, "."+member) && strings.Count(name, ".") == 2 {
			return true
		}
	}
	return false
}

// Tests tells whether the tests in a directory, or in any if it is "", have a function of that name, in any place a test
// looks for it: exported ones are run by themselves, others are called by one that is.
func (m *Module) Tests(dir, name string) bool { return m.tests[dir+"."+name] }

// Says tells whether the tests in a directory have a text, such as the name of a subtest.
func (m *Module) Says(dir, text string) bool { return m.texts[dir+"."+text] }

// Section returns what stands below a heading of the second level.
func Section(document, title string) (text string, found bool) {
	_, text, found = strings.Cut(document, "## "+title+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text, found
}

// Rows returns the cells of a section's tables, without their heads.
func Rows(section string) (rows [][]string) {
	head := true
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			head = true
		case strings.HasPrefix(line, "|--"):
			head = false
		case !head:
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	fenced = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Quoted returns what stands in backquotes, without blocks of code.
func Quoted(text string) (names []string) {
	for _, match := range quoted.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		names = append(names, match[1])
	}
	return names
}
