package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// grantedMark is the value of a lock's key whose lease the gateway granted, so that any gateway can end the lease with the
// lock. Others, the package concurrency too, leave the value empty, and nobody else reads it.
const grantedMark = `{"lease":"granted"}`

// acquireLock answers POST /v1/locks/{name}.
func (a *API) acquireLock(c *call) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	var d demand
	if err := c.decode(d.fields()...); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	if !d.hasLease {
		d.value = []byte(grantedMark)
	}
	defer c.extend(d.wait)()
	if answered, err := c.reservePlace(q, &d); answered || err != nil {
		return err
	}
	p, err := c.win(q, &d)
	if err != nil {
		return err
	}
	if p.created {
		c.status = http.StatusCreated
	}
	c.placeAnswer(p)
	return nil
}

// getLock answers GET /v1/locks/{name}: who has the lock and who waits for it.
func (a *API) getLock(c *call) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	return c.queueAnswer(q, "holder", "waiters", false)
}

// releaseLock answers DELETE /v1/locks/{name}: the lease does not have the lock any more, nor wait for it. A lease that the
// gateway granted for the lock has had its day.
func (a *API) releaseLock(c *call) error {
	q, lease, err := c.standing()
	if err != nil {
		return err
	}
	kv, released, err := c.takeOff(q, lease)
	if err != nil {
		return err
	}
	revoked := false
	if released && string(kv.Value) == grantedMark {
		_, err := c.store.LeaseRevoke(c.ctx(), lease)
		revoked = err == nil // else it expires
	}
	c.openObject()
	c.queueMember(q)
	c.leaseMember(lease)
	c.boolMember("released", released)
	c.boolMember("revoked", revoked)
	c.closeObject()
	return nil
}

// standing reads whose place in a queue the call is about.
func (c *call) standing() (q *queue, lease int64, err error) {
	if q, err = c.queue(); err != nil {
		return nil, 0, err
	}
	lease, given := c.query.lease()
	if !given {
		c.query.Fault("lease", problem.InvalidParameter, "lease must be given: it says whose place this is about")
	}
	return q, lease, c.query.Done()
}

// takeOff deletes a lease's key from a queue, and gives what it was.
func (c *call) takeOff(q *queue, lease int64) (kv wire.KeyValue, existed bool, err error) {
	answer, err := c.store.DeleteRange(c.ctx(), &wire.DeleteRequest{Key: q.key(lease), PrevKV: true})
	if err != nil {
		return kv, false, err
	}
	defer answer.Free()
	c.revision = answer.Header.Revision
	if kv, existed = answer.PrevKVs.First(); existed {
		kv = kv.Clone()
	}
	return kv, existed, nil
}
