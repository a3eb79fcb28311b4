package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// AuthRevision gives a number that moves whenever etcd's users, roles or permissions change; 0 while authentication is off.
func (c *Client) AuthRevision(ctx context.Context) (uint64, error) {
	r, err := pb.NewAuthClient(c).AuthStatus(ctx, &pb.AuthStatusRequest{})
	if err != nil || !r.GetEnabled() {
		return 0, err
	}
	return r.GetAuthRevision(), nil
}

// Authenticated tells whether the client shows etcd who it is.
func (c *Client) Authenticated() bool { return c.identity.renewable() || c.pool.config.Token != "" }
