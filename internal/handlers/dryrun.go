package handlers

import (
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// dryPut checks everything that a put would and writes nothing: the same guard, with a read in place of the write.
func (c *call) dryPut(key []byte, b *putBody, w writeOptions) error {
	if b.lease != 0 {
		if _, err := c.store.LeaseTimeToLive(c.ctx(), b.lease, false); err != nil {
			return c.notApplied(err)
		}
	}
	kv, exists, err := c.rehearse(key, w)
	if err != nil {
		return err
	}
	if !exists && (b.ignoreValue || b.ignoreLease) {
		return problem.New(problem.KeyNotFound, "ignore_value and ignore_lease keep what a key has, and there is no such key")
	}
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("create_revision", kv.CreateRevision)
	c.intMember("mod_revision", 0)
	c.intMember("version", kv.Version+1)
	c.boolMember("created", !exists)
	if exists && w.prevKV {
		c.prevKV(kv, w.encoding)
	}
	c.boolMember("dry_run", true)
	c.closeObject()
	return nil
}

// dryDelete says what a delete of one key would do.
func (c *call) dryDelete(key []byte, w writeOptions) error {
	kv, exists, err := c.rehearse(key, w)
	if err != nil {
		return err
	}
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("revision", c.revision)
	if exists {
		c.intMember("deleted", 1)
	} else {
		c.intMember("deleted", 0)
	}
	if exists && w.prevKV {
		c.prevKV(kv, w.encoding)
	}
	c.boolMember("dry_run", true)
	c.closeObject()
	return nil
}

// rehearse runs the guard of a write with a read where the write would be.
func (c *call) rehearse(key []byte, w writeOptions) (kv wire.KeyValue, exists bool, err error) {
	done, err := c.underCondition(&w.condition, key, func(p *plan) (*planned, error) {
		p.ops = []wire.Op{{Range: &wire.RangeRequest{Key: key}}}
		return p.run(c.ctx(), c.store)
	})
	if err != nil {
		return kv, false, c.notApplied(err)
	}
	if done.refused {
		return kv, false, c.refusal(&w.condition, done, w.encoding)
	}
	c.revision = done.revision()
	kv, exists = done.results[0].Range.KVs.First()
	return kv, exists, nil
}
