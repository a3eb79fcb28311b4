package stream_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The messages are exactly what the contract shows, over every transport.
func TestTheMessagesOfAStreamOfLines(t *testing.T) {
	t.Parallel()
	g := start(t)
	r := g.revision
	s := g.lines(t, "prefix=app/&prev_kv=true")
	if got := s.header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("Content-Type: got %q", got)
	}
	if got := s.header.Get("Etcd-Revision"); got != fmt.Sprint(r) {
		t.Errorf("Etcd-Revision: got %q, want %d", got, r)
	}
	if got := s.header.Get("Cache-Control"); got != "no-store, no-transform" {
		t.Errorf("Cache-Control: got %q", got)
	}
	g.put(t, "app/name", "shop")
	g.put(t, "other", "x")
	g.txn(t, clientv3.OpPut("app/name", "store"), clientv3.OpPut("app/\xff", "\x80"))
	g.remove(t, "app/name")
	s.want(
		fmt.Sprintf(`{"type":"created","revision":%d,"epoch":"%s"}`, r, g.epoch),
		fmt.Sprintf(`{"type":"events","revision":%d,"events":[{"type":"put","kv":{"key":"app/name","value":"shop","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}}]}`, r+1),
		fmt.Sprintf(`{"type":"events","revision":%[1]d,"events":[`+
			`{"type":"put","kv":{"key":"app/name","value":"store","create_revision":%[2]d,"mod_revision":%[1]d,"version":2},`+
			`"prev_kv":{"key":"app/name","value":"shop","create_revision":%[2]d,"mod_revision":%[2]d,"version":1}},`+
			`{"type":"put","kv":{"key_base64":"YXBwL/8=","value_base64":"gA==","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}}]}`, r+3, r+1),
		fmt.Sprintf(`{"type":"events","revision":%d,"events":[{"type":"delete","kv":{"key":"app/name","mod_revision":%[1]d},`+
			`"prev_kv":{"key":"app/name","value":"store","create_revision":%[2]d,"mod_revision":%[3]d,"version":2}}]}`, r+4, r+1, r+3),
	)
}

func TestTheMessagesOfServerSentEvents(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "app/a", "1")
	r := g.revision + 1
	s := g.sse(t, "prefix=app/&snapshot=true")
	if got := s.header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: got %q", got)
	}
	created, snapshot, synced := s.kind("created"), s.kind("snapshot"), s.kind("synced")
	g.put(t, "app/b", "2")
	events := s.kind("events")
	for _, c := range []struct {
		name string
		got  message
		want int64
	}{{"created before a snapshot", created, 0}, {"snapshot", snapshot, 0}, {"synced", synced, r}, {"events", events, r + 1}} {
		want := ""
		if c.want > 0 {
			want = fmt.Sprintf("%s-%d", g.epoch, c.want)
		}
		if c.got.bookmark != want {
			t.Errorf("id of %s: got %q, want %q", c.name, c.got.bookmark, want)
		}
	}
	if want := fmt.Sprintf(`{"type":"synced","revision":%d}`, r); synced.text != want {
		t.Errorf("got %s, want %s", synced.text, want)
	}
	if want := fmt.Sprintf(`{"type":"snapshot","kvs":[{"key":"app/a","value":"1","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}]}`, r); snapshot.text != want {
		t.Errorf("got %s, want %s", snapshot.text, want)
	}
	s.leave()
	if len(s.retry) != 1 {
		t.Errorf("retry: got %q, want one", s.retry)
	}
	plain := g.sse(t, "prefix=app/")
	if c := plain.created(); c.bookmark != fmt.Sprintf("%s-%d", g.epoch, r+1) {
		t.Errorf("id of created: got %q", c.bookmark)
	}
}

func TestLastEventIDWinsOverTheURL(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.put(t, "app/a", "1")
	g.put(t, "app/a", "2")
	g.put(t, "app/a", "3")
	for _, query := range []string{
		"prefix=app/&snapshot=true",
		fmt.Sprintf("prefix=app/&start_revision=%d&epoch=another.epoch", first+2),
	} {
		s := g.sse(t, query, fmt.Sprintf("Last-Event-ID: %s-%d", g.epoch, first))
		if c := s.created(); c.Revision != first {
			t.Errorf("%s: created: got %d, want %d", query, c.Revision, first)
		}
		for want := first + 1; want <= first+2; want++ {
			if m := s.kind("events"); m.Revision != want {
				t.Errorf("%s: got revision %d, want %d", query, m.Revision, want)
			}
		}
	}
	// NDJSON knows no such header.
	if c := g.lines(t, "prefix=app/", fmt.Sprintf("Last-Event-ID: %s-%d", g.epoch, first)).created(); c.Revision != first+2 {
		t.Errorf("NDJSON: created: got %d, want %d", c.Revision, first+2)
	}
	for _, bad := range []string{"17", "-17", g.epoch, g.epoch + "-", g.epoch + "-x", g.epoch + "-+5", g.epoch + "-9223372036854775807"} {
		g.get(t, "/v1/watch?prefix=app/", "Accept: text/event-stream", "Last-Event-ID: "+bad).problem(t, 400, "invalid_parameter")
	}
	g.get(t, "/v1/watch?prefix=app/", "Accept: text/event-stream", fmt.Sprintf("Last-Event-ID: other.epoch-%d", first)).problem(t, 409, "epoch_changed")
}

