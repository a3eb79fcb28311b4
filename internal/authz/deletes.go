package authz

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Span is a range of keys that a request deletes, with an end as in etcd.
type Span struct{ Key, End []byte }

const (
	// MostCounted bounds what may be deleted at once by a deletion that is counted: the transaction compares that many keys, and
	// etcd takes no write meanwhile.
	MostCounted = 10_000
	// MostDeleteTries is how often such a deletion is tried while others keep changing the range.
	MostDeleteTries = 3
)

// ErrKeptWriting is what such a deletion ends with when others kept changing the range.
func ErrKeptWriting() *problem.Error {
	return problem.New(problem.Conflict, "others kept writing to the range while it was to be deleted; nothing was deleted").
		WithOutcome(problem.NotApplied)
}

// CountsDeletes tells whether the ranges that the caller deletes are counted first.
func (c *Caller) CountsDeletes() bool { return c.Limits.KeysPerRequest > 0 }

// Deleting has a transaction sent that deletes the ranges only if they hold no more keys than the caller may delete by one
// request: it counts, and then gives send the revision that no key of the ranges may have been written after; send tells
// whether that was so. Keys that went meanwhile only make it fewer. What was refused for good is too_many_deletes, or
// conflict when others kept writing. Counting is reading, and must be granted.
func (s *Store) Deleting(ctx context.Context, spans []Span, send func(revision int64) (unchanged bool, err error)) error {
	for range MostDeleteTries {
		revision, err := s.countSpans(ctx, spans)
		if err != nil {
			return err
		}
		if unchanged, err := send(revision); err != nil || unchanged {
			return err
		}
	}
	return ErrKeptWriting()
}

// countSpans gives the revision at which the ranges together held no more keys than may go.
func (s *Store) countSpans(ctx context.Context, spans []Span) (revision int64, err error) {
	count := &wire.TxnRequest{Then: make([]wire.Op, len(spans))}
	for i, span := range spans {
		if err := s.permit(Ranges(span.Key, span.End, true)); err != nil {
			return 0, err
		}
		count.Then[i].Range = &wire.RangeRequest{Key: span.Key, End: span.End, CountOnly: true}
	}
	answer, err := s.etcd.Txn(ctx, count)
	if err != nil {
		if e := problem.From(err); e != nil {
			return 0, e.WithOutcome(problem.NotApplied)
		}
		return 0, err
	}
	defer answer.Free()
	keys, most := int64(0), min(s.caller.Limits.KeysPerRequest, MostCounted)
	for _, result := range answer.Results {
		if result.Range != nil {
			keys += result.Range.Count
		}
	}
	if keys > most {
		return 0, problem.New(problem.TooManyDeletes, "%d keys would be deleted, and the caller may delete %d by one request; nothing was deleted", keys, most).
			With("limit", most).With("revision", answer.Header.Revision).WithOutcome(problem.NotApplied).
			WithHint("delete smaller ranges; keys_per_request in the gateway's policy bounds them")
	}
	return answer.Header.Revision, nil
}

// spans appends the ranges that a transaction may delete, in whichever branch, however deep. Single keys are bounded by how
// many operations a transaction may have.
func spans(dst []Span, t *wire.TxnRequest) []Span {
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for i := range branch {
			switch op := &branch[i]; {
			case op.Delete != nil && len(op.Delete.End) > 0:
				dst = append(dst, Span{op.Delete.Key, op.Delete.End})
			case op.Txn != nil:
				dst = spans(dst, op.Txn)
			}
		}
	}
	return dst
}

// deleting sends a transaction that deletes ranges, inside one that demands that they are as they were counted.
func (s *Store) deleting(ctx context.Context, r *wire.TxnRequest, ranges []Span) (answer *wire.TxnResponse, err error) {
	err = s.Deleting(ctx, ranges, func(revision int64) (bool, error) {
		guarded := &wire.TxnRequest{Then: []wire.Op{{Txn: r}}}
		for _, span := range ranges {
			guarded.If = append(guarded.If, wire.Compare{
				Key: span.Key, End: span.End, Target: wire.TargetModRevision, Op: wire.Less, Number: revision + 1,
			})
		}
		got, err := s.etcd.Txn(ctx, guarded)
		if err != nil || !got.Succeeded {
			return false, err
		}
		if len(got.Results) != 1 || got.Results[0].Txn == nil {
			return false, problem.New(problem.UpstreamCorrupt, "etcd's answer to the transaction cannot be read").WithOutcome(problem.Unknown)
		}
		inner := got.Results[0].Txn
		got.Succeeded, got.Results = inner.Succeeded, inner.Results
		answer = got
		return true, nil
	})
	return answer, err
}
