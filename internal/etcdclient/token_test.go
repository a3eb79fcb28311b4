package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// guard is a scripted etcd with authentication: it takes one token at a time.
type guard struct {
	valid  atomic.Value // string
	issued atomic.Int64
}

func (g *guard) check(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	tokens := md.Get("token")
	if len(tokens) == 0 {
		return status.Error(codes.InvalidArgument, "etcdserver: user name is empty")
	}
	if tokens[0] != g.valid.Load() {
		return status.Error(codes.Unauthenticated, "etcdserver: invalid auth token")
	}
	return nil
}

func (g *guard) issue() string {
	token := fmt.Sprintf("token-%d", g.issued.Add(1))
	g.valid.Store(token)
	return token
}

func user(name, password string) func(*etcdclient.Config) {
	return func(c *etcdclient.Config) { c.Username, c.Password = name, password }
}

func TestOneAuthenticateForTwoHundredCallsWithAnExpiredToken(t *testing.T) {
	t.Parallel()
	const calls = 200
	var (
		g       guard
		refused atomic.Int64
		all     = make(chan struct{}) // closed when every call has brought the expired token
	)
	check := func(ctx context.Context) error {
		err := g.check(ctx)
		if err == nil {
			return nil
		}
		if refused.Add(1) == calls {
			close(all)
		}
		select {
		case <-all:
			return err
		case <-ctx.Done():
			return hang(ctx)
		}
	}
	s := serve(t, &scripted{onPut: check, onRange: check, onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) {
		return g.issue(), nil
	}})
	c := ready(t, []string{s.endpoint}, user("u", "p"), apart)
	put(t, c, "k", "v")
	if n := s.authns.Load(); n != 1 {
		t.Fatalf("the first call authenticated %d times; want once", n)
	}
	g.valid.Store("another")

	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = c.Put(ctx, &wire.PutRequest{Key: []byte("k")})
			} else {
				_, err = c.Range(ctx, &wire.RangeRequest{Key: []byte("k")})
			}
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := s.authns.Load(); n != 2 {
		t.Errorf("%d authentications; want 2: the first, and one renewal for %d calls", n, calls)
	}
	if n := s.puts.Load() + s.ranges.Load(); n != 1+2*calls {
		t.Errorf("%d calls arrived; want 1 and each of %d refused once and repeated once", n, calls)
	}
	if n := gauge(t, c, "etcdrest_etcd_token_refreshes_total", "result", "ok"); n != 2 {
		t.Errorf("token refreshes counted: %v; want 2", n)
	}
}

func TestTokenRenewalRepeatsOnceAndNoMore(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"etcdserver: invalid auth token", "etcdserver: revision of auth store is old"} {
		s := serve(t, &scripted{
			onPut:   func(context.Context) error { return status.Error(codes.InvalidArgument, text) },
			onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) { return "t", nil },
		})
		c := ready(t, []string{s.endpoint}, user("u", "p"))
		_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
		if e := asError(t, err); e.Outcome != problem.NotApplied || e.Message != text {
			t.Errorf("%s: got %+v; want it, not_applied", text, e)
		}
		if p, a := s.puts.Load(), s.authns.Load(); p != 2 || a != 2 {
			t.Errorf("%s: %d puts and %d authentications; want 2 and 2", text, p, a)
		}
	}
}

func TestWrongPasswordIsNotTriedInALoop(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) {
		return "", rpctypes.ErrGRPCAuthFailed
	}})
	c := ready(t, []string{s.endpoint}, user("u", "wrong"))
	for range 200 {
		_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
		if e := asError(t, err); !errors.Is(err, rpctypes.ErrAuthFailed) || e.Outcome != problem.NotApplied || e.Problem().Code != problem.Unauthenticated {
			t.Fatalf("got %+v; want AuthFailed, not_applied, unauthenticated", e)
		}
	}
	if n := s.authns.Load(); n > 2 {
		t.Errorf("%d authentications for 200 calls; want one, and at most one more a second later", n)
	}
	if n := s.puts.Load(); n != 0 {
		t.Errorf("%d puts were sent without a token", n)
	}
}

func TestFixedTokenIsSentAsItIsAndNeverRenewed(t *testing.T) {
	t.Parallel()
	var g guard
	g.valid.Store("jwt")
	s := serve(t, &scripted{onPut: g.check})
	c := ready(t, []string{s.endpoint}, func(c *etcdclient.Config) { c.Token = "jwt" })
	put(t, c, "k", "v")
	g.valid.Store("another")
	_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
	if !errors.Is(err, rpctypes.ErrInvalidAuthToken) {
		t.Errorf("got %v; want invalid auth token", err)
	}
	if n := s.authns.Load(); n != 0 {
		t.Errorf("%d authentications; want none", n)
	}
}

