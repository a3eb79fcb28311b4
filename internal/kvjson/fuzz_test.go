package kvjson_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

func FuzzDecodeAgainstTheStandardLibrary(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"key":"a","value":"b\n","lease":"ff","ttl":60,"prev_kv":true}`, `{"key_base64":"_w","value_json":{"a":[1]}}`,
		`{"value_json":null}`, `{"value_json":null,"value":null}`, `{"ids":["1","2"],"nested":{"ids":[],"nested":{"name":"x"}}}`,
		`{"name":"\ud83d\udddd"}`, `{"ttl":9223372036854775807,"limit":1}`, `{"op":"eq"}`, `{"ttl":1e3}`, `{"key":"a","key":"b"}`, `{"doc":"\u0000"}`,
	} {
		f.Add([]byte(s))
	}
	for _, tt := range conformance {
		if len(tt.text) < 100 {
			f.Add([]byte(`{"value_json":` + tt.text + `}`))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var got body
		if err := kvjson.Decode(in, got.fields()...); err != nil {
			p := checkRefusal(t, err, problem.InvalidJSON, problem.UnknownField, problem.InvalidArgument)
			if _, err := json.Marshal(p.Detail + p.Fields[0].Pointer); err != nil || strings.ContainsRune(p.Detail, '\ufffd') && !bytes.ContainsRune(in, '\ufffd') {
				t.Errorf("%q: the refusal is not text: %q", in, p.Detail)
			}
			return
		}
		checkBody(t, in, &got)
	})
}

// checkBody wants of a body that was taken what the standard library says of it.
func checkBody(t *testing.T, in []byte, got *body) {
	t.Helper()
	var want struct {
		Key         *string         `json:"key"`
		KeyBase64   *string         `json:"key_base64"`
		Value       *string         `json:"value"`
		ValueBase64 *string         `json:"value_base64"`
		ValueJSON   json.RawMessage `json:"value_json"`
		Doc         json.RawMessage `json:"doc"`
		Name        string          `json:"name"`
		Op          string          `json:"op"`
		TTL         *int64          `json:"ttl"`
		Limit       int64           `json:"limit"`
		Lease       string          `json:"lease"`
		PrevKV      bool            `json:"prev_kv"`
		IDs         []string        `json:"ids"`
		Nested      json.RawMessage `json:"nested"`
	}
	d := json.NewDecoder(bytes.NewReader(in))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q: taken, but the standard library says %v", in, err)
	}
	if !json.Valid(in) {
		t.Fatalf("%q: taken, but it is not JSON", in)
	}
	checkForms(t, in, "key", got.Key, want.Key, want.KeyBase64, nil)
	checkForms(t, in, "value", got.Value, want.Value, want.ValueBase64, want.ValueJSON)
	if !isNull(want.Doc) {
		checkForms(t, in, "doc", got.Doc, nil, nil, want.Doc)
	}
	lease, _ := kvjson.ParseID(want.Lease)
	if got.Name != want.Name || got.Op != want.Op || got.Limit != want.Limit || got.PrevKV != want.PrevKV || got.Lease != lease ||
		got.TTLGiven != (want.TTL != nil) || want.TTL != nil && *want.TTL != got.TTL || len(got.IDs) != len(want.IDs) {
		t.Fatalf("%q: got %+v, want %+v", in, got, want)
	}
	if isNull(want.Nested) != (got.Nested == nil) {
		t.Fatalf("%q: got nested %v, want it of %s", in, got.Nested, want.Nested)
	}
	if got.Nested != nil {
		checkBody(t, want.Nested, got.Nested)
	}
}

func isNull(m json.RawMessage) bool { return m == nil || string(m) == "null" }

func checkForms(t *testing.T, in []byte, name string, got []byte, text, binary *string, doc json.RawMessage) {
	t.Helper()
	var want []byte
	switch {
	case text != nil:
		want = []byte(*text)
	case binary != nil:
		want, _ = kvjson.DecodeBase64([]byte(*binary)) // held against the standard one by its own test
	case !isNull(doc):
		var b bytes.Buffer
		if err := json.Compact(&b, doc); err != nil {
			t.Fatal(err)
		}
		want = b.Bytes()
	case doc != nil && len(got) > 0: // a null document, of which the tables have every case
		want = []byte("null")
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%q: got %s %q, want %q", in, name, got, want)
	}
}

// A fuzz test whose corpus is lost still passes, so the corpora are looked for.
func TestEveryFuzzTestHasSeedsInTestdata(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			found++
			seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", fn.Name.Name))
			if err != nil || len(seeds) == 0 {
				t.Errorf("%s has no seeds in testdata/fuzz (%v)", fn.Name.Name, err)
			}
		}
	}
	if found == 0 {
		t.Error("no fuzz test was found")
	}
}
