package compat_test

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
)

// Who is no user of etcd's any more, or has another password or no role, watches no more, whatever he showed when he came: also where
// nobody is left who could tell that something has changed, because the gateway has no user of its own.
func TestAUserWhoIsGoneWatchesNoMore(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(context.Context, *clientv3.Client) error{
		"deleted": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserDelete(ctx, "app")
			return err
		},
		"another password": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserChangePassword(ctx, "app", "another")
			return err
		},
		"without his role": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserRevokeRole(ctx, "app", "app")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ours, root := guarded(t, 300)
			userless := startOn(t, ours.etcd, compat.Options{})
			gated := startBehind(t, ours.etcd, usersOfEtcd(t, authn.New(authn.NewEtcd())))
			lend, _ := guard(t, named{}, authz.Rule{
				When: authz.When{Names: []string{"borrower"}}, Grants: []authz.Grant{{Verbs: authz.All}}, EtcdUser: "app", EtcdPassword: "app",
			})
			lent := startBehind(t, ours.etcd, lend)
			token := tokenOf(t, ask(t, ours.url, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
			sockets := map[string]*websocket.Conn{
				"the gateway's user": dial(t, ours.url, "/v3/watch", nil),
				"a token":            dial(t, userless.url, "/v3/watch", nil, "Authorization: "+token),
				"a password, asked":  dial(t, gated.url, "/v3/watch", nil, "Authorization: Basic "+b64("app:app")),
				"a token, asked":     dial(t, gated.url, "/v3/watch", nil, "Authorization: "+token),
				"the policy's user":  dial(t, lent.url, "/v3/watch", nil, by("borrower")),
			}
			for who, socket := range sockets {
				for _, options := range []string{"", `,"progress_notify":true`} { // by a feed where there is one, and by a stream of its own
					say(t, socket, createRequest("p/", "p0", options))
					if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
						t.Fatalf("%s: got %s", who, m)
					}
				}
			}
			if err := change(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			for who, socket := range sockets {
				for range 2 {
					if m := hearSoon(t, socket); !strings.Contains(m, `"canceled":true`) ||
						!strings.Contains(m, "permission denied") && !strings.Contains(m, "invalid auth token") {
						t.Errorf("%s: got %q, want the end of a watch", who, m)
					}
				}
			}
		})
	}
}

// hearSoon is hear for what may take a while, and empty when nothing comes.
func hearSoon(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, message, err := conn.Read(ctx)
	if err != nil {
		t.Errorf("nothing is heard: %v", err)
	}
	return string(message)
}