func TestCallersOwnTokenWins(t *testing.T) {
	t.Parallel()
	var g guard
	g.valid.Store("callers")
	s := serve(t, &scripted{onPut: g.check})
	c := ready(t, []string{s.endpoint}, func(c *etcdclient.Config) { c.Token = "ours" })
	ctx := metadata.AppendToOutgoingContext(within(t, 5*time.Second), "token", "callers")
	if _, err := c.Put(ctx, &wire.PutRequest{Key: []byte("k")}); err != nil {
		t.Error(err)
	}
}

// A caller's own token, right or wrong, neither needs the client's, nor has it renewed, nor is answered with it.
func TestACallersOwnTokenIsKeptApartFromTheClients(t *testing.T) {
	t.Parallel()
	var g guard
	g.valid.Store("ours")
	s := serve(t, &scripted{onPut: g.check, onRange: g.check, onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) {
		return "ours", nil
	}})
	c := ready(t, []string{s.endpoint}, user("u", "p"))
	put(t, c, "k", "v")
	ctx := metadata.AppendToOutgoingContext(within(t, 20*time.Second), "token", "callers")
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if _, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
				t.Errorf("the client's own read: %v", err)
			}
		})
		calls.Go(func() {
			if _, err := c.Range(ctx, &wire.RangeRequest{Key: []byte("k")}); !errors.Is(err, rpctypes.ErrInvalidAuthToken) {
				t.Errorf("a read with another token: got %v; want invalid auth token", err)
			}
		})
	}
	calls.Wait()
	if _, err := pb.NewKVClient(c).Put(ctx, &pb.PutRequest{Key: []byte("k")}); !errors.Is(err, rpctypes.ErrInvalidAuthToken) {
		t.Errorf("a message with another token: got %v; want invalid auth token", err)
	}
	if a, p := s.authns.Load(), s.puts.Load(); a != 1 || p != 2 {
		t.Errorf("%d authentications and %d puts; want 1, and 2: a foreign token is neither renewed nor repeated", a, p)
	}
}

// enableAuth gives the embedded etcd a root and a user who may touch keys under app/.
func enableAuth(t *testing.T, s *embedetcd.Server) {
	t.Helper()
	root := official(t, clientv3.Config{Endpoints: []string{s.Endpoint()}})
	ctx := within(t, 20*time.Second)
	for _, step := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "app"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "app", "app/", "app0", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(ctx, "app", "apppw"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "app", "app"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatalf("enable authentication: %v", err)
		}
	}
}

func TestRealTokensExpireAndAreRenewed(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.AuthTokenTTL = 1 })
	before := ready(t, []string{s.Endpoint()}, user("app", "apppw"))
	put(t, before, "app/k", "before authentication was enabled")
	enableAuth(t, s)
	c := ready(t, []string{s.Endpoint()}, user("app", "apppw"))
	put(t, before, "app/k", "the client that had no token gets one")
	put(t, c, "app/k", "v")
	_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("other")})
	if e := asError(t, err); e.Name != "PermissionDenied" || e.Outcome != problem.NotApplied {
		t.Errorf("a foreign key: got %+v; want PermissionDenied, not_applied", e)
	}
	eventually(t, "a token has expired and was renewed", 20*time.Second, func() bool {
		put(t, c, "app/k", "v")
		rs, err := c.RangeStream(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("app/k")})
		if err != nil {
			t.Fatalf("range stream: %v", err)
		}
		rs.Close()
		select { // a simple token lives on while it is used: leave it alone for longer than that
		case <-time.After(2500 * time.Millisecond):
		case <-t.Context().Done():
		}
		return gauge(t, c, "etcdrest_etcd_token_refreshes_total", "result", "ok") > 1
	})
}

func TestAuthenticationDoesNotOutliveTheClient(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	s := serve(t, &scripted{onAuthn: func(ctx context.Context, _ *pb.AuthenticateRequest) (string, error) {
		close(arrived)
		return "", hang(ctx)
	}})
	c := ready(t, []string{s.endpoint}, user("u", "p"))
	failed := make(chan error, 1)
	go func() {
		_, err := c.Put(t.Context(), &wire.PutRequest{Key: []byte("k")})
		failed <- err
	}()
	<-arrived
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if e := asError(t, <-failed); e.Outcome != problem.NotApplied {
		t.Errorf("got %+v; want not_applied", e)
	}
}
