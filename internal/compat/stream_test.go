package compat_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/compat"
)

// Streams have the same lines, whether they are watches, keepalives or elections.
func TestStreamsAreTheSame(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, body := range []string{`{"key":"dzE=","value":"djE="}`, `{"key":"dzE=","value":"djI="}`} {
		p.same(t, post("/v3/kv/put", body))
	}
	p.same(t, post("/v3/kv/deleterange", `{"key":"dzE="}`))
	p.same(t, post("/v3/lease/grant", `{"TTL":"60","ID":"4711"}`))
	p.same(t, post("/v3/election/campaign", `{"name":"ZWxlYw==","value":"djE=","lease":"4711"}`))
	for _, step := range []struct {
		path, body string
		lines      int
	}{
		{"/v3/watch", `{"create_request": {"key": "dzE=", "start_revision": "2"}}`, 2},
		{"/v3/watch", `{"createRequest": {"key": "dzE=", "startRevision": 2, "prevKv": true, "watchId": 42, "fragment": true, "filters": ["NODELETE"]}}`, 2},
		{"/v3/watch", `{"create_request": {"key": "dzE=", "start_revision": 2, "filters": [0, 1]}}`, 1},
		{"/v3/watch", `{"create_request": {"key": "AA==", "range_end": "AA==", "start_revision": 1}}`, 2},
		{"/v3/watch", `{"create_request": {"key": "eg==", "range_end": "YQ=="}}`, 1},
		{"/v3/watch", `{"create_request": {}}`, 1},
		{"/v3/watch", `{"create_request": {"key": "dzE=", "progress_notify": true}}`, 1},
		{"/v3/watch", `{"create_request": {"key": "dzE=", "start_revision": "-5"}}`, 1},
		{"/v3/watch", `{"create_request":{"key":"dzE=","watch_id":"7"}}{"create_request":{"key":"dzE=","watch_id":"7"}}`, 2},
		{"/v3/watch", `{"create_request":{"key":"dzE=","watch_id":"7"}}` + "\n" + `{"cancel_request":{"watch_id":"7"}}`, 2},
		{"/v3/watch", `{"create_request":{"key":"dzE="}} {} {"create_request":{"key":"dzE="}}`, 2},
		{"/v3beta/watch", `{"create_request":{"key":"dzE="}}`, 1},
		{"/v3/election/observe", `{"name":"ZWxlYw=="}`, 1},
		{"/v3/lease/keepalive", `{"ID":"4711"}{"ID":"12"}`, 2},
		{"/v3/kv/compaction", `{"revision":"4"}`, 0},
		{"/v3/watch", `{"create_request": {"key": "dzE=", "start_revision": "1"}}`, 2},
	} {
		p.same(t, request{method: http.MethodPost, path: step.path, body: step.body, lines: step.lines})
	}
}

// A stream ends with its last watch. etcd's own stays open for ever.
func TestAStreamEndsWithItsLastWatch(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	for _, body := range []string{
		`{"create_request": {"key": "dzE=", "start_revision": "-5"}}`,
		`{"create_request":{"key":"dzE=","watch_id":"7"}}{"cancel_request":{"watch_id":"7"}}`,
		`{"create_request":{"key":"YQ=="}}{"create_request":{"key":"Yg=="}}{"cancel_request":{"watch_id":"1"}}{"cancel_request":{}}`,
	} {
		a := ask(t, g.url, post("/v3/watch", body)) // returns when the answer ends
		if a.status != 200 || !strings.Contains(a.body, `"canceled":true`) {
			t.Errorf("%s: got %d %s", body, a.status, a.body)
		}
	}
}

// What etcd's own gateway waits over for ever, or answers with an empty success, is refused.
func TestAMalformedStreamIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	for _, q := range []request{
		post("/v3/watch", ``), post("/v3/watch", `{}`), post("/v3/watch", `{"no_such":{}}`), post("/v3/watch", `value=`),
		post("/v3/watch", `{"create_request":`), post("/v3/watch", `[]`), post("/v3/watch", `{"create_request":{"key":"!!!"}}`),
		post("/v3/watch", `{"create_request":{"key":"YQ==","filters":[0,null]}}`),
		post("/v3/lease/keepalive", `{"ID":`), post("/v3/lease/keepalive", `{"ID":"x"}`), post("/v3/watch", `{}`, "Grpc-Timeout: x"),
	} {
		a := ask(t, g.url, q)
		if a.status != 400 || !strings.HasPrefix(a.body, `{"error":"`) || !strings.Contains(a.body, `"code":3`) {
			t.Errorf("%s %s: got %d %s", q.path, q.body, a.status, a.body)
		}
	}
	a := ask(t, g.url, post("/v3/watch", `{"create_request":{"key":"YQ=="}} {"create_request":{"key":7}}`))
	lines := strings.SplitAfter(a.body, "\n")
	if last := lines[max(len(lines)-2, 0)]; !strings.HasPrefix(last, `{"error":{"grpc_code":3,"code":3,"http_code":400,"http_status":"Bad Request","message":"`) {
		t.Errorf("a wrong second request: got %s", a.body)
	}
	big := ask(t, g.url, post("/v3/watch", `{"create_request":{"key":"`+strings.Repeat("A", 5<<20)+`"}}`))
	if big.status != http.StatusRequestEntityTooLarge || !strings.Contains(big.body, `"code":8`) {
		t.Errorf("a request of 5 MiB: got %d %s", big.status, big.body)
	}
}

// dialogue is a stream whose requests go on while answers come.
type dialogue struct {
	say  *io.PipeWriter
	hear *bufio.Reader
}

func converse(t *testing.T, url string) dialogue {
	t.Helper()
	return converseBy(t, browser, url)
}

