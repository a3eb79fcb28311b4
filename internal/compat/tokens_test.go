package compat_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// guarded gives a gateway whose etcd user may use p/ and q/, over an etcd whose tokens live for so many seconds, and root's client.
func guarded(t *testing.T, ttl uint) (*gateway, *clientv3.Client) {
	t.Helper()
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.AuthTokenTTL = ttl })
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.RoleAdd(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"p/", "q/", "\x00etcdrest/"} {
		_, err := c.RoleGrantPermission(t.Context(), "app", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.UserAdd(t.Context(), "app", "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserGrantRole(t.Context(), "app", "app"); err != nil {
		t.Fatal(err)
	}
	enable(t, etcd.Endpoint())
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Username: "root", Password: "toor", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return startOn(t, etcd, compat.Options{}, func(c *etcdclient.Config) { c.Username, c.Password = "app", "app" }), root
}

// expire waits until a token that is issued now has expired, as etcd says; those of before have, too.
func expire(t *testing.T, etcd string) {
	t.Helper()
	token := tokenOf(t, ask(t, etcd, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
	for tries := 0; ; tries++ {
		select { // a simple token lives on while it is used: leave it alone for longer than that
		case <-time.After(2500 * time.Millisecond):
		case <-t.Context().Done():
		}
		if a := ask(t, etcd, post("/v3/kv/range", `{"key":"cC8="}`, "Authorization: "+token)); a.status == 401 {
			return
		}
		if tries > 5 {
			t.Fatal("the token does not expire")
		}
	}
}

// A watch without a token of its caller's lives on when the gateway's own has expired, and can begin then: shared, on a stream of its
// own, and as a further watch of a socket that is older than the token.
func TestTheGatewaysTokenMayExpire(t *testing.T) {
	t.Parallel()
	g, root := guarded(t, 1)
	own := `,"fragment":true`
	begun := []*lineStream{g.watch(t, g.url, "p/", "p0", ""), g.watch(t, g.url, "p/", "p0", own)}
	socket := dial(t, g.url, "/v3/watch", nil)
	say(t, socket, createRequest("p/1", "", own))
	if m := hear(t, socket); strings.Contains(m, "canceled") {
		t.Fatalf("got %s", m)
	}
	for _, s := range begun {
		s.wants(`"created":true`)
	}
	for round := range 2 {
		expire(t, g.etcd.Endpoint())
		for _, options := range []string{own, "", `,"progress_notify":true,"start_revision":"2"`} {
			s := g.watch(t, g.url, "p/", fmt.Sprintf("p/%d~", round), options) // a range of which there is no feed yet
			if m := s.wants(`"created":true`); strings.Contains(m, "canceled") {
				t.Errorf("with %q: got %s", options, m)
			}
			if options != "" {
				begun = append(begun, s)
			}
		}
		say(t, socket, createRequest("p/1", "", own))
		if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
			t.Errorf("over the socket: got %s", m)
		}
	}
	revision := write(t, root, "p/1", "v")
	for _, s := range begun {
		if !strings.Contains(s.what, `"range_end":"cC8wfg=="`) { // p/0~ does not have it
			s.wants(fmt.Sprintf(`"mod_revision":"%d"`, revision))
		}
	}
	for range 3 {
		if m := hear(t, socket); !strings.Contains(m, fmt.Sprintf(`"mod_revision":"%d"`, revision)) {
			t.Errorf("over the socket: got %s", m)
		}
	}
	// What is refused for good is told in etcd's words.
	for _, options := range []string{own, ""} {
		a := ask(t, g.url, post("/v3/watch", createRequest("x", "", options)))
		if !strings.Contains(a.body, `"created":true,"canceled":true`) && !strings.Contains(a.body, `"canceled":true`) || !strings.Contains(a.body, "permission denied") {
			t.Errorf("a key of others with %q: got %s", options, a.body)
		}
	}
}

// A caller's own token is not renewed: what etcd says of it is passed on, and such a watch shares nothing.
func TestACallersTokenExpires(t *testing.T) {
	t.Parallel()
	g, _ := guarded(t, 1)
	token := tokenOf(t, ask(t, g.url, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
	feeds := g.state(t)
	watch := post("/v3/watch", createRequest("p/", "p0", ""), "Authorization: "+token)
	watch.lines = 1
	if a := ask(t, g.url, watch); !strings.Contains(a.body, `"created":true`) || strings.Contains(a.body, "canceled") {
		t.Fatalf("got %s", a.body)
	}
	if got := g.state(t); !bytes.Equal(feeds, got) {
		t.Errorf("it takes part in a feed: %s, before %s", got, feeds)
	}
	expire(t, g.etcd.Endpoint())
	watch.lines = 0
	if a := ask(t, g.url, watch); !strings.Contains(a.body, "invalid auth token") {
		t.Errorf("with a token that has expired: got %s", a.body)
	}
}

// state is what the feeds do.
func (g *gateway) state(t *testing.T) []byte {
	t.Helper()
	state, err := g.hub.AppendState(nil)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// A shared watch ends when the gateway's right is taken away, which etcd itself would not notice.
func TestARightThatWasTakenAwayEndsASharedWatch(t *testing.T) {
	t.Parallel()
	g, root := guarded(t, 1)
	denied, allowed := g.watch(t, g.url, "p/", "p0", ""), g.watch(t, g.url, "q/", "q0", "")
	for _, s := range []*lineStream{denied, allowed} {
		s.wants(`"created":true`)
	}
	if _, err := root.RoleRevokePermission(t.Context(), "app", "p/", clientv3.GetPrefixRangeEnd("p/")); err != nil {
		t.Fatal(err)
	}
	if m := denied.wants(`"canceled":true`); !strings.Contains(m, "etcdserver: permission denied") {
		t.Errorf("got %s", m)
	}
	revision := write(t, root, "q/1", "v")
	allowed.wants(fmt.Sprintf(`"mod_revision":"%d"`, revision))
}