func TestAStreamIsChosenByAcceptOrParameter(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, c := range []struct{ query, accept, want string }{
		{"", "", "application/x-ndjson"},
		{"", "*/*", "application/x-ndjson"},
		{"", "application/x-ndjson", "application/x-ndjson"},
		{"", "text/event-stream", "text/event-stream"},
		{"", "Text/Event-Stream, */*", "text/event-stream"},
		{"&stream=sse", "application/x-ndjson", "text/event-stream"},
		{"&stream=ndjson", "text/event-stream", "application/x-ndjson"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/v1/watch?prefix=a"+c.query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		response, err := g.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != c.want {
			t.Errorf("%+v: got %d %q", c, response.StatusCode, got)
		}
	}
	g.get(t, "/v1/watch?prefix=a", "Accept: text/html").problem(t, 406, "not_acceptable")
	g.get(t, "/v1/watch?prefix=a&stream=x").problem(t, 400, "invalid_parameter")
}

// HEAD tells what GET would, and ends.
func TestHeadOfAWatchEnds(t *testing.T) {
	t.Parallel()
	g := start(t)
	a := g.do(t, http.MethodHead, "/v1/watch?prefix=a", "Accept: text/event-stream")
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" || len(a.body) != 0 {
		t.Errorf("got %d %v %q", a.status, a.header, a.body)
	}
	if a := g.do(t, http.MethodHead, fmt.Sprintf("/v1/watch?prefix=a&start_revision=%d", g.revision+10)); a.status != 409 {
		t.Errorf("a start in the future: got %d", a.status)
	}
	eventually(t, "the stream is gone", func() bool { return len(g.hub.Streams()) == 0 })
}

// A watch that ends by its time-out says so, and leaves the connection to the next request.
func TestATimeoutEndsAndTheConnectionStays(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		a := g.get(t, "/v1/watch?prefix=a&timeout=1", "Accept: "+accept)
		if !strings.Contains(string(a.body), `{"type":"end"}`) {
			t.Errorf("%s: got %s", accept, a.body)
		}
	}
	opened := g.accepted.Load()
	g.get(t, "/v1/watch?prefix=a&timeout=1")
	g.get(t, "/v1/watch?prefix=a&timeout=1")
	if more := g.accepted.Load() - opened; more > 0 {
		t.Errorf("%d further connections were opened", more)
	}
}

// HTTP/2 carries streams as well, with and without TLS.
func TestStreamsOverHTTP2(t *testing.T) {
	t.Parallel()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	g := start(t, func(s *setup) { s.serve = func(h *http.Server) { h.Protocols = &protocols } })
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &only}
	defer transport.CloseIdleConnections()
	g.http = &http.Client{Transport: transport}
	streams := make([]*subscription, 0, 20)
	for range 10 {
		streams = append(streams, g.sse(t, "prefix=a"), g.lines(t, "prefix=a"))
	}
	r := g.put(t, "a", "1")
	for _, s := range streams {
		s.created()
		if m := s.kind("events"); m.Revision != r {
			t.Errorf("got revision %d, want %d", m.Revision, r)
		}
		s.leave()
	}
	eventually(t, "the streams are gone", func() bool { return len(g.hub.Streams()) == 0 })
}

// What curl sends to find out about HTTP/2 is no WebSocket.
func TestAnUpgradeToAnotherProtocolIsIgnored(t *testing.T) {
	t.Parallel()
	g := start(t)
	a := g.get(t, "/v1/watch?prefix=a&timeout=1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
	if a.status != 200 || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
}

// A refusal that can pass is a stream for EventSource, which gives up on any status but 200; one that stays keeps its status.
func TestRefusalsThatPassAreStreamsForEventSource(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options.MaxStreams = 1 })
	g.lines(t, "prefix=a").created()
	g.get(t, "/v1/watch?prefix=a").problem(t, 503, "overloaded")
	s := g.sse(t, "prefix=a")
	if p := s.fails("overloaded"); p.Limit != 1 || p.RetryAfterMS <= 0 {
		t.Errorf("got %+v", p)
	}
	if len(s.retry) != 1 {
		t.Errorf("retry: got %q", s.retry)
	}
	g.get(t, fmt.Sprintf("/v1/watch?prefix=a&start_revision=%d", g.revision+10), "Accept: text/event-stream").problem(t, 409, "future_revision")
	g.get(t, "/v1/watch?prefix=a&heartbeat=0", "Accept: text/event-stream").problem(t, 400, "invalid_parameter")
}

// A heartbeat is a certified bookmark.
func TestHeartbeatsCertify(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.sse(t, "prefix=a&heartbeat=1")
	s.created()
	r := g.put(t, "b", "1")
	for m := s.kind("progress"); m.Revision < r; m = s.kind("progress") {
		if m.bookmark != fmt.Sprintf("%s-%d", g.epoch, m.Revision) {
			t.Fatalf("id of %s: got %q", m.text, m.bookmark)
		}
	}
}
