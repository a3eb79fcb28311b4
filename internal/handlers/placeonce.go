package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Under an Idempotency-Key a place in a queue is reserved by its lease, which names its key. Whoever goes on with the
// reservation enters at the same key, or finds it there: with the same fencing token, and the same turn. The place is given
// up only by the one who holds the reservation.

// reservePlace reserves the place that the call is about to take. A lease of the caller's own that has one already takes no
// other, so that there is nothing to reserve.
func (c *call) reservePlace(q *queue, d *demand) (answered bool, err error) {
	if c.claim == nil {
		return false, nil
	}
	if c.claim.resumed == nil {
		if answered, err := c.newReservation(q, d); answered || err != nil || c.claim.held == 0 {
			return answered, err
		}
	}
	if r := c.claim.resumed; r != nil && !d.hasLease {
		c.claim.lease = r.Lease
	}
	return false, nil
}

func (c *call) newReservation(q *queue, d *demand) (answered bool, err error) {
	n, err := c.length(q)
	if err != nil {
		return false, err
	}
	if d.hasLease {
		stands, err := c.stands(q.key(d.lease))
		if err != nil || stands {
			return false, err
		}
	}
	if n > 0 && d.wait == 0 {
		if err := c.refuseHeld(q); err != nil {
			return false, err
		}
	}
	id := d.lease
	if !d.hasLease {
		if id, err = c.newLeaseID(); err != nil {
			return false, err
		}
		c.claim.lease = id
	}
	return c.reserve(&record{Lease: id, TTL: d.ttl})
}

// stands tells whether there is a place at the key.
func (c *call) stands(key []byte) (bool, error) {
	answer, err := c.read(&wire.RangeRequest{Key: key, KeysOnly: true}, consistency{})
	if err != nil {
		return false, c.notApplied(err)
	}
	defer answer.Free()
	_, ok := answer.KVs.First()
	return ok, nil
}

// grantFor makes the lease that a request for a place asks for.
func (c *call) grantFor(d *demand) (id, ttl int64, err error) {
	if c.reserved() {
		lease, _, err := c.grantReserved(d.ttl, c.claim.lease, false)
		return c.claim.lease, lease.TTL, err
	}
	ctx, cancel := c.unhurried()
	defer cancel()
	lease, err := c.store.LeaseGrant(ctx, d.ttl, 0)
	return lease.ID, lease.TTL, err
}

// settlePlace records that the place is the caller's now. One that somebody else has taken meanwhile for the caller's own
// lease is not what was reserved.
func (c *call) settlePlace(p *place) error {
	switch {
	case !c.reserved():
	case p.created:
		c.settle(&record{Lease: p.lease, TTL: p.ttl, Token: p.token})
	default:
		if err := c.takeBack(); err != nil {
			return err
		}
		c.claim.held = 0
	}
	return nil
}

// staysReserved takes the reservation of a place back, because of err, so that it can be given up. It gives the error of one
// that stays: a repeat goes on there when this gateway stops or does not know whether there is a place, or does so already.
func (c *call) staysReserved(p *place, err error) error {
	e := *problem.From(err)
	if e.Code != problem.Draining && (p.granted || p.created || outcome(&e) != problem.Unknown) {
		taken := c.takeBack()
		if taken == nil {
			return nil
		}
		if e := problem.From(taken); e.Code == problem.IdempotencyInProgress {
			return e
		}
	}
	return e.WithOutcome(problem.Unknown).With("lease", formatID(p.lease)).
		WithHint("a repeat with this Idempotency-Key goes on at the same place in the queue, as long as its lease lives")
}

// followsPlace answers a repeat of what got a lock, or won an election: that it still has it, or not any more.
func (c *call) followsPlace(r *record) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	p := &place{queue: q, key: q.key(r.Lease), lease: r.Lease, token: r.Token}
	answer, err := c.read(&wire.RangeRequest{Key: p.key, KeysOnly: true}, consistency{})
	if err != nil {
		return c.notApplied(err)
	}
	defer answer.Free()
	kv, ok := answer.KVs.First()
	switch {
	case !ok || p.token != 0 && kv.CreateRevision != p.token:
		return problem.New(problem.LockLost, "the first request with this Idempotency-Key got it, with the fencing token %d, and it was lost or given up since", r.Token).
			WithHint("to ask for it anew takes a new Idempotency-Key").WithOutcome(problem.NotApplied)
	case p.token == 0: // a leader told a new value
		p.token = kv.CreateRevision
	default:
		c.status = http.StatusCreated
	}
	c.revision = answer.Header.Revision
	if err := c.remaining(p); err != nil {
		return err
	}
	c.placeAnswer(p)
	return nil
}
