package etcdclient_test

import (
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// guarded is an etcd that asks who calls: root with the password root, and reader, who may read app/.
func guarded(t *testing.T) *etcdclient.Client {
	t.Helper()
	c, _ := embedded(t)
	ctx := within(t, 20*time.Second)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	auth := pb.NewAuthClient(c)
	for _, name := range []string{"root", "reader"} {
		_, err := c.UserAdd(ctx, name, name)
		must(err)
	}
	_, err := c.UserGrant(ctx, "root", "root")
	must(err)
	_, err = c.RoleAdd(ctx, "reads")
	must(err)
	_, err = c.RoleGrant(ctx, "reads", etcdclient.Permission{Read: true, Key: []byte("app/"), End: []byte("app0")})
	must(err)
	_, err = c.UserGrant(ctx, "reader", "reads")
	must(err)
	_, err = auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
	must(err)
	return c
}

func TestUsersShareTheirTokenAndNothingElse(t *testing.T) {
	t.Parallel()
	c := guarded(t)
	ctx := within(t, 20*time.Second)
	views := make([]*etcdclient.Client, 50)
	var wg sync.WaitGroup
	for i := range views {
		wg.Go(func() {
			v, err := c.AsUser(ctx, "reader", "reader")
			if err != nil {
				t.Error(err)
			}
			views[i] = v
		})
	}
	wg.Wait()
	for _, v := range views[1:] {
		if v != views[0] {
			t.Fatal("the same credentials gave two identities")
		}
	}
	if _, err := views[0].Range(ctx, &wire.RangeRequest{Key: []byte("app/a")}); err != nil {
		t.Errorf("what the user may read: %v", err)
	}
	if _, err := views[0].Range(ctx, &wire.RangeRequest{Key: []byte("b")}); asError(t, err).Name != "PermissionDenied" {
		t.Errorf("what the user may not read: %v", err)
	}
	root, err := c.AsUser(ctx, "root", "root")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Put(ctx, &wire.PutRequest{Key: []byte("b")}); err != nil {
		t.Errorf("another user over the same connections: %v", err)
	}
	if _, err := c.Range(ctx, &wire.RangeRequest{Key: []byte("b")}); asError(t, err).Name != "UserEmpty" {
		t.Errorf("the client itself is still nobody: %v", err)
	}
}

func TestRefusedPasswordsPushOutNobody(t *testing.T) {
	t.Parallel()
	c := guarded(t)
	ctx := within(t, 60*time.Second)
	good, err := c.AsUser(ctx, "reader", "reader")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if _, err := c.AsUser(ctx, "reader", "guess"+string(rune('0'+i%10))+string(rune('a'+i/10))); asError(t, err).Name != "AuthFailed" {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	if again, err := c.AsUser(ctx, "reader", "reader"); err != nil || again != good {
		t.Errorf("the good identity after 400 guesses: %p, %v; want %p", again, err, good)
	}
}

func TestATokenIsJudgedByEtcd(t *testing.T) {
	t.Parallel()
	c := guarded(t)
	ctx := within(t, 20*time.Second)
	token, err := c.Login(ctx, "reader", "reader")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.AsToken(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Range(ctx, &wire.RangeRequest{Key: []byte("app/a")}); err != nil {
		t.Errorf("what the token may read: %v", err)
	}
	if _, err := c.AsToken(ctx, "nonsense.1"); asError(t, err).Name != "InvalidAuthToken" {
		t.Errorf("no token of etcd's: %v", err)
	}
}
