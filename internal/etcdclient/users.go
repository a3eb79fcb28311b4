package etcdclient

import (
	"context"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// MaxPasswordBytes is the longest password that etcd takes: what bcrypt hashes.
const MaxPasswordBytes = 72

// Users lists the names of etcd's users.
func (c *Client) Users(ctx context.Context) ([]string, wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserList(ctx, &pb.AuthUserListRequest{})
	return r.GetUsers(), headerOf(r.GetHeader()), err
}

// UserRoles lists the roles that the user has.
func (c *Client) UserRoles(ctx context.Context, name string) ([]string, wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserGet(ctx, &pb.AuthUserGetRequest{Name: name})
	return r.GetRoles(), headerOf(r.GetHeader()), err
}

// UserAdd adds a user; without a password one that is known by its certificate alone.
func (c *Client) UserAdd(ctx context.Context, name, password string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserAdd(ctx, &pb.AuthUserAddRequest{
		Name: name, Password: password, Options: &authpb.UserAddOptions{NoPassword: password == ""},
	})
	return headerOf(r.GetHeader()), err
}

// UserDelete removes the user.
func (c *Client) UserDelete(ctx context.Context, name string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserDelete(ctx, &pb.AuthUserDeleteRequest{Name: name})
	return headerOf(r.GetHeader()), err
}

// UserPassword changes the user's password, and ends the user's tokens.
func (c *Client) UserPassword(ctx context.Context, name, password string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserChangePassword(ctx, &pb.AuthUserChangePasswordRequest{Name: name, Password: password})
	return headerOf(r.GetHeader()), err
}

// UserGrant gives the user a role; one that it has already is no error.
func (c *Client) UserGrant(ctx context.Context, name, role string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: role})
	return headerOf(r.GetHeader()), err
}

// UserRevoke takes a role from the user.
func (c *Client) UserRevoke(ctx context.Context, name, role string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).UserRevokeRole(ctx, &pb.AuthUserRevokeRoleRequest{Name: name, Role: role})
	return headerOf(r.GetHeader()), err
}
