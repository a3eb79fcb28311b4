package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// follow begins a watch over a plain answer and gives its lines once it is created.
func follow(t *testing.T, url string, headers ...string) *bufio.Scanner {
	t.Helper()
	r, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 4<<20)
	if answer.StatusCode != http.StatusOK || !scanTo(in, `"type":"created"`) {
		t.Fatalf("%s: got %d and %q, want a watch that is created", url, answer.StatusCode, in.Text())
	}
	return in
}

// bounded ends a stream that does not bring what its test waits for.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// scanTo reads lines up to one that holds the text; false when there is none.
func scanTo(in *bufio.Scanner, text string) bool {
	for in.Scan() {
		if strings.Contains(in.Text(), text) {
			return true
		}
	}
	return false
}

// followSocket watches the key k over a WebSocket.
func followSocket(t *testing.T, g *running) *websocket.Conn {
	t.Helper()
	c, answer, err := websocket.Dial(t.Context(), g.api+"/v1/watch?key=k", &websocket.DialOptions{
		Subprotocols: []string{"etcdrest.v1"}, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		_ = answer.Body.Close()
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if _, m, err := c.Read(t.Context()); err != nil || !strings.Contains(string(m), `"type":"created"`) {
		t.Fatalf("the first message of the WebSocket: got %q, %v; want created", m, err)
	}
	return c
}

// metric reads one value; 0 when it is not there.
func metric(t *testing.T, g *running, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(get200(t, g.admin+"/metrics"))
	if found == nil {
		return 0
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func put(t *testing.T, g *running, key string, size int) {
	t.Helper()
	if a := call(t, nil, http.MethodPut, g.api+"/v1/raw/"+key, strings.Repeat("x", size)); a.status >= 300 {
		t.Fatalf("PUT %s: got %d %s", key, a.status, a.body)
	}
}

func TestDebugStreamsShowsWhoWatchesAndEndsIt(t *testing.T) {
	t.Parallel()
	g := dev(t)
	in := follow(t, g.api+"/v1/watch?prefix=app/", "X-Request-Id", "mine")
	socket := followSocket(t, g)

	var list struct {
		Streams []struct {
			ID, Transport string
			RequestID     string `json:"request_id"`
			Watches       []struct{ Key, End, State string }
		}
	}
	if err := json.Unmarshal([]byte(get200(t, g.admin+"/debug/streams")), &list); err != nil || len(list.Streams) != 2 {
		t.Fatalf("/debug/streams: got %+v, %v; want two streams", list, err)
	}
	first, second := list.Streams[0], list.Streams[1]
	if first.Transport != "ndjson" || first.RequestID != "mine" || len(first.Watches) != 1 || first.Watches[0].End != "app0" || second.Transport != "websocket" {
		t.Errorf("/debug/streams: got %+v, want the NDJSON watch of app/ and then the WebSocket", list)
	}
	url := g.admin + "/debug/streams/" + first.ID
	wantContains(t, url, get200(t, url), `"request_id":"mine"`)
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Host", "rebound.example"}} {
		if a := call(t, nil, http.MethodDelete, url, "", headers...); a.status < 400 {
			t.Errorf("DELETE with %v: got %d, want a refusal", headers, a.status)
		}
	}
	get200(t, url)
	if a := call(t, nil, http.MethodDelete, url, "", "Origin", g.admin); a.status != http.StatusNoContent {
		t.Errorf("DELETE: got %d %s, want 204", a.status, a.body)
	}
	if !scanTo(in, `"code":"draining"`) || in.Scan() {
		t.Errorf("the stream: got %q at its end, want draining and no more", in.Text())
	}
	if a := call(t, nil, http.MethodDelete, g.admin+"/debug/streams/"+second.ID, ""); a.status != http.StatusNoContent {
		t.Errorf("DELETE of the WebSocket: got %d %s, want 204", a.status, a.body)
	}
	wantGoingAway(t, socket)
	waitUntil(t, "both are gone", func() bool { return get200(t, g.admin+"/debug/streams") == `{"streams":[]}`+"\n" })
	a := call(t, nil, http.MethodDelete, url, "")
	if a.status != http.StatusNotFound || a.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, `"code":"stream_not_found"`) {
		t.Errorf("DELETE of a stream that is gone: got %d %s, want the problem stream_not_found", a.status, a.body)
	}
}

// wantGoingAway reads the WebSocket to its end: an error message, and the close code that says the same.
func wantGoingAway(t *testing.T, socket *websocket.Conn) {
	t.Helper()
	var last []byte
	for {
		_, m, err := socket.Read(t.Context())
		if err == nil {
			last = m
			continue
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.StatusGoingAway || !strings.Contains(string(last), `"code":"draining"`) {
			t.Errorf("the end of the WebSocket: got %q and %v, want draining and 1001", last, err)
		}
		return
	}
}

// The access log is between the server and a stream, and must let it flush, set deadlines and take the connection over.
func TestStreamsPassTheAccessLog(t *testing.T) {
	t.Parallel()
	g := dev(t, "--access-log=stderr")
	in := follow(t, g.api+"/v1/watch?key=k", "Accept", "text/event-stream")
	socket := followSocket(t, g)
	put(t, g, "k", 10)
	if !scanTo(in, `"type":"events"`) {
		t.Errorf("over SSE: got %q, want the change", in.Text())
	}
	if _, m, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(m), `"type":"events"`) {
		t.Errorf("over the WebSocket: got %q, %v; want the change", m, err)
	}
	_ = socket.Close(websocket.StatusNormalClosure, "")
	g.log.waitFor(t, `"route":"/v1/watch","operation":"watch","status":101,"transport":"websocket","messages":`)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	g.log.waitFor(t, `"route":"/v1/watch","operation":"watch","status":200,"transport":"sse","messages":`)
}

// A watch is counted once it has ended, and not timed: it lasts as long as its caller likes.
func TestStreamsAreCountedButNotTimed(t *testing.T) {
	t.Parallel()
	g := dev(t)
	socket := followSocket(t, g)
	_ = socket.Close(websocket.StatusNormalClosure, "")
	waitUntil(t, "it is counted", func() bool {
		return metric(t, g, `etcdrest_http_requests_total{method="GET",route="/v1/watch",status="1xx"}`) == 1
	})
	if text := get200(t, g.admin+"/metrics"); strings.Contains(text, `etcdrest_http_request_duration_seconds_count{method="GET",route="/v1/watch"}`) {
		t.Error("the watch is in the histogram of latencies")
	}
	if n := metric(t, g, `etcdrest_stream_sent_bytes_total{transport="websocket"}`); n < 50 {
		t.Errorf("bytes sent over WebSockets: got %v, want at least those of its first message", n)
	}
}

// Everybody who watches is told, whoever does not listen is cut, and nothing is an error.
func TestStoppingEndsEveryStream(t *testing.T) {
	t.Parallel()
	const grace = 3 * time.Second
	g := dev(t, "--shutdown-grace="+grace.String())
	sse := follow(t, g.api+"/v1/watch?key=k", "Accept", "text/event-stream")
	ndjson := follow(t, g.api+"/v1/watch?key=k")
	socket := followSocket(t, g)
	polled := make(chan answer, 1)
	go func() {
		a, err := try(t, nil, http.MethodGet, g.api+"/v1/watch/poll?key=k&wait=60", "")
		if err != nil {
			t.Errorf("the poll: %v", err)
		}
		polled <- a
	}()
	waitUntil(t, "the poll is there", func() bool { return metric(t, g, `etcdrest_stream_connections{transport="poll"}`) == 1 })
	deaf(t, g)

	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	for name, in := range map[string]*bufio.Scanner{"SSE": sse, "NDJSON": ndjson} {
		if !scanTo(in, `"code":"draining"`) || !strings.Contains(in.Text(), `"retry_after_ms":`) || scanTo(in, `"type"`) {
			t.Errorf("%s: got %q at its end, want draining, when to come back, and no more", name, in.Text())
		}
	}
	wantGoingAway(t, socket)
	if a := <-polled; a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"code":"draining"`) {
		t.Errorf("the poll: got %d %s, want 503 draining", a.status, a.body)
	}
	if took := time.Since(began); took > grace {
		t.Errorf("those who listen were told after %v, want at once", took)
	}
	if a, err := try(t, nil, http.MethodGet, g.admin+"/readyz", ""); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("readiness while a stream is left: got %d, %v; want 503", a.status, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: got %v, want no error", err)
	}
	if took := time.Since(began); took < grace || took > grace+10*time.Second {
		t.Errorf("stopping took %v, want about the grace of %v", took, grace)
	}
	wantContains(t, "the log", g.log.String(), "requests were cut, or streams")
}

// deaf begins a watch that is never read, and has so much to say to it that the gateway cannot get rid of it.
func deaf(t *testing.T, g *running) {
	t.Helper()
	dialer := &net.Dialer{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ReadBufferSize: 4 << 10, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.api+"/v1/watch?prefix=deaf/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if _, err := io.ReadFull(answer.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 64 {
		put(t, g, "deaf/k", 1<<20)
		if metric(t, g, "etcdrest_stream_lag_bytes_max") >= 3<<20 {
			return
		}
	}
	t.Fatal("the watch that nobody reads never falls behind")
}
