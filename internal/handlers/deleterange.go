package handlers

import (
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// deletion is what DELETE /v1/kv asks for: every key of one range, or single keys.
type deletion struct {
	// targets are single keys (without End) or the one range; they do not overlap.
	targets []wire.DeleteRequest
	// most is the most keys that may go, -1 for any number.
	most   int64
	dryRun bool
	guard  condition
}

// deleteKeys answers DELETE /v1/kv: every key of a range, or the keys named, in one transaction.
func (a *API) deleteKeys(c *call) error {
	d, err := c.deletion()
	if err != nil {
		return err
	}
	switch {
	case d.dryRun:
		return c.dryDeleteKeys(&d)
	case d.most >= 0:
		return c.deleteAtMost(&d)
	}
	return c.deleteAll(&d)
}

// deletion reads what is to be deleted. Naming nothing, and a range without a bound, are mistakes unless confirmed.
func (c *call) deletion() (d deletion, err error) {
	q := &c.query
	if q.Given("key") {
		err = c.deletionOfKeys(&d)
	} else {
		err = c.deletionOfRange(&d)
	}
	if err != nil {
		return d, err
	}
	d.most = q.Integer("max_deleted", -1, 0, authz.MostCounted)
	d.dryRun = q.Boolean("dry_run")
	if most := c.mostKeys(authz.MostCounted); d.dryRun && c.caller != nil && c.caller.CountsDeletes() && (d.most < 0 || d.most > most) {
		d.most = most // what is done is bounded by the store
	}
	if d.guard, err = c.condition(); err != nil {
		return d, err
	}
	if d.guard.keyed() {
		return d, problem.New(problem.InvalidParameter, "If-Match, If-None-Match and if_mod_revision speak of one key, not of a range").
			WithHint("delete the key by DELETE /v1/kv/{key}, or use POST /v1/txn").AtParameter("If-Match")
	}
	return d, q.Done()
}

func (c *call) deletionOfKeys(d *deletion) error {
	keys, err := c.singleKeys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		d.targets = append(d.targets, wire.DeleteRequest{Key: key})
	}
	return nil
}

func (c *call) deletionOfRange(d *deletion) error {
	all := c.query.Boolean("all")
	r, err := c.keyRange()
	if err != nil {
		return err
	}
	c.query.confirmed(&r, all)
	d.targets = []wire.DeleteRequest{{Key: r.Start, End: r.End}}
	return nil
}

// confirmed notes a fault when the range is named by nobody, or has no bound and is not confirmed. A range that could not
// be read is a fault already.
func (q *params) confirmed(r *keyrange.Range, all bool) {
	switch {
	case q.Faulty():
	case !r.Named:
		q.Fault("prefix", problem.InvalidParameter, "name what is to be deleted: prefix=, from= and to=, or key=")
	case r.Whole && !all:
		q.Fault("all", problem.InvalidParameter, "this range has no bound; confirm it with all=true")
	}
}

// guarded is a transaction of these operations under the guard; the refusal reads the lock when there is one.
func (d *deletion) guarded(ops []wire.Op) plan {
	p := plan{guard: d.guard.lock(), ops: ops}
	if d.guard.lockKey != nil {
		p.refused = []wire.Op{{Range: &wire.RangeRequest{Key: d.guard.lockKey, KeysOnly: true}}}
	}
	return p
}

// plan is the deletion.
func (d *deletion) plan() plan {
	ops := make([]wire.Op, len(d.targets))
	for i := range d.targets {
		ops[i].Delete = &d.targets[i]
	}
	return d.guarded(ops)
}

// deleteAll deletes however many there are.
func (c *call) deleteAll(d *deletion) error {
	p := d.plan()
	done, err := c.commit(&p, c.deletedAnswer)
	if err == nil && done.refused {
		return c.lockLost(done)
	}
	return err
}

// deleteAtMost deletes only if no more than the most allowed would go: it counts, and then demands that no key of the
// range was written since. Keys that went meanwhile only make it fewer.
func (c *call) deleteAtMost(d *deletion) error {
	for range authz.MostDeleteTries {
		n, err := c.countTargets(d)
		if err != nil {
			return err
		}
		if err := c.checkMost(d, n); err != nil {
			return err
		}
		p := d.plan()
		for _, t := range d.targets {
			unchanged := wire.Compare{Key: t.Key, End: t.End, Target: wire.TargetModRevision, Op: wire.Less, Number: n.revision + 1}
			p.guard = append(p.guard, unchanged)
		}
		done, err := c.commit(&p, c.deletedAnswer)
		if err != nil || !done.refused {
			return err
		}
		if d.guard.lockKey != nil && !d.lockHeld(done) {
			return c.lockLost(done)
		}
	}
	return authz.ErrKeptWriting()
}

// dryDeleteKeys says how many keys would go.
func (c *call) dryDeleteKeys(d *deletion) error {
	n, err := c.countTargets(d)
	if err != nil {
		return err
	}
	if err := c.checkMost(d, n); err != nil {
		return err
	}
	c.revision = n.revision
	c.openObject()
	c.intMember("revision", n.revision)
	c.intMember("deleted", n.keys)
	c.boolMember("dry_run", true)
	c.closeObject()
	return nil
}

// counted is how many keys there were, and when.
type counted struct{ keys, revision int64 }

// countTargets counts what would go, under the guard.
func (c *call) countTargets(d *deletion) (n counted, err error) {
	ops := make([]wire.Op, len(d.targets))
	for i, t := range d.targets {
		ops[i].Range = &wire.RangeRequest{Key: t.Key, End: t.End, CountOnly: true}
	}
	p := d.guarded(ops)
	done, err := p.run(c.ctx(), c.store)
	if err != nil {
		return n, c.notApplied(err)
	}
	if done.refused {
		return n, c.lockLost(done)
	}
	for _, result := range done.results {
		if result.Range == nil {
			return n, unreadable().WithOutcome(problem.NotApplied)
		}
		n.keys += result.Range.Count
	}
	n.revision = done.revision()
	return n, nil
}

func (c *call) checkMost(d *deletion, n counted) error {
	if d.most < 0 || n.keys <= d.most {
		return nil
	}
	return problem.New(problem.TooManyDeletes, "%d keys would be deleted, and max_deleted allows %d", n.keys, d.most).
		With("limit", d.most).With("revision", n.revision).AtParameter("max_deleted")
}

// deletedAnswer appends what a deletion did.
func (c *call) deletedAnswer(done *planned) error {
	deleted := int64(0)
	for _, result := range done.results {
		if result.Delete == nil {
			return unreadable()
		}
		deleted += result.Delete.Deleted
	}
	c.revision = done.revision()
	c.openObject()
	c.intMember("revision", done.revision())
	c.intMember("deleted", deleted)
	c.closeObject()
	return nil
}

// lockHeld tells whether it was not the lock that refused the transaction.
func (d *deletion) lockHeld(done *planned) bool {
	kv, ok := firstOf(done.results)
	return ok && kv.CreateRevision == d.guard.lockToken
}

func (c *call) lockLost(done *planned) error {
	c.revision = done.revision()
	return problem.New(problem.LockLost, "the lock is not held with that fencing token any more").WithOutcome(problem.NotApplied)
}
