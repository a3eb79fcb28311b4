package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// shape holds what was written to the type that it is for, and tells every fault with its line and its place. The decoder
// would stop at the first one, name Go's types, and cut 1.5 down to 1.
func (r *fileReader) shape(place string, n ast.Node, t reflect.Type) {
	switch written := n.(type) {
	case *ast.AnchorNode:
		r.shape(place, written.Value, t)
		return
	case *ast.AliasNode: // what it stands for is held to the type where it is written
		return
	case *ast.TagNode:
		r.fault(n, "%s: tags such as %s have no meaning here; leave it out", place, written.Start.Value)
		return
	case *ast.NullNode:
		r.fault(n, `%s has no value; write "" for an empty text, or take the line out`, place)
		return
	}
	if t == reflect.TypeFor[texts]() {
		switch n.(type) {
		case *ast.SequenceNode:
		case *ast.MappingNode, *ast.MappingValueNode:
			r.fault(n, "%s takes a value or a list of values", place)
			return
		default:
			t = reflect.TypeFor[string]()
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		r.shape(place, n, t.Elem())
	case reflect.Struct, reflect.Map:
		r.mapping(place, n, t)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			r.fault(n, "%s is a list; write each of its entries behind a dash, or all between [ and ]", place)
			return
		}
		for i, entry := range list.Values {
			r.shape(fmt.Sprintf("%s[%d]", place, i), entry, t.Elem())
		}
	default:
		r.plain(place, n, t)
	}
}

// mapping is shape for what has members.
func (r *fileReader) mapping(place string, n ast.Node, t reflect.Type) {
	var known []string
	members := map[string]reflect.Type{}
	if t.Kind() == reflect.Struct {
		for field := range t.Fields() {
			name := field.Tag.Get("yaml")
			known, members[name] = append(known, name), field.Type
		}
	}
	var entries []*ast.MappingValueNode
	switch written := n.(type) {
	case *ast.MappingNode:
		entries = written.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{written}
	default:
		wanted := strings.Join(known, ", ")
		if wanted == "" {
			wanted = "names of your own"
		}
		r.fault(n, "%s has members, each written NAME: VALUE; they are %s", place, wanted)
		return
	}
	for _, entry := range entries {
		if entry.Key.IsMergeKey() {
			continue
		}
		name := entry.Key.GetToken().Value
		member, ok := members[name]
		if t.Kind() == reflect.Map {
			member, ok = t.Elem(), true
		}
		if !ok {
			r.fault(entry.Key, "%s.%s is unknown%s", place, name, orKnown("", name, known))
			continue
		}
		r.shape(place+"."+name, entry.Value, member)
	}
}

// orKnown names the nearest known name, or else all of them.
func orKnown(prefix, name string, known []string) string {
	if near := didYouMean(prefix, name, known); near != "" {
		return near
	}
	return "; known are " + strings.Join(known, ", ")
}

// plain is shape for a single value.
func (r *fileReader) plain(place string, n ast.Node, t reflect.Type) {
	text, ok := scalar(n)
	if !ok {
		r.fault(n, "%s takes one value", place)
		return
	}
	switch t {
	case reflect.TypeFor[int](), reflect.TypeFor[int64]():
		if _, err := strconv.ParseInt(text, 10, 64); err != nil || n.Type() != ast.IntegerType {
			r.fault(n, "%s: %q is not a whole number; write one in digits, such as 100", place, text)
		}
	case reflect.TypeFor[float64]():
		if _, err := strconv.ParseFloat(text, 64); err != nil || n.Type() != ast.IntegerType && n.Type() != ast.FloatType {
			r.fault(n, "%s: %q is not a number; write one in digits, such as 100 or 0.5", place, text)
		}
	case reflect.TypeFor[bool]():
		if n.Type() != ast.BoolType {
			r.fault(n, "%s: %q is neither true nor false", place, text)
		}
	default:
		if number, ok := n.(ast.ScalarNode); ok && fmt.Sprint(number.GetValue()) != text {
			r.fault(n, "%s: %s is another text as a number; write %q, in quotes", place, text, text)
		}
	}
}
