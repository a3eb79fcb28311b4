package handlers

import (
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// transaction is the body of POST /v1/txn, or a transaction nested in one.
type transaction struct {
	when            []wire.Compare
	then, otherwise []operation
}

// operation is one entry of a branch; exactly one member is set.
type operation struct {
	put *txnPut
	get *wire.RangeRequest
	del *wire.DeleteRequest
	txn *transaction
	// pointer is where in the body it stands.
	pointer string
}

// txnPut is a put of a transaction. Its lease is granted before the transaction when the body has a ttl.
type txnPut struct {
	body    putBody
	request wire.PutRequest
	granted etcdclient.Lease
}

// txnOptions are what POST /v1/txn takes besides the body.
type txnOptions struct {
	consistency
	encoding kvjson.Encoding
	dryRun   bool
}

// etcdMaxOperations is etcd's default for the operations of a transaction (--max-txn-ops).
const etcdMaxOperations = 128

// txn answers POST /v1/txn.
func (a *API) txn(c *call) error {
	o := txnOptions{encoding: c.query.Encoding(), dryRun: c.query.Boolean("dry_run"), consistency: c.query.consistency()}
	if err := c.query.Done(); err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	decoder := txnDecoder{maxValueBytes: a.options.MaxValueBytes}
	t, err := decoder.decode(body)
	if err != nil {
		return err
	}
	if o.consistency != (consistency{}) && !t.readOnly() {
		return problem.New(problem.InvalidParameter,
			"consistency and not_older_than are for transactions that only read; one that writes is always up to date").AtParameter("consistency")
	}
	if _, err := checkDuplicates(t.then); err != nil {
		return err
	}
	if _, err := checkDuplicates(t.otherwise); err != nil {
		return err
	}
	if err := c.boundSorts(t, o.serializable); err != nil {
		return err
	}
	if o.dryRun {
		return c.dryTxn(t, o)
	}
	if t.readOnly() { // a repeat of it writes nothing as it is, and a record would be its only write
		c.claim = nil
	}
	return c.runTxn(t, o)
}

// runTxn grants the leases, commits, and gives back the leases that no put took.
func (c *call) runTxn(t *transaction, o txnOptions) error {
	puts := t.puts(nil)
	if err := c.grantAll(puts); err != nil {
		return err
	}
	done, err := c.commitTxn(t, o)
	if err != nil {
		return c.dropLeases(puts, tooManyOperations(err))
	}
	unused := puts
	if !done.replayed {
		ran := make(map[*txnPut]bool)
		t.walk(done.branch == 0, done.results, func(o *operation, _ *wire.OpResponse) {
			if o.put != nil {
				ran[o.put] = true
			}
		})
		unused = unused[:0:0]
		for _, p := range puts {
			if !ran[p] {
				unused = append(unused, p)
			}
		}
	}
	c.revoke(unused)
	return nil
}

// commitTxn runs the transaction. A serializable answer that is older than not_older_than is asked again linearizably, as
// with every read.
func (c *call) commitTxn(t *transaction, o txnOptions) (*planned, error) {
	for {
		p := t.plan(o.serializable)
		again := false
		done, err := c.commit(&p, func(done *planned) error {
			if again = o.serializable && done.revision() < o.notOlderThan; again {
				return nil
			}
			if err := o.check(done.revision()); err != nil {
				c.revision = done.revision()
				return err
			}
			return c.txnAnswer(t, done, o.encoding)
		})
		if err != nil || !again {
			return done, err
		}
		o.serializable = false
	}
}

// tooManyOperations adds the limit to etcd's refusal, which does not tell it.
func tooManyOperations(err error) error {
	e := problem.From(err)
	if e.Code == problem.TooManyOperations && e.Extra == nil {
		return e.With("limit", etcdMaxOperations).WithHint("the limit is etcd's --max-txn-ops; nested transactions count towards it")
	}
	return err
}

// plan makes the transaction's plan: its conditions are the decision.
//
// etcd takes a transaction whose branches are both empty for one that asks no quorum, and answers it stale. A read in both
// branches, which the answer leaves out, makes it linearizable.
func (t *transaction) plan(serializable bool) plan {
	p := plan{decision: t.when, branches: [2][]wire.Op{operations(t.then, serializable), operations(t.otherwise, serializable)}}
	if len(t.then) == 0 && len(t.otherwise) == 0 && !serializable {
		hidden := wire.Op{Range: &wire.RangeRequest{Key: []byte(keyrange.FirstKey), CountOnly: true}}
		if len(t.when) > 0 { // a key that the caller may read, or the conditions would be refused as well
			hidden.Range.Key, hidden.Range.End = t.when[0].Key, t.when[0].End
		}
		p.branches = [2][]wire.Op{{hidden}, {hidden}}
	}
	return p
}

func operations(list []operation, serializable bool) []wire.Op {
	out := make([]wire.Op, 0, len(list))
	for i := range list {
		out = append(out, list[i].request(serializable))
	}
	return out
}

func (o *operation) request(serializable bool) wire.Op {
	switch {
	case o.put != nil:
		return wire.Op{Put: &o.put.request}
	case o.get != nil:
		get := *o.get
		get.Serializable = serializable
		return wire.Op{Range: &get}
	case o.del != nil:
		return wire.Op{Delete: o.del}
	default:
		return wire.Op{Txn: &wire.TxnRequest{
			If: o.txn.when, Then: operations(o.txn.then, serializable), Else: operations(o.txn.otherwise, serializable),
		}}
	}
}

// all walks every operation of both branches, nested ones too.
func (t *transaction) all(visit func(*operation)) {
	for _, branch := range [][]operation{t.then, t.otherwise} {
		for i := range branch {
			visit(&branch[i])
			if branch[i].txn != nil {
				branch[i].txn.all(visit)
			}
		}
	}
}

// walk visits the operations that ran, with their results, nested ones too. Results that do not fit are left out.
func (t *transaction) walk(succeeded bool, results []wire.OpResponse, visit func(*operation, *wire.OpResponse)) {
	branch := t.branch(succeeded)
	for i := range min(len(branch), len(results)) {
		visit(&branch[i], &results[i])
		if nested := results[i].Txn; branch[i].txn != nil && nested != nil {
			branch[i].txn.walk(nested.Succeeded, nested.Results, visit)
		}
	}
}

func (t *transaction) branch(succeeded bool) []operation {
	if succeeded {
		return t.then
	}
	return t.otherwise
}

// readOnly tells whether no branch writes.
func (t *transaction) readOnly() bool {
	only := true
	t.all(func(o *operation) { only = only && o.put == nil && o.del == nil })
	return only
}

// boundSorts counts the keys of every get with another order than by ascending key, or with a filter, beforehand: etcd
// loads and sorts all of them while it applies the transaction, and every write of the cluster waits for that.
func (c *call) boundSorts(t *transaction, serializable bool) (err error) {
	t.all(func(o *operation) {
		g := o.get
		if err != nil || g == nil || g.End == nil || !sorted(g) {
			return
		}
		var answer *wire.RangeResponse
		answer, err = c.store.Range(c.ctx(), &wire.RangeRequest{
			Key: g.Key, End: g.End, Revision: g.Revision, CountOnly: true, Serializable: serializable,
		})
		if err != nil {
			err = c.notApplied(err)
			return
		}
		defer answer.Free()
		if answer.Count > mostShaped {
			err = problem.New(problem.ResultTooLarge, "an order or filter works on at most %d keys, and the range has %d", mostShaped, answer.Count).
				WithOutcome(problem.NotApplied).With("limit", mostShaped).AtPointer(o.pointer + "/get")
		}
	})
	return err
}

func sorted(g *wire.RangeRequest) bool {
	return g.Order != wire.Unsorted || g.MinModRevision|g.MaxModRevision|g.MinCreateRevision|g.MaxCreateRevision != 0
}
