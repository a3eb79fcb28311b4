package compat_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
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
