package contract

import (
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// template is a path of the contract, with one parameter at most.
type template struct {
	path string
	// prefix is what comes before the parameter, for a path without one the whole path; suffix is what comes behind it.
	prefix, suffix string
	// open says that there is a parameter; rest that it takes the rest of the path, slashes and all, as keys do.
	open, rest bool
	item       *openapi3.PathItem
}

func newTemplate(path string, item *openapi3.PathItem) template {
	prefix, rest, open := strings.Cut(path, "{")
	name, suffix, _ := strings.Cut(rest, "}")
	return template{path: path, prefix: prefix, suffix: suffix, open: open, rest: name == "key" || name == "file", item: item}
}

func (t *template) matches(path string) bool {
	if !t.open {
		return path == t.prefix
	}
	rest, ok := strings.CutPrefix(path, t.prefix)
	parameter, ends := strings.CutSuffix(rest, t.suffix)
	return ok && ends && (t.rest || !strings.Contains(parameter, "/"))
}

// fixed is how much of the path is spelled out.
func (t *template) fixed() int { return len(t.prefix) + len(t.suffix) }

// route finds the path of the contract that a request is for; the one with most of it spelled out wins.
func (s *spec) route(r *http.Request) *template {
	path := r.URL.EscapedPath()
	if path == "" && strings.HasPrefix(r.URL.Opaque, "/") { // a path sent as it is spelled
		path = r.URL.Opaque
	}
	if rest, ok := strings.CutPrefix(r.URL.Opaque, "http://"+r.URL.Host); ok {
		path = rest
	}
	var found *template
	for i := range s.routes {
		t := &s.routes[i]
		if t.matches(path) && (found == nil || t.fixed() > found.fixed()) {
			found = t
		}
	}
	return found
}

// operation finds the operation; HEAD is GET without a body where the contract does not describe it apart.
func (t *template) operation(method string) *openapi3.Operation {
	if t == nil {
		return nil
	}
	if op := t.item.GetOperation(method); op != nil {
		return op
	}
	if method == http.MethodHead {
		return t.item.Get
	}
	return nil
}

// parameters are those of the operation and of its path.
func (t *template) parameters(op *openapi3.Operation) []*openapi3.Parameter {
	var out []*openapi3.Parameter
	for _, list := range []openapi3.Parameters{t.item.Parameters, op.Parameters} {
		for _, ref := range list {
			out = append(out, ref.Value)
		}
	}
	return out
}
