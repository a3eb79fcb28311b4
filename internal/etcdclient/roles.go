package etcdclient

import (
	"context"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Permission is what a role may do with the keys of a range; End is as in a range.
type Permission struct {
	Key, End    []byte
	Read, Write bool
}

// Roles lists the names of etcd's roles.
func (c *Client) Roles(ctx context.Context) ([]string, wire.Header, error) {
	r, err := pb.NewAuthClient(c).RoleList(ctx, &pb.AuthRoleListRequest{})
	return r.GetRoles(), headerOf(r.GetHeader()), err
}

// RolePermissions lists the permissions of the role.
func (c *Client) RolePermissions(ctx context.Context, name string) ([]Permission, wire.Header, error) {
	r, err := pb.NewAuthClient(c).RoleGet(ctx, &pb.AuthRoleGetRequest{Role: name})
	permissions := make([]Permission, 0, len(r.GetPerm()))
	for _, p := range r.GetPerm() {
		permissions = append(permissions, Permission{
			Key: p.GetKey(), End: p.GetRangeEnd(),
			Read: p.GetPermType() != authpb.Permission_WRITE, Write: p.GetPermType() != authpb.Permission_READ,
		})
	}
	return permissions, headerOf(r.GetHeader()), err
}

// RoleAdd adds a role, which may do nothing yet.
func (c *Client) RoleAdd(ctx context.Context, name string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name})
	return headerOf(r.GetHeader()), err
}

// RoleDelete removes the role, from those who have it too.
func (c *Client) RoleDelete(ctx context.Context, name string) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: name})
	return headerOf(r.GetHeader()), err
}

// RoleGrant gives the role a permission; that for the same range it replaces.
func (c *Client) RoleGrant(ctx context.Context, name string, p Permission) (wire.Header, error) {
	kind := authpb.Permission_READWRITE
	switch {
	case !p.Write:
		kind = authpb.Permission_READ
	case !p.Read:
		kind = authpb.Permission_WRITE
	}
	r, err := pb.NewAuthClient(c).RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{
		Name: name, Perm: &authpb.Permission{PermType: kind, Key: p.Key, RangeEnd: p.End},
	})
	return headerOf(r.GetHeader()), err
}

// RoleRevoke takes the permission for the range from the role, of whatever kind.
func (c *Client) RoleRevoke(ctx context.Context, name string, key, end []byte) (wire.Header, error) {
	r, err := pb.NewAuthClient(c).RoleRevokePermission(ctx, &pb.AuthRoleRevokePermissionRequest{Role: name, Key: key, RangeEnd: end})
	return headerOf(r.GetHeader()), err
}
