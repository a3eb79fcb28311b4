package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket to the gateway; its messages come as a subscription's.
type socket struct {
	*subscription

	conn *websocket.Conn
	// raw is the connection below.
	raw net.Conn
}

// subprotocol is what clients offer.
const subprotocol = "etcdrest.v1"

// dial opens a socket; the query may begin a watch.
func (g *gateway) dial(t testing.TB, query string, protocols ...string) *socket {
	t.Helper()
	s, status, err := g.tryDial(t, query, protocols...)
	if err != nil {
		t.Fatalf("dial %q: %v (%d)", query, err, status)
	}
	return s
}

// open opens a socket with the subprotocol and no watch.
func (g *gateway) open(t testing.TB) *socket { t.Helper(); return g.dial(t, "", subprotocol) }

func (g *gateway) tryDial(t testing.TB, query string, protocols ...string) (s *socket, status int, err error) {
	t.Helper()
	return g.tryDialWith(t, nil, query, protocols...)
}

// tryDialAs dials with a token in a header, and without the subprotocol.
func (g *gateway) tryDialAs(t testing.TB, token, query string) (s *socket, status int, err error) {
	t.Helper()
	return g.tryDialWith(t, http.Header{"Authorization": {"Bearer " + token}}, query)
}

func (g *gateway) tryDialWith(t testing.TB, header http.Header, query string, protocols ...string) (s *socket, status int, err error) {
	t.Helper()
	s = &socket{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		s.raw = c
		return c, err
	}}
	conn, response, err := websocket.Dial(t.Context(), strings.Replace(g.url, "http", "ws", 1)+"/v1/watch?"+query, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: protocols, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		transport.CloseIdleConnections()
		if response != nil {
			_ = response.Body.Close()
			status = response.StatusCode
		}
		return nil, status, err
	}
	conn.SetReadLimit(-1)
	s.conn = conn
	s.subscription = &subscription{t: t, header: response.Header, messages: make(chan message), gone: make(chan struct{})}
	ctx := context.WithoutCancel(t.Context()) // a read that is cancelled drops the socket
	s.run(func() { s.read(ctx, g) }, func() { _ = conn.CloseNow() })
	return s, response.StatusCode, nil
}

func (s *socket) read(ctx context.Context, g *gateway) {
	for {
		kind, text, err := s.conn.Read(ctx)
		if err != nil {
			s.err = err
			return
		}
		if kind != websocket.MessageText {
			s.t.Errorf("a binary message: %q", text)
		}
		if !s.deliver(g, string(text), "", true) {
			return
		}
	}
}

// send sends a message as it is.
func (s *socket) send(format string, args ...any) {
	s.t.Helper()
	s.sendAs(websocket.MessageText, fmt.Appendf(nil, format, args...))
}

func (s *socket) sendAs(kind websocket.MessageType, b []byte) {
	s.t.Helper()
	if err := s.conn.Write(within(s.t), kind, b); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// refused takes the next message, which must be an error with that id and code; the socket stays.
func (s *socket) refused(id, code string) *problemDocument {
	s.t.Helper()
	m := s.kind("error")
	if m.ID != id || m.Error.Code != code {
		s.t.Fatalf("got %s, want an error of %q with the code %s", m.text, id, code)
	}
	return m.Error
}

// closed waits for the end of the socket, which must have that code, with no message before it.
func (s *socket) closed(code websocket.StatusCode) {
	s.t.Helper()
	select {
	case m, ok := <-s.messages:
		var end websocket.CloseError
		switch {
		case ok:
			s.t.Fatalf("a message follows the last: %s", m.text)
		case !errors.As(s.err, &end) || end.Code != code:
			s.t.Fatalf("the socket ended with %v, want the code %d", s.err, code)
		}
	case <-time.After(patience):
		s.t.Fatalf("the socket is not closed")
	}
}
