package handlers

import (
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// grantLease answers POST /v1/leases.
func (a *API) grantLease(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var ttl, id int64
	var chosen bool
	err := c.decode(kvjson.Int("ttl", &ttl).Between(1, maxTTL).Required(), kvjson.ID("id", &id).Given(&chosen))
	if err != nil {
		return err
	}
	if chosen && id == 0 {
		return problem.New(problem.InvalidArgument, "a lease's id is not 0; leave id out to have one chosen").AtPointer("/id")
	}
	if chosen && c.caller != nil {
		if err := c.caller.MayChooseLeases(); err != nil {
			return err
		}
	}
	if c.claim != nil {
		return c.grantOnce(ttl, id)
	}
	lease, err := c.store.LeaseGrant(c.ctx(), ttl, id)
	if err != nil {
		return err
	}
	c.grantedAnswer(lease)
	return nil
}

// renewed appends the answer about a lease that has that many seconds from now.
func (c *call) renewed(id, ttl int64) {
	c.openObject()
	c.leaseIDMember("id", id)
	c.intMember("ttl", ttl)
	c.closeObject()
}

// listLeases answers GET /v1/leases, in the order of the ids.
func (a *API) listLeases(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	ids, header, err := c.store.Leases(c.ctx())
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.name("leases")
	c.body = append(c.body, '[')
	for i, id := range slices.Sorted(slices.Values(ids)) {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		c.body = append(kvjson.AppendID(append(c.body, `{"id":`...), id), '}')
	}
	c.body = append(c.body, ']')
	c.closeObject()
	return nil
}

// leaseID is the id that the path names.
func (c *call) leaseID() (int64, error) {
	id, err := kvjson.ParseID(chi.URLParam(c.r, "id"))
	if err != nil || id == 0 {
		return 0, problem.New(problem.InvalidParameter, "the id of a lease has 1 to 16 hexadecimal digits and is not 0").AtParameter("id")
	}
	return id, nil
}

// getLease answers GET /v1/leases/{id}: the time that is left, and with keys=true the keys that go with it.
func (a *API) getLease(c *call) error {
	id, err := c.leaseID()
	if err != nil {
		return err
	}
	keys, encoding := c.query.Boolean("keys"), c.query.Encoding()
	if err := c.query.Done(); err != nil {
		return err
	}
	lease, err := c.store.LeaseTimeToLive(c.ctx(), id, keys)
	if err != nil {
		return err
	}
	c.revision = lease.Header.Revision
	c.openObject()
	c.leaseIDMember("id", id)
	c.intMember("ttl", lease.TTL)
	c.intMember("granted_ttl", lease.GrantedTTL)
	if keys {
		c.name("keys")
		c.body = append(c.body, '[')
		for i, key := range lease.Keys {
			if i > 0 {
				c.body = append(c.body, ',')
			}
			c.body = append(kvjson.AppendKey(append(c.body, '{'), key, encoding), '}')
		}
		c.body = append(c.body, ']')
	}
	c.closeObject()
	return nil
}

// endLease answers DELETE /v1/leases/{id}: the lease ends, and its keys with it.
func (a *API) endLease(c *call) error {
	id, err := c.leaseID()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	header, err := c.store.LeaseRevoke(c.ctx(), id)
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.leaseIDMember("id", id)
	c.intMember("revision", header.Revision)
	c.closeObject()
	return nil
}
