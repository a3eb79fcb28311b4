package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// dryTxn checks everything that a transaction would, and says which branches would run and what they would do. It is the
// same transaction with a read in place of each write. So a get shows the store as it is, without the writes of the
// transaction before it; etcd evaluates the conditions of nested transactions before any write as well.
func (c *call) dryTxn(t *transaction, o txnOptions) error {
	if err := c.checkLeases(t); err != nil {
		return err
	}
	p := t.plan(o.serializable)
	for i := range p.branches {
		p.branches[i] = reads(p.branches[i])
	}
	done, err := p.run(c.ctx(), c.store)
	if err != nil {
		return c.notApplied(tooManyOperations(err))
	}
	c.revision = done.revision()
	if err := o.check(done.revision()); err != nil {
		return err
	}
	c.openObject()
	c.boolMember("succeeded", done.branch == 0)
	c.intMember("revision", done.revision())
	if err := c.resultsMember(t.branch(done.branch == 0), done.results, o.encoding, c.dryResult); err != nil {
		return err
	}
	c.boolMember("dry_run", true)
	c.closeObject()
	return nil
}

// checkLeases refuses a put with a lease that does not exist, as etcd would.
func (c *call) checkLeases(t *transaction) (err error) {
	known := make(map[int64]bool)
	t.all(func(o *operation) {
		if err != nil || o.put == nil || o.put.body.lease == 0 || known[o.put.body.lease] {
			return
		}
		known[o.put.body.lease] = true
		if _, leaseErr := c.store.LeaseTimeToLive(c.ctx(), o.put.body.lease, false); leaseErr != nil {
			e := *problem.From(leaseErr)
			if e.Code == problem.LeaseNotFound {
				e = *e.AtPointer(o.pointer + "/put/lease")
			}
			err = e.WithOutcome(problem.NotApplied)
		}
	})
	return err
}

// reads puts a read of the same keys in the place of each write.
func reads(ops []wire.Op) []wire.Op {
	out := make([]wire.Op, 0, len(ops))
	for _, op := range ops {
		switch {
		case op.Put != nil:
			op = wire.Op{Range: &wire.RangeRequest{Key: op.Put.Key, KeysOnly: !op.Put.PrevKV}}
		case op.Delete != nil:
			op = wire.Op{Range: &wire.RangeRequest{Key: op.Delete.Key, End: op.Delete.End, CountOnly: !op.Delete.PrevKV}}
		case op.Txn != nil:
			op = wire.Op{Txn: &wire.TxnRequest{If: op.Txn.If, Then: reads(op.Txn.Then), Else: reads(op.Txn.Else)}}
		}
		out = append(out, op)
	}
	return out
}

func (c *call) dryResult(o *operation, r *wire.OpResponse, e kvjson.Encoding) error {
	switch {
	case o.put != nil && r.Range != nil:
		kv, exists := r.Range.KVs.First()
		if !exists && (o.put.body.ignoreValue || o.put.body.ignoreLease) {
			return problem.New(problem.KeyNotFound, "ignore_value and ignore_lease keep what a key has, and there is no such key").
				AtPointer(o.pointer + "/put/key")
		}
		c.openResult("put")
		c.putResult(o.put, kv, exists, e)
	case o.del != nil && r.Range != nil:
		c.openResult("delete")
		c.deleteResult(r.Range.Count, &r.Range.KVs, o.del.PrevKV, e)
	case o.txn != nil && r.Txn != nil:
		c.openResult("txn")
		c.boolMember("succeeded", r.Txn.Succeeded)
		if err := c.resultsMember(o.txn.branch(r.Txn.Succeeded), r.Txn.Results, e, c.dryResult); err != nil {
			return err
		}
	default:
		return c.result(o, r, e)
	}
	c.closeResult()
	return nil
}
