package compat_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/compat"
)

// dial opens a socket; headers are "Name: value".
func dial(t *testing.T, base, path string, subprotocols []string, headers ...string) *websocket.Conn {
	t.Helper()
	conn, response, err := tryDial(t, base, path, subprotocols, headers...) //nolint:bodyclose // a socket has none
	if err != nil {
		t.Fatalf("%s: %v (%v)", path, err, response)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func tryDial(t *testing.T, base, path string, subprotocols []string, headers ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o := &websocket.DialOptions{HTTPClient: browser, HTTPHeader: make(http.Header), Subprotocols: subprotocols}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		o.HTTPHeader.Add(name, value)
	}
	return websocket.Dial(ctx, base+path, o)
}

func say(t *testing.T, conn *websocket.Conn, message string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	kind, message, err := conn.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		t.Fatalf("got %v, %v", kind, err)
	}
	return string(message)
}

// closes reads the close code.
func closes(t *testing.T, conn *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, message, err := conn.Read(ctx)
	if err == nil {
		t.Fatalf("got a message: %s", message)
	}
	return websocket.CloseStatus(err)
}

// The messages of a socket are those of etcd's own, with many watches on one.
func TestSocketsAreTheSame(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, path := range []string{"/v3/watch", "/v3beta/watch"} {
		theirs, ours := dial(t, p.theirs, path, nil), dial(t, p.ours, path, nil)
		for i, step := range []struct {
			say string
			put bool
		}{
			{say: `{"create_request":{"key":"YQ==","watch_id":"1","progress_notify":true}}`},
			{say: "{\"createRequest\":\n{\"key\":\"YQ==\",\"watchId\":2, \"prevKv\":true}}"},
			{put: true},
			{say: `{"progress_request":{}}`},
			{say: `{"cancel_request":{"watch_id":"1"}}`},
			{say: `{"create_request":{"key":"YQ==","watch_id":"2"}}`},
			{say: `{"create_request":{"key":"YQ==","start_revision":"-1"}}`},
			{put: true},
		} {
			if step.put {
				p.same(t, post("/v3/kv/put", `{"key":"YQ==","value":"djE="}`))
			} else {
				say(t, theirs, step.say)
				say(t, ours, step.say)
			}
			messages := 1
			if i == 2 { // both watches see it, in any order
				messages = 2
			}
			var want, got []string
			for range messages {
				want, got = append(want, hear(t, theirs)), append(got, hear(t, ours))
			}
			if messages == 2 && want[0] > want[1] != (got[0] > got[1]) {
				got[0], got[1] = got[1], got[0]
			}
			for i := range want {
				want[i], got[i] = changing.ReplaceAllString(want[i], ""), changing.ReplaceAllString(got[i], "")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d %s (-etcd's +ours):\n%s", i, step.say, diff)
			}
		}
	}
	theirs, ours := dial(t, p.theirs, "/v3/lease/keepalive", nil), dial(t, p.ours, "/v3/lease/keepalive", nil)
	for range 3 {
		say(t, theirs, `{"ID":"77"}`)
		say(t, ours, `{"ID":"77"}`)
		want, got := changing.ReplaceAllString(hear(t, theirs), ""), changing.ReplaceAllString(hear(t, ours), "")
		if want != got {
			t.Errorf("keepalive: got %s, want %s", got, want)
		}
	}
}

// A token counts on a socket, in the subprotocol as with etcd, and in a header, which etcd loses.
func TestASocketsToken(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	for _, step := range []struct{ path, body string }{
		{"/v3/auth/user/add", `{"name":"root","password":"toor"}`},
		{"/v3/auth/role/add", `{"name":"root"}`},
		{"/v3/auth/user/grant", `{"user":"root","role":"root"}`},
		{"/v3/auth/enable", `{}`},
	} {
		if a := ask(t, g.url, post(step.path, step.body)); a.status != 200 {
			t.Fatalf("%s: %d %s", step.path, a.status, a.body)
		}
	}
	token := tokenOf(t, ask(t, g.url, post("/v3/auth/authenticate", `{"name":"root","password":"toor"}`)).body)
	for name, c := range map[string]struct {
		subprotocols []string
		header       string
		allowed      bool
	}{
		"none":                 {allowed: false},
		"subprotocol":          {subprotocols: []string{"Bearer", token}, allowed: true},
		"raw header":           {header: "Authorization: " + token, allowed: true},
		"bearer":               {header: "Authorization: Bearer " + token, allowed: true},
		"metadata":             {header: "Grpc-Metadata-Token: " + token, allowed: true},
		"wrong":                {subprotocols: []string{"Bearer", "bogus.1"}, allowed: false},
		"the subprotocol wins": {subprotocols: []string{"Bearer", token}, header: "Authorization: bogus.1", allowed: true},
	} {
		if c.header == "" {
			c.header = "X-None: 1"
		}
		conn := dial(t, g.url, "/v3/watch", c.subprotocols, c.header)
		if len(c.subprotocols) > 0 && conn.Subprotocol() != "Bearer" {
			t.Errorf("%s: the subprotocol is %q", name, conn.Subprotocol())
		}
		say(t, conn, `{"create_request":{"key":"YQ=="}}`)
		if got := hear(t, conn); strings.Contains(got, "cancel_reason") == c.allowed {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// How a socket ends: with a reason, and a close frame.
func TestHowASocketEnds(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, g.url, "/v3/watch", nil)
		say(t, conn, `{"create_request":{"key":"YQ=="}}`)
		hear(t, conn)
		say(t, conn, `{"create_request":`)
		say(t, conn, `]`)
		if got := hear(t, conn); !strings.HasPrefix(got, `{"error":{"grpc_code":3,`) {
			t.Errorf("got %s", got)
		}
		if code := closes(t, conn); code != websocket.StatusInvalidFramePayloadData {
			t.Errorf("close code: got %d", code)
		}
	})
	t.Run("nothing asked", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, g.url, "/v3/watch", nil)
		say(t, conn, `{}`)
		if got := hear(t, conn); !strings.HasPrefix(got, `{"error":{"grpc_code":3,`) {
			t.Errorf("got %s", got)
		}
		if code := closes(t, conn); code != websocket.StatusInvalidFramePayloadData {
			t.Errorf("close code: got %d", code)
		}
	})
	t.Run("too large", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, g.url, "/v3/watch", nil)
		_ = conn.Write(t.Context(), websocket.MessageText, make([]byte, 5<<20)) // may be cut on the way
		if code := closes(t, conn); code != websocket.StatusMessageTooBig {
			t.Errorf("close code: got %d", code)
		}
	})
	t.Run("by the caller", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, g.url, "/v3/watch", nil)
		say(t, conn, `{"create_request":{"key":"YQ=="}}`)
		hear(t, conn)
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

