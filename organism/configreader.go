package organism

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxConfigProblems = 50
	// maxYAMLNesting bounds collections that open on the same line or in brackets: the parser recurses over them and
	// takes time that grows with the square of their depth.
	maxYAMLNesting = 64
)

// unreadKeys of "seedcore" belong to other programs that share the file.
var unreadKeys = []string{"telemetry_port", "grpc_port", "organs", "entropy_floor", "weights"}

// configReader walks the YAML tree itself, rather than decoding into structs, so that each problem has its line and its
// key's path and that one problem does not hide the next.
type configReader struct {
	file     string
	problems []error
}

func (r *configReader) report(line int, key, format string, args ...any) {
	switch {
	case len(r.problems) < maxConfigProblems:
		r.problems = append(r.problems, &ConfigError{File: r.file, Line: line, Key: key, Problem: fmt.Sprintf(format, args...)})
	case len(r.problems) == maxConfigProblems:
		r.problems = append(r.problems, &ConfigError{File: r.file, Problem: "there are more problems; mend these first"})
	}
}

func (r *configReader) read(data []byte) Config {
	root := r.document(data)
	if root == nil {
		return Config{}
	}
	fields := r.mapping(root, "", "seedcore")
	seedcore, ok := r.required(fields, root, "", "seedcore")
	if !ok {
		return Config{}
	}
	const path = "seedcore"
	fields = r.mapping(seedcore, path, append([]string{"organism"}, unreadKeys...)...)
	for _, key := range unreadKeys {
		if field, present := fields[key]; present {
			r.unread(field.value, join(path, key))
		}
	}
	organism, ok := r.required(fields, seedcore, path, "organism")
	if !ok {
		return Config{}
	}
	fields = r.mapping(organism, "seedcore.organism", "organ_types")
	organs, ok := r.required(fields, organism, "seedcore.organism", "organ_types")
	if !ok {
		return Config{}
	}
	return Config{Organs: r.organs(organs, "seedcore.organism.organ_types")}
}

// document returns the root of the only document, or nil after a report.
func (r *configReader) document(data []byte) ast.Node {
	if len(data) > MaxConfigSize {
		r.report(0, "", "the file is longer than %d bytes", MaxConfigSize)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		r.report(lineOfInvalidUTF8(data), "", "the file is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if line := tooDeep(tokens); line > 0 {
		r.report(line, "", "collections are nested deeper than %d", maxYAMLNesting)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are reported here, all of them
	if err != nil {
		r.syntax(err)
		return nil
	}
	var root ast.Node
	for _, document := range file.Docs {
		switch {
		case document.Body == nil:
		case root != nil:
			r.report(lineOf(document.Body), "", "there is more than one YAML document; keep one")
			return nil
		default:
			root = document.Body
		}
	}
	if root == nil {
		r.report(0, "", "the file is empty; it needs the key \"seedcore\"")
	}
	return root
}

func (r *configReader) syntax(err error) {
	if broken, ok := errors.AsType[yaml.Error](err); ok && broken.GetToken() != nil {
		r.report(broken.GetToken().Position.Line, "", "this is not YAML: %s", broken.GetMessage())
		return
	}
	r.report(0, "", "this is not YAML: %v", err)
}

func (r *configReader) organs(node ast.Node, path string) []OrganConfig {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(node, path, "a list of organs")
		return nil
	}
	switch count := len(list.Values); {
	case count == 0:
		r.report(lineOf(node), path, "the list is empty; an organism has at least one organ")
		return nil
	case count > MaxOrgans:
		r.report(lineOf(node), path, "there are %d organs; at most %d are allowed", count, MaxOrgans)
		return nil
	}
	organs := make([]OrganConfig, 0, len(list.Values))
	lines := map[string]int{} // of the ids
	for i, value := range list.Values {
		organ, idLine := r.organ(value, fmt.Sprintf("%s[%d]", path, i))
		if organ.ID != "" {
			if first, taken := lines[organ.ID]; taken {
				r.report(idLine, fmt.Sprintf("%s[%d].id", path, i), "the id %q is used already in line %d", organ.ID, first)
			} else {
				lines[organ.ID] = idLine
			}
		}
		organs = append(organs, organ)
	}
	for i, organ := range organs {
		parent := agentOrgan(organ.ID)
		if _, clash := lines[parent]; clash {
			r.report(lines[organ.ID], fmt.Sprintf("%s[%d].id", path, i),
				"the id %q is that of an agent of organ %q; choose another", organ.ID, parent)
		}
	}
	return organs
}

// organ returns what it could read; its ID is empty when it is unusable. The line is that of the id.
func (r *configReader) organ(node ast.Node, path string) (organ OrganConfig, idLine int) {
	fields := r.mapping(node, path, "id", "type", "description", "agent_count", "task_types")
	if fields == nil {
		return OrganConfig{}, 0
	}
	if value, ok := r.required(fields, node, path, "id"); ok {
		if id, ok := r.text(value, join(path, "id")); ok {
			if err := CheckOrganID(id); err != nil {
				r.report(lineOf(value), join(path, "id"), "%s", strings.TrimPrefix(err.Error(), "organism: "))
			} else {
				organ.ID, idLine = id, lineOf(value)
			}
		}
	}
	if value, ok := r.required(fields, node, path, "type"); ok {
		organ.Type, _ = r.filledText(value, join(path, "type"))
	}
	if field, ok := fields["description"]; ok {
		organ.Description, _ = r.text(field.value, join(path, "description"))
	}
	if value, ok := r.required(fields, node, path, "agent_count"); ok {
		organ.AgentCount = r.agentCount(value, join(path, "agent_count"))
	}
	if field, ok := fields["task_types"]; ok {
		organ.TaskTypes = r.taskTypes(field.value, join(path, "task_types"))
	}
	return organ, idLine
}

func (r *configReader) agentCount(node ast.Node, path string) int {
	integer, ok := node.(*ast.IntegerNode)
	if !ok && !isHugeInteger(node) {
		r.wrongType(node, path, "a whole number")
		return 0
	}
	if ok {
		switch count := integer.Value.(type) {
		case int64:
			if count >= 0 && count <= MaxAgentsPerOrgan {
				return int(count)
			}
		case uint64:
			if count <= MaxAgentsPerOrgan {
				return int(count)
			}
		}
	}
	r.report(lineOf(node), path, "%s is out of bounds; it must be 0 to %d", describe(node), MaxAgentsPerOrgan)
	return 0
}

func (r *configReader) taskTypes(node ast.Node, path string) []string {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(node, path, "a list of strings")
		return nil
	}
	types := make([]string, 0, len(list.Values))
	for i, value := range list.Values {
		key := fmt.Sprintf("%s[%d]", path, i)
		text, ok := r.filledText(value, key)
		switch {
		case !ok:
		case slices.Contains(types, text):
			r.report(lineOf(value), key, "the task type %q is there twice", text)
		default:
			types = append(types, text)
		}
	}
	return types
}

