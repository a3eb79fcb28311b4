package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/contract"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// gateway is the API over a real etcd of its own, on a free port, with etcd's official client beside it as the oracle.
type gateway struct {
	url    string
	http   *http.Client
	oracle *clientv3.Client
	store  *etcdclient.Client
	etcd   *embedetcd.Server
}

// start runs a gateway for the length of the test. Every answer that passes through it is held against the contract.
func start(t testing.TB, adjust ...func(*handlers.Options)) *gateway {
	t.Helper()
	return startOn(t, embedetcd.StartForTest(t), adjust...)
}

// startOn runs a gateway before a server that the test has started: a second one, say.
func startOn(t testing.TB, etcd *embedetcd.Server, adjust ...func(*handlers.Options)) *gateway {
	t.Helper()
	return startOver(t, etcd, etcd.Endpoint(), func(c *etcdclient.Client) handlers.Backend { return c }, adjust...)
}

// startOver is startOn with a way of the test's own to the server (a proxy, say), and a store of its own between client
// and API.
func startOver(
	t testing.TB, etcd *embedetcd.Server, endpoint string, between func(*etcdclient.Client) handlers.Backend, adjust ...func(*handlers.Options),
) *gateway {
	t.Helper()
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := store.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	oracle, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	var o handlers.Options
	for _, f := range adjust {
		f(&o)
	}
	api, err := handlers.New(between(store), o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		_ = oracle.Close()
		if err := store.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	client := &http.Client{Transport: checked(t, transport), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &gateway{url: server.URL, http: client, oracle: oracle, store: store, etcd: etcd}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request; headers are "Name: value". The path is sent as it is spelled.
func (g *gateway) do(t testing.TB, method, path, body string, headers ...string) *answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" && method != http.MethodPut {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	rawPath, query, _ := strings.Cut(path, "?")
	r.URL.Opaque, r.URL.RawQuery = rawPath, query
	if strings.HasPrefix(rawPath, "//") { // an opaque URL would be taken for an authority
		r.URL.Opaque = "http://" + r.URL.Host + rawPath
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "" { // a table's empty place
			continue
		}
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	response, err := g.http.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: b}
}

// want fails the test unless the status is the one given; it gives the answer back for chaining.
func (a *answer) want(t testing.TB, status int) *answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status: got %d, want %d; body %s", a.status, status, a.body)
	}
	return a
}

// problem fails the test unless the answer is a problem of that status and code; it gives the document.
func (a *answer) problem(t testing.TB, status int, code string) map[string]any {
	t.Helper()
	a.want(t, status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type of a problem: got %q", got)
	}
	doc := a.json(t)
	if doc["code"] != code {
		t.Fatalf("problem code: got %v, want %s; body %s", doc["code"], code, a.body)
	}
	return doc
}

// json decodes the body as one object with exact numbers.
func (a *answer) json(t testing.TB) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		t.Fatalf("the body is not a JSON object: %v: %s", err, a.body)
	}
	return out
}

// lines decodes an NDJSON body.
func (a *answer) lines(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(string(a.body)) {
		out = append(out, (&answer{body: []byte(line)}).json(t))
	}
	return out
}

// checked wraps the transport so that every answer is held against the contract.
func checked(t testing.TB, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	return contract.New(t).Transport(base)
}

// jsonNumber is how json gives numbers.
type jsonNumber = json.Number

// send sends a request; nil means that it was given up.
func (g *gateway) send(r *http.Request) *answer {
	response, err := g.http.Do(r)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	return &answer{status: response.StatusCode, header: response.Header, body: body}
}
