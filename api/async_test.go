package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/api"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// streams is the part of the streams' contract that these tests look at. Its schemas keep to what OpenAPI's have too.
type streams struct {
	AsyncAPI string
	Servers  map[string]struct{ Host, Pathname, Protocol string }
	Channels map[string]struct {
		Messages map[string]any
		Closes   []closeCode              `json:"x-close-codes"`
		Framing  struct{ Example string } `json:"x-framing"`
	}
	Components struct {
		Messages map[string]message
		Schemas  map[string]json.RawMessage
	}
}

type closeCode struct {
	Code      int
	Name      string
	Reconnect string
	When      string
	Sent      *bool
}

type message struct {
	Title   string
	Codes   []string `json:"x-problem-codes"`
	Payload struct {
		Ref string `json:"$ref"`
	}
	Examples []struct {
		Name    string
		Payload json.RawMessage
	}
}

// readStreams parses the streams' contract as served under the public URL.
func readStreams(t *testing.T, publicURL string) *streams {
	t.Helper()
	text, err := yaml.YAMLToJSON(api.AsyncYAML(publicURL))
	if err != nil {
		t.Fatal(err)
	}
	var s streams
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// schemas gives the contract's schemas with their references resolved, and closed to members that they do not name.
func (s *streams) schemas(t *testing.T) openapi3.Schemas {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"openapi": "3.0.3", "info": map[string]any{"title": "streams", "version": "v1"}, "paths": map[string]any{},
		"components": map[string]any{"schemas": s.Components.Schemas},
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	for _, ref := range doc.Components.Schemas {
		if len(ref.Value.Properties) > 0 {
			ref.Value.AdditionalProperties.Has = &no
		}
	}
	return doc.Components.Schemas
}

// valid tells why the text is not a document of the schema.
func valid(schema *openapi3.SchemaRef, text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return err
	}
	return schema.Value.VisitJSON(doc)
}

func TestStreamsServersAreThePublicURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ public, host, path, ws, http string }{
		{"", "127.0.0.1:8379", "", "ws", "http"},
		{"http://kv.example:81", "kv.example:81", "", "ws", "http"},
		{"https://kv.example/etcd/", "kv.example", "/etcd", "wss", "https"},
		{"https://[::1]:8379", "[::1]:8379", "", "wss", "https"},
	} {
		s := readStreams(t, tt.public)
		if s.AsyncAPI != "3.0.0" || len(s.Servers) != 2 {
			t.Errorf("public URL %q: got version %q with %d servers, want 3.0.0 with 2", tt.public, s.AsyncAPI, len(s.Servers))
		}
		for name, protocol := range map[string]string{"websocket": tt.ws, "http": tt.http} {
			got := s.Servers[name]
			if got.Host != tt.host || got.Pathname != tt.path || got.Protocol != protocol {
				t.Errorf("public URL %q: server %s: got %+v, want %s%s by %s", tt.public, name, got, tt.host, tt.path, protocol)
			}
		}
	}
}

func TestStreamsExamplesAreValid(t *testing.T) {
	t.Parallel()
	s := readStreams(t, "")
	schemas := s.schemas(t)
	for name, m := range s.Components.Messages {
		schema := schemas[strings.TrimPrefix(m.Payload.Ref, "#/components/schemas/")]
		if schema == nil || len(m.Examples) == 0 {
			t.Errorf("message %s: schema %q found: %v; %d examples, want some", name, m.Payload.Ref, schema != nil, len(m.Examples))
			continue
		}
		for _, example := range m.Examples {
			if err := valid(schema, example.Payload); err != nil {
				t.Errorf("message %s: example %s: %v", name, example.Name, err)
			}
		}
	}
}

