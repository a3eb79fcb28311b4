package handlers

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

const (
	// maxRenewals is how many leases one call renews.
	maxRenewals = 10_000
	// renewers is how many of them are under way at a time: they share the client's few streams, and etcd's followers pass each
	// on to the leader, so that one after the other would take the sum of the ways.
	renewers = 256
)

// keepLease answers POST /v1/leases/{id}/keepalive: the lease has its whole time from now.
func (a *API) keepLease(c *call) error {
	id, err := c.leaseID()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	if c.r.ContentLength != 0 {
		if err := c.decode(); err != nil {
			return err
		}
	}
	ttl, err := c.store.LeaseKeepAliveOnce(c.ctx(), id)
	if err != nil {
		return err
	}
	c.renewed(id, ttl)
	return nil
}

// keepLeases answers POST /v1/leases/keepalive. Each lease has a result of its own, in the order of the request: one that
// is lost says nothing about the others.
func (a *API) keepLeases(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var ids []int64
	if err := c.decode(leaseIDs(&ids)); err != nil {
		return err
	}
	if len(ids) == 0 {
		return problem.New(problem.InvalidArgument, "ids is empty; name 1 to %d leases", maxRenewals).AtPointer("/ids")
	}
	c.openObject()
	c.name("results")
	c.body = append(c.body, '[')
	for i, r := range c.renewAll(ids) {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		c.renewal(ids[i], r)
	}
	c.body = append(c.body, ']')
	c.closeObject()
	return nil
}

func leaseIDs(ids *[]int64) kvjson.Field {
	return kvjson.Array("ids", func(d *kvjson.Decoder) error {
		id, err := d.ID()
		switch {
		case err != nil:
			return err
		case id == 0:
			return d.Invalid("", "a lease's id is not 0")
		case len(*ids) == maxRenewals:
			return d.Invalid("", "one call renews at most %d leases", maxRenewals)
		}
		*ids = append(*ids, id)
		return nil
	}).Required()
}

// renewal is what became of one lease of many.
type renewal struct {
	ttl int64
	err error
}

// renewAll renews the leases, many at a time.
func (c *call) renewAll(ids []int64) []renewal {
	results := make([]renewal, len(ids))
	ctx, store := c.ctx(), c.store
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(renewers, len(ids)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				results[i].ttl, results[i].err = store.LeaseKeepAliveOnce(ctx, ids[i])
			}
		})
	}
	workers.Wait()
	return results
}

func (c *call) renewal(id int64, r renewal) {
	c.openObject()
	c.leaseIDMember("id", id)
	if r.err == nil {
		c.intMember("ttl", r.ttl)
	} else {
		c.name("error")
		c.body = append(bytes.TrimSuffix(c.appendProblem(c.body, problem.From(r.err)), []byte("\n")), ',')
	}
	c.closeObject()
	c.body = c.body[:len(c.body)-1] // the newline
}
