// Package contract holds HTTP exchanges against the contract (package api) in tests: every answer that passes through a
// Checker's transport must be one that the contract describes, and every request that succeeded one that it allows.
package contract

import (
	"fmt"
	"net/http"
	"sort"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/etcdrest/etcdrest/api"
)

// Checker validates exchanges and fails its test for each one that the contract does not describe. It is safe for
// concurrent use. Make it with New.
type Checker struct {
	t    testing.TB
	spec *spec
}

// New loads the contract for the length of a test.
func New(t testing.TB) *Checker {
	t.Helper()
	s, err := loaded()
	if err != nil {
		t.Fatalf("contract: %v", err)
	}
	return &Checker{t: t, spec: s}
}

// Operation is one operation of the contract.
type Operation struct {
	Method, Path string
	// ID is the operationId.
	ID string
}

// Operations lists the operations by path and method, for a test that holds a routing table against them. HEAD, which
// every GET has, is listed only where the contract describes it apart.
func (c *Checker) Operations() []Operation {
	var out []Operation
	for path, item := range c.spec.doc.Paths.Map() {
		for method, op := range item.Operations() {
			out = append(out, Operation{Method: method, Path: path, ID: op.OperationID})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		return a.Path < b.Path || (a.Path == b.Path && a.Method < b.Method)
	})
	return out
}

// Transport gives a transport that validates every answer which comes through base. Status, headers and the request are
// checked at once. A JSON body is checked when its reader has read it to the end, NDJSON line by line as it is read; other bodies pass.
// Nothing is held back, so endless streams work.
func (c *Checker) Transport(base http.RoundTripper) http.RoundTripper {
	return transport{c, base}
}

type transport struct {
	*Checker

	base http.RoundTripper
}

// RoundTrip sends the request and checks the answer.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.Check(r, answer)
	return answer, nil
}

// Check validates one exchange. It replaces the answer's body by one that is validated as it is read.
func (c *Checker) Check(r *http.Request, answer *http.Response) {
	x := &exchange{spec: c.spec, request: r, answer: answer}
	x.fail = func(format string, args ...any) {
		c.t.Errorf("contract: %s answered %d: %s", x.name(), answer.StatusCode, fmt.Sprintf(format, args...))
	}
	x.check()
}

// spec is the contract, made strict: what an object's schema does not name may not be there.
type spec struct {
	doc    *openapi3.T
	routes []template
}

// loaded gives the contract, which is read once and never changed afterwards.
var loaded = sync.OnceValues(func() (*spec, error) { return load(api.JSON("")) })

func load(text []byte) (*spec, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	s := &spec{doc: doc}
	for _, ref := range doc.Components.Schemas {
		tighten(ref.Value)
	}
	for path, item := range doc.Paths.Map() {
		s.routes = append(s.routes, newTemplate(path, item))
	}
	return s, nil
}

// tighten forbids members that the schema does not name. Callers must let unknown members pass, since the contract may
// grow; the gateway itself may not send one that the contract of today does not know. A schema without a type takes any
// JSON value (OpenAPI 3.0.3), which the validator does not believe of null.
func tighten(s *openapi3.Schema) {
	s.Nullable = s.Nullable || s.IsEmpty()
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
}

// schema finds a named schema.
func (s *spec) schema(name string) *openapi3.Schema {
	if ref := s.doc.Components.Schemas[name]; ref != nil {
		return ref.Value
	}
	return nil
}
