package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// readFile reads the YAML file: one mapping, from option names to a plain value or a list of them, and the sections of
// who may call. A file that cannot be read at all gives nothing, and its faults.
func readFile(path string) (given, access, []string) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, access{}, []string{"config file: " + err.Error()}
	}
	parsed, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, access{}, []string{yamlFault(path, err)}
	}
	if len(parsed.Docs) > 1 {
		return nil, access{}, []string{path + ": holds more than one YAML document; use one"}
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return given{}, access{}, nil // an empty file configures nothing
	}
	r := fileReader{path: path, found: given{}}
	switch body := parsed.Docs[0].Body.(type) {
	case *ast.MappingNode:
		for _, entry := range body.Values {
			r.entry(entry)
		}
	case *ast.MappingValueNode:
		r.entry(body)
	case *ast.CommentGroupNode, *ast.NullNode:
	default:
		r.fault(body, "use one option a line, such as `listen: 127.0.0.1:8379`")
	}
	return r.found, r.access, r.faults
}

type fileReader struct {
	path   string
	found  given
	access access
	faults []string
}

func (r *fileReader) fault(at ast.Node, format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf("%s:%d: ", r.path, at.GetToken().Position.Line)+fmt.Sprintf(format, args...))
}

func (r *fileReader) entry(e *ast.MappingValueNode) {
	key := e.Key.GetToken().Value
	if r.section(key, e) {
		return
	}
	known := []string{authSection, policySection}
	for _, o := range options() {
		switch {
		case o.flagOnly:
		case o.name == "config":
			if key == "config" {
				r.fault(e.Key, "config cannot be set in the file itself; use --config or ETCDREST_CONFIG")
				return
			}
		case o.name == key:
			r.value(&o, e.Value)
			return
		default:
			known = append(known, o.name)
		}
	}
	r.fault(e.Key, "%s is unknown%s", key, didYouMean("", key, known))
}

func (r *fileReader) value(o *option, n ast.Node) {
	var c Config
	_, takesList := o.at(&c).(list)
	if sequence, ok := n.(*ast.SequenceNode); ok && takesList {
		texts := []string{""} // an empty list is given, too
		for _, item := range sequence.Values {
			text, ok := scalar(item)
			if !ok {
				r.fault(item, "%s: an item is not a plain value", o.name)
				continue
			}
			texts = append(texts, text)
		}
		r.found[o.name] = texts
		return
	}
	text, ok := scalar(n)
	switch {
	case ok:
		r.found[o.name] = []string{text}
	case n.Type() == ast.NullType:
		r.fault(n, `%s has no value; write "" for an empty one, or take the line out`, o.name)
	case takesList:
		r.fault(n, "%s takes a value or a list of values", o.name)
	default:
		r.fault(n, "%s takes one value", o.name)
	}
}

// scalar is the text of a plain value as it is written, so that 010 and yes mean here what they mean as a flag.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// yamlFault is the parser's error in one line.
func yamlFault(path string, err error) string {
	if fault, ok := errors.AsType[yaml.Error](err); ok && fault.GetToken() != nil {
		return fmt.Sprintf("%s:%d: %s", path, fault.GetToken().Position.Line, fault.GetMessage())
	}
	return path + ": " + err.Error()
}
