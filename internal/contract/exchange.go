package contract

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/etcdrest/etcdrest/internal/problem"
)

const problemType = "application/problem+json"

// exchange is one request and its answer.
type exchange struct {
	spec    *spec
	request *http.Request
	answer  *http.Response
	fail    func(format string, args ...any)

	route     *template
	operation *openapi3.Operation
	// mediaType is the answer's, without parameters.
	mediaType string
}

func (x *exchange) name() string {
	name := x.request.Method + " " + x.request.URL.RequestURI()
	if x.operation != nil {
		name += " (" + x.operation.OperationID + ")"
	}
	return name
}

// check holds the answer against the operation, or against what every path promises.
func (x *exchange) check() {
	x.route = x.spec.route(x.request)
	x.operation = x.route.operation(x.request.Method)
	x.mediaType, _, _ = mime.ParseMediaType(x.answer.Header.Get("Content-Type"))
	for _, name := range []string{"X-Request-Id", "Server-Timing"} {
		if x.answer.Header.Get(name) == "" {
			x.fail("the header %s is missing", name)
		}
	}
	if x.operation == nil {
		x.checkUnrouted()
		return
	}
	described := x.operation.Responses.Status(x.answer.StatusCode)
	if described == nil {
		x.fail("the operation describes no such status")
		return
	}
	x.checkHeaders(described.Value)
	if x.answer.StatusCode < http.StatusMultipleChoices {
		x.checkRequest()
	}
	x.checkBody(described.Value)
}

// checkUnrouted checks what is answered where the contract has no operation: OPTIONS, 404 and 405.
func (x *exchange) checkUnrouted() {
	switch {
	case x.request.Method == http.MethodOptions && x.answer.StatusCode == http.StatusNoContent:
		if x.answer.Header.Get("Allow") == "" {
			x.fail("the header Allow is missing")
		}
	case x.answer.StatusCode < http.StatusBadRequest:
		x.fail("the contract has no such operation")
	default:
		codes := append(x.commonCodes(), string(problem.MethodNotAllowed), string(problem.RouteNotFound))
		x.problemBody(codes)
	}
}

// commonCodes are the problems that any operation which reaches etcd can answer.
func (x *exchange) commonCodes() []string {
	return texts(x.spec.doc.Extensions["x-common-problem-codes"])
}

// codes are the problems that the operation lists.
func (x *exchange) codes() []string { return texts(x.operation.Extensions["x-problem-codes"]) }

func texts(list any) []string {
	items, _ := list.([]any)
	out := make([]string, 0, len(items))
	for _, item := range items {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

func (x *exchange) checkHeaders(described *openapi3.Response) {
	for name, ref := range described.Headers {
		values := x.answer.Header.Values(name)
		switch {
		case len(values) == 0 && ref.Value.Required:
			x.fail("the header %s is missing", name)
		case len(values) > 1 && name != "Vary":
			x.fail("the header %s is there %d times", name, len(values))
		case len(values) > 0:
			if err := visit(ref.Value.Schema.Value, values[0]); err != nil {
				x.fail("the header %s: %q: %v", name, values[0], err)
			}
		}
	}
	for name := range x.answer.Header {
		if strings.HasPrefix(name, "Etcd-") && described.Headers[name] == nil && x.answer.StatusCode < http.StatusMultipleChoices {
			x.fail("the header %s is not described", name)
		}
	}
	needed := map[int]string{
		http.StatusUnauthorized: "WWW-Authenticate", http.StatusMethodNotAllowed: "Allow", http.StatusPreconditionFailed: "Etcd-Revision",
		http.StatusTooManyRequests: "Retry-After", http.StatusServiceUnavailable: "Retry-After",
	}
	if name := needed[x.answer.StatusCode]; name != "" && x.answer.Header.Get(name) == "" && x.mediaType == problemType {
		x.fail("the header %s is missing", name)
	}
}

// checkBody chooses how the body is checked as it is read.
func (x *exchange) checkBody(described *openapi3.Response) {
	length := x.answer.Header.Get("Content-Length")
	switch {
	case x.request.Method == http.MethodHead:
		return
	case x.mediaType == problemType:
		x.problemBody(x.codes())
		return
	case len(described.Content) == 0:
		if length != "" && length != "0" {
			x.fail("there is a body of %s bytes where none is described", length)
		}
		return
	}
	if slices.Contains(texts(described.Extensions["x-alternatives"]), x.mediaType) {
		return
	}
	media := described.Content.Get(x.mediaType)
	switch {
	case media == nil:
		x.fail("the media type %q is not described", x.answer.Header.Get("Content-Type"))
	case media.Extensions["x-itemSchema"] != nil:
		x.lineBody(x.spec.item(media))
	case x.mediaType == "application/json":
		x.jsonBody(func(doc any) { x.document(media.Schema.Value, doc) })
	}
}

// item is the schema of one line of a stream.
func (s *spec) item(media *openapi3.MediaType) *openapi3.Schema {
	ref, _ := media.Extensions["x-itemSchema"].(map[string]any)
	name, _ := ref["$ref"].(string)
	return s.schema(strings.TrimPrefix(name, "#/components/schemas/"))
}

// visit validates a text, such as a header's or a parameter's, as the type that its schema has.
func visit(s *openapi3.Schema, text string) error {
	var value any = text
	if s.Type.Is(openapi3.TypeInteger) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		value = n
	}
	if s.Type.Is(openapi3.TypeBoolean) {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		value = b
	}
	return s.VisitJSON(value)
}
