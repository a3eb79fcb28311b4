package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheReferenceOfPoliciesIsGood opens every file that docs/reference/policy.md shows, the way the gateway does.
func TestTheReferenceOfPoliciesIsGood(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeIn(t, dir, "tenants.password", "secret\n")
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) < 3 {
		t.Fatalf("got %d blocks of YAML, want the example and the parts of it", len(blocks))
	}
	for i, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		text = strings.ReplaceAll(text, "/etc/etcdrest", dir)
		if !strings.Contains(text, "auth:\n") {
			text = partnersToo + text
		}
		file := filepath.Join(dir, "gateway.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil { //nolint:gosec // the page names no file
			t.Fatal(err)
		}
		_, found, faults := readFile(file)
		methods, policy, wrong := found.open(nil)
		if faults = append(faults, wrong...); len(faults) > 0 || methods == nil || policy == nil {
			t.Errorf("block %d has the faults %q:\n%s", i, faults, text)
		}
	}
}

// partnersToo is how the callers of those blocks are known that show a policy alone.
const partnersToo = `
auth:
  - {kind: jwt, issuer: "https://id.example", audience: etcdrest, keys: {jwks_url: "https://id.example/jwks", algorithms: [RS256]}}
  - {kind: jwt, issuer: "https://partner.example", audience: etcdrest, keys: {jwks_url: "https://partner.example/jwks", algorithms: [RS256]}}
`
