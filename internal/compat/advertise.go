package compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// advertised lists the members with the gateway's URL as their client URL. Clients such as Patroni ask one address for the
// members and go to those from then on, past the gateway, if they can reach them at all.
type advertised struct {
	pb.ClusterClient

	url string // empty: the members' own
}

// MemberList implements pb.ClusterClient. A member that was never started has no client URL, by which clients know it.
func (a advertised) MemberList(ctx context.Context, r *pb.MemberListRequest, opts ...grpc.CallOption) (*pb.MemberListResponse, error) {
	list, err := a.ClusterClient.MemberList(ctx, r, opts...)
	if a.url == "" {
		return list, err
	}
	for _, m := range list.GetMembers() {
		if len(m.GetClientURLs()) > 0 {
			m.ClientURLs = []string{a.url}
		}
	}
	return list, err
}
