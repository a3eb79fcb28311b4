// Package slow_test has many clients that take their time, on purpose, at the built gateway.
package slow_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// The deadlines that docs/reference/http-api.md names, and what a busy machine takes on top.
const (
	headers     = 10 * time.Second
	bodies      = 5 * time.Second // --request-timeout
	readers     = 30 * time.Second
	slack       = 10 * time.Second
	normalBound = 500 * time.Millisecond
)

// way is a way to be slow, and the time after which the gateway has enough of it.
type way struct {
	name  string
	limit time.Duration
	// begin is sent at once, then one byte of the rest a second.
	begin, rest string
	small       bool // the socket takes in little, and reads nothing
}

func ways() []way {
	const host = " HTTP/1.1\r\nHost: localhost\r\n"
	long := strings.Repeat("X", 1000)
	get := func(path string) string { return strings.Repeat("GET "+path+host+"\r\n", 20) } // pipelined
	return []way{
		{name: "headers", limit: headers, begin: "G", rest: "ET /livez" + host + "X-Long: " + long},
		{name: "headers after the first line", limit: headers, begin: "GET /v1/kv/k" + host, rest: "X-Long: " + long},
		{name: "nothing at all", limit: headers},
		{name: "body of a write", limit: bodies, begin: "PUT /v1/raw/slow" + host + "Content-Length: 1000\r\n\r\n", rest: long},
		{name: "body in JSON", limit: bodies, begin: "PUT /v1/kv/slow" + host + "Content-Length: 1000\r\n\r\n{", rest: long},
		{name: "chunked body", limit: bodies, begin: "PUT /v1/raw/slow" + host + "Transfer-Encoding: chunked\r\n\r\n3e8\r\n", rest: long},
		{name: "body of /v3", limit: bodies, begin: "POST /v3/kv/put" + host + "Content-Length: 1000\r\n\r\n{", rest: long},
		{name: "body that nobody wants", limit: bodies, begin: "GET /livez" + host + "Content-Length: 1000\r\n\r\n", rest: long},
		{name: "body for nowhere", limit: bodies, begin: "POST /nowhere" + host + "Content-Length: 1000\r\n\r\n", rest: long},
		{name: "import of which nothing comes", limit: bodies, begin: "POST /v1/import" + host + "Content-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n"},
		{name: "never reads a value", limit: readers, begin: get("/v1/raw/large"), small: true},
		{name: "never reads a list", limit: readers, begin: get("/v1/kv?prefix="), small: true},
		{name: "never reads an export", limit: readers, begin: get("/v1/export"), small: true},
		{name: "never reads a range of /v3", limit: readers, begin: strings.Repeat("POST /v3/kv/range"+host+"Content-Length: 20\r\n\r\n"+`{"key":"bGFyZ2U="}  `, 20), small: true},
	}
}

// TestSlowClientsAreCutAndHurtNobody: five hundred sockets that send a byte a second, or read nothing, while a normal client goes on.
func TestSlowClientsAreCutAndHurtNobody(t *testing.T) {
	t.Parallel() // as much time passes with either test, and hardly any work is done
	g := harness.StartGateway(t, "dev", "--data-dir", t.TempDir(), fmt.Sprint("--request-timeout=", int(bodies/time.Second)))
	put(t, g, "large", strings.Repeat("v", 1<<20))
	put(t, g, "k", "v")

	const sockets = 500
	all := ways()
	var slow sync.WaitGroup
	results := make([]time.Duration, sockets)
	for n := range sockets {
		slow.Go(func() {
			took, err := all[n%len(all)].run(t.Context(), strings.TrimPrefix(g.API, "http://"))
			if err != nil {
				t.Errorf("%s: %v", all[n%len(all)].name, err)
			}
			results[n] = took
		})
	}
	done := make(chan struct{})
	go func() {
		slow.Wait()
		close(done)
	}()
	latencies := normal(t, g, done)
	for i, w := range all {
		var worst time.Duration
		for n := i; n < sockets; n += len(all) {
			worst = max(worst, results[n])
		}
		t.Logf("%-30s closed after %5.1f s at most; the limit is %v", w.name, worst.Seconds(), w.limit)
		if worst > w.limit+slack {
			t.Errorf("%s: closed after %v, want %v", w.name, worst, w.limit)
		}
	}
	judgeNormal(t, latencies)
}

func judgeNormal(t *testing.T, latencies []time.Duration) {
	t.Helper()
	slices.Sort(latencies)
	p99 := latencies[len(latencies)*99/100]
	t.Logf("a normal client meanwhile: %d requests, median %v, p99 %v, slowest %v", len(latencies), latencies[len(latencies)/2], p99, latencies[len(latencies)-1])
	if p99 > normalBound {
		t.Errorf("p99 of a normal client: got %v, want at most %v", p99, normalBound)
	}
}

// run is slow, and tells when the gateway had enough.
func (w way) run(ctx context.Context, address string) (time.Duration, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if w.small {
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	began := time.Now()
	closed := make(chan struct{})
	if !w.small { // the end is what is read; an answer before it is fine
		go func() {
			defer close(closed)
			_, _ = io.Copy(io.Discard, c)
		}()
	}
	if _, err := io.WriteString(c, w.begin); err != nil {
		return time.Since(began), nil
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for rest := w.rest; ; {
		select {
		case <-closed:
			return time.Since(began), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-second.C:
		}
		if time.Since(began) > w.limit+6*slack {
			return 0, errors.New("never closed")
		}
		b := "X" // a reader that does not read finds out by writing
		if !w.small {
			if rest == "" {
				continue
			}
			b, rest = rest[:1], rest[1:]
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(c, b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return time.Since(began), nil
		}
	}
}

// normal is a client that is as quick as can be, until done.
func normal(t *testing.T, g *harness.Gateway, done <-chan struct{}) (latencies []time.Duration) {
	t.Helper()
	client := newClient()
	defer client.CloseIdleConnections()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-done:
			return latencies
		case <-pause.C:
		}
		method, body := http.MethodGet, io.Reader(nil)
		if n%4 == 0 {
			method, body = http.MethodPut, strings.NewReader("v")
		}
		r, err := http.NewRequestWithContext(t.Context(), method, g.API+"/v1/raw/k", body)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("a normal client: %v", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("a normal client: got %d, %v", resp.StatusCode, err)
		}
		latencies = append(latencies, time.Since(began))
	}
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}} //nolint:gosec // the test's own, of this machine
}

func put(t *testing.T, g *harness.Gateway, key, value string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.API+"/v1/raw/"+key, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	client := newClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("PUT %s: got %d", key, resp.StatusCode)
	}
}
