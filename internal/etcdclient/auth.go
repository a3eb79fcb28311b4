package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// AuthStatus is whether etcd demands to know who calls.
type AuthStatus struct {
	Enabled bool
	// Revision moves whenever users, roles or permissions change; 0 when etcd does not tell.
	Revision uint64
	Header   wire.Header
}

// AuthStatus asks whether authentication is on. An etcd before 3.7 tells only those whom it knows.
func (c *Client) AuthStatus(ctx context.Context) (AuthStatus, error) {
	r, err := pb.NewAuthClient(c).AuthStatus(ctx, &pb.AuthStatusRequest{})
	return AuthStatus{Enabled: r.GetEnabled(), Revision: r.GetAuthRevision(), Header: headerOf(r.GetHeader())}, err
}

// AuthRevision gives a number that moves whenever etcd's users, roles or permissions change; 0 while authentication is off.
func (c *Client) AuthRevision(ctx context.Context) (uint64, error) {
	s, err := c.AuthStatus(ctx)
	if err != nil || !s.Enabled {
		return 0, err
	}
	return s.Revision, nil
}

// Authenticated tells whether the client shows etcd who it is.
func (c *Client) Authenticated() bool {
	if c.identity.renewable() {
		return true
	}
	shown := c.identity.current.Load()
	return shown != nil && shown.value != ""
}

// Renews tells whether the client gets itself another token when etcd refuses the one it has.
func (c *Client) Renews() bool { return c.identity.renewable() }

// AuthEnable turns authentication on. There must be a user root that has the role root.
func (c *Client) AuthEnable(ctx context.Context) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).AuthEnable(ctx, &pb.AuthEnableRequest{})
	return headerOf(r.GetHeader()), err
}

// AuthDisable turns authentication off.
func (c *Client) AuthDisable(ctx context.Context) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).AuthDisable(ctx, &pb.AuthDisableRequest{})
	return headerOf(r.GetHeader()), err
}

// Login gives a token for a user of etcd. It needs no token of the client's own, and does not change the client.
func (c *Client) Login(ctx context.Context, name, password string) (string, error) {
	return c.asNobody().authenticate(ctx, name, password)
}

// asNobody gives the client without its identity: authenticating needs no token, and must not ask for one.
func (c *Client) asNobody() *Client {
	nobody := *c
	nobody.identity = c.nobody
	return &nobody
}
