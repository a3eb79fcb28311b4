package handlers

import (
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// onceOnly runs a call of etcd's that cannot be done twice with the effect of once, nor be told from another's afterwards: of
// two that add one user, which was first? Under an Idempotency-Key it is asked for once and never again. do appends the answer.
func (c *call) onceOnly(do func() error) error {
	if c.claim == nil {
		return do()
	}
	answered, err := c.reserve(&record{Until: c.surelyOver()})
	if answered || err != nil {
		return err
	}
	ctx, cancel := c.unhurried() // whoever repeats it wants to know
	defer cancel()
	c.r = c.r.WithContext(ctx)
	if err := do(); err != nil {
		if outcome(problem.From(err)) == problem.Unknown {
			c.settle(&record{Unknown: true})
		}
		return c.failed(err)
	}
	if len(c.body) <= maxKeptAnswer {
		c.settle(&record{Response: c.response()})
	}
	return nil
}

// surelyOver is when the call has ended by any gateway's clock, in seconds since 1970.
func (c *call) surelyOver() int64 {
	end := time.Now().Add(c.api.options.RequestTimeout)
	if deadline, ok := c.ctx().Deadline(); ok {
		end = deadline
	}
	return end.Add(clockSkew).Unix() + 1
}

// followsOnceOnly answers a repeat of a call whose answer is not known: it still runs, or its gateway got no answer, or did
// not live to keep it.
func (c *call) followsOnceOnly(r *record) error {
	if r.Reserved && !r.Unknown && time.Now().Unix() < r.Until {
		return inProgress()
	}
	return problem.New(problem.IdempotencyUnknown, "the first request with this Idempotency-Key was sent to etcd, and its answer was lost").
		WithHint("look whether what it asked for is there; if not, send it with a new Idempotency-Key")
}
