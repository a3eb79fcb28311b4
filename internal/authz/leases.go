package authz

import (
	"context"
	"errors"
	"slices"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// mine refuses a lease of somebody else the way etcd refuses one that does not exist.
func (c *Caller) mine(id int64) error {
	if c.Owns(id) {
		return nil
	}
	return etcdclient.LeaseNotFound()
}

// mostTries is how often another id is chosen for a lease, when one of 8 million is taken.
const mostTries = 8

// GrantLease calls grant with an id for a new lease of the caller's, and with another one when that is taken.
func (c *Caller) GrantLease(grant func(id int64) error) (err error) {
	for range mostTries {
		if err = grant(c.NewLeaseID()); !errors.Is(err, etcdclient.ErrLeaseExist) {
			break
		}
	}
	return err
}

// MayChooseLeases refuses a caller whose leases are told apart by their ids, which the gateway therefore chooses.
func (c *Caller) MayChooseLeases() error {
	if c.tagged {
		return foreignID()
	}
	return nil
}

// NewLeaseID chooses an id for a lease of the caller's; 0 when any will do.
func (c *Caller) NewLeaseID() int64 {
	if c.tagged {
		return c.tag.newID()
	}
	return 0
}

func foreignID() *problem.Error {
	return problem.New(problem.PermissionDenied, "the ids of the caller's leases are chosen by the gateway; leave id out").
		WithOutcome(problem.NotApplied)
}

// LeaseGrant is etcdclient's. The lease of a caller whose leases are told apart by their ids has one of those.
func (s *Store) LeaseGrant(ctx context.Context, ttl, id int64) (lease etcdclient.Lease, err error) {
	if !s.caller.tagged {
		return s.etcd.LeaseGrant(ctx, ttl, id)
	}
	if id != 0 {
		if !s.caller.tag.owns(id) {
			return etcdclient.Lease{}, foreignID()
		}
		return s.etcd.LeaseGrant(ctx, ttl, id)
	}
	err = s.caller.GrantLease(func(id int64) error {
		lease, err = s.etcd.LeaseGrant(ctx, ttl, id)
		return err
	})
	return lease, err
}

// LeaseRevoke is etcdclient's, for a lease of the caller's.
func (s *Store) LeaseRevoke(ctx context.Context, id int64) (wire.Header, error) {
	if err := s.caller.mine(id); err != nil {
		return wire.Header{}, err
	}
	return s.etcd.LeaseRevoke(ctx, id)
}

// LeaseTimeToLive is etcdclient's, for a lease of the caller's; the keys are those that he may read.
func (s *Store) LeaseTimeToLive(ctx context.Context, id int64, keys bool) (etcdclient.LeaseStatus, error) {
	if err := s.caller.mine(id); err != nil {
		return etcdclient.LeaseStatus{}, err
	}
	status, err := s.etcd.LeaseTimeToLive(ctx, id, keys)
	status.Keys = slices.DeleteFunc(status.Keys, func(key []byte) bool { return !s.caller.May(Read, key, nil) })
	return status, err
}

// Leases is etcdclient's, with those of the caller only.
func (s *Store) Leases(ctx context.Context) ([]int64, wire.Header, error) {
	ids, header, err := s.etcd.Leases(ctx)
	ids = slices.DeleteFunc(ids, func(id int64) bool { return s.caller.mine(id) != nil })
	return ids, header, err
}

// LeaseKeepAliveOnce is etcdclient's, for a lease of the caller's.
func (s *Store) LeaseKeepAliveOnce(ctx context.Context, id int64) (int64, error) {
	if err := s.caller.mine(id); err != nil {
		return 0, err
	}
	return s.etcd.LeaseKeepAliveOnce(ctx, id)
}
