package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Not everything that happens once is a transaction. A lease is granted, a place in a queue is waited for, a user is added by
// calls of their own, which cannot write a record as well. They begin with a reservation: a record that says what is about to
// be done, written if there is none. When it is done the reservation is settled, and when it certainly is not it is taken
// back. What a repeat finds is told apart by the route:
//
//   - One that resumes takes the reservation over and does the rest: what there is to be done can be done twice with the effect
//     of once, since the reservation names the lease (grantonce.go, placeonce.go). Who holds a reservation is told by its mod
//     revision, so that a request whose caller has left does not undo what the repeat goes on with.
//   - One that does not resume never asks etcd a second time (onceonly.go).

// reserve writes the reservation. When answered is true the call is a repeat after all, of one that came in meanwhile, and has
// been answered; when c.claim.resumed is set it is one that goes on with that one's reservation.
func (c *call) reserve(r *record) (answered bool, err error) {
	r.Request, r.ExpiresAt, r.Reserved = c.claim.request, c.claim.expires, true
	value, err := r.encode()
	if err != nil {
		return false, c.notApplied(err)
	}
	answer, err := c.withRecordLease(func(ctx context.Context, lease int64) (*wire.TxnResponse, error) {
		return c.store.Txn(ctx, &wire.TxnRequest{
			If:   []wire.Compare{createRevision(c.claim.key, wire.Equal, 0)},
			Then: []wire.Op{{Put: &wire.PutRequest{Key: c.claim.key, Value: value, Lease: lease}}},
			Else: []wire.Op{{Range: &wire.RangeRequest{Key: c.claim.key}}},
		})
	})
	if err != nil { // whatever became of the reservation, nothing else was done
		return false, c.notApplied(err)
	}
	defer answer.Free()
	if answer.Succeeded {
		c.claim.held = answer.Header.Revision
		return false, nil
	}
	kv, ok := firstOf(answer.Results)
	if !ok {
		return false, unreadable().WithOutcome(problem.NotApplied)
	}
	return c.repeat(kv)
}

// reserved tells whether the call holds a reservation, of its own or of the request that it goes on with.
func (c *call) reserved() bool { return c.claim != nil && c.claim.held != 0 }

// takeOver makes the reservation of another request this one's: what that one does with it from now on fails.
func (c *call) takeOver(kv wire.KeyValue, r *record) error {
	answer, err := c.store.Txn(c.ctx(), &wire.TxnRequest{
		If:   []wire.Compare{c.holds(kv.ModRevision)},
		Then: []wire.Op{{Put: &wire.PutRequest{Key: c.claim.key, Value: kv.Value, IgnoreLease: true}}},
	})
	switch {
	case err != nil:
		return c.notApplied(err)
	case !answer.Succeeded: // something happens to it right now
		return inProgress()
	}
	c.claim.held, c.claim.resumed = answer.Header.Revision, r
	return nil
}

func (c *call) holds(revision int64) wire.Compare {
	return wire.Compare{Key: c.claim.key, Target: wire.TargetModRevision, Number: revision}
}

// settle replaces the reservation by the record of what was done. If that fails, or another request has taken the
// reservation over, a repeat finds out by itself. It is worth a moment beyond the caller's own time.
func (c *call) settle(r *record) {
	r.Request, r.ExpiresAt, r.Reserved = c.claim.request, c.claim.expires, false
	c.rewrite(r, c.claim.held)
}

// takeBack deletes the reservation of what was certainly not done, so that it can be tried again with the same key. The
// error says that this is not for the call to decide any more.
func (c *call) takeBack() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), keepTimeout)
	defer cancel()
	answer, err := c.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{c.holds(c.claim.held)},
		Then: []wire.Op{{Delete: &wire.DeleteRequest{Key: c.claim.key}}},
	})
	if err == nil && !answer.Succeeded {
		return problem.New(problem.IdempotencyInProgress, "a repeat with this Idempotency-Key has taken over what this request had begun").
			WithRetryAfter(inProgressRetry).WithOutcome(problem.Unknown)
	}
	return err
}

// failed takes the reservation back after an error that proves that nothing was done; after any other a repeat is to find out.
func (c *call) failed(err error) error {
	if outcome(problem.From(err)) != problem.NotApplied {
		return err
	}
	if e := problem.From(c.takeBack()); e != nil && e.Code == problem.IdempotencyInProgress {
		return e
	}
	return err
}

func inProgress() *problem.Error {
	return problem.New(problem.IdempotencyInProgress, "the first request with this Idempotency-Key is not finished").WithRetryAfter(inProgressRetry)
}

// withRecordLease runs a transaction that puts a record. A lease that is gone (somebody revoked it) is replaced once: etcd
// refuses such a transaction before it does anything.
func (c *call) withRecordLease(run func(ctx context.Context, lease int64) (*wire.TxnResponse, error)) (*wire.TxnResponse, error) {
	for try := 0; ; try++ {
		lease, err := c.api.records.lease(c.ctx())
		if err != nil {
			return nil, c.notApplied(err)
		}
		answer, err := run(c.ctx(), lease)
		switch {
		case err == nil:
			return answer, nil
		case try == 0 && errors.Is(err, etcdclient.ErrLeaseNotFound) && c.api.records.drop(c.ctx(), lease):
			continue
		case problem.From(err).Code == problem.PermissionDenied && !c.recordsAllowed(lease):
			return nil, c.recordsUnavailable().Because(err)
		}
		return nil, err
	}
}

// clockSkew is how far apart the clocks of two gateways may be.
const clockSkew = 5 * time.Second
