package stream_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/contract"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// checked is a socket whose every message is held against the contract.
type checked struct {
	*websocket.Conn

	contract *contract.Streams
	seen     []string
}

// until reads up to a message of that type, and gives it.
func (c *checked) until(t *testing.T, kind string) string {
	t.Helper()
	for {
		_, text, err := c.Read(t.Context())
		if err != nil {
			t.Fatalf("%v while waiting for %s", err, kind)
		}
		got := c.contract.Message(text)
		c.seen = append(c.seen, got)
		if got == kind {
			return string(text)
		}
	}
}

// Every type of message that the gateway sends is what the streams' contract says.
func TestMessagesAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	v.put(t, "k", 3)
	c := &checked{Conn: v.socket(t), contract: contract.NewStreams(t)}

	say(t, c.Conn, `"op":"watch","id":"w","prefix":"","snapshot":true,"prev_kv":true`)
	c.until(t, "synced")
	v.put(t, "k", 300)
	c.until(t, "events")
	say(t, c.Conn, `"op":"progress","id":"w"`)
	c.until(t, "progress")
	say(t, c.Conn, `"op":"lease","id":"l","ttl":60`)
	c.until(t, "lease")
	say(t, c.Conn, `"op":"ping"`)
	c.until(t, "pong")
	say(t, c.Conn, `"op":"watch","id":"x","perfix":"a"`)
	if text := c.until(t, "error"); !strings.Contains(text, "prefix") {
		t.Errorf("the error does not name the nearest member: %s", text)
	}
	say(t, c.Conn, `"op":"cancel","id":"w"`)
	c.until(t, "end")
	v.put(t, "k", 3)
	if _, err := store.Compact(t.Context(), 3, false); err != nil {
		t.Fatal(err)
	}
	say(t, c.Conn, `"op":"watch","id":"r","key":"k","start_revision":1,"on_compacted":"resync"`)
	c.until(t, "reset")
	c.until(t, "synced")
	say(t, c.Conn, `"op":"watch","id":"g","key":"k","start_revision":1`)
	if text := c.until(t, "error"); !strings.Contains(text, `"compact_revision":3`) {
		t.Errorf("the error does not tell the compaction: %s", text)
	}
	for _, kind := range []string{"created", "snapshot"} {
		if !slices.Contains(c.seen, kind) {
			t.Errorf("got messages %v, want also %s", c.seen, kind)
		}
	}
}

// What the contract shows as messages of a client is understood.
func TestTheGatewayTakesTheMessagesOfTheContract(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	c := &checked{Conn: v.socket(t), contract: contract.NewStreams(t)}
	refused := []string{string(problem.UnknownField), string(problem.InvalidJSON)}
	for _, op := range []string{"watch", "progress", "auth", "lease", "cancel", "ping"} {
		for _, text := range c.contract.Requests(op) {
			if err := c.Write(t.Context(), websocket.MessageText, text); err != nil {
				t.Fatal(err)
			}
			say(t, c.Conn, `"op":"ping"`)
			for _, code := range c.answers(t) {
				if slices.Contains(refused, code) {
					t.Errorf("%s: refused as %s", text, code)
				}
			}
		}
	}
}

// answers reads up to a pong and gives the codes of the problems before it.
func (c *checked) answers(t *testing.T) (codes []string) {
	t.Helper()
	for {
		_, text, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Error struct{ Code string }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		switch c.contract.Message(text) {
		case "pong":
			return codes
		case "error":
			codes = append(codes, m.Error.Code)
		}
	}
}

// Both streams of lines carry the same messages.
func TestLinesAreMessagesOfTheContract(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	v.put(t, "k", 3)
	for _, transport := range []string{"sse", "ndjson"} {
		messages := contract.NewStreams(t)
		in, body := v.lines(t, "prefix=&timeout=1&heartbeat=1", transport)
		v.put(t, "k", 3)
		var seen []string
		for in.Scan() {
			if text := strings.TrimPrefix(in.Text(), "data: "); strings.HasPrefix(text, "{") {
				seen = append(seen, messages.Message([]byte(text)))
			}
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(seen); !slices.Contains(seen, "events") || seen[len(seen)-1] != "end" {
			t.Errorf("%s: got %s, want events, and end at the end", transport, got)
		}
	}
}
