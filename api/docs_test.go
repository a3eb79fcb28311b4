package api_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/api"
)

func TestReferenceHasEveryFileOfItsPage(t *testing.T) {
	t.Parallel()
	page, contentType, ok := api.DocsFile("")
	if !ok || contentType != "text/html; charset=utf-8" {
		t.Fatalf("the page: got type %q, found %v", contentType, ok)
	}
	links := regexp.MustCompile(`(?:href|src)="(docs/[^"]+)"`).FindAllStringSubmatch(string(page), -1)
	if len(links) < 5 {
		t.Fatalf("files named by the page: got %d, want 5 or more", len(links))
	}
	for _, link := range links {
		// At /docs a browser asks for /docs/x, at /docs/ for /docs/docs/x.
		for _, name := range []string{link[1], strings.TrimPrefix(link[1], "docs/")} {
			if file, _, ok := api.DocsFile(name); !ok || len(file) == 0 {
				t.Errorf("file %s: not found or empty", name)
			}
		}
	}
}

// The page's policy allows scripts from files only.
func TestReferenceHasNoInlineScript(t *testing.T) {
	t.Parallel()
	page, _, _ := api.DocsFile("")
	if inline := regexp.MustCompile(`(?i)<script(?:[^>]*[^>/])?>[^<]|\son[a-z]+=|javascript:`).Find(page); inline != nil {
		t.Errorf("the page has an inline script: %s", inline)
	}
	if outside := regexp.MustCompile(`(?:href|src)="(?:https?:)?//[^"]*"`).Find(page); outside != nil {
		t.Errorf("the page leads outside: %s", outside)
	}
	if strings.Contains(api.DocsPolicy, "unsafe-eval") || !strings.Contains(api.DocsPolicy, "script-src 'self';") {
		t.Errorf("policy: got %s", api.DocsPolicy)
	}
}

func TestReferenceServesNothingElse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nothing.js", "../api.go", "README.md", "docs", "docs/", "/index.html", "./docs.js", "x/../docs.js", "\x00"} {
		if _, _, ok := api.DocsFile(name); ok {
			t.Errorf("file %q: found, want nothing", name)
		}
	}
}

func TestRendererIsThePinnedRelease(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("_tools/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var pinned struct {
		Dev map[string]string `json:"devDependencies"`
	}
	if err := json.Unmarshal(text, &pinned); err != nil {
		t.Fatal(err)
	}
	version := pinned.Dev["swagger-ui-dist"]
	bundle, _, _ := api.DocsFile("swagger-ui-bundle.js")
	if version == "" || !strings.Contains(string(bundle), `"`+version+`"`) {
		t.Errorf("swagger-ui-bundle.js is not release %q; run `npm run docs` in api/_tools", version)
	}
}
