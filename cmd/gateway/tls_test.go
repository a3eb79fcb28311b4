package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// promised is how soon new files count: they are looked at once a second, when somebody connects.
const promised = 2 * time.Second

// pair issues a certificate and loads it.
func (a *authority) pair(t *testing.T, name string, serial int64) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.issue(t, name, serial))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// secureWatch follows the prefix over SSE, over HTTP/2, over TLS.
func secureWatch(t *testing.T, client *http.Client, url string) *bufio.Scanner {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = resp.Body.Close()
		client.CloseIdleConnections()
	})
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	if resp.Proto != "HTTP/2.0" || resp.Header.Get("Content-Type") != "text/event-stream" || !scanTo(in, `"type":"created"`) {
		t.Fatalf("got %s, %s and %q; want a watch over SSE and HTTP/2", resp.Proto, resp.Header.Get("Content-Type"), in.Text())
	}
	return in
}

func secureSocket(t *testing.T, config *tls.Config, url string) *websocket.Conn {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}) //nolint:bodyclose // a socket has none
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if _, m, err := c.Read(t.Context()); err != nil || !strings.Contains(string(m), `"type":"created"`) {
		t.Fatalf("got %q, %v; want created", m, err)
	}
	return c
}

func TestAWatchOverSSEAndHTTP2OverTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server", 2)
	g := dev(t, "--tls-cert="+cert, "--tls-key="+key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}, ForceAttemptHTTP2: true}}
	first, second := secureWatch(t, client, g.api+"/v1/watch?prefix=app/"), secureWatch(t, client, g.api+"/v1/watch?prefix=app/&keys_only=true") // one connection
	for _, value := range []string{"one", "two", strings.Repeat("x", 60_000)} {                                                                  // the last is larger than a frame
		if a := call(t, client, http.MethodPut, g.api+"/v1/raw/app/k", value); a.status >= 300 || a.proto != "HTTP/2.0" {
			t.Fatalf("PUT: got %d by %s", a.status, a.proto)
		}
		if !scanTo(first, value) || !scanTo(second, `"key":"app/k"`) {
			t.Fatalf("a change does not arrive: %v, %v", first.Err(), second.Err())
		}
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if !scanTo(first, `"code":"draining"`) {
		t.Errorf("the end: got %q, %v; want that it is told", first.Text(), first.Err())
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server", 2)
	g := dev(t, "--tls-cert="+cert, "--tls-key="+key)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		config := &tls.Config{RootCAs: ca.pool, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}}
		c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.api, "https://"))
		if (err == nil) != want {
			t.Errorf("%s: got %v, want accepted %t", tls.VersionName(version), err, want)
		}
		if err != nil {
			continue
		}
		if got := c.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("%s: got %q by ALPN, want h2", tls.VersionName(version), got)
		}
		_ = c.Close()
	}
}

// Certificates, keys and client authorities are replaced while streams go on, which neither end nor miss a change.
func TestEveryCertificateIsReplacedUnderLiveStreams(t *testing.T) {
	t.Parallel()
	server, old, fresh := newAuthority(t), newAuthority(t), newAuthority(t)
	cert, key := server.issue(t, "server", 2)
	clients := write(t, server.dir+"/clients.pem", string(content(t, old.file)))
	g := dev(t, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+clients)
	config := func(pair tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: server.pool, Certificates: []tls.Certificate{pair}}
	}
	oldPair, freshPair := old.pair(t, "client", 5), fresh.pair(t, "client", 6)
	sessions := tls.NewLRUClientSessionCache(8)
	remembers := func() error { // a client that resumes its session
		c := config(oldPair)
		c.ClientSessionCache = sessions
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
		_, err := try(t, client, http.MethodGet, g.api+"/livez", "")
		return err
	}
	if err := remembers(); err != nil {
		t.Fatal(err)
	}
	watching := &http.Client{Transport: &http.Transport{TLSClientConfig: config(oldPair), ForceAttemptHTTP2: true}}
	sse := secureWatch(t, watching, g.api+"/v1/watch?key=k")
	socket := secureSocket(t, config(oldPair), g.api+"/v1/watch?key=k")
	change := func(pair tls.Certificate, value string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config(pair), DisableKeepAlives: true}}
		if a := call(t, client, http.MethodPut, g.api+"/v1/raw/k", value); a.status >= 300 {
			t.Fatalf("PUT: got %d %s", a.status, a.body)
		}
		if !scanTo(sse, `"type":"events"`) || !strings.Contains(sse.Text(), value) {
			t.Fatalf("over SSE: got %q, %v; want %s", sse.Text(), sse.Err(), value)
		}
		for {
			_, m, err := socket.Read(t.Context())
			if err != nil {
				t.Fatalf("over the WebSocket: %v", err)
			}
			if strings.Contains(string(m), `"type":"events"`) {
				if !strings.Contains(string(m), value) {
					t.Fatalf("over the WebSocket: got %q, want %s", m, value)
				}
				return
			}
		}
	}
	change(oldPair, "before")

	write(t, clients, "no certificate at all")
	waitUntil(t, "the broken file is told", func() bool {
		if err := handshake(t, g, config(oldPair)); err != nil {
			t.Fatalf("while the file is broken: got %v, want the former authorities", err)
		}
		return strings.Contains(g.log.String(), "the former ones stay")
	})
	change(oldPair, "broken")

	server.issue(t, "server", 3)
	write(t, clients, string(content(t, fresh.file)))
	began := time.Now()
	waitUntil(t, "the new authority is accepted", func() bool { return handshake(t, g, config(freshPair)) == nil })
	took := time.Since(began)
	t.Logf("new files count after %v", took)
	if took > generous*promised {
		t.Errorf("new files count after %v, want %v", took, promised)
	}
	if err := handshake(t, g, config(oldPair)); err == nil {
		t.Error("a client of the former authority is let in")
	}
	if err := remembers(); err == nil {
		t.Error("a client of the former authority resumes its session")
	}
	change(freshPair, "after")
}