func converseBy(t *testing.T, client *http.Client, url string) dialogue {
	t.Helper()
	body, say := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(say, `{"create_request":{"key":"YQ==","watch_id":"1"}}`) }() // ends with the request
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
		_ = say.Close()
	})
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status: got %d", response.StatusCode)
	}
	return dialogue{say, bufio.NewReader(response.Body)}
}

func (d dialogue) wants(t *testing.T, part string) {
	t.Helper()
	line, err := d.hear.ReadString('\n')
	if err != nil || !strings.Contains(line, part) {
		t.Fatalf("got %q, %v; want %s in it", line, err, part)
	}
}

// Answers come while the body is still open, which etcd's own gateway cannot do over HTTP/1.1.
func TestAnswersComeWhileRequestsFollow(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	d := converse(t, g.url+"/v3/watch")
	d.wants(t, `"watch_id":"1","created":true`)
	for _, id := range []string{"2", "3"} {
		if _, err := io.WriteString(d.say, `{"create_request":{"key":"YQ==","watch_id":"`+id+`"}}`); err != nil {
			t.Fatal(err)
		}
		d.wants(t, `"watch_id":"`+id+`","created":true`)
	}
	for _, id := range []string{"3", "2", "1"} {
		if _, err := io.WriteString(d.say, `{"cancel_request":{"watch_id":"`+id+`"}}`); err != nil {
			t.Fatal(err)
		}
		d.wants(t, `"watch_id":"`+id+`","canceled":true`)
	}
	if _, err := io.WriteString(d.say, `{"create_request":{"key":"YQ==","watch_id":"4"}}`); err != nil { // still open
		t.Fatal(err)
	}
	d.wants(t, `"watch_id":"4","created":true`)
	if _, err := io.WriteString(d.say, `{"cancel_request":{"watch_id":"4"}}`); err != nil {
		t.Fatal(err)
	}
	d.wants(t, `"watch_id":"4","canceled":true`)
	_ = d.say.Close()
	if rest, err := io.ReadAll(d.hear); err != nil || len(rest) > 0 {
		t.Errorf("after the end: got %q, %v", rest, err)
	}
}

// Calls that last end when the gateway stops, and say so; new ones are refused.
func TestDrainingEndsWhatLasts(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	d := converse(t, g.url+"/v3/watch")
	d.wants(t, `"created":true`)
	if !g.compat.Drain(t.Context()) {
		t.Error("sockets are left")
	}
	d.wants(t, `{"error":{"grpc_code":14,"code":14,"http_code":503,"http_status":"Service Unavailable","message":"the gateway is stopping"}}`)
	a := ask(t, g.url, post("/v3/lock/lock", `{"name":"YQ=="}`))
	if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"code":14`) {
		t.Errorf("a lock while stopping: got %d %v %s", a.status, a.header, a.body)
	}
	if a := ask(t, g.url, post("/v3/kv/range", `{"key":"YQ=="}`)); a.status != 200 {
		t.Errorf("a read while stopping: got %d %s", a.status, a.body)
	}
}

// A snapshot comes whole: its last message is the SHA-256 of what came before.
func TestASnapshotIsWhole(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	a := ask(t, g.url, post("/v3/maintenance/snapshot", `{}`))
	var blobs [][]byte
	for line := range strings.Lines(a.body) {
		var doc struct{ Result struct{ Blob []byte } }
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, doc.Result.Blob)
	}
	if len(blobs) < 2 {
		t.Fatalf("got %d messages: %.300s", len(blobs), a.body)
	}
	sum := sha256.Sum256(bytes.Join(blobs[:len(blobs)-1], nil))
	if !bytes.Equal(sum[:], blobs[len(blobs)-1]) {
		t.Error("the sum does not fit")
	}
}

// Streams are bounded in number.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{MaxStreams: 1})
	d := converse(t, g.url+"/v3/watch")
	d.wants(t, `"created":true`)
	a := ask(t, g.url, post("/v3/watch", `{"create_request":{"key":"YQ=="}}`))
	if a.status != 503 || !strings.Contains(a.body, `"code":14`) {
		t.Errorf("a second stream: got %d %s", a.status, a.body)
	}
}

// Over HTTP/2 a stream is one of many on a connection, which outlives it whether its body has ended or not.
func TestStreamsShareAConnectionOverHTTP2(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	server := httptest.NewUnstartedServer(g.api)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	var connections atomic.Int64
	transport, _ := server.Client().Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connections.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	open := converseBy(t, server.Client(), server.URL+"/v3/watch")
	open.wants(t, `"watch_id":"1","created":true`)
	for range 3 {
		d := converseBy(t, server.Client(), server.URL+"/v3/watch")
		d.wants(t, `"created":true`)
		if _, err := io.WriteString(d.say, `{"create_request":7}`); err != nil { // ends the stream before its body
			t.Fatal(err)
		}
		d.wants(t, `{"error":{"grpc_code":3,`)
		if rest, err := io.ReadAll(d.hear); err != nil || len(rest) > 0 {
			t.Errorf("after the error: got %q, %v", rest, err)
		}
	}
	if _, err := io.WriteString(open.say, `{"cancel_request":{"watch_id":"1"}}`); err != nil {
		t.Fatal(err)
	}
	open.wants(t, `"canceled":true`)
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Over HTTP/1.1 a stream that ends before its body ends its connection too: what follows is not the next request.
func TestAStreamThatEndsBeforeItsBodyEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST /v3/watch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nvalue=")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest || !response.Close {
		t.Errorf("got %d, close %v; want 400 and the end of the connection", response.StatusCode, response.Close)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the answer: got %q, %v", rest, err)
	}
}
