package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/etcdrest/etcdrest/api"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Messages holds the messages of watches against the contract of the streams. It is safe for concurrent use.
type Messages struct {
	t testing.TB
	*streams
}

// streams is what the streams' contract says of the gateway's own messages.
type streams struct {
	schemas openapi3.Schemas
	// payloads are the schemas of the messages by their type.
	payloads map[string]*openapi3.Schema
	// codes are the problems that an error message can carry.
	codes []string
}

// NewMessages loads the contract for the length of a test.
func NewMessages(t testing.TB) *Messages {
	t.Helper()
	s, err := loadedStreams()
	if err != nil {
		t.Fatalf("contract: %v", err)
	}
	return &Messages{t: t, streams: s}
}

var loadedStreams = sync.OnceValues(loadStreams)

// loadStreams reads the contract. Its schemas keep to what OpenAPI's have too.
func loadStreams() (*streams, error) {
	text, err := yaml.YAMLToJSON(api.AsyncYAML(""))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	var contract struct {
		Components struct {
			Messages map[string]struct {
				Codes   []string `json:"x-problem-codes"`
				Payload struct {
					Ref string `json:"$ref"`
				}
			}
			Schemas map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &contract); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	schemas, err := schemasOf(contract.Components.Schemas)
	if err != nil {
		return nil, err
	}
	s := &streams{schemas: schemas, payloads: make(map[string]*openapi3.Schema)}
	for _, m := range contract.Components.Messages {
		schema := schemas[strings.TrimPrefix(m.Payload.Ref, "#/components/schemas/")]
		if schema == nil {
			return nil, fmt.Errorf("there is no schema %s", m.Payload.Ref)
		}
		if kind := schema.Value.Properties["type"]; kind != nil { // the clients' messages have op
			name, _ := kind.Value.Enum[0].(string)
			s.payloads[name] = schema.Value
		}
		s.codes = append(s.codes, m.Codes...)
	}
	return s, nil
}

// schemasOf gives the schemas with their references resolved, closed to members that they do not name.
func schemasOf(named map[string]json.RawMessage) (openapi3.Schemas, error) {
	text, err := json.Marshal(map[string]any{
		"openapi": "3.0.3", "info": map[string]any{"title": "streams", "version": "v1"}, "paths": map[string]any{},
		"components": map[string]any{"schemas": named},
	})
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	for _, ref := range doc.Components.Schemas {
		tighten(ref.Value)
	}
	return doc.Components.Schemas, nil
}

// Check validates one message of the gateway. Over a socket a message of a watch or a lease has an id, elsewhere none has.
func (m *Messages) Check(text []byte, socket bool) {
	m.t.Helper()
	fail := func(format string, args ...any) {
		m.t.Helper()
		m.t.Errorf("contract: the message %.500s: %s", text, fmt.Sprintf(format, args...))
	}
	x := &exchange{fail: fail}
	doc, err := decode(text)
	if err != nil {
		fail("it is not JSON: %v", err)
		return
	}
	object, _ := doc.(map[string]any)
	kind, _ := object["type"].(string)
	schema := m.payloads[kind]
	if schema == nil {
		fail("the contract does not describe the type %q", kind)
		return
	}
	x.document(schema, doc)
	_, identified := object["id"]
	switch {
	case identified && !socket:
		fail("it has an id, but the stream is one watch")
	case !identified && socket && !slices.Contains([]string{"error", "authenticated", "pong"}, kind):
		fail("it has no id")
	}
	if kind == "error" {
		m.problem(object["error"], fail)
	}
}

// problem checks what the schema cannot say of a problem.
func (m *Messages) problem(doc any, fail func(string, ...any)) {
	p, _ := doc.(map[string]any)
	code, _ := p["code"].(string)
	info, known := problem.Lookup(code)
	status, _ := p["status"].(json.Number)
	switch {
	case !known:
		fail("the problem code %q is not in the table", code)
	case !slices.Contains(m.codes, code):
		fail("the problem code %s is not listed for error messages", code)
	case status.String() != strconv.Itoa(info.Status), p["title"] != info.Title, p["retryable"] != info.Retryable:
		fail("the problem does not agree with the table: %+v", info)
	case p["outcome"] != nil:
		fail("a watch is no write, and has no outcome")
	case p["request_id"] == "":
		fail("the problem has no request id")
	}
}