// handshake makes a connection and sends a request: a client learns only then that its certificate is not wanted.
func handshake(t *testing.T, g *running, config *tls.Config) error {
	t.Helper()
	_, err := try(t, &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, http.MethodGet, g.api+"/livez", "")
	return err
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each endpoint speaks TLS or does not, by itself, and what its members must come from is read again.
func TestAuthoritiesOfEtcdAreReadAgain(t *testing.T) {
	t.Parallel()
	good, wrong := newAuthority(t), newAuthority(t)
	cert, key := good.issue(t, "etcd", 2)
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.CertFile, o.KeyFile, o.ClientCAFile = cert, key, good.file })
	roots := write(t, wrong.dir+"/roots.pem", string(content(t, wrong.file)))
	g := start(t, "serve", "--endpoints="+etcd.Endpoint()+",http://127.0.0.1:1", "--etcd-cacert="+roots, "--etcd-cert="+cert, "--etcd-key="+key, "--dial-timeout=1")
	if a := call(t, nil, http.MethodGet, g.api+"/v1/kv/k", ""); a.status != http.StatusServiceUnavailable {
		t.Fatalf("with the wrong authority: got %d %s, want 503", a.status, a.body)
	}
	write(t, roots, string(content(t, good.file)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		a := call(t, nil, http.MethodGet, g.api+"/readyz", "")
		if a.status == http.StatusOK {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("with the right authority in the file: got %d %s", a.status, a.body)
		}
	}
}

// TestAnAuthorityThatIsTakenOutTakesItsCallersAlong: requests on connections that are open since before, and streams of every kind.
func TestAnAuthorityThatIsTakenOutTakesItsCallersAlong(t *testing.T) {
	t.Parallel()
	server, old, fresh := newAuthority(t), newAuthority(t), newAuthority(t)
	cert, key := server.issue(t, "server", 2)
	clients := write(t, server.dir+"/clients.pem", string(content(t, old.file)))
	file := write(t, server.dir+"/gateway.yaml", `
auth: [{kind: mtls}]
policy: [{when: {kind: mtls}, namespace: "{name}/", grants: [{verbs: [read, write, watch]}]}]
`)
	g := dev(t, "--config="+file, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+clients)
	config := func(pair tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: server.pool, Certificates: []tls.Certificate{pair}}
	}
	oldPair, freshPair := old.pair(t, "app", 5), fresh.pair(t, "app", 6)
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: config(oldPair), ForceAttemptHTTP2: true}}
	sse := secureWatch(t, kept, g.api+"/v1/watch?key=k")
	socket := secureSocket(t, config(oldPair), g.api+"/v1/watch?key=k")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.api+"/v3/watch", strings.NewReader(`{"create_request":{"key":"aw=="}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := kept.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	v3 := bufio.NewScanner(answer.Body)
	if !scanTo(v3, `"created":true`) {
		t.Fatalf("/v3/watch: got %q, %v", v3.Text(), v3.Err())
	}

	write(t, clients, string(content(t, old.file))+string(content(t, fresh.file)))
	waitUntil(t, "the new authority is accepted", func() bool { return handshake(t, g, config(freshPair)) == nil })
	if a := call(t, kept, http.MethodPut, g.api+"/v1/raw/k", "both"); a.status >= 300 || !scanTo(sse, "both") || !scanTo(v3, `"value":"Ym90aA=="`) {
		t.Fatalf("with both authorities: got %d %s, %q and %q; want that everything goes on", a.status, a.body, sse.Text(), v3.Text())
	}

	began := time.Now()
	write(t, clients, string(content(t, fresh.file)))
	if !scanTo(sse, "auth_expired") {
		t.Errorf("over SSE: got %q, %v; want auth_expired", sse.Text(), sse.Err())
	}
	if took := time.Since(began); took > generous*promised {
		t.Errorf("the stream ends %v after its authority, want %v", took, promised)
	}
	if !scanTo(v3, "invalid auth token") {
		t.Errorf("/v3/watch: got %q, %v; want that it ends", v3.Text(), v3.Err())
	}
	for {
		_, m, err := socket.Read(t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != 4401 {
				t.Errorf("over the WebSocket: got %v, want 4401", err)
			}
			break
		}
		if text := string(m); strings.Contains(text, `"error"`) && !strings.Contains(text, "auth_expired") {
			t.Errorf("over the WebSocket: got %s", m)
		}
	}
	if a := call(t, kept, http.MethodGet, g.api+"/v1/raw/k", ""); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "auth_expired") {
		t.Errorf("on the open connection: got %d %s, want 401 auth_expired", a.status, a.body)
	}
	if a := call(t, &http.Client{Transport: &http.Transport{TLSClientConfig: config(freshPair), DisableKeepAlives: true}}, http.MethodGet, g.api+"/v1/raw/k", ""); a.body != "both" {
		t.Errorf("a client of the new authority: got %d %s", a.status, a.body)
	}
}
