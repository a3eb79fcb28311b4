package stream_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// guarded sets up an etcd that asks who is there: root, and app, whose role gives it the keys under a/ and b/.
func guarded(t testing.TB, etcd *embedetcd.Server) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "app", "app"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reader"); return err },
		func() error { return grant(ctx, c, "a/") },
		func() error { return grant(ctx, c, "b/") },
		func() error { _, err := c.UserGrantRole(ctx, "app", "reader"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func grant(ctx context.Context, c *clientv3.Client, prefix string) error {
	_, err := c.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
	return err
}

// TestARightThatWasTakenAwayEndsTheWatch: etcd judges a watch once, when it is created; the gateway looks again, within six
// seconds, and the watches that are still allowed go on.
func TestARightThatWasTakenAwayEndsTheWatch(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) {
		s.user, s.prepare = "app", func(etcd *embedetcd.Server) { guarded(t, etcd) }
	})
	g.get(t, "/v1/watch?prefix=c/").problem(t, 403, "permission_denied")
	denied, allowed := g.lines(t, "prefix=a/"), g.lines(t, "prefix=b/")
	denied.created()
	allowed.created()
	g.put(t, "a/1", "x")
	denied.kind("events")
	if _, err := g.oracle.RoleRevokePermission(t.Context(), "reader", "a/", clientv3.GetPrefixRangeEnd("a/")); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	denied.fails("permission_denied")
	if d := time.Since(taken); d > 10*time.Second { // the promise is six; the machine may be busy
		t.Errorf("the watch ended %v after the right was taken away, want about 6 s at most", d)
	}
	g.put(t, "b/1", "x")
	allowed.kind("events")
}

// TestWhoseUserIsGoneWatchesNoMore: also when nobody is left who could be told that the roles have changed, since the only user
// of etcd's that anybody here has is the one who is gone.
func TestWhoseUserIsGoneWatchesNoMore(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(context.Context, *clientv3.Client) error{
		"deleted": func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.UserDelete(ctx, "app")
			return err
		},
		"another password": func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.UserChangePassword(ctx, "app", "another")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			g := start(t, judged(t, authz.Rule{Grants: []authz.Grant{{Verbs: authz.All}}}), func(s *setup) {
				s.user, s.prepare = "app", func(etcd *embedetcd.Server) { guarded(t, etcd) }
			})
			const quiet = "prefix=a/&heartbeat=300" // so that what does not come is not waited for for ever
			streams := []*subscription{g.lines(t, quiet, "Authorization: Basic YXBwOmFwcA=="), g.lines(t, quiet, as("of the gateway's own user"))}
			for _, s := range streams {
				s.created()
			}
			if err := change(t.Context(), g.oracle); err != nil {
				t.Fatal(err)
			}
			for _, s := range streams {
				s.fails("unauthenticated")
			}
		})
	}
}
