package coverage_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sources finds tests by their names and looks for what they call: requests are spelled in them as a method and, next to
// it, a path, be it in a call or in a table.
type sources struct {
	t       *testing.T
	folders map[string]map[string]*ast.FuncDecl
}

// find gives the test of that name, folder.Test from the module's root.
func (s *sources) find(name string) *ast.FuncDecl {
	s.t.Helper()
	folder, test, _ := strings.Cut(name, ".")
	if s.folders[folder] == nil {
		s.folders[folder] = s.read(folder)
	}
	return s.folders[folder][test]
}

func (s *sources) read(folder string) map[string]*ast.FuncDecl {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("%s has no tests: %v", folder, err)
	}
	found := make(map[string]*ast.FuncDecl)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				found[f.Name.Name] = f
			}
		}
	}
	return found
}

// hole stands for what is not spelled in the source.
const hole = "\x00"

var verb = regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)

// spelled gives the text of an expression, with holes.
func spelled(e ast.Expr, named map[string]string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		return spelled(e.X, named) + spelled(e.Y, named)
	case *ast.Ident:
		if text, ok := named[e.Name]; ok {
			return text
		}
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return verb.ReplaceAllString(spelled(e.Args[0], named), hole)
		}
	case *ast.SelectorExpr:
		if m, ok := strings.CutPrefix(e.Sel.Name, "Method"); ok {
			return strings.ToUpper(m)
		}
	case *ast.KeyValueExpr:
		return spelled(e.Value, named)
	}
	return hole
}

// texts gives the lists of expressions in a test, each as its texts: the arguments of calls, the elements of tables.
func texts(test *ast.FuncDecl) (lists [][]string) {
	named := make(map[string]string)
	ast.Inspect(test, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for i, value := range v.Values {
				named[v.Names[i].Name] = spelled(value, nil)
			}
		}
		return true
	})
	ast.Inspect(test, func(n ast.Node) bool {
		var list []ast.Expr
		switch n := n.(type) {
		case *ast.CallExpr:
			list = n.Args
		case *ast.CompositeLit:
			list = n.Elts
		}
		var of []string
		for _, e := range list {
			of = append(of, spelled(e, named))
		}
		lists = append(lists, of)
		return true
	})
	return lists
}

// callsRoute tells whether a test calls a route of the table, "METHOD /pattern".
func callsRoute(test *ast.FuncDecl, route string) bool {
	method, pattern, _ := strings.Cut(route, " ")
	for _, list := range texts(test) {
		for i, text := range list {
			// A path without a method is got, be there a server's URL in front of it.
			before := http.MethodGet
			if i > 0 && isMethod(list[i-1]) {
				before = list[i-1]
			}
			if before == method && matches(pattern, strings.TrimPrefix(text, hole)) {
				return true
			}
		}
	}
	return false
}

func isMethod(text string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete}, text)
}

// callsPath tells whether a test calls a path of /v3.
func callsPath(test *ast.FuncDecl, path string) bool {
	for _, list := range texts(test) {
		if slices.Contains(list, path) {
			return true
		}
	}
	return false
}

// matches tells whether a spelled path is one of the pattern.
func matches(pattern, text string) bool {
	path, _, _ := strings.Cut(text, "?")
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, w := range want {
		switch {
		case i >= len(got):
			return false
		case w == "*":
			return got[i] != ""
		case strings.HasPrefix(w, "{"):
			if got[i] == "" {
				return false
			}
		case got[i] != w:
			return false
		}
	}
	return len(want) == len(got)
}

func TestCallsAreFoundInSources(t *testing.T) {
	t.Parallel()
	parsed, err := parser.ParseFile(token.NewFileSet(), "x_test.go", `package x
func TestX(t *testing.T) {
	const path = "/v1/roles/r%2Fw/permissions"
	g.do(t, "POST", "/v1/locks/a?wait=1", "")
	api.call(ctx, http.MethodDelete, "/v1/leases/"+id)
	g.do(t, "PUT", path+"?x", "")
	for _, step := range []struct{ method, path string }{{"PATCH", "/v1/kv/a/b"}, {"POST", fmt.Sprintf("/v1/cluster/members/%016x/promote", id)}} {}
	http.Get(server.URL + "/v1/watch?key=a")
	p.same(t, post("/v3/kv/put", ""))
}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	test, ok := parsed.Decls[0].(*ast.FuncDecl)
	if !ok {
		t.Fatal("no function")
	}
	for route, want := range map[string]bool{
		"POST /v1/locks/{name}": true, "DELETE /v1/leases/{id}": true, "PUT /v1/roles/{role}/permissions": true, "PATCH /v1/kv/*": true,
		"POST /v1/cluster/members/{id}/promote": true, "GET /v1/watch": true,
		"GET /v1/locks/{name}": false, "POST /v1/locks": false, "POST /v1/locks/{name}/x": false, "DELETE /v1/leases": false, "PUT /v1/roles/{role}": false,
		"PUT /v1/kv/*": false, "POST /v1/cluster/members/{id}": false, "POST /v1/watch": false,
	} {
		if got := callsRoute(test, route); got != want {
			t.Errorf("%s: found %t, want %t", route, got, want)
		}
	}
	if !callsPath(test, "/v3/kv/put") || callsPath(test, "/v3/kv") {
		t.Error("/v3/kv/put is called, and /v3/kv is not")
	}
}
