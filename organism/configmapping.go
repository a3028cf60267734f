package organism

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// configField is one key of a mapping with its value.
type configField struct {
	line  int
	value ast.Node
}

// mapping returns the fields of a mapping that may have the keys in known, after reporting the ones that are unknown or
// there twice; nil, after a report, when node is no mapping.
func (r *configReader) mapping(node ast.Node, path string, known ...string) map[string]configField {
	entries, ok := mappingEntries(node)
	if !ok {
		r.wrongType(node, path, "a mapping")
		return nil
	}
	fields := make(map[string]configField, len(entries))
	for _, entry := range entries {
		line := lineOf(entry.Key)
		key, ok := keyText(entry.Key)
		switch {
		case !ok:
			r.report(line, path, "the key %.40q is not plain text", entry.Key.String())
		case !slices.Contains(known, key):
			r.report(line, join(path, key), "unknown key; the keys here are %s", strings.Join(known, ", "))
		case fields[key].line > 0:
			r.report(line, join(path, key), "the key is there twice; the first is in line %d", fields[key].line)
		default:
			fields[key] = configField{line: line, value: entry.Value}
		}
	}
	return fields
}

// required returns the value of a key that must be there. It reports nothing when fields is nil: that was reported.
func (r *configReader) required(fields map[string]configField, parent ast.Node, path, key string) (ast.Node, bool) {
	if fields == nil {
		return nil, false
	}
	field, ok := fields[key]
	if !ok {
		r.report(lineOf(parent), join(path, key), "the key is missing")
	}
	return field.value, ok
}

// unread looks only for keys that are there twice: everything else below belongs to others.
func (r *configReader) unread(node ast.Node, path string) {
	if list, ok := node.(*ast.SequenceNode); ok {
		for _, value := range list.Values {
			r.unread(value, path)
		}
		return
	}
	entries, _ := mappingEntries(node)
	lines := make(map[string]int, len(entries))
	for _, entry := range entries {
		key, ok := keyText(entry.Key)
		if !ok {
			continue
		}
		line := lineOf(entry.Key)
		if first, twice := lines[key]; twice {
			r.report(line, join(path, key), "the key is there twice; the first is in line %d", first)
		} else {
			lines[key] = line
		}
		r.unread(entry.Value, join(path, key))
	}
}

func mappingEntries(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch node := node.(type) {
	case *ast.MappingNode:
		return node.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}, true
	default:
		return nil, false
	}
}

func keyText(key ast.MapKeyNode) (string, bool) {
	text, ok := key.(*ast.StringNode)
	if !ok {
		return "", false
	}
	return text.Value, true
}

// join appends a key to a path. Keys come from the file: long ones are cut, and odd ones are quoted, so that an error
// stays one line.
func join(path, key string) string {
	if len(key) > 64 || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		key = fmt.Sprintf("%+.64q", key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
