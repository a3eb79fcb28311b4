package slow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/etcdrest/etcdrest/tests/frames"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// idle is how long a connection may have no request, which is also the end of headers that never end: they are no request yet.
const idle = 20 * time.Second

// slowPeer is a way to be slow over TLS: in the handshake, or on a stream of HTTP/2.
type slowPeer struct {
	name  string
	limit time.Duration
	// hello is what is sent instead of a handshake, a byte a second.
	hello string
	// method and path are asked for with a body of that kind; each second, step does something slow.
	method, path, body string
	step               func(p *frames.Peer, stream uint32) error
	// takes is how many bytes of a stream the peer says it has room for.
	takes uint32
	// continued says that the headers never end.
	continued bool
}

func slowPeers() []slowPeer {
	byteOf := func(p *frames.Peer, stream uint32) error { return p.WriteData(stream, false, []byte(" ")) }
	const much = 1 << 20
	return []slowPeer{
		{name: "a handshake", limit: headers, hello: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500)},
		{name: "a body of a write", limit: bodies, method: "PUT", path: "/v1/raw/slow", step: byteOf, takes: much},
		{name: "a body in JSON", limit: bodies, method: "PUT", path: "/v1/kv/slow", step: byteOf, takes: much},
		{name: "a body of /v3", limit: bodies, method: "POST", path: "/v3/kv/put", step: byteOf, takes: much},
		{name: "a body that nobody wants", limit: bodies, method: "POST", path: "/nowhere", step: byteOf, takes: much},
		{name: "an import of which nothing comes", limit: bodies, method: "POST", path: "/v1/import", takes: much},
		{name: "takes nothing of a small answer", limit: readers, method: "GET", path: "/v1/kv/k"},
		{name: "takes nothing of a refusal", limit: readers, method: "GET", path: "/v1/kv/absent"},
		{name: "takes nothing of a value", limit: readers, method: "GET", path: "/v1/raw/large"},
		{name: "takes a byte of a list", limit: readers, method: "GET", path: "/v1/kv?prefix=", takes: 1},
		{name: "takes a byte of an export", limit: readers, method: "GET", path: "/v1/export", takes: 1},
		{name: "takes a byte of a range of /v3", limit: readers, method: "POST", path: "/v3/kv/range", body: `{"key":"bGFyZ2U="}`, takes: 1},
		{name: "takes nothing of a watch", limit: readers, method: "GET", path: "/v1/watch?prefix=k&stream=sse&heartbeat=1"},
		{name: "takes nothing of a watch of /v3", limit: readers, method: "POST", path: "/v3/watch", body: `{"create_request":{"key":"aw=="}}`},
		{name: "takes nothing of the contract", limit: readers, method: "GET", path: "/openapi.json"},
		{name: "takes nothing of a page", limit: readers, method: "GET", path: "/console/"},
		{name: "headers that never end", limit: idle, method: "GET", path: "/v1/kv/k", continued: true},
	}
}

// TestSlowPeersOfHTTP2AreCutAndHurtNobody is TestSlowClientsAreCutAndHurtNobody over TLS, where a connection carries streams
// and each side says how much it takes of one.
func TestSlowPeersOfHTTP2AreCutAndHurtNobody(t *testing.T) {
	t.Parallel()
	cert, key := harness.Certificate(t)
	g := harness.StartGateway(t, "dev", "--data-dir", t.TempDir(), fmt.Sprint("--request-timeout=", int(bodies/time.Second)), "--tls-cert="+cert, "--tls-key="+key,
		fmt.Sprint("--idle-timeout=", int(idle/time.Second)))
	put(t, g, "large", strings.Repeat("v", 1<<20))
	put(t, g, "k", "v")

	const each = 12
	all := slowPeers()
	var slow sync.WaitGroup
	results := make([][each]time.Duration, len(all))
	for i, w := range all {
		for n := range each {
			slow.Go(func() {
				took, err := w.run(t.Context(), g.API)
				if err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
				results[i][n] = took
			})
		}
	}
	done := make(chan struct{})
	go func() {
		slow.Wait()
		close(done)
	}()
	latencies := normal(t, g, done)
	for i, w := range all {
		worst := slices.Max(results[i][:])
		t.Logf("%-34s ended after %5.1f s at most; the limit is %v", w.name, worst.Seconds(), w.limit)
		if worst > w.limit+slack {
			t.Errorf("%s: ended after %v, want %v", w.name, worst, w.limit)
		}
	}
	judgeNormal(t, latencies)
}

// run is slow, and tells when the gateway had enough.
func (w slowPeer) run(ctx context.Context, url string) (time.Duration, error) {
	began := time.Now()
	if w.hello != "" {
		err := w.greet(ctx, url)
		return time.Since(began), err
	}
	p, err := frames.Dial(ctx, url, http2.Setting{ID: http2.SettingInitialWindowSize, Val: w.takes})
	if err != nil {
		return 0, err
	}
	defer p.Conn.Close()
	stream, step, err := w.ask(p)
	if err != nil {
		return 0, err
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = p.Until(func(f http2.Frame) bool { return f.Header().StreamID == stream && ends(f) })
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for time.Since(began) < w.limit+6*slack {
		select {
		case <-over:
			return time.Since(began), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-second.C:
		}
		if step != nil {
			_ = step(p, stream) // that it fails is seen by the reader
		}
	}
	return 0, errors.New("never ended")
}

// ask begins the stream, and gives what goes on with it.
func (w slowPeer) ask(p *frames.Peer) (stream uint32, step func(*frames.Peer, uint32) error, err error) {
	if w.continued {
		stream, err = p.OpenWith(p.Headers(w.method, w.path), false)
		return stream, func(p *frames.Peer, stream uint32) error {
			return p.WriteContinuation(stream, false, p.Literal("x-long", "X"))
		}, err
	}
	stream, err = p.Open(w.method == http.MethodGet, w.method, w.path)
	if err == nil && w.body != "" {
		err = p.WriteData(stream, true, []byte(w.body))
	}
	return stream, w.step, err
}

// ends tells whether the frame is the last of its stream.
func ends(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		return true
	case *http2.HeadersFrame:
		return f.StreamEnded()
	case *http2.DataFrame:
		return f.StreamEnded()
	default:
		return false
	}
}

// greet sends a byte of a handshake each second until the connection is closed.
func (w slowPeer) greet(ctx context.Context, url string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		return err
	}
	defer c.Close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, c)
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for n := range len(w.hello) {
		_, _ = io.WriteString(c, w.hello[n:n+1]) // that it fails is seen by the reader
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-second.C:
		}
	}
	return errors.New("never closed")
}
