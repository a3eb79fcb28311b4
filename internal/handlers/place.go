package handlers

import (
	"context"
	"time"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// demand is the body of a request for a lock, or in an election.
type demand struct {
	ttl, lease, wait int64
	// value is that of the key; only an election has one of the caller's.
	value    []byte
	hasLease bool
}

func (d *demand) fields() []kvjson.Field {
	return []kvjson.Field{
		kvjson.Int("ttl", &d.ttl).Between(1, maxTTL),
		kvjson.ID("lease", &d.lease).Given(&d.hasLease),
		kvjson.Int("wait", &d.wait).Between(0, query.MaxTimeout),
	}
}

func (d *demand) check() error {
	switch {
	case d.hasLease && d.lease == 0:
		return problem.New(problem.InvalidArgument, "a lease's id is not 0").AtPointer("/lease")
	case d.hasLease == (d.ttl != 0):
		return problem.New(problem.InvalidArgument, "give either ttl, to have a lease granted, or a lease of your own: it must end when its owner does").
			AtPointer("/ttl")
	}
	return nil
}

// place is a key of a queue, on its way to be the oldest.
type place struct {
	*queue

	key, value []byte
	lease      int64
	// ttl is what the lease has from now, in seconds; 0 when nobody knows.
	ttl int64
	// granted says that the gateway granted the lease for this request, so that nothing but the key hangs on it.
	granted bool
	// token is the key's create revision, 0 as long as it is not known; created says that this request created the key.
	token   int64
	created bool
}

// win gets the lock, or wins the election: within the wait, or not at all. What is left of a failure is nothing, as far as
// that can be done: only the request that created a key removes it.
func (c *call) win(q *queue, d *demand) (*place, error) {
	if !c.reserved() {
		n, err := c.length(q)
		if err != nil {
			return nil, err
		}
		if n > 0 && d.wait == 0 && !d.hasLease { // a new lease has no place yet, so that granting one would be for nothing
			if err := c.refuseHeld(q); err != nil {
				return nil, err
			}
		}
	}
	p := &place{queue: q, lease: d.lease, value: d.value, granted: !d.hasLease}
	if p.granted {
		var err error
		if p.lease, p.ttl, err = c.grantFor(d); err != nil {
			if c.reserved() {
				return nil, c.leave(p, err)
			}
			return nil, c.notApplied(err)
		}
	}
	p.key = q.key(p.lease)
	if err := c.stand(p, d.wait); err != nil {
		return nil, c.leave(p, err)
	}
	if err := c.settlePlace(p); err != nil {
		return p, err
	}
	c.noteTurn(p)
	return p, nil
}

// refuseHeld says who has it, if anybody has.
func (c *call) refuseHeld(q *queue) error {
	holder, ok, err := c.holder(q)
	if err != nil || !ok {
		return err
	}
	return q.held(holder)
}

// stand enters the queue and waits until the place is the oldest.
func (c *call) stand(p *place, wait int64) error {
	has, err := c.enter(p, wait == 0)
	switch {
	case err != nil:
		return err
	case !has:
		if err := c.waitTurn(p, wait); err != nil {
			return err
		}
		fallthrough
	case c.claim != nil && c.claim.resumed != nil:
		if err := c.renewLast(p); err != nil {
			return err
		}
	}
	if !p.granted {
		if err := c.remaining(p); err != nil {
			return err
		}
	}
	return c.ctx().Err() // a caller that has left does not get it
}

// enter creates the key, and tells whether it is the oldest. Who only tries creates it when the queue is empty, and so
// leaves no trace when it is not.
func (c *call) enter(p *place, try bool) (has bool, err error) {
	when := createRevision(p.key, wire.Equal, 0)
	if try {
		when.Key, when.End = p.prefix, p.end
	}
	mine := &wire.RangeRequest{Key: p.key, KeysOnly: true}
	ctx, cancel := c.unhurried()
	defer cancel()
	answer, err := c.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{when},
		Then: []wire.Op{{Put: &wire.PutRequest{Key: p.key, Value: p.value, Lease: p.lease}}, {Range: p.oldest()}},
		Else: []wire.Op{{Range: mine}, {Range: p.oldest()}},
	})
	if err != nil {
		return false, err
	}
	defer answer.Free()
	c.revision = answer.Header.Revision
	if len(answer.Results) != 2 {
		return false, unreadable()
	}
	holder, held := firstOf(answer.Results[1:])
	if answer.Succeeded {
		p.token, p.created = answer.Header.Revision, true
		return holder.CreateRevision == p.token, nil
	}
	own, stands := firstOf(answer.Results)
	if stands && c.reserved() && (p.granted || c.claim.resumed != nil) { // a request with this reservation created it
		p.token, p.created = own.CreateRevision, true
		set(c.w.Header(), "Idempotency-Replayed", "true")
		return own.CreateRevision == holder.CreateRevision, nil
	}
	switch {
	case stands && own.CreateRevision == holder.CreateRevision:
		p.token = own.CreateRevision
		return true, nil
	case stands:
		return false, problem.New(problem.AlreadyWaiting, "another request waits here with this lease").WithOutcome(problem.NotApplied).
			WithHint("if that request is gone, DELETE with this lease leaves the queue")
	case !held:
		return false, unreadable().WithOutcome(problem.NotApplied)
	}
	return false, p.held(holder.Clone())
}