// A gateway that stops says so on its sockets.
func TestStoppingClosesSockets(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	conn := dial(t, g.url, "/v3/watch", nil)
	say(t, conn, `{"create_request":{"key":"YQ=="}}`)
	hear(t, conn)
	drained := make(chan bool)
	go func() { drained <- g.compat.Drain(t.Context()) }()
	if got := hear(t, conn); !strings.Contains(got, `"grpc_code":14`) {
		t.Errorf("got %s", got)
	}
	if code := closes(t, conn); code != websocket.StatusGoingAway {
		t.Errorf("close code: got %d", code)
	}
	if !<-drained {
		t.Error("sockets are left")
	}
}

// Where there is no stream for a socket there is no socket, and another site's page gets none.
func TestWhoGetsNoSocket(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	for _, c := range []struct {
		path, header string
		status       int
	}{
		{"/v3/kv/range", "X: 1", 501},
		{"/v3/nosuch", "X: 1", 404},
		{"/v3/watch", "Origin: https://evil.example", 403},
		{"/v3/watch", "Sec-Fetch-Site: cross-site", 403},
	} {
		_, response, err := tryDial(t, g.url, c.path, nil, c.header)
		if err == nil || response == nil || response.StatusCode != c.status {
			t.Errorf("%s %s: got %v, %v; want %d", c.path, c.header, response, err, c.status)
			continue
		}
		_ = response.Body.Close()
	}
}

// A peer that has gone without a word is found out by a ping.
func TestASilentPeerIsCut(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{PingInterval: 10 * time.Millisecond, WriteTimeout: 50 * time.Millisecond})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprint(conn, "GET /v3/watch HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil) //nolint:bodyclose // a socket has none
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", response, err)
	}
	if _, err := io.Copy(io.Discard, in); errors.Is(err, context.DeadlineExceeded) { // pings, which nobody answers, and the end
		t.Error("the socket is still open")
	}
}
