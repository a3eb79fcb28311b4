package jsonpatch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/jsonpatch"
)

// TestMergeRFC7396 is the table of RFC 7396, appendix A, and what it says in words.
func TestMergeRFC7396(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ document, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// An array is a value: nulls inside it stay.
		{`{}`, `{"a":[{"b":null},null]}`, `{"a":[{"b":null},null]}`},
		{`null`, `{"a":1}`, `{"a":1}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
	} {
		if got := string(jsonpatch.Merge([]byte(c.document), []byte(c.patch))); got != c.want {
			t.Errorf("merge %s into %s: got %s, want %s", c.patch, c.document, got, c.want)
		}
	}
}

func TestSpellingAndOrderAreKept(t *testing.T) {
	t.Parallel()
	const document = `{"z":1.50,"big":12345678901234567890.000,"a":{"n":1E+2,"k\u00e9y":"<&>\u2028\/","m":-0},"l":[1.0,2e0]}`
	got := string(jsonpatch.Merge([]byte(document), []byte(`{"a":{"new":3.10,"m":0.0},"<n>":1,"e":2}`)))
	want := `{"z":1.50,"big":12345678901234567890.000,"a":{"n":1E+2,"k\u00e9y":"<&>\u2028\/","m":0.0,"new":3.10},"l":[1.0,2e0],"<n>":1,"e":2}`
	if got != want {
		t.Errorf("merge:\ngot  %s\nwant %s", got, want)
	}
	got = apply(t, document, `[{"op":"add","path":"/a/<x>","value":7.70},{"op":"replace","path":"/l/0","value":1.00},{"op":"move","from":"/z","path":"/a/z"}]`)
	want = `{"big":12345678901234567890.000,"a":{"n":1E+2,"k\u00e9y":"<&>\u2028\/","m":-0,"<x>":7.70,"z":1.50},"l":[1.00,2e0]}`
	if got != want {
		t.Errorf("patch:\ngot  %s\nwant %s", got, want)
	}
}

func apply(t testing.TB, document, patch string) string {
	t.Helper()
	p, err := jsonpatch.Parse([]byte(patch))
	if err != nil {
		t.Fatalf("parse %s: %v", patch, err)
	}
	got, err := p.Apply([]byte(document))
	if err != nil {
		t.Fatalf("apply %s to %s: %v", patch, document, err)
	}
	return string(got)
}

// TestPatchRFC6902 has the examples of RFC 6902, appendix A, and the corners that implementations get wrong.
func TestPatchRFC6902(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, document, patch, want string }{
		{"A.1 add a member", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"foo":"bar","baz":"qux"}`},
		{"A.2 add an element", `{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`},
		{"A.3 remove a member", `{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`},
		{"A.4 remove an element", `{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`},
		{"A.5 replace", `{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`},
		{
			"A.6 move", `{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`,
			`[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`,
		},
		{
			"A.7 move an element", `{"foo":["all","grass","cows","eat"]}`,
			`[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`,
		},
		{
			"A.8 test", `{"baz":"qux","foo":["a",2,"c"]}`,
			`[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]`, `{"baz":"qux","foo":["a",2,"c"]}`,
		},
		{"A.10 add an object", `{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"foo":"bar","child":{"grandchild":{}}}`},
		{"A.11 unknown members are ignored", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"foo":"bar","baz":"qux"}`},
		{"A.14 escapes", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10}]`, `{"/":9,"~1":10}`},
		{"A.16 add an array", `{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`},
		{"numbers by value", `{"a":1.0,"b":100,"c":-0}`, `[{"op":"test","path":"/a","value":1},{"op":"test","path":"/b","value":1E2},{"op":"test","path":"/c","value":0}]`, `{"a":1.0,"b":100,"c":-0}`},
		{"strings by characters", `{"a":"\u00e9"}`, `[{"op":"test","path":"/a","value":"é"}]`, `{"a":"\u00e9"}`},
		{"objects whatever the order", `{"a":{"x":[1,{}],"y":null}}`, `[{"op":"test","path":"/a","value":{"y":null,"x":[1.0,{}]}}]`, `{"a":{"x":[1,{}],"y":null}}`},
		{"the empty name", `{"":{"":1}}`, `[{"op":"replace","path":"//","value":2}]`, `{"":{"":2}}`},
		{"a scalar document", `5`, `[{"op":"test","path":"","value":5},{"op":"replace","path":"","value":"x"}]`, `"x"`},
		{"replace the document by a scalar and back", `{"a":1}`, `[{"op":"replace","path":"","value":null},{"op":"add","path":"","value":[1]},{"op":"add","path":"/-","value":2}]`, `[1,2]`},
		{"null is a value", `{"a":1}`, `[{"op":"add","path":"/b","value":null},{"op":"test","path":"/b","value":null}]`, `{"a":1,"b":null}`},
		{"add over a member keeps its place", `{"a":1,"b":2}`, `[{"op":"add","path":"/a","value":3}]`, `{"a":3,"b":2}`},
		{"a copy is its own", `{"a":{"x":1}}`, `[{"op":"copy","from":"/a","path":"/b"},{"op":"replace","path":"/b/x","value":2}]`, `{"a":{"x":1},"b":{"x":2}}`},
		{"copy the document into itself", `{"a":1}`, `[{"op":"copy","from":"","path":"/b"}]`, `{"a":1,"b":{"a":1}}`},
		{"a removed member comes back last", `{"a":1,"b":2}`, `[{"op":"remove","path":"/a"},{"op":"add","path":"/a","value":3}]`, `{"b":2,"a":3}`},
		{"move to its own place", `{"a":1,"b":2}`, `[{"op":"move","from":"/b","path":"/b"}]`, `{"a":1,"b":2}`},
		{"no operation", `[1]`, `[]`, `[1]`},
	} {
		if got := apply(t, c.document, c.patch); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPatchesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, document, patch, pointer string }{
		{"A.9 a failed test", `{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, "/0/value"},
		{"A.12 no such parent", `{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, "/0/path"},
		{"A.15 a string is not a number", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, "/0/value"},
		{"behind the end", `[1]`, `[{"op":"add","path":"/2","value":1}]`, "/0/path"},
		{"a leading zero", `[1,2]`, `[{"op":"replace","path":"/01","value":1}]`, "/0/path"},
		{"a sign", `[1,2]`, `[{"op":"remove","path":"/-1"}]`, "/0/path"},
		{"replace behind the end", `[1]`, `[{"op":"replace","path":"/-","value":1}]`, "/0/path"},
		{"absent members", `{}`, `[{"op":"test","path":"/a","value":null}]`, "/0/path"},
		{"replace of nothing", `{}`, `[{"op":"replace","path":"/a","value":1}]`, "/0/path"},
		{"remove of nothing", `{"a":1}`, `[{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}]`, "/1/path"},
		{"remove all", `{}`, `[{"op":"remove","path":""}]`, "/0/path"},
		{"into itself", `{"a":{}}`, `[{"op":"move","from":"/a","path":"/a/b"}]`, "/0/path"},
		{"from nothing", `{}`, `[{"op":"copy","from":"/a","path":"/b"}]`, "/0/from"},
		{"inside of a scalar", `{"a":1}`, `[{"op":"add","path":"/a/b","value":1}]`, "/0/path"},
	} {
		p, err := jsonpatch.Parse([]byte(c.patch))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := p.Apply([]byte(c.document))
		fault, ok := errors.AsType[*jsonpatch.OperationError](err)
		if !ok || !errors.Is(err, jsonpatch.ErrFailed) || fault.Pointer() != c.pointer {
			t.Errorf("%s: got %s and %v, want ErrFailed at %s", c.name, got, err, c.pointer)
		}
	}
}

func TestPatchesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, patch := range []string{
		`{}`, `5`, `[5]`, `[{}]`, `[{"op":"spam","path":"/a"}]`, `[{"op":"add","path":"a","value":1}]`, `[{"op":"add","path":"/a"}]`,
		`[{"op":"copy","path":"/a"}]`, `[{"op":"remove"}]`, `[{"op":"remove","path":"/~2"}]`, `[{"op":"remove","path":5}]`, `[{"op":null,"path":""}]`,
		`[` + strings.Repeat(`{"op":"remove","path":"/a"},`, jsonpatch.MaxOperations) + `{"op":"remove","path":"/a"}]`,
	} {
		if _, err := jsonpatch.Parse([]byte(patch)); !errors.Is(err, jsonpatch.ErrInvalid) {
			t.Errorf("parse %.60s: got %v, want ErrInvalid", patch, err)
		}
	}
}

func TestPatchesCannotDoubleWithoutEnd(t *testing.T) {
	t.Parallel()
	patch := `[` + strings.TrimSuffix(strings.Repeat(`{"op":"copy","from":"","path":"/a"},`, 100), ",") + `]`
	p, err := jsonpatch.Parse([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply([]byte(`{"a":1,"b":"` + strings.Repeat("x", 1<<20) + `"}`)); !errors.Is(err, jsonpatch.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

// FuzzMerge holds the merge against one of decoded values, and both patches against panics.
func FuzzMerge(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":{"b":[1,{"c":null}]},"d":"x\"y"}`, `{"a":{"b":null,"e":{"f":null,"g":1}},"d":{"h":[]}}`},
		{`[1,2,[3]]`, `{"a":1}`},
		{`{}`, `[{"op":"add","path":"/a","value":1}]`},
		{`"s"`, `null`},
		{`{"a":1,"b":{}}`, `[{"op":"move","from":"/a","path":"/b/a"},{"op":"copy","from":"","path":"/c"}]`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		if p, err := jsonpatch.Parse(patch); err == nil {
			_, _ = p.Apply(document)
		}
		merged := jsonpatch.Merge(document, patch)
		d, okD := plain(document)
		p, okP := plain(patch)
		if !okD || !okP {
			return
		}
		got, ok := plain(jsonpatch.Merge(compact(t, document), compact(t, patch)))
		if !ok {
			t.Fatalf("merge %s into %s is no JSON: %s", patch, document, merged)
		}
		if want := mergeValues(d, p); !reflect.DeepEqual(got, want) {
			t.Fatalf("merge %s into %s: got %v, want %v", patch, document, got, want)
		}
	})
}

// plain decodes JSON without duplicate members.
func plain(text []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() || !json.Valid(text) {
		return nil, false
	}
	return v, !hasDuplicates(json.NewDecoder(bytes.NewReader(text)))
}

func hasDuplicates(d *json.Decoder) bool {
	type level struct {
		object, name bool
		seen         map[string]bool
	}
	var levels []*level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		var top *level
		if len(levels) > 0 {
			top = levels[len(levels)-1]
		}
		if s, isString := token.(string); isString && top != nil && top.object && top.name {
			if top.seen[s] {
				return true
			}
			top.seen[s], top.name = true, false
			continue
		}
		if top != nil && token != json.Delim('}') && token != json.Delim(']') {
			top.name = true
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, &level{object: true, name: true, seen: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, &level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
	}
}

func compact(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mergeValues is RFC 7396, section 2, word by word.
func mergeValues(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into := map[string]any{}
	if m, ok := target.(map[string]any); ok {
		maps.Copy(into, m)
	}
	for name, value := range changes {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = mergeValues(into[name], value)
		}
	}
	return into
}