func (r *configReader) filledText(node ast.Node, path string) (string, bool) {
	text, ok := r.text(node, path)
	if ok && strings.TrimSpace(text) == "" {
		r.report(lineOf(node), path, "it is empty")
		return "", false
	}
	return text, ok
}

func (r *configReader) text(node ast.Node, path string) (string, bool) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		if node.Value != nil {
			return node.Value.Value, true
		}
	}
	r.wrongType(node, path, "a string")
	return "", false
}

func (r *configReader) wrongType(node ast.Node, path, want string) {
	hint := ""
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if want == "a string" {
			hint = "; put it in quotes"
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		hint = "; write the value out"
	}
	r.report(lineOf(node), path, "it must be %s and is %s%s", want, describe(node), hint)
}

// describe names what a node is in the words of YAML, with its text where that is short.
func describe(node ast.Node) string {
	switch node := node.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.StringNode:
		if isHugeInteger(node) {
			return fmt.Sprintf("the number %.40s", node.Value)
		}
		return fmt.Sprintf("the string %.40q", node.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return fmt.Sprintf("the number %.40s", node.GetToken().Value)
	case *ast.BoolNode:
		return fmt.Sprintf("the boolean %t", node.Value)
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode:
		return "an anchor"
	case *ast.AliasNode:
		return "an alias"
	case *ast.TagNode:
		return "a value with a tag"
	default:
		return "a " + strings.ToLower(node.Type().String())
	}
}

// isHugeInteger tells of an integer beyond 64 bits, which the parser hands over as a string without quotes.
func isHugeInteger(node ast.Node) bool {
	text, ok := node.(*ast.StringNode)
	if !ok || text.Token.Type == token.SingleQuoteType || text.Token.Type == token.DoubleQuoteType {
		return false
	}
	_, integer := new(big.Int).SetString(text.Value, 0)
	return integer
}

func lineOf(node ast.Node) int {
	if node == nil {
		return 0
	}
	if mapping, ok := node.(*ast.MappingNode); ok && len(mapping.Values) > 0 && !mapping.IsFlowStyle {
		return lineOf(mapping.Values[0].Key) // its own token is the first colon, which may come later
	}
	if at := node.GetToken(); at != nil && at.Position != nil {
		return at.Position.Line
	}
	return 0
}

func lineOfInvalidUTF8(data []byte) int {
	line := 1
	for len(data) > 0 {
		char, size := utf8.DecodeRune(data)
		if char == utf8.RuneError && size == 1 {
			break
		}
		if char == '\n' {
			line++
		}
		data = data[size:]
	}
	return line
}

// tooDeep returns the line on which more collections are open than maxYAMLNesting, or 0. Nesting by indentation alone
// needs as many columns as levels and is bounded by the size of the file.
func tooDeep(tokens token.Tokens) int {
	brackets, onLine, line := 0, 0, 0
	for _, at := range tokens {
		if at.Position.Line != line {
			line, onLine = at.Position.Line, 0
		}
		switch at.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			onLine++
		}
		if brackets > maxYAMLNesting || onLine > maxYAMLNesting {
			return line
		}
	}
	return 0
}
