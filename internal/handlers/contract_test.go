package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/contract"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// Every route is in the contract under its name, and every operation of the contract has a route.
func TestTheRoutingTableIsTheContract(t *testing.T) {
	t.Parallel()
	api, err := handlers.New(panickyStore{}, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	routes := make(map[string]string)
	// etcd's own JSON gateway has a contract of its own: etcd's protobuf files, from which etcd makes its OpenAPI document.
	elsewhere := map[string]bool{"/v3/*": true, "/v3beta/*": true, "/v3alpha/*": true}
	for _, r := range api.Routes() {
		path := r.Pattern
		if elsewhere[path] {
			continue
		}
		switch {
		case strings.HasPrefix(path, "/docs/"):
			path = strings.Replace(path, "*", "{file}", 1)
		default:
			path = strings.Replace(path, "*", "{key}", 1)
		}
		routes[r.Method+" "+path] = r.Operation
	}
	operations := make(map[string]string)
	for _, o := range contract.New(t).Operations() {
		if o.Method != http.MethodHead { // HEAD comes with every GET
			operations[o.Method+" "+o.Path] = o.ID
		}
	}
	if diff := cmp.Diff(operations, routes); diff != "" {
		t.Errorf("routes differ from the contract (-contract +routes):\n%s", diff)
	}
}

func TestTheContractAndItsPagesAreServed(t *testing.T) {
	t.Parallel()
	g := start(t)
	yaml := g.do(t, "GET", "/openapi.yaml", "").want(t, 200)
	if !strings.HasPrefix(string(yaml.body), "openapi: 3.0.3") {
		t.Errorf("openapi.yaml begins with %.40q", yaml.body)
	}
	if doc := g.do(t, "GET", "/openapi.json", "").want(t, 200).json(t); doc["openapi"] != "3.0.3" {
		t.Errorf("openapi.json: openapi is %v", doc["openapi"])
	}
	if streams := g.do(t, "GET", "/asyncapi.yaml", "").want(t, 200); !strings.HasPrefix(string(streams.body), "asyncapi: 3.0.0") {
		t.Errorf("asyncapi.yaml begins with %.40q", streams.body)
	}
	page := g.do(t, "GET", "/docs", "").want(t, 200)
	if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || page.header.Get("Content-Security-Policy") == "" {
		t.Errorf("/docs: got %v", page.header)
	}
	g.do(t, "GET", "/docs/nothing.js", "").problem(t, 404, "route_not_found")
	html := g.do(t, "GET", "/problems/compacted", "", "Accept: text/html").want(t, 200)
	if !strings.Contains(string(html.body), "410") {
		t.Errorf("the page of compacted: %s", html.body)
	}
	if doc := g.do(t, "GET", "/problems/compacted", "").want(t, 200).json(t); doc["status"] != num(410) {
		t.Errorf("compacted as JSON: %v", doc)
	}
	g.do(t, "GET", "/problems/no_such", "").problem(t, 404, "route_not_found")
	index := g.do(t, "GET", "/", "").want(t, 200).json(t)
	for _, path := range index {
		if a := g.do(t, "GET", path.(string), ""); a.status != 200 {
			t.Errorf("the index names %v, which answers %d", path, a.status)
		}
	}
	browser := g.do(t, "GET", "/", "", "Accept: text/html,application/xhtml+xml").want(t, 303)
	if browser.header.Get("Location") != "/docs" {
		t.Errorf("a browser is led to %q", browser.header.Get("Location"))
	}
}

func TestHealthAndVersion(t *testing.T) {
	t.Parallel()
	g := start(t)
	v := g.do(t, "GET", "/version", "").want(t, 200).json(t)
	if v["etcdserver"] != "3.7.3" || v["etcdcluster"] != "3.7.0" || v["epoch"] == nil {
		t.Errorf("version: got %v", v)
	}
	if h := g.do(t, "GET", "/health", "").want(t, 200); string(h.body) != `{"health":"true","reason":""}`+"\n" {
		t.Errorf("health: got %s", h.body)
	}
	g.do(t, "GET", "/readyz", "").want(t, 200)
	g.do(t, "GET", "/livez?x=1", "").problem(t, 400, "unknown_parameter")
}
