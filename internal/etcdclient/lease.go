package etcdclient

import (
	"context"
	"errors"
	"io"

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

// LeaseKeepAliveOnce renews the lease and gives the seconds it has from now. An unknown lease is ErrLeaseNotFound. Renewing
// twice is renewing once, so it is repeated like a read.
func (c *Client) LeaseKeepAliveOnce(ctx context.Context, id int64) (int64, error) {
	a, err := audited(ctx, c, methodRenew, &pb.LeaseKeepAliveRequest{ID: id}, func() (*pb.LeaseKeepAliveResponse, error) {
		ttl, err := c.renew(context.WithValue(ctx, renewing{}, true), id)
		return &pb.LeaseKeepAliveResponse{ID: id, TTL: ttl}, err
	})
	return a.GetTTL(), err
}

func (c *Client) renew(ctx context.Context, id int64) (int64, error) {
	m := methodRenew
	c.budget.deposit()
	renewed := false
	for n := 1; ; n++ {
		ttl, err := c.keepAlive(ctx, id)
		if err == nil {
			return ttl, nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return 0, err
		}
		reason := c.reasonToRepeat(m, e, n)
		switch {
		case reason == retryToken && !renewed && c.identity.renewable():
			renewed = true
		case reason == "" || reason == retryToken || !c.backOff(ctx, n):
			return 0, e
		}
		c.metrics.retried(m, reason)
	}
}

func (c *Client) keepAlive(ctx context.Context, id int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := pb.NewLeaseClient(c).LeaseKeepAlive(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	_ = s.CloseSend() // it fails only when the stream has ended, and then Recv says why
	r, err := s.Recv()
	m := methodRenew
	switch {
	case errors.Is(err, io.EOF):
		return 0, fromStatus(m, errEndedEarly, true, false, 0)
	case err != nil:
		return 0, err
	case r.GetTTL() <= 0:
		return 0, errLeaseNotFound(m)
	}
	return r.GetTTL(), nil
}

// errLeaseNotFound is etcd's error where etcd says the same with a time to live.
func errLeaseNotFound(m *method) *Error {
	return answered(m, knownByText[textLeaseNotFound], codes.NotFound, textLeaseNotFound)
}

// LeaseNotFound is etcd's answer about a lease that does not exist, for those who must not say of one that it does.
func LeaseNotFound() error { return errLeaseNotFound(methods[pb.Lease_LeaseTimeToLive_FullMethodName]) }
