package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Lease is a granted lease.
type Lease struct {
	ID int64
	// TTL is what etcd granted, in seconds; it can be more than was asked for.
	TTL    int64
	Header wire.Header
}

// LeaseStatus is what etcd knows of a lease.
type LeaseStatus struct {
	ID int64
	// TTL is the time left and GrantedTTL the time granted, in seconds.
	TTL, GrantedTTL int64
	// Keys are attached to the lease, when they were asked for.
	Keys   [][]byte
	Header wire.Header
}

// LeaseGrant makes a lease of ttl seconds; etcd chooses the id when id is 0. It is never repeated once it may have been
// sent, since each grant is another lease.
func (c *Client) LeaseGrant(ctx context.Context, ttl, id int64) (Lease, error) {
	r, err := pb.NewLeaseClient(c).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: ttl, ID: id})
	if err != nil {
		return Lease{}, err
	}
	return Lease{ID: r.GetID(), TTL: r.GetTTL(), Header: headerOf(r.GetHeader())}, nil
}

// LeaseRevoke ends the lease and deletes its keys. An unknown lease is ErrLeaseNotFound.
func (c *Client) LeaseRevoke(ctx context.Context, id int64) (wire.Header, error) {
	r, err := pb.NewLeaseClient(c).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
	return headerOf(r.GetHeader()), err
}

// LeaseTimeToLive tells the time that the lease has left, and with keys the keys attached to it. An unknown lease is
// ErrLeaseNotFound; etcd itself answers it with a time of -1.
func (c *Client) LeaseTimeToLive(ctx context.Context, id int64, keys bool) (LeaseStatus, error) {
	return timeToLive(ctx, pb.NewLeaseClient(c), id, keys)
}

func timeToLive(ctx context.Context, client pb.LeaseClient, id int64, keys bool) (LeaseStatus, error) {
	r, err := client.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
	if err != nil {
		return LeaseStatus{}, err
	}
	if r.GetTTL() < 0 {
		return LeaseStatus{}, errLeaseNotFound(methods[pb.Lease_LeaseTimeToLive_FullMethodName])
	}
	return LeaseStatus{
		ID: r.GetID(), TTL: r.GetTTL(), GrantedTTL: r.GetGrantedTTL(), Keys: r.GetKeys(), Header: headerOf(r.GetHeader()),
	}, nil
}

// Leases lists the ids of all leases.
func (c *Client) Leases(ctx context.Context) ([]int64, wire.Header, error) {
	r, err := pb.NewLeaseClient(c).LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return nil, wire.Header{}, err
	}
	ids := make([]int64, 0, len(r.GetLeases()))
	for _, l := range r.GetLeases() {
		ids = append(ids, l.GetID())
	}
	return ids, headerOf(r.GetHeader()), nil
}

// errLeaseNotFound is etcd's error where etcd says the same with a time to live.
func errLeaseNotFound(m *method) *Error {
	return answered(m, knownByText[textLeaseNotFound], codes.NotFound, textLeaseNotFound)
}

// LeaseNotFound is etcd's answer about a lease that does not exist, for those who must not say of one that it does.
func LeaseNotFound() error { return errLeaseNotFound(methods[pb.Lease_LeaseTimeToLive_FullMethodName]) }
