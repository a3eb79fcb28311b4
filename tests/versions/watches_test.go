package versions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"github.com/etcdrest/etcdrest/internal/contract"
)

// watches is changes as they come and as they were, by each transport. The revisions of the keys w/ are its own.
func (s *site) watches() {
	begin := s.quietly("PUT", "/v1/kv/w/1", `{"value":"a"}`).ok(s.t).text(s.t, "mod_revision")
	s.quietly("PUT", "/v1/kv/w/2", `{"value":"b"}`).ok(s.t)
	s.quietly("POST", "/v1/txn", `{"then":[{"put":{"key":"w/1","value":"c"}},{"delete":{"key":"w/2"}},{"put":{"key":"w/3","value":"d"}}]}`).ok(s.t)
	s.quietly("PUT", "/v1/kv/v/after", `{"value":"not watched"}`).ok(s.t)
	past := "prefix=w/&timeout=1&start_revision=" + begin
	var gets []get
	for _, view := range []string{"", "&prev_kv=true", "&keys_only=true", "&events=delete", "&encoding=base64"} {
		gets = append(gets, get{"lines from the past" + view, "/v1/watch?stream=ndjson&" + past + view})
	}
	s.together(append(gets,
		get{"events from the past", "/v1/watch?stream=sse&" + past},
		get{"a snapshot in lines", "/v1/watch?stream=ndjson&prefix=w/&snapshot=true&timeout=1"},
		get{"a snapshot in events", "/v1/watch?stream=sse&prefix=w/&snapshot=true&timeout=1"},
		get{"a poll from the past", "/v1/watch/poll?prefix=w/&start_revision=" + begin},
		get{"a poll of a key that has not changed since long", "/v1/watch/poll?key=w/2&wait=0&start_revision=" + begin},
		get{"a poll of what never was", "/v1/watch/poll?key=w/none&wait=0&start_revision=" + begin},
		get{"heartbeats of a quiet watch", "/v1/watch?stream=ndjson&prefix=w/&heartbeat=1&timeout=3"},
	)...)
	s.call("a watch from the future", "GET", "/v1/watch?stream=ndjson&prefix=w/&start_revision=100000", "")
	s.call("a watch of another history", "GET", "/v1/watch?stream=ndjson&prefix=w/&epoch=none", "")
	s.socket(begin)
	s.quietRanges(begin)
}

// quietRanges has more watches catch up, with ranges where nothing has happened since, than the gateway lets run at a time: each
// must get what comes.
func (s *site) quietRanges(begin string) {
	const quiet = 6
	var past [quiet]*websocket.Conn
	for i := range quiet {
		conn := s.dial("")
		s.write(conn, fmt.Sprintf(`{"op":"watch","id":"now","prefix":"quiet/%d/","heartbeat":300}`, i)) // with it, the other cannot be the first
		s.read(conn)
		past[i] = s.dial(fmt.Sprintf("?prefix=quiet/%d/&heartbeat=300&start_revision=%s", i, begin))
		s.read(past[i])
	}
	var said []string
	for i := quiet - 1; i >= 0; i-- {
		s.quietly("PUT", fmt.Sprintf("/v1/kv/quiet/%d/a", i), `{"value":"at last"}`).ok(s.t)
		said = append(said, s.read(past[i]))
	}
	s.told.note(s.t, "many watches of quiet ranges", strings.Join(said, "\n"))
}

// socket is several watches and a lease on one WebSocket.
func (s *site) socket(begin string) {
	conn := s.dial("")
	var said []string
	ask := func(answers int, format string, args ...any) {
		s.write(conn, fmt.Sprintf(format, args...))
		for range answers {
			said = append(said, s.read(conn))
		}
	}
	ask(4, `{"op":"watch","id":"past","prefix":"w/","heartbeat":300,"start_revision":%s}`, begin)
	ask(3, `{"op":"watch","id":"state","prefix":"w/","heartbeat":300,"snapshot":true}`)
	ask(1, `{"op":"watch","id":"past","prefix":"w/"}`)
	ask(1, `{"op":"cancel","id":"state"}`)
	ask(1, `{"op":"lease","id":"lease","ttl":60}`)
	ask(1, `{"op":"ping"}`)
	s.quietly("PUT", "/v1/kv/w/4", `{"value":"live"}`).ok(s.t)
	said = append(said, s.read(conn))
	s.told.note(s.t, "a socket", strings.Join(said, "\n"))
	s.write(conn, `{"op":"progress","id":"past"}`)
	s.told.note(s.t, "progress that is asked for", s.read(conn))
}

func (s *site) dial(query string) *websocket.Conn {
	s.t.Helper()
	//nolint:bodyclose // the library closes it
	conn, _, err := websocket.Dial(s.t.Context(), strings.Replace(s.url, "http", "ws", 1)+"/v1/watch"+query, &websocket.DialOptions{
		Subprotocols: []string{"etcdrest.v1"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() }) // what is under way is for nobody
	return conn
}

func (s *site) write(conn *websocket.Conn, message string) {
	s.t.Helper()
	if err := conn.Write(s.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

// read gives the next message, held against the contract, without what differs between clusters. One that does not come is said
// to be missing.
func (s *site) read(conn *websocket.Conn) string {
	ctx, cancel := context.WithTimeout(s.t.Context(), messageWithin)
	defer cancel()
	_, text, err := conn.Read(ctx)
	if err != nil {
		return "no message: " + err.Error()
	}
	contract.NewStreams(s.t).Check(text, true)
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		return "no JSON: " + err.Error()
	}
	id, _ := m["id"].(string)
	return id + ": " + leveledJSON(string(text))
}
