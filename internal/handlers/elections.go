package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// campaign answers POST /v1/elections/{name}: the caller's lease is the leader's, with a value for all to see.
func (a *API) campaign(c *call) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	var d demand
	if err := c.decode(append(d.fields(), kvjson.Value("value", &d.value).Required())...); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	if err := c.checkValue(d.value); err != nil {
		return err
	}
	defer c.extend(d.wait)()
	if answered, err := c.reservePlace(q, &d); answered || err != nil {
		return err
	}
	p, err := c.win(q, &d)
	if err != nil {
		return err
	}
	if !p.created { // the leader campaigns again: it has a new value to tell
		return c.announce(p)
	}
	c.status = http.StatusCreated
	c.placeAnswer(p)
	return nil
}

func (c *call) checkValue(value []byte) error {
	if limit := c.api.options.MaxValueBytes; int64(len(value)) > limit {
		return valueTooLarge(limit).AtPointer("/value")
	}
	return nil
}

// announce gives the leader's key a value, if it still is the leader's: it has the token, and no key of the election is
// older. The key stays with its lease. It appends the answer.
func (c *call) announce(p *place) error {
	all := createRevision(p.prefix, wire.Greater, p.token-1)
	all.End = p.end
	done, err := c.commit(&plan{
		guard: []wire.Compare{createRevision(p.key, wire.Equal, p.token), all},
		ops:   []wire.Op{{Put: &wire.PutRequest{Key: p.key, Value: p.value, Lease: p.lease}}},
		lease: etcdclient.Lease{ID: p.lease},
	}, func(done *planned) error {
		c.revision = done.revision()
		c.placeAnswer(p)
		return nil
	})
	if err != nil {
		return lostWith(err)
	}
	if done.refused {
		c.revision = done.revision()
		return lockLost()
	}
	return nil
}

// getElection answers GET /v1/elections/{name}: who leads, with the value, and who else stands.
func (a *API) getElection(c *call) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	return c.queueAnswer(q, "leader", "candidates", true)
}

// proclaim answers PUT /v1/elections/{name}: the leader's new value.
func (a *API) proclaim(c *call) error {
	q, lease, err := c.standing()
	if err != nil {
		return err
	}
	p := &place{queue: q, key: q.key(lease), lease: lease}
	if err := c.decode(kvjson.Value("value", &p.value).Required()); err != nil {
		return err
	}
	if err := c.checkValue(p.value); err != nil {
		return err
	}
	if _, err := c.length(q); err != nil {
		return err
	}
	holder, ok, err := c.holder(q)
	if err != nil {
		return err
	}
	if !ok || string(holder.Key) != string(p.key) {
		return problem.New(problem.LockLost, "this lease is not the leader's").WithOutcome(problem.NotApplied)
	}
	p.token = holder.CreateRevision
	return c.announce(p)
}

// resign answers DELETE /v1/elections/{name}. The lease lives on: the key's value is the leader's own, so that nothing tells
// who granted the lease.
func (a *API) resign(c *call) error {
	q, lease, err := c.standing()
	if err != nil {
		return err
	}
	_, resigned, err := c.takeOff(q, lease)
	if err != nil {
		return err
	}
	c.openObject()
	c.queueMember(q)
	c.leaseMember(lease)
	c.boolMember("resigned", resigned)
	c.closeObject()
	return nil
}
