package contract

import (
	"errors"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// isCredential tells whether the parameter is how a caller says who he is, to any operation.
func (x *exchange) isCredential(name string) bool {
	for _, ref := range x.spec.doc.Components.SecuritySchemes {
		if ref.Value.Type == "apiKey" && ref.Value.In == openapi3.ParameterInQuery && ref.Value.Name == name {
			return true
		}
	}
	return false
}

// checkRequest holds a request that succeeded against the contract: the gateway may not take what it does not describe.
func (x *exchange) checkRequest() {
	parameters := x.route.parameters(x.operation)
	for part := range strings.SplitSeq(x.request.URL.RawQuery, "&") {
		if part == "" {
			continue
		}
		name, value, hasValue := strings.Cut(part, "=")
		name, value = unescape(name), unescape(value)
		i := slices.IndexFunc(parameters, func(p *openapi3.Parameter) bool { return p.In == openapi3.ParameterInQuery && p.Name == name })
		if i < 0 && x.isCredential(name) {
			continue
		}
		if i < 0 {
			x.fail("it took the query parameter %s, which is not described", name)
			continue
		}
		s := parameters[i].Schema.Value
		if s.Type.Is(openapi3.TypeArray) {
			s = s.Items.Value
		}
		if s.Type.Is(openapi3.TypeBoolean) && !hasValue {
			continue
		}
		if err := visit(s, value); err != nil {
			x.fail("it took the query parameter %s=%s, which the contract does not allow: %v", name, value, reason(err))
		}
	}
	for _, p := range parameters {
		if p.In != openapi3.ParameterInHeader {
			continue
		}
		for _, value := range x.request.Header.Values(p.Name) {
			if err := visit(p.Schema.Value, value); err != nil {
				x.fail("it took the header %s: %s, which the contract does not allow: %v", p.Name, value, reason(err))
			}
		}
	}
	x.checkRequestBody()
}

func unescape(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

// checkRequestBody checks a JSON body that can be read again. A member that is null counts as absent.
func (x *exchange) checkRequestBody() {
	if x.operation.RequestBody == nil || x.request.GetBody == nil {
		return
	}
	media := x.operation.RequestBody.Value.Content["application/json"]
	sent, _, _ := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if media == nil || sent == "application/json-patch+json" {
		return
	}
	body, err := x.request.GetBody()
	if err != nil {
		return
	}
	text, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return
	}
	if len(text) == 0 && !x.operation.RequestBody.Value.Required {
		return
	}
	doc, err := decode(text)
	if err != nil {
		x.fail("it took a body that is not JSON: %v", err)
		return
	}
	if err := media.Schema.Value.VisitJSON(withoutNull(doc), openapi3.MultiErrors(), openapi3.VisitAsRequest()); err != nil {
		x.fail("it took a body that the contract does not allow: %s\n%.2000s", reason(err), text)
	}
}

// withoutNull drops the members that are null, but for those inside value_json.
func withoutNull(doc any) any {
	switch d := doc.(type) {
	case map[string]any:
		out := make(map[string]any, len(d))
		for name, member := range d {
			switch {
			case name == "value_json":
				out[name] = member
			case member != nil:
				out[name] = withoutNull(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(d))
		for i, element := range d {
			out[i] = withoutNull(element)
		}
		return out
	default:
		return doc
	}
}
