package coverage_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
)

const rootsPassword = "secret"

// stage is an etcd with two whole gateways before it, one that is nobody and one that is root, and etcd's own client.
type stage struct {
	t            *testing.T
	nobody, root *gateway
	oracle       *clientv3.Client
	etcd         *embedetcd.Server
	peers        int // that members have had
}

func newStage(t *testing.T) *stage {
	t.Helper()
	etcd := embedetcd.StartForTest(t)
	oracle, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = oracle.Close() })
	s := &stage{t: t, oracle: oracle, etcd: etcd}
	s.nobody = newGateway(t, etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	s.root = newGateway(t, etcdclient.Config{Endpoints: []string{etcd.Endpoint()}, Username: "root", Password: rootsPassword})
	return s
}

// gateway is a whole API, and what its client tells about its calls.
type gateway struct {
	t      *testing.T
	api    *handlers.API
	url    string
	calls  prometheus.Gatherer
	routes *routes
}

// routes takes the routes that were taken (handlers.Observer).
type routes struct {
	mu    sync.Mutex
	taken []string
}

// Observe implements handlers.Observer.
func (r *routes) Observe(route, method string, _ int, _ time.Duration, _ int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, method+" "+route)
}

func (r *routes) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.taken
	r.taken = nil
	return taken
}

func newGateway(t *testing.T, config etcdclient.Config) *gateway {
	t.Helper()
	client, err := etcdclient.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := client.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	v3, err := compat.New(client, compat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v3.Close)
	epochs, taken := epoch.New(client), new(routes)
	hub := stream.New(client, epochs, stream.Options{})
	t.Cleanup(hub.Close)
	api, err := handlers.New(client, handlers.Options{Compat: v3, Watches: hub, Epoch: epochs, Observer: taken})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(client)
	g := &gateway{t: t, api: api, url: server.URL, calls: registry, routes: taken}
	g.send(request{method: "GET", path: "/version"}) // the epoch is read, and kept
	return g
}

// request is one HTTP request.
type request struct {
	method, path, body string
	// lines is how many lines of a stream to read before the caller leaves; 0 reads to the end.
	lines int
}

// send sends a request and gives the status.
func (g *gateway) send(q request) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.method, g.url+q.path, strings.NewReader(q.body))
	if err != nil {
		g.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer a.Body.Close()
	if q.lines == 0 {
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			g.t.Fatalf("%s %s: %v", q.method, q.path, err)
		}
		return a.StatusCode
	}
	in := bufio.NewReader(a.Body)
	for range q.lines {
		if _, err := in.ReadString('\n'); err != nil {
			g.t.Fatalf("%s %s: %v", q.method, q.path, err)
		}
	}
	return a.StatusCode
}

// counts gives how often the client has called each RPC, as service/method; a stream that is still open counts as called.
// The pool's own probes do not count.
func (g *gateway) counts() map[string]float64 {
	g.t.Helper()
	families, err := g.calls.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetName() {
			case "etcdrest_etcd_calls_total":
				out[labels["method"]] += m.GetCounter().GetValue()
			case "etcdrest_etcd_watch_streams":
				out["Watch/Watch"] += m.GetGauge().GetValue()
			case "etcdrest_etcd_in_flight":
				if labels["class"] == "lease" {
					out["Lease/LeaseKeepAlive"] += m.GetGauge().GetValue()
				}
			}
		}
	}
	return out
}

// called sends a request, and gives its status, the routes that it took, and the RPCs that etcd was asked for it, once
// enough of them have been.
func (g *gateway) called(q request, enough func(rpcs []string) bool) (status int, taken, rpcs []string) {
	g.t.Helper()
	before := g.counts()
	g.routes.take()
	status = g.send(q)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		rpcs = rpcs[:0]
		for rpc, n := range g.counts() {
			if n > before[rpc] {
				rpcs = append(rpcs, rpc)
			}
		}
		slices.Sort(rpcs)
		taken = append(taken, g.routes.take()...)
		if len(taken) > 0 && enough(rpcs) {
			return status, taken, rpcs
		}
		select {
		case <-tick.C:
		case <-deadline:
			return status, taken, rpcs
		}
	}
}
