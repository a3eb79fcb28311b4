package api_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/api"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// document is the part of the contract that these tests look at.
type document struct {
	Common     []string `json:"x-common-problem-codes"`
	Tags       []tag
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
		}
	}
}

type tag struct{ Name string }

type operation struct {
	ID          string `json:"operationId"`
	Tags        []string
	Summary     string
	Description string
	Codes       []string `json:"x-problem-codes"`
	Responses   map[string]any
}

func read(t *testing.T) *document {
	t.Helper()
	var d document
	if err := json.Unmarshal(api.JSON(""), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// operations calls f for each operation of the contract.
func (d *document) operations(t *testing.T, f func(where string, op operation)) {
	t.Helper()
	for path, item := range d.Paths {
		for method, text := range item {
			if method == "parameters" {
				continue
			}
			var op operation
			if err := json.Unmarshal(text, &op); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			f(method+" "+path, op)
		}
	}
}

func TestOperationsHaveOneTagAndACamelCaseID(t *testing.T) {
	t.Parallel()
	d := read(t)
	seen := make(map[string]string)
	camelCase := regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)
	d.operations(t, func(where string, op operation) {
		if other := seen[op.ID]; other != "" || !camelCase.MatchString(op.ID) {
			t.Errorf("%s: operationId %q; it must be camelCase and its own (it is also that of %q)", where, op.ID, other)
		}
		seen[op.ID] = where
		if len(op.Tags) != 1 || !slices.ContainsFunc(d.Tags, func(known tag) bool { return known.Name == op.Tags[0] }) {
			t.Errorf("%s: tags: got %v, want one of the listed ones", where, op.Tags)
		}
		if op.Summary == "" || op.Description == "" {
			t.Errorf("%s: summary or description is missing", where)
		}
		for _, status := range []string{"4XX", "5XX"} {
			if op.Responses[status] == nil {
				t.Errorf("%s: the response %s is missing", where, status)
			}
		}
	})
}

func TestListedProblemCodesAreInTheTable(t *testing.T) {
	t.Parallel()
	d := read(t)
	listed := make(map[string]bool)
	d.operations(t, func(where string, op operation) {
		for _, code := range op.Codes {
			if _, ok := problem.Lookup(code); !ok {
				t.Errorf("%s: the problem code %q is not in the table", where, code)
			}
			if n := slices.Index(op.Codes, code); n != slices.Index(op.Codes[n:], code)+n {
				t.Errorf("%s: the problem code %q is listed twice", where, code)
			}
			listed[code] = true
		}
	})
	for _, code := range d.Common {
		if !listed[code] {
			t.Errorf("the common problem code %q is not listed by any operation", code)
		}
	}
}

// The codes are there for machines; people read the text, which must name the same.
func TestTextsNameTheProblemCodes(t *testing.T) {
	t.Parallel()
	d := read(t)
	quoted := regexp.MustCompile("`([a-z_]+)`")
	d.operations(t, func(where string, op operation) {
		if !strings.Contains(where, " /v1/") {
			return
		}
		var want, got []string
		for _, code := range op.Codes {
			if !slices.Contains(d.Common, code) {
				want = append(want, code)
			}
		}
		for _, code := range d.Common {
			if !slices.Contains(op.Codes, code) {
				t.Errorf("%s: the common problem code %s is missing from x-problem-codes", where, code)
			}
		}
		_, sentence, _ := strings.Cut(op.Description, "Problems beyond the common ones: ")
		for _, m := range quoted.FindAllStringSubmatch(sentence, -1) {
			got = append(got, m[1])
		}
		sort.Strings(want)
		sort.Strings(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: codes named in the text (-x-problem-codes +text):\n%s", where, diff)
		}
	})
}

// OpenAPI 3.0 cannot say "KeyValue or null", so there are schemas that repeat its members.
func TestKeyValuesAreDescribedAlike(t *testing.T) {
	t.Parallel()
	schemas := read(t).Components.Schemas
	names := func(schema string) []string {
		var out []string
		for name := range schemas[schema].Properties {
			if name != "type" {
				out = append(out, name)
			}
		}
		sort.Strings(out)
		return out
	}
	for _, schema := range []string{"CurrentKeyValue", "EventKeyValue", "ExportKv"} {
		if diff := cmp.Diff(names("KeyValue"), names(schema)); diff != "" {
			t.Errorf("members of %s (-KeyValue +%s):\n%s", schema, schema, diff)
		}
	}
}
