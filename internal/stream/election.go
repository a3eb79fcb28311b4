package stream

import (
	"context"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// An election is observed by a cursor over the range of its candidates, which carries who stands at its place. Of the
// revisions that it reads it tells those in which the leader is another one, or has proclaimed another value.

// electionRange gives the range of the candidates: the keys of etcd's Go package concurrency.
func electionRange(name []byte) (start, end []byte, err error) {
	if len(name) == 0 {
		return nil, nil, problem.New(problem.InvalidArgument, "the name of the election is empty")
	}
	if name[0] == 0 {
		return nil, nil, keyrange.Reserved()
	}
	start = append(append(make([]byte, 0, len(name)+1), name...), '/')
	return start, keyrange.PrefixEnd(start), nil
}

// recall makes the cursor know who stood at the revision, by a read. At revision 0 nothing was there.
func (c *Cursor) recall(ctx context.Context, revision int64) error {
	if revision == 0 {
		return nil
	}
	b, err := c.ballotAt(ctx, revision)
	if err != nil && problem.From(err).Code == problem.Compacted {
		return problem.From(c.compacted(ctx, revision, err)).
			WithHint("an election can be observed from the revision behind compact_revision on, or from the present: leave start_revision out")
	}
	c.ballot = b
	return err
}

// ballotAt reads who stood at the revision.
func (c *Cursor) ballotAt(ctx context.Context, revision int64) (b ballot, err error) {
	h, r := c.hub, c.request
	select {
	case h.snapshots <- struct{}{}:
		defer func() { <-h.snapshots }()
	case <-ctx.Done():
		return b, ctx.Err()
	}
	in := scan.New(c.who().store, wire.RangeRequest{Key: r.Start, End: r.End, Revision: revision}, stepTimeout)
	for kv, err := range in.All(ctx) {
		if err != nil {
			return ballot{}, err
		}
		b.root = with(b.root, leaf(kv.Clone()))
		if !b.fits() {
			return ballot{}, tooManyCandidates()
		}
	}
	return b, nil
}

func tooManyCandidates() *problem.Error {
	return problem.New(problem.ResultTooLarge, "below this name there are more than %d keys, or %d MiB: that is no election to be observed",
		mostCandidates, mostBallotBytes>>20).WithHint("watch the keys themselves, with prefix").With("limit", mostCandidates)
}

// elect is what the events of a revision make of an election: who stands then, and the text of the leader in the form, which
// is empty when the leader and its value are those of before.
func (e *entry) elect(r *Request, before ballot) (after ballot, leader []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.counted {
		b, grown := before.after(e.events)
		e.counted, e.ballot = true, b
		e.holdLocked(grown)
	}
	if e.ballot.sameLeader(before) {
		return e.ballot, nil
	}
	return e.ballot, e.textLocked(r.form, func() []byte { return r.appendLeader(nil, e.ballot) })
}

// vote takes the cursor behind one revision, and appends its message if the leader is another one, or has another value.
func (c *Cursor) vote(dst []byte, f framer, e *entry) (_ []byte, size int, err error) {
	b, leader := e.elect(c.request, c.ballot)
	if !b.fits() {
		return dst, 0, tooManyCandidates()
	}
	c.ballot, c.delivered = b, e.revision
	if len(leader) == 0 {
		return dst, 0, nil
	}
	return c.put(dst, f, message{appendElected(nil, e.revision, leader), e.revision}), len(leader), nil
}

// elected is the message of who leads at the cursor's place, which is behind the revision.
func (c *Cursor) elected(revision int64) message {
	return message{appendElected(nil, revision, c.request.appendLeader(nil, c.ballot)), revision}
}

// appendElected appends the message of a leader.
func appendElected(dst []byte, revision int64, leader []byte) []byte {
	return appendStanding(append(dst, `"type":"leader",`...), revision, leader)
}

// appendStanding appends who leads from a revision on, without the opening brace.
func appendStanding(dst []byte, revision int64, leader []byte) []byte {
	dst = strconv.AppendInt(append(dst, `"revision":`...), revision, 10)
	dst = append(append(dst, `,"leader":`...), leader...)
	return append(dst, '}')
}

// appendLeader appends the leader as an object, null when there is none.
func (r *Request) appendLeader(dst []byte, b ballot) []byte {
	kv := b.leader()
	if kv == nil {
		return append(dst, "null"...)
	}
	return kvjson.AppendLeader(dst, *kv, r.Start, r.form.options.Encoding)
}
