package compat_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// Watches of one namespace share a watch of etcd, whoever has them and over whichever API, and nobody gets anything of another namespace,
// nor without the right to it.
func TestCallersShareFeedsWithinTheirNamespace(t *testing.T) { //nolint:paralleltest // it counts watches
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: []string{"reader"}}, Namespace: "tenants/t1/", Grants: []authz.Grant{{Verbs: authz.Watch, Prefix: []byte("k/")}},
	})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	c := g.oracle(t)
	eventually(t, "etcd has no watch", func() bool { return g.watchers(t) == 0 })
	native := open(t, http.MethodGet, g.url+"/v1/watch?from=k&to=l", "", by("t1"))
	native.wants(`"created"`)
	socket := dial(t, g.url, "/v3/watch", []string{"Bearer", "t1"})
	for range 20 {
		say(t, socket, createRequest("k", "l", ""))
		if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
			t.Fatalf("got %s", m)
		}
	}
	if n := g.watchers(t); n != 1 {
		t.Errorf("the watches of one namespace are %d of etcd, want 1: %s", n, g.state(t))
	}
	other := open(t, http.MethodPost, g.url+"/v3/watch", createRequest("k", "l", ""), by("t2"))
	other.wants(`"created":true`)
	if n := g.watchers(t); n != 2 {
		t.Errorf("with those of another they are %d of etcd, want 2: %s", n, g.state(t))
	}
	for _, options := range []string{"", `,"prev_kv":true`} { // the range is more than he may watch, and there is a feed of it
		if a := ask(t, g.url, post("/v3/watch", createRequest("k", "l", options), by("reader"))); !strings.Contains(a.body, "permission denied") {
			t.Errorf("a watch that is not granted: got %d %s", a.status, a.body)
		}
	}
	write(t, c, "k", "everybody's")
	write(t, c, "tenants/t2/k", "another's")
	write(t, c, "tenants/t1/k", "his")
	other.wants(b64("another's"))
	native.wants(`"his"`)
	for range 20 {
		if m := hear(t, socket); !strings.Contains(m, `"key":"aw=="`) || !strings.Contains(m, `"value":"`+b64("his")+`"`) {
			t.Errorf("got %s", m)
		}
	}
	other.end()
	native.end()
	_ = socket.CloseNow()
	eventually(t, "the watches are released", func() bool { return g.watchers(t) == 0 })
	if a := ask(t, g.url, post("/v3/watch", createRequest("k", "", ""), "Authorization: Bearer t0", "Grpc-Timeout: 1S")); !strings.Contains(a.body, `"code":4`) {
		t.Errorf("a time-out of the caller's: got %s", a.body)
	}
}

// Who is let out leaves the feeds that he shared, and nothing of them is kept for him; the others go on.
func TestWhoIsLetOutLeavesHisFeeds(t *testing.T) { //nolint:paralleltest // it counts watches
	gate, made := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	c := g.oracle(t)
	eventually(t, "etcd has no watch", func() bool { return g.watchers(t) == 0 })
	begin := func(name, key string) *websocket.Conn {
		conn := dial(t, g.url, "/v3/watch", nil, by(name))
		say(t, conn, createRequest(key, "", ""))
		if m := hear(t, conn); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
			t.Fatalf("%s: got %s", name, m)
		}
		return conn
	}
	gone, alone, stays := begin("t1", "k"), begin("t1", "l"), begin("t2", "k")
	if n := g.watchers(t); n != 3 {
		t.Errorf("they have %d watches of etcd, want 3: %s", n, g.state(t))
	}
	policy, err := authz.NewPolicy([]authz.Rule{{
		When: authz.When{Names: []string{"t2"}}, Namespace: "tenants/{name}/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	made().Replace(named{}, policy)
	g.compat.Rejudge()
	for _, conn := range []*websocket.Conn{gone, alone} {
		if m := hear(t, conn); !strings.Contains(m, "permission denied") {
			t.Errorf("t1 hears %s", m)
		}
	}
	eventually(t, "t1's watches are released", func() bool { return g.watchers(t) == 1 })
	write(t, c, "tenants/t2/k", "his")
	if m := hear(t, stays); !strings.Contains(m, b64("his")) {
		t.Errorf("t2 hears %s", m)
	}
}

// A watch that leaves its feed for a stream of its own is still one watch: a caller at his limit keeps it.
func TestAWatchThatLeavesItsFeedCountsOnce(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: []string{"one"}}, Namespace: "tenants/one/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}}, Limits: authz.Limits{Watches: 1},
	})
	g := startWith(t, embedetcd.StartForTest(t), compat.Options{WriteTimeout: time.Hour}, setup{
		gate: gate, feeds: stream.Options{FeedBytes: 1 << 18, MaxCatchupRevisions: 1}, // who falls off the log has to leave
	})
	c := g.oracle(t)
	slow := open(t, http.MethodPost, g.url+"/v3/watch", createRequest("k", "", ""), by("one"))
	slow.wants(`"created":true`)
	const n = 100
	value := strings.Repeat("x", 64<<10)
	for range n {
		write(t, c, "tenants/one/k", value)
	}
	for got := 0; got < n; {
		r := slow.response()
		if len(r.Result.Events) == 0 {
			t.Fatalf("after %d events of %d: got %+v", got, n, r)
		}
		got += len(r.Result.Events)
	}
	if a := ask(t, g.url, post("/v3/watch", createRequest("k", "", ""), by("one"))); !strings.Contains(a.body, "ResourceExhausted") {
		t.Errorf("a second watch: got %d %s, want that one is his limit", a.status, a.body)
	}
}
