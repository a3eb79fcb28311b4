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

// Streams holds the messages of watches against the streams' contract, and fails its test for each one that the contract
// does not describe. It is safe for concurrent use. Make it with NewStreams.
type Streams struct {
	t        testing.TB
	contract *streams
}

// NewStreams loads the contract for the length of a test.
func NewStreams(t testing.TB) *Streams {
	t.Helper()
	s, err := loadedStreams()
	if err != nil {
		t.Fatalf("contract of the streams: %v", err)
	}
	return &Streams{t: t, contract: s}
}

// Check checks one message of the gateway as Message does, and that it has an id where it must have one: over a socket, when
// it is of a watch or a lease, and nowhere else.
func (s *Streams) Check(text []byte, socket bool) {
	s.t.Helper()
	kind := s.Message(text)
	doc, _ := decode(text)
	object, _ := doc.(map[string]any)
	_, identified := object["id"]
	switch {
	case identified && !socket:
		s.t.Errorf("contract of the streams: the message has an id, but the stream is one watch: %.500s", text)
	case !identified && socket && !slices.Contains([]string{"error", "authenticated", "pong"}, kind):
		s.t.Errorf("contract of the streams: the message has no id: %.500s", text)
	}
}

// Message checks one message of the gateway, and gives its type.
func (s *Streams) Message(text []byte) (kind string) {
	s.t.Helper()
	x := &exchange{fail: func(format string, args ...any) {
		s.t.Helper()
		s.t.Errorf("contract of the streams: %s: %.500s", fmt.Sprintf(format, args...), text)
	}}
	doc, err := decode(text)
	if err != nil {
		x.fail("no JSON: %v", err)
		return ""
	}
	object, _ := doc.(map[string]any)
	kind, _ = object["type"].(string)
	x.documentAt("the message "+kind, s.contract.sent[kind], doc)
	if kind == "error" {
		s.problem(x, object["error"])
	}
	return kind
}

// problem checks that the code is one that a stream can end with, and that the document is the code's.
func (s *Streams) problem(x *exchange, doc any) {
	p, _ := doc.(map[string]any)
	code, _ := p["code"].(string)
	info, known := problem.Lookup(code)
	if !known || !slices.Contains(s.contract.codes, code) {
		x.fail("the problem code %q is not listed for streams", code)
	}
	if p["title"] != info.Title || p["retryable"] != info.Retryable || fmt.Sprint(p["status"]) != strconv.Itoa(info.Status) {
		x.fail("the problem is not what the table says of %s", code)
	}
	if p["outcome"] != nil || p["request_id"] == "" {
		x.fail("the problem of a watch has a request id, and no outcome")
	}
}

// Requests gives the contract's examples of one kind of message of a client: watch, cancel and so on.
func (s *Streams) Requests(kind string) []json.RawMessage {
	s.t.Helper()
	examples := s.contract.requests[kind]
	if len(examples) == 0 {
		s.t.Fatalf("the contract of the streams has no example of the message %q", kind)
	}
	return examples
}

// streams is the contract: the schemas of what the gateway sends, by type, and examples of what clients do, by op.
type streams struct {
	sent     map[string]*openapi3.Schema
	codes    []string
	requests map[string][]json.RawMessage
}

// loadedStreams gives the contract, which is read once and never changed afterwards.
var loadedStreams = sync.OnceValues(func() (*streams, error) { return loadStreams(api.AsyncYAML("")) })

func loadStreams(source []byte) (*streams, error) {
	text, err := yaml.YAMLToJSON(source)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Components struct {
			Schemas  json.RawMessage
			Messages map[string]struct {
				Title   string
				Payload struct {
					Ref string `json:"$ref"`
				}
				Codes    []string `json:"x-problem-codes"`
				Examples []struct{ Payload json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	schemas, err := loadSchemas(doc.Components.Schemas)
	if err != nil {
		return nil, err
	}
	s := &streams{sent: make(map[string]*openapi3.Schema), requests: make(map[string][]json.RawMessage)}
	for _, m := range doc.Components.Messages {
		name := strings.TrimPrefix(m.Payload.Ref, "#/components/schemas/")
		if !strings.HasSuffix(name, "Request") {
			s.sent[m.Title] = schemas[name].Value
			s.codes = append(s.codes, m.Codes...)
			continue
		}
		for _, example := range m.Examples {
			s.requests[m.Title] = append(s.requests[m.Title], example.Payload)
		}
	}
	return s, nil
}

// loadSchemas reads the schemas, which keep to what OpenAPI's have too, and makes them strict.
func loadSchemas(text json.RawMessage) (openapi3.Schemas, error) {
	document := fmt.Appendf(nil, `{"openapi":"3.0.3","info":{"title":"streams","version":"v1"},"paths":{},"components":{"schemas":%s}}`, text)
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	for _, ref := range doc.Components.Schemas {
		tighten(ref.Value)
	}
	return doc.Components.Schemas, nil
}
