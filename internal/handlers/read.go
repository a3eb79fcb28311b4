package handlers

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// consistency is how fresh a read must be. The zero value is linearizable.
type consistency struct {
	serializable bool
	// notOlderThan is the store revision that the answer must have reached, 0 for none.
	notOlderThan int64
}

func (q *params) consistency() consistency {
	return consistency{
		serializable: q.Choice("consistency", "linearizable", "linearizable", "serializable") == "serializable",
		notOlderThan: q.Integer("not_older_than", 0, 1, maxInt64),
	}
}

// read sends a range at the consistency asked for and notes the answering revision. A serializable answer that is older
// than not_older_than or than the revision asked for is asked again linearizably; what is still older does not exist yet.
func (c *call) read(r *wire.RangeRequest, how consistency) (*wire.RangeResponse, error) {
	r.Serializable = how.serializable
	answer, err := c.store.Range(c.ctx(), r)
	if how.serializable && (isFuture(err) || (err == nil && answer.Header.Revision < how.notOlderThan)) {
		if err == nil {
			answer.Free()
		}
		r.Serializable = false
		answer, err = c.store.Range(c.ctx(), r)
	}
	if err != nil {
		return nil, err
	}
	c.revision = answer.Header.Revision
	if err := how.check(answer.Header.Revision); err != nil {
		answer.Free()
		return nil, err
	}
	return answer, nil
}

// check refuses an answer from before not_older_than: the header's revision counts, not a key's.
func (how consistency) check(revision int64) error {
	if revision >= how.notOlderThan {
		return nil
	}
	return problem.New(problem.FutureRevision, "the store has not reached revision %d yet", how.notOlderThan).
		With("revision", revision).AtParameter("not_older_than")
}

func isFuture(err error) bool {
	e := problem.From(err)
	return e != nil && e.Code == problem.FutureRevision
}

// pin reads the revision that a walk is to be made at, the present one for 0, and refuses one that etcd does not have
// (any more, or yet). It asks for a single key, which costs nothing and needs no right beyond that to the range.
func (c *call) pin(key []byte, revision int64, how consistency) (int64, error) {
	ctx, cancel := context.WithTimeout(c.ctx(), c.api.options.RequestTimeout)
	defer cancel()
	whole := c.r
	c.r = whole.WithContext(ctx)
	defer func() { c.r = whole }()
	answer, err := c.read(&wire.RangeRequest{Key: key, Revision: revision, CountOnly: true}, how)
	if err != nil {
		return 0, err
	}
	defer answer.Free()
	if revision == 0 {
		revision = answer.Header.Revision
	}
	return revision, nil
}
