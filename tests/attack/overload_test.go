package attack_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestOverloadIsShed is C3: with ten times as many callers as the gateway may take on, those that it takes get as much done as
// before, and the others are told at once when to come back; the probes are answered throughout. Behind it, each call to etcd takes
// a while, so that it is the number of requests that is the limit and not the test's own machine.
func TestOverloadIsShed(t *testing.T) { //nolint:paralleltest // it measures
	const room = 32
	s := &site{issuer: startIssuer(t), etcd: harness.StartEtcd(t)}
	slow := startDelay(t, s.etcd.Endpoint)
	s.serve(t, slow.endpoint, "--max-requests", "32")
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	slow.set(50 * time.Millisecond)
	token := s.issuer.token(alice, nil)
	load := func(connections, pause string) summary {
		return startHammer(t, s, "-token", token, "-connections", connections, "-duration", "3s", "-pause", pause, "-request", "GET /v1/kv/k", "-request", "PUT /v1/kv/k 100").wait(t)
	}
	peak := load("32", "0s").perSecond("200")

	stop, probed := make(chan struct{}), make(chan []time.Duration)
	go func() { probed <- probe(s, stop) }()
	over := load("320", "20ms")
	close(stop)
	probes := <-probed

	good := over.perSecond("200", "201")
	t.Logf("peak %.0f/s with %d callers; with 320: %.0f/s good, %.0f/s in all %v, refused in %v; liveness in %v", peak, room, good, over.perSecond(), over.Statuses, over.RefusedP50, median(probes))
	if good < 0.8*peak {
		t.Errorf("%.0f good answers a second under overload; want at least 80 %% of %.0f", good, peak)
	}
	if over.Refused == 0 || over.Hinted != over.Refused || over.RefusedP50 > 50*time.Millisecond {
		t.Errorf("%d refusals, %d with Retry-After, the median after %v; want some, all, and at most 50 ms", over.Refused, over.Hinted, over.RefusedP50)
	}
	for status := range over.Statuses {
		if !slices.Contains([]string{"200", "201", "429", "503"}, status) {
			t.Errorf("the answers were %v; want good ones, 429 and 503", over.Statuses)
		}
	}
	if median(probes) > 100*time.Millisecond {
		t.Errorf("liveness took %v under overload; want at most 100 ms", median(probes))
	}
}

// probe asks whether the gateway lives until it is stopped; a failure counts as an hour.
func probe(s *site, stop <-chan struct{}) (took []time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // stop ends it
	defer cancel()
	for {
		a, err := send(ctx, s.gateway.API, "GET", "/livez", "")
		if err != nil || a.status != 200 {
			a.took = time.Hour
		}
		took = append(took, a.took)
		select {
		case <-stop:
			return took
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestASlowEtcdFillsNothing is C4: while etcd takes half a second for each answer, the calls to it stay bounded and the rest is
// refused at once; what has no time left ends then, whatever etcd does; and afterwards nothing is left of it.
func TestASlowEtcdFillsNothing(t *testing.T) { //nolint:paralleltest // it counts goroutines
	const calls = 16
	s := &site{issuer: startIssuer(t), etcd: harness.StartEtcd(t)}
	slow := startDelay(t, s.etcd.Endpoint)
	s.serve(t, slow.endpoint, "--max-calls", "16", "--request-timeout", "2")
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	before := s.goroutines(t)

	slow.set(500 * time.Millisecond)
	h := startHammer(t, s, "-token", s.issuer.token(alice, nil), "-connections", "128", "-duration", "3s", "-pause", "50ms", "-request", "PUT /v1/kv/k 100", "-request", "GET /v1/kv?limit=10")
	most := 0.0
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; {
		unary := s.metric(t, "etcdrest_etcd_in_flight", `class="unary"`)
		bulk := s.metric(t, "etcdrest_etcd_in_flight", `class="bulk"`)
		most = max(most, unary, bulk)
	}
	heard := h.wait(t)
	t.Logf("%v, refused in %v; at most %v calls of a kind at etcd", heard.Statuses, heard.RefusedP50, most)
	if most > calls+4 || most < calls/2 { // those who look at the same moment may find the same room
		t.Errorf("up to %v calls of a kind were under way at etcd; want as many as %d and hardly more", most, calls)
	}
	if heard.Statuses["503"] == 0 || heard.Hinted != heard.Refused || heard.RefusedP50 > 50*time.Millisecond {
		t.Errorf("got %v, %d of %d refusals with Retry-After, the median after %v; want refusals within 50 ms", heard.Statuses, heard.Hinted, heard.Refused, heard.RefusedP50)
	}

	slow.set(time.Hour)
	a := s.as(alice).do(t, "GET", "/v1/kv/k?timeout=1", "")
	if a.status != 504 && a.status != 503 || a.took > 3*time.Second {
		t.Errorf("a call of one second before a silent etcd: got %d %s after %v", a.status, a.body, a.took)
	}
	slow.set(0)

	deadline := time.Now().Add(20 * time.Second)
	for {
		client.CloseIdleConnections()
		after := s.goroutines(t)
		if s.metric(t, "etcdrest_etcd_in_flight", `class="unary"`) == 0 && after <= before+10 && s.as(alice).do(t, "GET", "/v1/kv?limit=1", "").status == 200 {
			t.Logf("%d goroutines before and %d after", before, after)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after, and %v calls under way", before, after, s.metric(t, "etcdrest_etcd_in_flight", `class="unary"`))
		}
	}
}

func (s *site) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := harness.Metric(ctx, s.gateway.Admin, name, labels...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *site) goroutines(t *testing.T) int {
	t.Helper()
	return int(s.metric(t, "go_goroutines"))
}
