package handlers

import (
	"encoding/json"
	"math"
	"net/http"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const maxInt64 = math.MaxInt64

// rawJSON is JSON text that goes into a problem as it is.
type rawJSON = json.RawMessage

// getKey answers GET /v1/kv/{key}: one key-value, now or at a past revision, or as soon as it has changed (wait).
func (a *API) getKey(c *call) error {
	key, read, err := c.readOne()
	if err != nil {
		return err
	}
	e := c.query.Encoding()
	if err := c.query.Done(); err != nil {
		return err
	}
	answer, err := c.one(key, read)
	if err != nil {
		return err
	}
	defer answer.Free()
	kv, ok := answer.KVs.First()
	c.etag = kv.ModRevision
	switch {
	case c.status == http.StatusNotModified: // a wait without a change, on an absent key too
		return nil
	case !ok:
		return keyNotFound()
	case notModified(c.r.Header, kv.ModRevision):
		c.status = http.StatusNotModified
		return nil
	}
	c.body = append(kvjson.AppendKeyValue(c.body, kv, kvjson.Options{Encoding: e}), '\n')
	return nil
}

func keyNotFound() error { return problem.New(problem.KeyNotFound, "there is no such key") }

// readOne reads what a GET of one key takes, besides its form.
func (c *call) readOne() (key []byte, read singleRead, err error) {
	c.query.State = c.query.Boolean("state")
	if key, err = c.key(); err != nil {
		return nil, read, err
	}
	read.revision = c.query.Integer("revision", 0, 1, maxInt64)
	read.consistency = c.query.consistency()
	read.after = c.query.Integer("after", -1, 0, maxInt64)
	read.wait = c.query.Integer("wait", 0, 1, query.MaxTimeout)
	switch {
	case read.wait == 0 && read.after >= 0:
		c.query.Fault("after", problem.InvalidParameter, "after comes with wait: wait=SECONDS&after=REVISION, the Etcd-Revision last seen")
	case read.wait > 0 && read.revision > 0:
		c.query.Fault("wait", problem.InvalidParameter, "wait asks for a change to come, revision for the past: give one of them")
	}
	return key, read, nil
}

// singleRead is how one key is read.
type singleRead struct {
	revision int64
	consistency
	// wait is in seconds, 0 for none; after is the revision after which a change counts, -1 for the present one.
	wait, after int64
}

// one reads one key; it notes the answering revision. When a wait ended without a change, c.status says 304.
func (c *call) one(key []byte, read singleRead) (*wire.RangeResponse, error) {
	if read.wait > 0 {
		return c.waitForChange(key, read)
	}
	return c.read(&wire.RangeRequest{Key: key, Revision: read.revision}, read.consistency)
}

// putBody is the body of a PUT, and of a put in a transaction.
type putBody struct {
	value       []byte
	hasValue    bool
	lease, ttl  int64
	hasLease    bool
	ignoreValue bool
	ignoreLease bool
	// maxValue bounds the value, 0 for no bound.
	maxValue int64
}

// putKey answers PUT /v1/kv/{key}.
func (a *API) putKey(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	w, err := c.writeOptions()
	if err != nil {
		return err
	}
	var b putBody
	if err := c.decode(b.fields(a.options.MaxValueBytes)...); err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	return c.put(key, &b, w)
}

// writeOptions are what PUT and DELETE of one key take besides the body.
type writeOptions struct {
	condition
	encoding kvjson.Encoding
	prevKV   bool
	dryRun   bool
}

func (c *call) writeOptions() (w writeOptions, err error) {
	w.encoding = c.query.Encoding()
	w.prevKV = c.query.Boolean("prev_kv")
	w.dryRun = c.query.Boolean("dry_run")
	if w.condition, err = c.condition(); err != nil {
		return w, err
	}
	return w, nil
}

// put writes one key in one transaction, so that 201 or 200 is known.
func (c *call) put(key []byte, b *putBody, w writeOptions) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	if w.dryRun {
		return c.dryPut(key, b, w)
	}
	lease, err := c.grant(b)
	if err != nil {
		return err
	}
	put := &wire.PutRequest{
		Key: key, Value: b.value, Lease: b.lease, PrevKV: w.prevKV, IgnoreValue: b.ignoreValue, IgnoreLease: b.ignoreLease,
	}
	done, err := c.underCondition(&w.condition, key, func(p *plan) (*planned, error) {
		// etcd 3.7 answers keys_only from its index, which does not know leases; only ignore_lease makes us ask for one.
		p.ops = []wire.Op{{Put: put}}
		p.lease = lease
		sees := c.mayRead(key)
		if sees {
			p.ops = append(p.ops, wire.Op{Range: &wire.RangeRequest{Key: key, KeysOnly: !b.ignoreLease}})
		}
		if c.claim != nil && sees { // the record must say whether the key was created, also when this answer is lost
			p.decision = []wire.Compare{createRevision(key, wire.Equal, 0)}
		}
		return c.commit(p, func(done *planned) error { return c.putAnswer(key, b, w, lease, done) })
	})
	if err != nil {
		return c.dropLease(lease, err)
	}
	if done.refused {
		return c.dropLease(lease, c.refusal(&w.condition, done, w.encoding))
	}
	if done.replayed {
		c.revokeLease(lease)
	}
	return nil
}

