package attack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/tests/harness"
)

const protocol = "etcdrest.v1"

// dial opens a WebSocket at /v1/watch.
func dial(ctx context.Context, s *site, query string, protocols []string, headers ...string) (*websocket.Conn, error) {
	header := http.Header{}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	c, answer, err := websocket.Dial(ctx, s.gateway.API+"/v1/watch"+query, &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: header})
	if answer != nil && answer.Body != nil {
		_ = answer.Body.Close()
	}
	return c, err
}

// TestStreamsEndWithTheirCredentials is E11, E12 and E17: a token that expires ends the streams it opened, over each transport,
// within a second and with no event after, while another's streams go on. A renewal keeps a stream, but not as somebody else. No
// token shows in the log or in what the gateway tells of itself.
func TestStreamsEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	s := startSite(t, "--log-level", "debug")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	short := s.issuer.token(alice, map[string]any{"exp": expires.Unix()})
	bearer := "Authorization: Bearer " + short
	long := s.issuer.token(alice, nil)

	var open sync.WaitGroup
	ended := make(chan ending, 8)
	for name, kind := range map[string]string{"server-sent events": "text/event-stream", "lines": "application/x-ndjson"} {
		open.Go(func() { ended <- follow(ctx, s, name, "Accept: "+kind, bearer) })
	}
	socket, err := dial(ctx, s, "?prefix=k", []string{protocol, "bearer." + raw64(short)})
	if err != nil {
		t.Fatal(err)
	}
	if got := socket.Subprotocol(); got != protocol {
		t.Errorf("the handshake answers the subprotocol %q; want %s", got, protocol)
	}
	open.Go(func() { ended <- listen(ctx, socket, "a socket") })

	renewed, err := dial(ctx, s, "?prefix=k", []string{protocol}, bearer)
	if err != nil {
		t.Fatal(err)
	}
	defer renewed.CloseNow() //nolint:errcheck // it may have been closed
	for _, token := range []string{s.issuer.token(bob, nil), long} {
		if err := renewed.Write(ctx, websocket.MessageText, []byte(toJSON(map[string]string{"op": "auth", "token": token}))); err != nil {
			t.Fatal(err)
		}
	}
	open.Go(func() { ended <- listen(ctx, renewed, "a renewed socket") })

	writer := s.as(alice)
	for time.Since(expires) < 2*time.Second {
		writer.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "alice writes", 200, 201)
	}
	_ = renewed.Close(websocket.StatusNormalClosure, "")
	open.Wait()
	close(ended)
	for e := range ended {
		late := e.at.Sub(expires)
		t.Logf("%s: %d events, ended %v after the token: %v", e.name, e.events, late, e.why)
		if e.events == 0 {
			t.Errorf("%s had no events", e.name)
		}
		switch {
		case e.name == "a renewed socket":
			if late < 1500*time.Millisecond || !strings.Contains(e.refused, "error") {
				t.Errorf("the renewed socket ended %v after its first token (%v), and answered another's token %q", late, e.why, e.refused)
			}
		case late > 1500*time.Millisecond || e.last.Sub(expires) > time.Second || !strings.Contains(e.why, "auth_expired") && !strings.Contains(e.why, "4401"):
			t.Errorf("%s ended %v after its token, with %q and the last event %v after; want auth_expired within a second", e.name, late, e.why, e.last.Sub(expires))
		}
	}
	told := ask(t, s.gateway.Admin, "GET", "/debug/streams", "").body + ask(t, s.gateway.Admin, "GET", "/metrics", "").body + s.gateway.Output()
	for _, secret := range []string{short[strings.LastIndexByte(short, '.')+1:], long[strings.LastIndexByte(long, '.')+1:], raw64(short)[40:120], "eyJ"} {
		if strings.Contains(told, secret) {
			t.Errorf("the log, the metrics or the list of streams hold %q", secret)
		}
	}
}

// ending is how a stream went.
type ending struct {
	name, why, refused string
	events             int
	last, at           time.Time
}

