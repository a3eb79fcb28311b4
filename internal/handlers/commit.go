package handlers

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// commit runs a plan and, when it was not refused, has answer append what is told to the caller.
//
// Under an Idempotency-Key the transaction also writes the record of the outcome. When another gateway was faster with the
// same key, nothing is written, the first outcome has been appended instead, and the planned says replayed.
func (c *call) commit(p *plan, answer func(*planned) error) (*planned, error) {
	if c.claim != nil {
		return c.commitOnce(p, answer)
	}
	done, err := p.run(c.ctx(), c.store)
	if err != nil || done.refused {
		return done, err
	}
	return done, answer(done)
}

// maxIdempotentOperations is how many operations a transaction under an Idempotency-Key may have: the records and the
// transaction around it need the rest of etcd's 128.
const maxIdempotentOperations = 125

// commitOnce runs
//
//	If   the record does not exist
//	Then the plan, with the record put inside each of its branches
//	Else read the record
//
// so that which branch ran follows from the record, and no two transactions with one key write.
func (c *call) commitOnce(p *plan, answer func(*planned) error) (*planned, error) {
	if n := operationCount(p.request()); n > maxIdempotentOperations {
		return nil, problem.New(problem.TooManyOperations, "the write has %d operations; with an Idempotency-Key etcd allows %d",
			n, maxIdempotentOperations).With("limit", maxIdempotentOperations).WithOutcome(problem.NotApplied)
	}
	outer, recorded, err := c.runOnce(p)
	if err != nil {
		return nil, err
	}
	if !outer.Succeeded {
		return &planned{answer: outer, replayed: true}, c.replayFirst(outer)
	}
	inner, err := onlyTxn(outer)
	if err != nil {
		return nil, unreadable().Because(err)
	}
	inner.Header = outer.Header
	done, err := recorded.read(inner)
	if err != nil {
		return nil, unreadable().Because(err)
	}
	if done.refused {
		return done, nil
	}
	done.results = done.results[:len(done.results)-1] // the last one is the record's
	if err := answer(done); err != nil {
		return done, err
	}
	c.keepAnswer(done, p.lease)
	return done, nil
}

// runOnce sends the transaction.
func (c *call) runOnce(p *plan) (answer *wire.TxnResponse, recorded *plan, err error) {
	answer, err = c.withRecordLease(func(ctx context.Context, lease int64) (_ *wire.TxnResponse, err error) {
		if recorded, err = c.claim.recorded(p, lease); err != nil {
			return nil, c.notApplied(err)
		}
		return c.store.Txn(ctx, &wire.TxnRequest{
			If:   []wire.Compare{createRevision(c.claim.key, wire.Equal, 0)},
			Then: []wire.Op{{Txn: recorded.request()}},
			Else: []wire.Op{{Range: &wire.RangeRequest{Key: c.claim.key}}},
		})
	})
	return answer, recorded, err
}

// replayFirst answers with the first outcome, whose record the transaction has read.
func (c *call) replayFirst(outer *wire.TxnResponse) error {
	if len(outer.Results) != 1 || outer.Results[0].Range == nil {
		return unreadable().WithOutcome(problem.NotApplied)
	}
	kv, ok := outer.Results[0].Range.KVs.First()
	if !ok {
		return unreadable().WithOutcome(problem.NotApplied)
	}
	r, err := c.sameRequest(kv)
	if err != nil {
		return err
	}
	return c.replay(kv, r)
}

// recordsAllowed asks whether the identity may write records, by a transaction that never does: etcd judges the rights of
// both branches.
func (c *call) recordsAllowed(lease int64) bool {
	_, err := c.store.Txn(c.ctx(), &wire.TxnRequest{
		If:   []wire.Compare{createRevision(c.claim.key, wire.Less, 0)},
		Then: []wire.Op{{Put: &wire.PutRequest{Key: c.claim.key, Lease: lease}}},
		Else: []wire.Op{{Range: &wire.RangeRequest{Key: c.claim.key, CountOnly: true}}},
	})
	return err == nil || problem.From(err).Code != problem.PermissionDenied
}

func (c *call) recordsUnavailable() *problem.Error {
	user := authz.GatewaysUser
	if c.caller != nil {
		user = c.caller.EtcdUser()
	}
	return problem.New(problem.IdempotencyUnavailable, "%s may not write the state that an Idempotency-Key needs; nothing was written", user).
		WithHint(`grant it read and write on the prefix "\0etcdrest/", or send the request without the header`).WithOutcome(problem.NotApplied)
}

// keepAnswer adds the full answer to the record, for the repeats. Until that has happened, or when it cannot be done, a
// repeat gets what follows from the record alone. The answer is worth a moment beyond the caller's own time.
func (c *call) keepAnswer(done *planned, lease etcdclient.Lease) {
	if len(c.body) > maxKeptAnswer {
		return
	}
	r := c.claim.record(done.branch, lease)
	r.Response = c.response()
	c.rewrite(r, done.revision())
}

// rewrite replaces the record that was written at the revision, if it is still that one.
func (c *call) rewrite(r *record, revision int64) {
	value, err := r.encode()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), keepTimeout)
	defer cancel()
	_, _ = c.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{c.holds(revision)},
		Then: []wire.Op{{Put: &wire.PutRequest{Key: c.claim.key, Value: value, IgnoreLease: true}}},
	})
}

// response is the answer as a record keeps it.
func (c *call) response() *response {
	return &response{Status: c.status, Revision: c.revision, Tag: c.etag, Location: c.w.Header().Get("Location"), Body: c.body}
}

// operationCount counts as etcd does: the longest list of a transaction, and the most that one nested in it counts.
func operationCount(t *wire.TxnRequest) int {
	deepest := 0
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for i := range branch {
			if branch[i].Txn != nil {
				deepest = max(deepest, operationCount(branch[i].Txn))
			}
		}
	}
	return max(len(t.If), len(t.Then), len(t.Else)) + deepest
}