// Each line of the framings is a message of the contract, of those that its channel lists.
func TestStreamsFramingsShowMessages(t *testing.T) {
	t.Parallel()
	s := readStreams(t, "")
	schemas := s.schemas(t)
	for _, name := range []string{"sse", "ndjson"} {
		lines := 0
		for line := range strings.Lines(s.Channels[name].Framing.Example) {
			text, isData := strings.CutPrefix(line, "data: ")
			if !isData && !strings.HasPrefix(line, "{") {
				continue
			}
			lines++
			var m struct{ Type string }
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			if _, listed := s.Channels[name].Messages[m.Type]; !listed {
				t.Errorf("%s: the framing shows %q, which the channel does not list", name, m.Type)
				continue
			}
			if err := valid(schemas[strings.ToUpper(m.Type[:1])+m.Type[1:]], []byte(text)); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
		if lines < 2 {
			t.Errorf("%s: the framing shows %d messages, want at least 2", name, lines)
		}
	}
}

// Everything that travels has one shape, whichever contract describes it.
func TestBothContractsDescribeTheSameThings(t *testing.T) {
	t.Parallel()
	var contract struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(api.JSON(""), &contract); err != nil {
		t.Fatal(err)
	}
	s := readStreams(t, "")
	names := map[string]string{"Fault": "Fault", "KeyValue": "KeyValue", "EventKeyValue": "EventKeyValue", "WatchEvent": "WatchEvent", "ErrorMessage": "ErrorLine"}
	for _, message := range []string{"Created", "Snapshot", "Synced", "Reset", "Events", "Progress", "End"} {
		names[message] = "Watch" + message
	}
	for name, theirs := range names {
		want, got := contract.Components.Schemas[theirs].Properties, s.properties(t, name)
		delete(got, "id") // there is one over a WebSocket only
		if diff := cmp.Diff(want, got); diff != "" || want == nil {
			t.Errorf("%s (-openapi.yaml's %s +asyncapi.yaml's):\n%s", name, theirs, diff)
		}
	}
	want, got := contract.Components.Schemas["Problem"].Properties, s.properties(t, "Problem")
	for member := range got { // some of its members are for other calls
		if diff := cmp.Diff(want[member], got[member]); diff != "" && member != "revision" { // which means more in a stream
			t.Errorf("Problem.%s (-openapi.yaml +asyncapi.yaml):\n%s", member, diff)
		}
	}
}

// properties gives the members of a schema as the contract spells them.
func (s *streams) properties(t *testing.T, name string) map[string]any {
	t.Helper()
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(s.Components.Schemas[name], &schema); err != nil {
		t.Fatal(err)
	}
	return schema.Properties
}

// A message over a WebSocket takes what the URL takes.
func TestWatchMessagesTakeTheParametersOfTheURL(t *testing.T) {
	t.Parallel()
	schemas := readStreams(t, "").schemas(t)
	members := maps.Clone(schemas["WatchRequest"].Value.Properties)
	for name := range members {
		if name == "op" || name == "id" || strings.HasSuffix(name, "_base64") {
			delete(members, name)
		}
	}
	parameters := maps.Clone(schemas["WatchParameters"].Value.Properties)
	delete(parameters, "key_encoding") // the members _base64 are its counterpart
	if diff := cmp.Diff(slices.Sorted(maps.Keys(parameters)), slices.Sorted(maps.Keys(members))); diff != "" {
		t.Errorf("names (-URL +message):\n%s", diff)
	}
}

func TestStreamsProblemsAreInTheTable(t *testing.T) {
	t.Parallel()
	s := readStreams(t, "")
	closes := make(map[int]bool)
	for _, c := range s.Channels["websocket"].Closes {
		if !slices.Contains([]string{"yes", "resume", "no"}, c.Reconnect) || c.Name == "" || c.When == "" || closes[c.Code] {
			t.Errorf("close code %d: reconnect %q, name %q, when %q; listed before: %v", c.Code, c.Reconnect, c.Name, c.When, closes[c.Code])
		}
		closes[c.Code] = true
	}
	codes := s.Components.Messages["error"].Codes
	if len(codes) == 0 {
		t.Error("the message error lists no problem codes")
	}
	for _, code := range codes {
		if _, known := problem.Lookup(code); !known {
			t.Errorf("the message error lists %q, which is not in the table", code)
		}
	}
	for _, example := range s.Components.Messages["error"].Examples {
		var m struct {
			Error struct {
				Type, Title, Code string
				Status            int
				Retryable         bool
			}
		}
		if err := json.Unmarshal(example.Payload, &m); err != nil {
			t.Fatal(err)
		}
		info, _ := problem.Lookup(m.Error.Code)
		want := m
		want.Error.Type, want.Error.Title, want.Error.Status, want.Error.Retryable = "/problems/"+m.Error.Code, info.Title, info.Status, info.Retryable
		if diff := cmp.Diff(want, m); diff != "" || !slices.Contains(codes, m.Error.Code) {
			t.Errorf("example %s of error (-table +example), listed: %v:\n%s", example.Name, slices.Contains(codes, m.Error.Code), diff)
		}
	}
}

// A problem that ends a socket does so by a code which the contract explains. Of a lease none does.
func TestCloseCodesOfTheProblemsAreExplained(t *testing.T) {
	t.Parallel()
	s := readStreams(t, "")
	closes := make(map[int]bool)
	for _, c := range s.Channels["websocket"].Closes {
		closes[c.Code] = c.Sent == nil || *c.Sent
	}
	for _, code := range s.Components.Messages["error"].Codes {
		info := problem.Code(code).Info()
		if ofLease := info.Code == problem.LeaseNotFound || info.Code == problem.NoSpace; !closes[info.Close] && !ofLease {
			t.Errorf("%s closes with %d, which the contract does not explain", code, info.Close)
		}
	}
}

// The page for people names what the contract names.
func TestThePageOfTheStreamsIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/reference/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	s := readStreams(t, "")
	for _, c := range s.Channels["websocket"].Closes {
		if row := fmt.Sprintf("\n| %d | %s | %s | ", c.Code, c.Name, c.Reconnect); !strings.Contains(page, row) {
			t.Errorf("the page lacks the line %q", row)
		}
	}
	var names []string
	for _, m := range s.Components.Messages {
		names = append(names, m.Title)
	}
	for _, schema := range []string{"WatchParameters", "WatchRequest"} {
		for name := range s.properties(t, schema) {
			names = append(names, name)
		}
	}
	for _, name := range append(names, s.Components.Messages["error"].Codes...) {
		if !strings.Contains(page, "`"+name+"`") && name != "op" {
			t.Errorf("the page does not name %s", name)
		}
	}
}