// note takes one message.
func (e *ending) note(message []byte) {
	var m struct{ Type, Code string }
	_ = json.Unmarshal(message, &m)
	switch {
	case strings.Contains(string(message), "auth_expired"):
		e.why += string(message)
	case m.Type == "error":
		e.refused += string(message)
	case strings.Contains(string(message), `"mod_revision"`):
		e.events++
		e.last = time.Now()
	}
}

// listen reads a socket to its end.
func listen(ctx context.Context, c *websocket.Conn, name string) ending {
	e := ending{name: name}
	for {
		_, message, err := c.Read(ctx)
		if err != nil {
			e.at, e.why = time.Now(), e.why+" "+err.Error()
			if closed, ok := errors.AsType[websocket.CloseError](err); ok && closed.Code == 4401 {
				e.why += " 4401"
			}
			return e
		}
		e.note(message)
	}
}

// follow reads a stream of lines to its end.
func follow(ctx context.Context, s *site, name string, headers ...string) ending {
	e := ending{name: name}
	defer func() { e.at = time.Now() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.gateway.API+"/v1/watch?prefix=k", http.NoBody)
	if err != nil {
		return ending{name: name, why: err.Error()}
	}
	for _, line := range headers {
		header, value, _ := strings.Cut(line, ": ")
		r.Header.Add(header, value)
	}
	got, err := client.Do(r)
	if err != nil {
		return ending{name: name, why: err.Error()}
	}
	defer got.Body.Close()
	lines := bufio.NewScanner(got.Body)
	for lines.Scan() {
		e.note([]byte(strings.TrimPrefix(lines.Text(), "data: ")))
	}
	e.at = time.Now()
	return e
}

// TestStrangersSocketsAreClosed is E18: who opens sockets and does not say who he is costs nothing of etcd's, has them closed in
// five seconds, or at once for a first message that is too large or no token; and others do not notice.
func TestStrangersSocketsAreClosed(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	quiet := s.tenant(alice)
	quiet.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	watched := func() float64 {
		n, err := harness.Metric(ctx, s.gateway.Admin, "etcdrest_etcd_watches")
		if err != nil {
			t.Error(err)
		}
		return n
	}
	calls, watches := s.calls(t), watched()
	firsts := []string{
		"", toJSON(map[string]string{"op": "watch", "id": "1", "prefix": ""}), `{"op":"auth","token":"x.y.z"}`, `{"op":"auth"}`, "no JSON",
		`{"op":"auth","token":"` + strings.Repeat("x", 1<<20) + `"}`,
	}
	var all sync.WaitGroup
	opened := make(chan time.Duration, 200)
	for n := range 200 {
		all.Go(func() {
			c, err := dial(ctx, s, "?prefix=", []string{protocol})
			if err != nil {
				opened <- 0
				return
			}
			began := time.Now()
			if first := firsts[n%len(firsts)]; first != "" {
				_ = c.Write(ctx, websocket.MessageText, []byte(first))
			}
			e := listen(ctx, c, "")
			if e.events > 0 {
				t.Errorf("a stranger gets %d events", e.events)
			}
			opened <- time.Since(began)
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done); close(opened) }()
	own, next := 0.0, time.NewTicker(5*time.Millisecond)
	defer next.Stop()
	for waiting := true; waiting; own++ {
		quiet.do(t, "GET", "/v1/kv/k", "").want(t, "a good tenant beside", 200)
		select {
		case <-done:
			waiting = false
		case <-ctx.Done():
			t.Fatal("strangers' sockets stay open")
		case <-next.C:
		}
	}
	longest, some := time.Duration(0), 0
	for took := range opened {
		longest = max(longest, took)
		if took > 0 {
			some++
		}
	}
	t.Logf("%d of 200 sockets were opened, the longest for %v", some, longest)
	if some == 0 || longest > 8*time.Second {
		t.Errorf("%d of 200 sockets were opened, the longest for %v; want some, for five seconds", some, longest)
	}
	if after := s.calls(t) - own; after > calls || watched() > watches {
		t.Errorf("etcd was asked %v times and has %v watches; before %v and %v", after, watched(), calls, watches)
	}
}