// putAnswer appends the answer of a put that happened: what the same transaction read right after it. Version 1 is a key
// that did not exist before.
func (c *call) putAnswer(key []byte, b *putBody, w writeOptions, lease etcdclient.Lease, done *planned) error {
	if len(done.results) == 1 { // who may not read is not told whether there was a key
		c.blindAnswer(key, b, lease.TTL, done, w)
		return nil
	}
	kv, ok := firstOf(done.results[1:])
	if !ok {
		return problem.New(problem.UpstreamCorrupt, "etcd's answer lacks the key that was written")
	}
	if !b.ignoreLease {
		kv.Lease = b.lease
	}
	c.putMembers(key, kv, kv.Version == 1, lease.TTL, done.results[0].Put, w)
	return nil
}

// blindAnswer appends the answer of a put by one who may write and not read: what he has done, and nothing of what was there.
func (c *call) blindAnswer(key []byte, b *putBody, ttl int64, done *planned, w writeOptions) {
	c.revision, c.etag = done.revision(), done.revision()
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("mod_revision", done.revision())
	if b.lease != 0 {
		c.leaseMember(b.lease)
	}
	if ttl != 0 {
		c.intMember("ttl", ttl)
	}
	c.closeObject()
}

// putMembers appends the answer of a write of one key: what the key is now, and what it was if that was asked for.
func (c *call) putMembers(key []byte, kv wire.KeyValue, created bool, ttl int64, put *wire.PutResponse, w writeOptions) {
	c.status = http.StatusOK
	if created {
		c.status = http.StatusCreated
	}
	c.revision, c.etag = kv.ModRevision, kv.ModRevision
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("create_revision", kv.CreateRevision)
	c.intMember("mod_revision", kv.ModRevision)
	c.intMember("version", kv.Version)
	c.boolMember("created", created)
	if kv.Lease != 0 {
		c.leaseMember(kv.Lease)
	}
	if ttl != 0 {
		c.intMember("ttl", ttl)
	}
	if put != nil && put.Existed {
		c.prevKV(put.PrevKV, w.encoding)
	}
	c.closeObject()
}

func (c *call) prevKV(kv wire.KeyValue, e kvjson.Encoding) {
	c.name("prev_kv")
	c.body = append(kvjson.AppendKeyValue(c.body, kv, kvjson.Options{Encoding: e}), ',')
}

// deleteKey answers DELETE of one key, in both forms. An absent key is a success with deleted 0: a repeat is harmless.
func (a *API) deleteKey(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	w, err := c.writeOptions()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	if w.dryRun {
		return c.dryDelete(key, w)
	}
	done, err := c.underCondition(&w.condition, key, func(p *plan) (*planned, error) {
		if c.mayRead(key) { // an absent key costs no revision then
			p.decision = []wire.Compare{createRevision(key, wire.NotEqual, 0)}
		}
		p.branches[0] = []wire.Op{{Delete: &wire.DeleteRequest{Key: key, PrevKV: w.prevKV}}}
		return c.commit(p, func(done *planned) error {
			c.deleteAnswer(key, done, w)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if done.refused {
		return c.refusal(&w.condition, done, w.encoding)
	}
	return nil
}

func (c *call) deleteAnswer(key []byte, done *planned, w writeOptions) {
	c.revision = done.revision()
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("revision", done.revision())
	if done.branch == 1 {
		c.intMember("deleted", 0)
	} else {
		deleted := done.results[0].Delete
		c.intMember("deleted", deleted.Deleted)
		if kv, ok := deleted.PrevKVs.First(); ok {
			c.prevKV(kv, w.encoding)
		}
	}
	c.closeObject()
}
