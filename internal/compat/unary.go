package compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// unary is a call that has been judged. etcd's leases belong to nobody: who owns one is told by its id, so that the gateway
// chooses the ids of those that are made, and asks for nothing of those that are somebody else's.
type unary struct {
	pass

	conn   grpc.ClientConnInterface
	method string
	opts   []grpc.CallOption
}

func (u *unary) send(ctx context.Context, request, answer any) error {
	switch r := request.(type) {
	case *pb.LeaseGrantRequest:
		return u.grant(ctx, r, answer)
	case *pb.LeaseRevokeRequest:
		if !u.caller.Owns(r.GetID()) {
			return rpctypes.ErrGRPCLeaseNotFound
		}
	case *pb.LeaseTimeToLiveRequest:
		return u.timeToLive(ctx, r, answer)
	case *pb.DeleteRangeRequest:
		if d, ok := answer.(*pb.DeleteRangeResponse); ok && u.caller.CountsDeletes() && len(r.GetRangeEnd()) > 0 {
			return u.deleteRange(ctx, r, d)
		}
	case *pb.TxnRequest:
		if t, ok := answer.(*pb.TxnResponse); ok && u.caller.CountsDeletes() {
			if ranges := spans(nil, r); len(ranges) > 0 {
				return u.deleting(ctx, r, t, ranges)
			}
		}
	case *lock.LockRequest, *election.CampaignRequest, *election.ProclaimRequest, *election.ResignRequest:
		message, _ := r.(proto.Message)
		inner, err := u.withLease(ctx, message)
		if err != nil {
			return err
		}
		request = inner
	}
	return u.invoke(ctx, request, answer)
}

func (u *unary) invoke(ctx context.Context, request, answer any) error {
	return u.conn.Invoke(ctx, u.method, request, answer, u.opts...)
}

// grant makes a lease. Who owns leases by their ids cannot choose one.
func (u *unary) grant(ctx context.Context, r *pb.LeaseGrantRequest, answer any) error {
	if u.caller.MayChooseLeases() == nil {
		return u.invoke(ctx, r, answer)
	}
	if r.GetID() != 0 {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return u.caller.GrantLease(func(id int64) error {
		return u.invoke(ctx, &pb.LeaseGrantRequest{TTL: r.GetTTL(), ID: id}, answer)
	})
}

// noLease is the id that no lease has: etcd says of it what it says of one that does not exist.
const noLease = 0

// timeToLive asks for a lease.
func (u *unary) timeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest, answer any) error {
	if u.caller.Owns(r.GetID()) {
		return u.invoke(ctx, r, answer)
	}
	err := u.invoke(ctx, &pb.LeaseTimeToLiveRequest{ID: noLease, Keys: r.GetKeys()}, answer)
	if a, ok := answer.(*pb.LeaseTimeToLiveResponse); ok {
		a.ID = r.GetID()
	}
	return err
}

const (
	// sessionTTL is what etcd gives to the lease of a place that brings none, in seconds (package concurrency).
	sessionTTL = 60
	// anyLease is what etcd itself names where it needs no lease.
	anyLease = -1
)

// withLease gives a place a lease of the caller's when it brings none: one that etcd makes would be nobody's. A resignation
// needs none at all.
func (u *unary) withLease(ctx context.Context, request proto.Message) (proto.Message, error) {
	if u.caller.MayChooseLeases() == nil {
		return request, nil
	}
	inner := proto.Clone(request)
	var lease *int64
	switch r := inner.(type) {
	case *lock.LockRequest:
		lease = &r.Lease
	case *election.CampaignRequest:
		lease = &r.Lease
	case *election.ProclaimRequest:
		if r.GetLeader() != nil {
			lease = &r.Leader.Lease
		}
	case *election.ResignRequest:
		if r.GetLeader() != nil {
			r.Leader.Lease = anyLease
		}
	}
	if lease == nil || *lease != noLease {
		return inner, nil
	}
	granted, err := u.caller.Store().LeaseGrant(ctx, sessionTTL, noLease)
	*lease = granted.ID
	return inner, err
}
