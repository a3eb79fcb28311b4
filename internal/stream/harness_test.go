package stream_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/contract"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// gateway is the API with its watches over a real etcd, with etcd's official client beside it as the oracle.
type gateway struct {
	url    string
	hub    *stream.Hub
	http   *http.Client
	oracle *clientv3.Client
	store  *etcdclient.Client
	etcd   *embedetcd.Server
	epoch  string
	// revision is the store's once the gateway has begun.
	revision int64
	messages *contract.Streams
	gate     *authz.Gate // nil where nobody is asked
	// accepted counts the connections that the server has taken.
	accepted atomic.Int64
}

// setup is what a test can choose of a gateway.
type setup struct {
	options stream.Options
	// etcd is a server that the test has started; endpoint is another way to it, a proxy.
	etcd     *embedetcd.Server
	endpoint string
	// embedded adjusts the server otherwise.
	embedded func(*embedetcd.Options)
	// store stands between the client and the hub.
	store func(stream.Store) stream.Store
	// user is whom etcd sees in the gateway, with its name for a password, once prepare has set etcd up.
	user    string
	prepare func(*embedetcd.Server)
	// policy judges the callers; nil asks nobody.
	policy *authz.Policy
	// serve adjusts the HTTP server.
	serve func(*http.Server)
}

// start runs a gateway for the length of the test. Every answer and every message is held against the contract.
func start(t testing.TB, adjust ...func(*setup)) *gateway {
	t.Helper()
	var s setup
	for _, f := range adjust {
		f(&s)
	}
	if s.etcd == nil {
		s.etcd = embedetcd.StartForTest(t, func(o *embedetcd.Options) {
			if s.embedded != nil {
				s.embedded(o)
			}
		})
	}
	if s.endpoint == "" {
		s.endpoint = s.etcd.Endpoint()
	}
	if s.prepare != nil {
		s.prepare(s.etcd)
	}
	g := &gateway{etcd: s.etcd, messages: contract.NewStreams(t)}
	g.connect(t, s.endpoint, s.user)
	g.serve(t, &s)
	return g
}

// connect makes the clients of etcd.
func (g *gateway) connect(t testing.TB, endpoint, user string) {
	t.Helper()
	var err error
	if g.store, err = etcdclient.New(etcdclient.Config{Endpoints: []string{endpoint}, Username: user, Password: user}); err != nil {
		t.Fatal(err)
	}
	if err := g.store.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	oracle := clientv3.Config{Endpoints: []string{g.etcd.Endpoint()}, Logger: zap.NewNop()}
	if user != "" { // the oracle may do everything
		oracle.Username, oracle.Password = "root", "root"
	}
	if g.oracle, err = clientv3.New(oracle); err != nil {
		t.Fatal(err)
	}
}

// serve makes hub and API and listens.
func (g *gateway) serve(t testing.TB, s *setup) {
	t.Helper()
	epochs := epoch.New(g.store)
	var store stream.Store = g.store
	if s.store != nil {
		store = s.store(store)
	}
	options := handlers.Options{Epoch: epochs}
	if s.policy != nil {
		g.gate = authz.NewGate(g.store, named{authn.NewEtcd()}, s.policy)
		s.options.Gate, options.Gate = g.gate, g.gate
	}
	g.hub = stream.New(store, epochs, s.options)
	options.Watches = g.hub
	api, err := handlers.New(g.store, options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(api)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			g.accepted.Add(1)
		}
	}
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(smallBuffer)
		}
		return ctx
	}
	if s.serve != nil {
		s.serve(server.Config)
	}
	server.Start()
	g.url = server.URL
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() { g.hub.Run(running) })
	transport := &http.Transport{DisableCompression: true, DialContext: dial}
	g.http = &http.Client{Transport: contract.New(t).Transport(transport)}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		g.hub.Close()
		server.Close()
		stop()
		work.Wait()
		_ = g.oracle.Close()
		if err := g.store.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	if g.epoch, err = epochs.Current(within(t)); err != nil { // which writes it, so that revisions are known from here on
		t.Fatal(err)
	}
	g.revision = g.present(t)
}

// replace has the callers judged by other rules.
func (g *gateway) replace(t testing.TB, rules ...authz.Rule) {
	t.Helper()
	g.gate.Replace(named{authn.NewEtcd()}, policyOf(t, rules...))
	g.hub.Rejudge()
}

// smallBuffer is what sockets hold on either side, so that whoever does not read stalls the gateway soon.
const smallBuffer = 256 << 10

// dial connects with small buffers.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(smallBuffer)
	}
	return c, err
}

// within gives a context of the test that ends when its patience does.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until the condition holds, asking often.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// present is the store's revision.
func (g *gateway) present(t testing.TB) int64 {
	t.Helper()
	r, err := g.oracle.Get(t.Context(), "k", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// put writes a key and gives the revision.
func (g *gateway) put(t testing.TB, key, value string) int64 {
	t.Helper()
	r, err := g.oracle.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// remove deletes a key.
func (g *gateway) remove(t testing.TB, key string) {
	t.Helper()
	if _, err := g.oracle.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// txn does all at one revision.
func (g *gateway) txn(t testing.TB, ops ...clientv3.Op) int64 {
	t.Helper()
	r, err := g.oracle.Txn(t.Context()).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func (g *gateway) compact(t testing.TB, revision int64) {
	t.Helper()
	if _, err := g.oracle.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// answer is an HTTP answer that has ended.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get sends a GET and reads the answer to its end; headers are "Name: value".
func (g *gateway) get(t testing.TB, path string, headers ...string) *answer {
	t.Helper()
	return g.do(t, http.MethodGet, path, headers...)
}

func (g *gateway) do(t testing.TB, method, path string, headers ...string) *answer {
	t.Helper()
	response := g.send(t, method, path, headers...)
	defer response.Body.Close()
	late := time.AfterFunc(patience, func() { _ = response.Body.Close() }) // an answer that goes on was not wanted
	defer late.Stop()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return &answer{response.StatusCode, response.Header, body}
}

// send sends a request and gives the answer as soon as its headers are there.
func (g *gateway) send(t testing.TB, method, path string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	response, err := g.http.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response
}

// problem fails the test unless the answer is a problem with that status and code; it gives the document.
func (a *answer) problem(t testing.TB, status int, code string) *problemDocument {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %s, want the problem %d %s; body %s", a.status, a.header.Get("Content-Type"), status, code, a.body)
	}
	p := new(problemDocument)
	if err := json.Unmarshal(a.body, p); err != nil {
		t.Fatal(err)
	}
	if p.Code != code {
		t.Fatalf("problem code: got %s, want %s; body %s", p.Code, code, a.body)
	}
	return p
}

// outside gets what is not the gateway's.
func (g *gateway) outside(t testing.TB, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// poll is the answer to a poll.
type poll struct {
	Revision int64   `json:"revision"`
	Epoch    string  `json:"epoch"`
	Events   []event `json:"events"`
	Leaders  []struct {
		Revision int64   `json:"revision"`
		Leader   *leader `json:"leader"`
	} `json:"leaders"`
	NextRevision int64 `json:"next_revision"`
}

func (g *gateway) poll(t testing.TB, query string) *poll {
	t.Helper()
	a := g.get(t, "/v1/watch/poll?"+query)
	p := new(poll)
	if err := json.Unmarshal(a.body, p); err != nil || a.status != http.StatusOK {
		t.Fatalf("poll %s: %d %s", query, a.status, a.body)
	}
	return p
}
