package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// What follows from a record that has no full answer yet: from the branch that ran and the revision it ran at, which is
// c.revision, and from the store as it was at and before that revision, unless that is compacted. The members are those
// of the full answer, as far as they are known, and replayed and partial.

func (c *call) followsPut(r *record) error { return c.followsWrite(r, r.Branch == 0) }

func (c *call) followsPatch(r *record) error { return c.followsWrite(r, false) }

func (c *call) followsWrite(r *record, created bool) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	c.etag = c.revision
	kv := wire.KeyValue{CreateRevision: c.revision, Version: 1, Lease: r.Lease}
	known := created && c.mayRead(key)
	if answer, err := c.store.Range(c.ctx(), &wire.RangeRequest{Key: key, Revision: c.revision}); err == nil {
		defer answer.Free()
		if stored, ok := answer.KVs.First(); ok {
			kv, known = stored, true
		}
	}
	c.openObject()
	c.keyMember(key, c.query.Encoding())
	if known {
		c.intMember("create_revision", kv.CreateRevision)
	}
	c.intMember("mod_revision", c.revision)
	if known {
		c.intMember("version", kv.Version)
	}
	if c.mayRead(key) {
		c.boolMember("created", created)
		if created {
			c.status = http.StatusCreated
		}
	}
	if kv.Lease != 0 {
		c.leaseMember(kv.Lease)
	}
	if r.TTL != 0 {
		c.intMember("ttl", r.TTL)
	}
	c.closePartial()
	return nil
}

func (c *call) followsDelete(r *record) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	c.openObject()
	c.keyMember(key, c.query.Encoding())
	c.intMember("revision", c.revision)
	c.intMember("deleted", int64(1-r.Branch))
	c.closePartial()
	return nil
}

// followsDeleteKeys counts what was there one revision before: the deletion was a revision of its own, since its record
// was written with it.
func (c *call) followsDeleteKeys(*record) error {
	d, err := c.deletion()
	if err != nil {
		return err
	}
	var ops []wire.Op
	for _, t := range d.targets {
		ops = append(ops, wire.Op{Range: &wire.RangeRequest{Key: t.Key, End: t.End, Revision: c.revision - 1, CountOnly: true}})
	}
	c.openObject()
	c.intMember("revision", c.revision)
	if answer, err := c.store.Txn(c.ctx(), &wire.TxnRequest{Then: ops}); err == nil {
		deleted := int64(0)
		for _, result := range answer.Results {
			if result.Range != nil {
				deleted += result.Range.Count
			}
		}
		c.intMember("deleted", deleted)
		answer.Free()
	}
	c.closePartial()
	return nil
}

func (c *call) followsTxn(r *record) error {
	c.openObject()
	c.boolMember("succeeded", r.Branch == 0)
	c.intMember("revision", c.revision)
	c.name("results")
	c.body = append(c.body, '[', ']', ',')
	c.closePartial()
	return nil
}

func (c *call) closePartial() {
	c.boolMember("replayed", true)
	c.boolMember("partial", true)
	c.closeObject()
}