// unhurried is the call's time, whether or not the caller stays: one that leaves while a key is written must not leave it
// unknown whether there is a place to give up.
func (c *call) unhurried() (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(c.ctx())
	if deadline, ok := c.ctx().Deadline(); ok {
		return context.WithDeadline(ctx, deadline)
	}
	return context.WithCancel(ctx)
}

// renewLast gives a lease that the gateway granted its whole time, which may have begun long ago.
func (c *call) renewLast(p *place) (err error) {
	if p.granted {
		p.ttl, err = c.store.LeaseKeepAliveOnce(c.ctx(), p.lease)
	}
	return lostWith(err)
}

// remaining reads the time that a lease of the caller's has left. Whether that can be read does not decide who has the lock.
func (c *call) remaining(p *place) error {
	status, err := c.store.LeaseTimeToLive(c.ctx(), p.lease, false)
	if err == nil {
		p.ttl = status.TTL
	}
	if err = lostWith(err); err != nil && problem.From(err).Code == problem.LockLost {
		return err
	}
	return nil
}

// lostWith makes a lease that is gone the loss of the place.
func lostWith(err error) error {
	if err != nil && problem.From(err).Code == problem.LeaseNotFound {
		return lockLost().Because(err)
	}
	return err
}

func lockLost() *problem.Error {
	return problem.New(problem.LockLost, "the place in the queue is gone: its lease ended, or somebody released it").WithOutcome(problem.NotApplied)
}

const (
	// leaveTimeout bounds the clean-up of a place, and leaveTries how often it is tried.
	leaveTimeout = 5 * time.Second
	leaveTries   = 3
)

// leave gives the place up, because of err, whoever is still there to hear it. A lease of the gateway's own takes the key
// along, even one that is yet to be written: then it is certain that nothing stays.
func (c *call) leave(p *place, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), leaveTimeout)
	defer cancel()
	if c.reserved() {
		if stays := c.staysReserved(p, err); stays != nil {
			return stays
		}
	}
	var left error
	switch {
	case p.granted:
		left = retry(ctx, func() error { return c.revokeGranted(ctx, p.lease) })
	case p.created:
		left = retry(ctx, func() error { return c.remove(ctx, p) })
	default: // the key is another request's, or nobody knows whether there is one
		return err
	}
	e := *problem.From(err)
	if left != nil {
		return e.WithOutcome(problem.Unknown).With("lease", formatID(p.lease)).WithHint("the place in the queue could not be given up; it ends with its lease")
	}
	return e.WithOutcome(problem.NotApplied)
}

func retry(ctx context.Context, do func() error) (err error) {
	for range leaveTries {
		if err = do(); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (c *call) revokeGranted(ctx context.Context, lease int64) error {
	_, err := c.store.LeaseRevoke(ctx, lease)
	if err != nil && problem.From(err).Code == problem.LeaseNotFound {
		return nil
	}
	return err
}

// remove deletes the key, if it is still the one that this request created. Doing so twice is doing so once.
func (c *call) remove(ctx context.Context, p *place) error {
	_, err := c.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{createRevision(p.key, wire.Equal, p.token)},
		Then: []wire.Op{{Delete: &wire.DeleteRequest{Key: p.key}}},
	})
	return err
}

// placeAnswer appends who the caller is now: the owner.
func (c *call) placeAnswer(p *place) {
	c.openObject()
	c.queueMember(p.queue)
	c.leaseMember(p.lease)
	if p.ttl > 0 {
		c.intMember("ttl", p.ttl)
	}
	c.body = append(kvjson.AppendName(c.body, "owner_key", p.key, p.encoding), ',')
	c.intMember("fencing_token", p.token)
	c.closeObject()
}
