package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/etcdrest/etcdrest/api"
)

// typescript writes the streams' contract as TypeScript: its types cannot differ from what they are made from.
type typescript struct{ text []byte }

// The contract with the order that it is written in.
type orderedStreams struct {
	Channels struct {
		Websocket struct {
			Closes []closeCode `yaml:"x-close-codes"`
		}
	}
	Components struct {
		Messages yaml.MapSlice
		Schemas  yaml.MapSlice
	}
}

func TestGeneratedTypeScriptIsTheContract(t *testing.T) {
	t.Parallel()
	var s orderedStreams
	if err := yaml.UnmarshalWithOptions(api.AsyncYAML(""), &s, yaml.UseOrderedMap()); err != nil {
		t.Fatal(err)
	}
	var out typescript
	out.line("// Made from api/asyncapi.yaml by `go generate ./api`; a test holds it against the contract.")
	for _, schema := range s.Components.Schemas {
		out.schema(schema.Key.(string), schema.Value.(yaml.MapSlice))
	}
	out.messages(s.Components.Messages)
	out.closes(s.Channels.Websocket.Closes)
	golden(t, "../web/src/client/contract.ts", out.text)
}

func (w *typescript) line(format string, args ...any) {
	w.text = fmt.Appendf(w.text, format+"\n", args...)
}

// schema writes an interface, or the type of what is not an object.
func (w *typescript) schema(name string, s yaml.MapSlice) {
	if slices.Contains([]string{"WatchParameters", "StreamParameters", "SseHeaders"}, name) {
		return // not part of a message
	}
	w.line("")
	w.comment("", s)
	properties, isObject := member(s, "properties").(yaml.MapSlice)
	if !isObject {
		w.line("export type %s = %s;", name, typeOf(s))
		return
	}
	required, _ := member(s, "required").([]any)
	w.line("export interface %s {", name)
	for _, p := range properties {
		of := p.Value.(yaml.MapSlice)
		w.comment("  ", of)
		optional := "?"
		if slices.Contains(required, p.Key) {
			optional = ""
		}
		w.line("  %s%s: %s;", property(p.Key.(string)), optional, typeOf(of))
	}
	w.line("}")
}

func property(name string) string {
	if strings.Contains(name, "-") {
		return fmt.Sprintf("%q", name)
	}
	return name
}

func (w *typescript) comment(indent string, s yaml.MapSlice) {
	if text, _ := member(s, "description").(string); text != "" {
		w.line("%s/** %s */", indent, strings.Join(strings.Fields(text), " "))
	}
}

func member(s yaml.MapSlice, name string) any {
	for _, item := range s {
		if item.Key == name {
			return item.Value
		}
	}
	return nil
}

// typeOf gives the TypeScript of a schema: a reference, a choice of texts or of schemas, a list, or a type of JSON.
func typeOf(s yaml.MapSlice) string {
	if ref, _ := member(s, "$ref").(string); ref != "" {
		return ref[strings.LastIndexByte(ref, '/')+1:]
	}
	if choice, _ := member(s, "enum").([]any); choice != nil {
		return alternatives(choice)
	}
	if choice, _ := member(s, "oneOf").([]any); choice != nil {
		return either(choice)
	}
	switch kind, _ := member(s, "type").(string); kind {
	case "integer", "number":
		return "number"
	case "array":
		items, _ := member(s, "items").(yaml.MapSlice)
		return "Array<" + typeOf(items) + ">"
	case "string", "boolean", "null":
		return kind
	default:
		return "unknown"
	}
}

// either gives the union of what a schema chooses from.
func either(choice []any) string {
	types := make([]string, len(choice))
	for i, s := range choice {
		types[i] = typeOf(s.(yaml.MapSlice))
	}
	return strings.Join(types, " | ")
}

func alternatives(choice []any) string {
	texts := make([]string, len(choice))
	for i, text := range choice {
		texts[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(texts, " | ")
}

// messages writes the two directions as unions, told apart by their first member, and the problem codes of streams.
func (w *typescript) messages(messages yaml.MapSlice) {
	directions := map[string][]string{}
	for _, m := range messages {
		text := m.Value.(yaml.MapSlice)
		payload, _ := member(text, "payload").(yaml.MapSlice)
		schema := typeOf(payload)
		direction := "ServerMessage"
		if strings.HasSuffix(schema, "Request") {
			direction = "ClientMessage"
		}
		directions[direction] = append(directions[direction], schema)
		if codes, _ := member(text, "x-problem-codes").([]any); codes != nil {
			w.line("\n/** The codes of the problems that a stream can end with. */\nexport type StreamProblemCode = %s;", alternatives(codes))
		}
	}
	w.line("\n/** What a client sends over a WebSocket. */\nexport type ClientMessage = %s;", strings.Join(directions["ClientMessage"], " | "))
	w.line("\n/** What the gateway sends. */\nexport type ServerMessage = %s;", strings.Join(directions["ServerMessage"], " | "))
}

// closes writes what each close code tells a client to do.
func (w *typescript) closes(codes []closeCode) {
	w.line("\n/** What to do when a socket closes: connect anew, connect and resume each watch, or stop. */\nexport type Reconnect = \"yes\" | \"resume\" | \"no\";")
	w.line("\nexport const closeCodes: Readonly<Record<number, { name: string; reconnect: Reconnect; sent: boolean }>> = {")
	for _, c := range codes {
		w.line("  %d: { name: %q, reconnect: %q, sent: %t },", c.Code, c.Name, c.Reconnect, c.Sent == nil || *c.Sent)
	}
	w.line("};")
}
