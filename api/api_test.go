package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/api"
)

var update = flag.Bool("update", false, "write the files that are generated from the contract and from the problem table")

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what its source makes; run `go test ./api -update` (-file +made):\n%s", file, diff)
	}
}

func TestGeneratedJSONIsTheYAML(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	converted, err := yaml.YAMLToJSON(source)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, converted); err != nil {
		t.Fatal(err)
	}
	compact.WriteByte('\n')
	golden(t, "openapi.json", compact.Bytes())
}

func TestServerIsThePublicURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ public, want string }{
		{"", "http://127.0.0.1:8379"},
		{"https://kv.example/etcd", "https://kv.example/etcd"},
		{`https://kv.example/"a: b`, `https://kv.example/"a: b`},
	} {
		for name, text := range map[string][]byte{"YAML": api.YAML(tt.public), "JSON": api.JSON(tt.public)} {
			var spec struct {
				OpenAPI string
				Servers []struct{ URL string }
			}
			if err := yaml.Unmarshal(text, &spec); err != nil {
				t.Fatalf("%s with public URL %q: %v", name, tt.public, err)
			}
			if spec.OpenAPI != "3.0.3" {
				t.Errorf("%s with public URL %q: openapi: got %q, want 3.0.3", name, tt.public, spec.OpenAPI)
			}
			if len(spec.Servers) != 1 || spec.Servers[0].URL != tt.want {
				t.Errorf("%s with public URL %q: servers: got %v, want %q alone", name, tt.public, spec.Servers, tt.want)
			}
		}
	}
}

func TestCallersOwnTheText(t *testing.T) {
	t.Parallel()
	for i := range api.YAML("") {
		api.YAML("")[i] = 'x'
		break
	}
	if got := api.YAML(""); !strings.HasPrefix(string(got), "openapi:") {
		t.Errorf("a caller changed the contract for others: it begins with %q", got[:20])
	}
}
