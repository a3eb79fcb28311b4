package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// WebSocket is one watch on one socket: by the parameters of the URL, or by a message.
type WebSocket struct {
	Gateway

	ByMessage bool
}

func (w WebSocket) String() string {
	if w.ByMessage {
		return "websocket, by message"
	}
	return "websocket"
}

// Subprotocol is what the contract names.
const Subprotocol = "etcdrest.v1"

// Open connects and starts the watch.
func (w WebSocket) Open(ctx context.Context, ask Ask) (Feed, error) {
	path := "/v1/watch"
	if !w.ByMessage {
		path += "?" + w.query(ask).Encode()
	}
	f, err := w.dial(ctx, path)
	if err != nil || !w.ByMessage {
		return f, err
	}
	return f, f.send(ctx, w.operation("w", ask))
}

// dial opens a socket without a watch.
func (g Gateway) dial(ctx context.Context, path string) (*socket, error) {
	client, l := g.client()
	//nolint:bodyclose // the library closes it
	conn, answer, err := websocket.Dial(ctx, strings.Replace(g.URL, "http", "ws", 1)+path, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		if answer != nil && answer.Body != nil && answer.StatusCode >= 400 {
			return nil, refusal(answer)
		}
		return nil, err
	}
	conn.SetReadLimit(-1)
	return &socket{line: l, ctx: ctx, conn: conn}, nil
}

// operation is the message that starts a watch.
func (g Gateway) operation(id string, ask Ask) map[string]any {
	m := map[string]any{"op": "watch", "id": id}
	for name, values := range g.query(ask) {
		m[name] = values[0]
	}
	for _, name := range []string{"prev_kv", "keys_only", "snapshot"} {
		if m[name] != nil {
			m[name] = true
		}
	}
	if ask.View.Only != "" {
		m["events"] = []string{string(ask.View.Only)}
	}
	if ask.Start > 0 {
		m["start_revision"] = ask.Start
	}
	if g.Heartbeat > 0 {
		m["heartbeat"] = g.Heartbeat
	}
	return m
}

// socket is a WebSocket with one watch.
type socket struct {
	*line

	ctx  context.Context //nolint:containedctx // that of the connection, as Open says
	conn *websocket.Conn
}

// Next reads a message; an error message comes with the refusal, and the close code if there is one.
func (s *socket) Next() (history.Message, error) {
	kind, text, err := s.conn.Read(s.ctx)
	if err != nil {
		return closed, err
	}
	if kind != websocket.MessageText {
		return closed, errors.New("a binary frame")
	}
	return decode(text)
}

func (s *socket) send(ctx context.Context, m any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return fmt.Errorf("start the watch: %w", err)
	}
	return nil
}

func (s *socket) Close(abruptly bool) {
	s.cut(abruptly)
	_ = s.conn.CloseNow() // cut
}
