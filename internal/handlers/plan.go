package handlers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// plan is a write as one etcd transaction: a guard, operations, and a decision between two branches, so that what happened
// is known from which branch ran.
//
//	If   the guard holds                  (the caller's conditions)
//	Then the operations, and
//	     If   the decision holds
//	     Then branches[0]
//	     Else branches[1]
//	Else refused                          (reads what a 412 shows)
//
// A value stands in it once: two copies would halve the largest value that fits etcd's limit. etcd judges all compares
// before it runs anything, so the decision speaks of the store as it was.
type plan struct {
	guard []wire.Compare
	ops   []wire.Op
	// decision chooses the branch; with none the first branch always runs.
	decision []wire.Compare
	branches [2][]wire.Op
	// refused is run when the guard does not hold.
	refused []wire.Op
	// lease was granted for this write; an idempotency record names it.
	lease etcdclient.Lease
}

// planned is what a plan's transaction did.
type planned struct {
	answer *wire.TxnResponse
	// refused means that the guard did not hold; results are then those of plan.refused.
	refused bool
	// replayed means that this write is the repeat of one that happened: nothing was written now, there are no results, and
	// the answer is complete (see idempotency.go).
	replayed bool
	// branch is the index of the branch that ran.
	branch int
	// results are those of the operations and then those of the branch.
	results []wire.OpResponse
}

func (p *planned) revision() int64 { return p.answer.Header.Revision }

// decided tells whether there are two branches to choose from. etcd chooses the first when the decision is empty, and
// checks the second all the same.
func (p *plan) decided() bool { return len(p.decision) > 0 || len(p.branches[1]) > 0 }

// nested tells whether the decision is a transaction of its own inside the guard's.
func (p *plan) nested() bool { return p.decided() && len(p.guard)+len(p.ops) > 0 }

// request builds the transaction.
func (p *plan) request() *wire.TxnRequest {
	choice := &wire.TxnRequest{If: p.decision, Then: p.branches[0], Else: p.branches[1]}
	if p.decided() && !p.nested() {
		return choice
	}
	core := slices.Clip(p.ops)
	if p.nested() {
		core = append(core, wire.Op{Txn: choice})
	} else {
		core = append(core, p.branches[0]...)
	}
	if len(p.guard) == 0 {
		return &wire.TxnRequest{Then: core}
	}
	return &wire.TxnRequest{If: p.guard, Then: core, Else: p.refused}
}

// run sends the transaction and reads which branch ran.
func (p *plan) run(ctx context.Context, store Store) (*planned, error) {
	answer, err := store.Txn(ctx, p.request())
	if err != nil {
		return nil, err
	}
	done, err := p.read(answer)
	if err != nil { // the write may well have happened: the answer is what cannot be read
		return nil, unreadable().Because(err)
	}
	return done, nil
}

// read walks the answer the way request was built.
func (p *plan) read(answer *wire.TxnResponse) (*planned, error) {
	done := &planned{answer: answer, results: answer.Results}
	if len(p.guard) > 0 && !answer.Succeeded {
		done.refused = true
		return done, nil
	}
	chosen := answer.Succeeded
	if p.nested() {
		if len(done.results) != len(p.ops)+1 || done.results[len(p.ops)].Txn == nil {
			return nil, errors.New("the nested transaction's answer is missing")
		}
		choice := done.results[len(p.ops)].Txn
		chosen = choice.Succeeded
		done.results = append(done.results[:len(p.ops):len(p.ops)], choice.Results...)
	}
	if p.decided() && !chosen {
		done.branch = 1
	}
	if want := len(p.ops) + len(p.branches[done.branch]); len(done.results) != want {
		return nil, fmt.Errorf("%d results for %d operations", len(done.results), want)
	}
	return done, nil
}

func onlyTxn(t *wire.TxnResponse) (*wire.TxnResponse, error) {
	if len(t.Results) != 1 || t.Results[0].Txn == nil {
		return nil, errors.New("a nested transaction's answer is missing")
	}
	return t.Results[0].Txn, nil
}

// guardPlan makes the guard of a condition on one key, of whose tags the given one is tried. Its refusal reads the key,
// and the lock when there is one.
func guardPlan(d *condition, key []byte, tag int) plan {
	p := plan{guard: append(d.lock(), d.onKey(key, tag)...), refused: []wire.Op{{Range: &wire.RangeRequest{Key: key}}}}
	if d.lockKey != nil {
		p.refused = append(p.refused, wire.Op{Range: &wire.RangeRequest{Key: d.lockKey, KeysOnly: true}})
	}
	return p
}

// underCondition runs a plan under the caller's condition on one key. Several tags are tried one at a time, since etcd
// joins compares by "and" only: a refusal shows which of them, if any, the key has now.
func (c *call) underCondition(d *condition, key []byte, run func(p *plan) (*planned, error)) (*planned, error) {
	for tag, tries := 0, 0; ; tries++ {
		p := guardPlan(d, key, tag)
		done, err := run(&p)
		if err != nil || !done.refused || len(d.anyOf) < 2 || tries == maxTags {
			return done, err
		}
		kv, ok := firstOf(done.results)
		if !ok || (d.lockKey != nil && !lockHolds(d, done)) {
			return done, nil
		}
		if tag = slices.Index(d.anyOf, kv.ModRevision); tag < 0 {
			return done, nil
		}
	}
}

// firstOf gives the key-value that the first of the results shows.
func firstOf(results []wire.OpResponse) (kv wire.KeyValue, ok bool) {
	if len(results) == 0 || results[0].Range == nil {
		return kv, false
	}
	return results[0].Range.KVs.First()
}

// refusal turns a guard that did not hold into the problem the caller gets: lock_lost when it is the lock that fails,
// else precondition_failed with the present key-value.
func (c *call) refusal(d *condition, done *planned, e kvjson.Encoding) error {
	c.revision = done.revision()
	if d.lockKey != nil && !lockHolds(d, done) {
		return problem.New(problem.LockLost, "the lock is not held with that fencing token any more").WithOutcome(problem.NotApplied)
	}
	failed := problem.New(problem.PreconditionFailed, "the key is not in the state that the request demands; nothing was written").
		WithOutcome(problem.NotApplied).With("revision", done.revision())
	if len(done.results) == 0 || done.results[0].Range == nil {
		return problem.New(problem.UpstreamCorrupt, "etcd's answer to the transaction cannot be read").WithOutcome(problem.NotApplied)
	}
	kv, ok := done.results[0].Range.KVs.First()
	if !ok {
		return failed.With("current", nil)
	}
	return failed.With("current", rawJSON(kvjson.AppendKeyValue(nil, kv, kvjson.Options{Encoding: e})))
}

func lockHolds(d *condition, done *planned) bool {
	if len(done.results) != 2 || done.results[1].Range == nil {
		return false
	}
	kv, ok := done.results[1].Range.KVs.First()
	return ok && kv.CreateRevision == d.lockToken
}
