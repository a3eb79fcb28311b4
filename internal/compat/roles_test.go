package compat_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// within is how long a watch may go on whose right was taken back.
const within = 6 * time.Second

// etcd judges a watch when it begins, and never again. Here a role that is taken back ends it: whoever's identity it is under, and whether
// it shares a feed or has a stream of its own.
func TestATakenRoleEndsWatchesOfV3(t *testing.T) {
	t.Parallel()
	plain, root := guarded(t, 300)
	policy, err := authz.NewPolicy([]authz.Rule{{When: authz.When{Kind: authn.KindEtcd}, Grants: []authz.Grant{{Verbs: authz.All}}}})
	if err != nil {
		t.Fatal(err)
	}
	gated := startWith(t, plain.etcd, compat.Options{}, setup{gate: func(c *etcdclient.Client) *authz.Gate {
		return authz.NewGate(c, authn.New(authn.NewEtcd()), policy)
	}}, func(c *etcdclient.Config) { c.Username, c.Password = "root", "toor" })
	basic := "Basic " + b64("app:app")
	token := tokenOf(t, ask(t, plain.url, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
	sockets := map[string]*websocket.Conn{
		"the gateway's identity":       dial(t, plain.url, "/v3/watch", nil),
		"a token of etcd's":            dial(t, plain.url, "/v3/watch", nil, "Authorization: "+token),
		"a caller who is etcd's user":  dial(t, gated.url, "/v3/watch", nil, "Authorization: "+basic),
		"a caller with a token of his": dial(t, gated.url, "/v3/watch", nil, "Authorization: "+token),
	}
	for who, socket := range sockets {
		for id, create := range []string{
			createRequest("q/", "q0", `,"watch_id":"10"`), createRequest("q/", "q0", `,"watch_id":"11","fragment":true`),
			createRequest("p/", "p0", `,"watch_id":"20"`), createRequest("p/1", "", `,"watch_id":"21","progress_notify":true,"prev_kv":true`),
		} {
			say(t, socket, create)
			if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
				t.Fatalf("%s: watch %d: got %s", who, id, m)
			}
		}
	}
	if _, err := root.RoleRevokePermission(t.Context(), "app", "p/", clientv3.GetPrefixRangeEnd("p/")); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	for who, socket := range sockets {
		ended := map[string]bool{"20": false, "21": false}
		for range ended {
			m := hear(t, socket)
			for id := range ended {
				ended[id] = ended[id] || strings.Contains(m, `"watch_id":"`+id+`"`) && strings.Contains(m, `"canceled":true`) && strings.Contains(m, "permission denied")
			}
		}
		if d := time.Since(taken); !ended["20"] || !ended["21"] || d > within+2*time.Second { // the machine may be busy
			t.Errorf("%s: after %v the ends of both watches were told: %v; want that within %v", who, d, ended, within)
		}
	}
	write(t, root, "p/1", "not for them")
	write(t, root, "q/1", "for them")
	for who, socket := range sockets {
		for range 2 {
			if m := hear(t, socket); !strings.Contains(m, b64("for them")) {
				t.Errorf("%s: the other watches: got %s", who, m)
			}
		}
	}
}
