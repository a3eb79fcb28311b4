package handlers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// turnPause is how long a waiting place rests before it asks an etcd again that could not answer.
const turnPause = 250 * time.Millisecond

// waitTurn waits until the place is the oldest. It watches its own key, which goes with its lease, and the one right before
// it, so that a lock that is let go wakes one and not all. A lease that the gateway granted is kept alive meanwhile.
func (c *call) waitTurn(p *place, seconds int64) error {
	ctx, cancel := context.WithCancelCause(c.ctx())
	defer cancel(nil)
	over, end := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
	defer end()
	defer context.AfterFunc(c.api.stopping, end)()
	if p.granted {
		kept := c.store.KeepAlive(p.lease, p.ttl, leaseKeeper{cancel})
		defer kept.Stop()
	}
	for {
		first, err := c.untilTurn(over, p)
		switch {
		case first || err != nil && over.Err() == nil:
			return err
		case err != nil:
			return c.lastLook(p, err, context.Cause(ctx))
		}
	}
}

var _ etcdclient.Keeper = leaseKeeper{}

// leaseKeeper ends a wait whose lease cannot be kept alive.
type leaseKeeper struct{ cancel context.CancelCauseFunc }

// Lost implements etcdclient.Keeper.
func (k leaseKeeper) Lost(err error) { k.cancel(err) }

// untilTurn looks whether it is the place's turn, and if not, waits for something to change about that.
func (c *call) untilTurn(ctx context.Context, p *place) (first bool, err error) {
	now, err := c.turn(ctx, p)
	switch {
	case err != nil && problem.From(err).Code.Info().Retryable:
		return false, pause(ctx, turnPause)
	case err != nil || now.ahead == nil:
		return err == nil, err
	}
	return false, ignoreCompacted(c.anyChanged(ctx, now.revision+1, p.key, now.ahead))
}

// spot is where a place stands at a revision.
type spot struct {
	revision int64
	// ahead is the key right before it, nil when there is none.
	ahead []byte
}

// turn looks where the place stands. One that is gone is lost.
func (c *call) turn(ctx context.Context, p *place) (now spot, err error) {
	answer, err := c.store.Txn(ctx, &wire.TxnRequest{Then: []wire.Op{
		{Range: &wire.RangeRequest{Key: p.key, KeysOnly: true}}, {Range: p.ahead(p.token)},
	}})
	if err != nil {
		return now, err
	}
	defer answer.Free()
	if len(answer.Results) != 2 || answer.Results[1].Range == nil {
		return now, unreadable()
	}
	now.revision, c.revision = answer.Header.Revision, answer.Header.Revision
	if own, ok := firstOf(answer.Results); !ok || own.CreateRevision != p.token {
		return now, lockLost()
	}
	if kv, ok := firstOf(answer.Results[1:]); ok {
		now.ahead = kv.Clone().Key
	}
	return now, nil
}

// anyChanged returns as soon as one of the keys has changed at the revision or later.
func (c *call) anyChanged(ctx context.Context, from int64, keys ...[]byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan error, len(keys))
	var waiting sync.WaitGroup
	for _, key := range keys {
		waiting.Go(func() {
			first <- c.store.Changed(ctx, key, nil, from)
			cancel()
		})
	}
	waiting.Wait()
	return <-first
}

// lastLook says how a wait ends that has been ended: the lease is lost, the gateway stops, the caller has left or its time
// has run out; or else the wait is over, and what counts is how things are now.
func (c *call) lastLook(p *place, err, cause error) error {
	lost, isLost := errors.AsType[*etcdclient.Error](cause)
	switch {
	case isLost:
		return lostWith(lost)
	case c.api.draining.Load():
		return problem.New(problem.Draining, "the gateway is stopping; ask again").WithRetryAfter(time.Second)
	case c.ctx().Err() != nil:
		return err
	}
	now, err := c.turn(c.ctx(), p)
	if err != nil || now.ahead == nil {
		return err
	}
	if err := c.refuseHeld(p.queue); err != nil {
		return err
	}
	return lockLost() // everybody has left meanwhile
}

// pause waits, or less when ctx ends, which is the error then.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
