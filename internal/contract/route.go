package contract

import (
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// template is a path of the contract.
type template struct {
	path     string
	segments []string
	item     *openapi3.PathItem
}

func newTemplate(path string, item *openapi3.PathItem) template {
	return template{path: path, segments: strings.Split(path, "/"), item: item}
}

// matches compares segment by segment: a parameter is one that is not empty, but for a key or a file, which is the rest of
// the path, slashes and all. The weight is how much of the path is literal.
func (t *template) matches(path string) (weight int, ok bool) {
	parts := strings.Split(path, "/")
	for i, s := range t.segments {
		switch {
		case i >= len(parts):
			return 0, false
		case s == "{key}" || s == "{file}":
			return weight, true
		case !strings.HasPrefix(s, "{") && s != parts[i] || s != "" && parts[i] == "":
			return 0, false
		case !strings.HasPrefix(s, "{"):
			weight += 1 + len(s)
		}
	}
	return weight, len(parts) == len(t.segments)
}

// route finds the path of the contract that a request is for; the most literal one wins.
func (s *spec) route(r *http.Request) *template {
	path := r.URL.EscapedPath()
	if path == "" && strings.HasPrefix(r.URL.Opaque, "/") { // a path sent as it is spelled
		path = r.URL.Opaque
	}
	if rest, ok := strings.CutPrefix(r.URL.Opaque, "http://"+r.URL.Host); ok {
		path = rest
	}
	var found *template
	most := -1
	for i := range s.routes {
		if weight, ok := s.routes[i].matches(path); ok && weight > most {
			found, most = &s.routes[i], weight
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
