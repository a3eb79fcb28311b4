package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// txnAnswer appends the answer of a transaction that was run.
func (c *call) txnAnswer(t *transaction, done *planned, e kvjson.Encoding) error {
	c.revision = done.revision()
	c.openObject()
	c.boolMember("succeeded", done.branch == 0)
	c.intMember("revision", done.revision())
	if err := c.resultsMember(t.branch(done.branch == 0), done.results, e, c.result); err != nil {
		return err
	}
	c.closeObject()
	return nil
}

// appendResult appends the result of one operation: call.result, or for a dry run call.dryResult.
type appendResult func(op *operation, result *wire.OpResponse, e kvjson.Encoding) error

// resultsMember appends the results of a branch. What is behind those of its operations is the gateway's own.
func (c *call) resultsMember(branch []operation, results []wire.OpResponse, e kvjson.Encoding, one appendResult) error {
	if len(results) < len(branch) {
		return unreadable()
	}
	c.name("results")
	c.body = append(c.body, '[')
	for i := range branch {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		if err := one(&branch[i], &results[i], e); err != nil {
			return err
		}
	}
	c.body = append(c.body, ']', ',')
	return nil
}

func unreadable() *problem.Error {
	return problem.New(problem.UpstreamCorrupt, "etcd's answer to the transaction cannot be read")
}

// result appends the result of one operation: an object with one member of the operation's name.
func (c *call) result(o *operation, r *wire.OpResponse, e kvjson.Encoding) error {
	switch {
	case o.put != nil && r.Put != nil:
		c.openResult("put")
		c.putResult(o.put, r.Put.PrevKV, r.Put.Existed, e)
	case o.get != nil && r.Range != nil:
		c.openResult("get")
		c.getResult(r.Range, kvjson.Options{Encoding: e, KeysOnly: o.get.KeysOnly})
	case o.del != nil && r.Delete != nil:
		c.openResult("delete")
		c.deleteResult(r.Delete.Deleted, &r.Delete.PrevKVs, o.del.PrevKV, e)
	case o.txn != nil && r.Txn != nil:
		c.openResult("txn")
		c.boolMember("succeeded", r.Txn.Succeeded)
		if err := c.resultsMember(o.txn.branch(r.Txn.Succeeded), r.Txn.Results, e, c.result); err != nil {
			return err
		}
	default:
		return unreadable()
	}
	c.closeResult()
	return nil
}

func (c *call) openResult(name string) {
	c.body = append(c.body, '{')
	c.name(name)
	c.body = append(c.body, '{')
}

// closeResult ends the result's object, dropping the comma that its last member left, and the one around it.
func (c *call) closeResult() {
	if n := len(c.body); c.body[n-1] == ',' {
		c.body = c.body[:n-1]
	}
	c.body = append(c.body, '}', '}')
}

func (c *call) putResult(p *txnPut, prev wire.KeyValue, existed bool, e kvjson.Encoding) {
	if p.granted.ID != 0 {
		c.leaseMember(p.granted.ID)
		c.intMember("ttl", p.granted.TTL)
	}
	if existed && p.request.PrevKV {
		c.prevKV(prev, e)
	}
}

func (c *call) getResult(r *wire.RangeResponse, o kvjson.Options) {
	c.name("kvs")
	c.body = append(kvjson.AppendKeyValues(c.body, &r.KVs, o), ',')
	c.boolMember("more", r.More)
	c.intMember("count", r.Count)
}

func (c *call) deleteResult(deleted int64, prev *wire.KeyValues, wanted bool, e kvjson.Encoding) {
	c.intMember("deleted", deleted)
	if wanted {
		c.name("prev_kvs")
		c.body = append(kvjson.AppendKeyValues(c.body, prev, kvjson.Options{Encoding: e}), ',')
	}
}
