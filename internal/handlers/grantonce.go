package handlers

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/http"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Under an Idempotency-Key the id of a new lease is chosen first, and reserved. Whoever goes on with the reservation grants
// the same lease: one of them does, and the others are told that it exists. So there are never two.

// mostLeaseIDs is how often an id is chosen for a lease: those of a namespace have 23 random bits.
const mostLeaseIDs = 8

// newLeaseID chooses an id that no lease has.
func (c *call) newLeaseID() (int64, error) {
	for range mostLeaseIDs {
		id := randomLeaseID()
		if c.caller != nil {
			if marked := c.caller.NewLeaseID(); marked != 0 {
				id = marked
			}
		}
		if exists, err := c.leaseExists(id); err != nil || !exists {
			return id, err
		}
	}
	return 0, problem.New(problem.Conflict, "no free id was found for the lease").WithOutcome(problem.NotApplied)
}

// randomLeaseID gives an id of 63 bits, which is not 0.
func randomLeaseID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return max(1, int64(binary.BigEndian.Uint64(b[:])>>1))
}

func (c *call) leaseExists(id int64) (bool, error) {
	_, err := c.store.LeaseTimeToLive(c.ctx(), id, false)
	switch {
	case err == nil:
		return true, nil
	case problem.From(err).Code == problem.LeaseNotFound:
		return false, nil
	}
	return false, c.notApplied(err)
}

// grantOnce grants a lease under an Idempotency-Key; id is 0 unless the caller chose one.
func (c *call) grantOnce(ttl, id int64) error {
	chosen := id != 0
	if c.claim.resumed == nil {
		if answered, err := c.reserveLease(ttl, id); answered || err != nil {
			return err
		}
	}
	if r := c.claim.resumed; r != nil {
		id = r.Lease
	} else {
		id = c.claim.lease
	}
	lease, existed, err := c.grantReserved(ttl, id, chosen)
	if err != nil {
		return c.failed(err)
	}
	if existed {
		set(c.w.Header(), "Idempotency-Replayed", "true")
	}
	c.settle(&record{Lease: lease.ID, TTL: lease.TTL})
	c.grantedAnswer(lease)
	return nil
}

// reserveLease reserves the lease's id.
func (c *call) reserveLease(ttl, id int64) (answered bool, err error) {
	if id == 0 {
		id, err = c.newLeaseID()
	} else if exists, e := c.leaseExists(id); e != nil || exists {
		err = e
		if exists {
			err = leaseExists()
		}
	}
	if err != nil {
		return false, err
	}
	c.claim.lease = id
	return c.reserve(&record{Lease: id, TTL: ttl})
}

func leaseExists() *problem.Error {
	return problem.New(problem.AlreadyExists, "a lease with this id exists").WithOutcome(problem.NotApplied)
}

// grantReserved grants the reserved lease, unless another request with the same reservation has: then it existed. One whose id
// the caller chose can be anybody's.
func (c *call) grantReserved(ttl, id int64, chosen bool) (lease etcdclient.Lease, existed bool, err error) {
	ctx, cancel := c.unhurried()
	defer cancel()
	lease, err = c.store.LeaseGrant(ctx, ttl, id)
	if !errors.Is(err, etcdclient.ErrLeaseExist) {
		return lease, false, err
	}
	if chosen {
		e := leaseExists()
		if c.claim.resumed != nil {
			e = e.WithOutcome(problem.Unknown).WithHint("the first request with this Idempotency-Key may have granted it, or somebody else")
		}
		return lease, true, e
	}
	status, err := c.store.LeaseTimeToLive(ctx, id, false)
	return etcdclient.Lease{ID: id, TTL: status.TTL, Header: status.Header}, true, err
}

func (c *call) grantedAnswer(lease etcdclient.Lease) {
	c.status, c.revision = http.StatusCreated, lease.Header.Revision
	set(c.w.Header(), "Location", c.api.base()+"/v1/leases/"+formatID(lease.ID))
	c.renewed(lease.ID, lease.TTL)
}

// followsLease answers a repeat of what granted a lease: with the lease as it is now.
func (c *call) followsLease(r *record) error {
	status, err := c.store.LeaseTimeToLive(c.ctx(), r.Lease, false)
	if err != nil {
		if problem.From(err).Code == problem.LeaseNotFound {
			return problem.New(problem.LeaseNotFound, "the lease %s, which the first request with this Idempotency-Key granted, has ended since", formatID(r.Lease)).
				WithHint("a new lease takes a new Idempotency-Key").WithOutcome(problem.NotApplied).Because(err)
		}
		return c.notApplied(err)
	}
	c.grantedAnswer(etcdclient.Lease{ID: r.Lease, TTL: status.TTL, Header: status.Header})
	return nil
}
