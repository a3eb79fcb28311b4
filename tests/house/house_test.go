// Package house_test holds the checkout to rules that no linter knows.
package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func read(t *testing.T, name string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryRoomHasItsArrows: a new package that depguard does not know could import anything.
func TestEveryRoomHasItsArrows(t *testing.T) {
	t.Parallel()
	var lint struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						ListMode string `yaml:"list-mode"`
						Files    []string
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".golangci.yml")), &lint); err != nil {
		t.Fatal(err)
	}
	var ruled []string
	for _, rule := range lint.Linters.Settings.Depguard.Rules {
		if rule.ListMode == "strict" {
			ruled = append(ruled, rule.Files[0])
		}
	}
	rooms, err := filepath.Glob(filepath.Join("..", "..", "internal", "*"))
	if err != nil || len(rooms) == 0 {
		t.Fatalf("found no rooms: %v", err)
	}
	for _, room := range rooms {
		if pattern := "**/internal/" + filepath.Base(room) + "/*.go"; !slices.Contains(ruled, pattern) {
			t.Errorf(".golangci.yml has no strict depguard rule for %s", pattern)
		}
	}
}

// TestEtcdIsOfOneVersion: the oracle, the server under test and the messages that we speak belong together.
func TestEtcdIsOfOneVersion(t *testing.T) {
	t.Parallel()
	versions := map[string][]string{}
	for _, name := range []string{"go.mod", "tests/go.mod"} {
		for _, found := range regexp.MustCompile(`go\.etcd\.io/etcd/\S+ (v\S+)`).FindAllStringSubmatch(read(t, name), -1) {
			versions[found[1]] = append(versions[found[1]], name+": "+strings.TrimSpace(found[0]))
		}
	}
	if len(versions) != 1 {
		t.Errorf("got etcd in these versions, want one: %v", versions)
	}
}

// TestGoIsOfOneVersion: all modules, and the image's compiler, speak the same Go.
func TestGoIsOfOneVersion(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if want == nil {
		t.Fatal("go.mod names no Go version")
	}
	for name, pattern := range map[string]string{
		"tests/go.mod":            `(?m)^go (\d+\.\d+)`,
		"tools/go.mod":            `(?m)^go (\d+\.\d+)`,
		"tests/etcds/v3.5/go.mod": `(?m)^go (\d+\.\d+)`,
		"tests/etcds/v3.6/go.mod": `(?m)^go (\d+\.\d+)`,
		"Dockerfile":              `FROM golang:(\d+\.\d+)`,
	} {
		if got := regexp.MustCompile(pattern).FindStringSubmatch(read(t, name)); got == nil || got[1] != want[1] {
			t.Errorf("%s: got Go %q, want %s as in go.mod", name, got, want[1])
		}
	}
}
