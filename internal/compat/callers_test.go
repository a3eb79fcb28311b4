package compat_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// A caller with rights of his own has no place in the gateway's feeds: he sees what is his, and nothing beside it.
func TestACallerWithRightsOfHisOwnSharesNoFeed(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	c := g.oracle(t)
	before := g.state(t)
	socket := dial(t, g.url, "/v3/watch", []string{"Bearer", "t1"})
	for range 2 {
		say(t, socket, createRequest("k", "l", ""))
		if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
			t.Fatalf("got %s", m)
		}
	}
	if got := g.state(t); !bytes.Equal(before, got) {
		t.Errorf("he takes part in a feed: %s, before %s", got, before)
	}
	write(t, c, "k", "everybody's")
	write(t, c, "tenants/t2/k", "another's")
	write(t, c, "tenants/t1/k", "his")
	for range 2 {
		if m := hear(t, socket); !strings.Contains(m, `"key":"aw=="`) || !strings.Contains(m, `"value":"`+b64("his")+`"`) {
			t.Errorf("got %s", m)
		}
	}
	if a := ask(t, g.url, post("/v3/watch", createRequest("k", "", ""), "Authorization: Bearer t0", "Grpc-Timeout: 1S")); !strings.Contains(a.body, `"code":4`) {
		t.Errorf("a time-out of the caller's: got %s", a.body)
	}
}
