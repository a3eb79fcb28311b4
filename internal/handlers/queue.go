package handlers

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// queue is who wants a lock, or stands in an election: a key each, the name with a slash and the lease's id behind it. The
// key that was created first has it, and its create revision is the fencing token. This is how etcd's Go package
// concurrency lays out its Mutex and its Election, so that both sides meet in one queue.
type queue struct {
	name []byte
	// prefix and end are the range of the keys.
	prefix, end []byte
	// encoding is that of the answers about it.
	encoding kvjson.Encoding
}

// queue reads the name from the path, and the encoding.
func (c *call) queue() (*queue, error) {
	name, err := c.key()
	if err != nil {
		return nil, err
	}
	prefix := append(bytes.Clone(name), '/')
	return &queue{name: name, prefix: prefix, end: keyrange.PrefixEnd(prefix), encoding: c.query.Encoding()}, nil
}

// key is where a lease stands. The package concurrency writes the id in hexadecimal, as short as it gets.
func (q *queue) key(lease int64) []byte { return strconv.AppendInt(slices.Clip(q.prefix), lease, 16) }

// oldest reads who has it. The keys are enough: values may be large, and the key tells the lease.
func (q *queue) oldest() *wire.RangeRequest {
	return &wire.RangeRequest{
		Key: q.prefix, End: q.end, Order: wire.Ascending, SortBy: wire.ByCreateRevision, Limit: 1, KeysOnly: true,
	}
}

// ahead reads who stands right before a place.
func (q *queue) ahead(token int64) *wire.RangeRequest {
	return &wire.RangeRequest{
		Key: q.prefix, End: q.end, Order: wire.Descending, SortBy: wire.ByCreateRevision, Limit: 1, KeysOnly: true,
		MaxCreateRevision: token - 1,
	}
}

// length counts the queue, and refuses what is none: etcd sorts all keys to find the oldest, and writes wait for that, so
// that a name above a large folder would hold up the cluster.
func (c *call) length(q *queue) (int64, error) {
	answer, err := c.read(&wire.RangeRequest{Key: q.prefix, End: q.end, CountOnly: true}, consistency{})
	if err != nil {
		return 0, c.notApplied(err)
	}
	defer answer.Free()
	if answer.Count > mostShaped {
		return 0, problem.New(problem.ResultTooLarge, "there are %d keys below this name, and a queue has at most %d", answer.Count, mostShaped).
			WithOutcome(problem.NotApplied).With("limit", mostShaped)
	}
	return answer.Count, nil
}

// holder reads who has it now.
func (c *call) holder(q *queue) (holder wire.KeyValue, ok bool, err error) {
	answer, err := c.read(q.oldest(), consistency{})
	if err != nil {
		return holder, false, c.notApplied(err)
	}
	defer answer.Free()
	if holder, ok = answer.KVs.First(); ok {
		holder = holder.Clone()
	}
	return holder, ok, nil
}

// held is the problem of one who does not get it, because another has it.
func (q *queue) held(holder wire.KeyValue) error {
	return problem.New(problem.LockHeld, "another has it").WithOutcome(problem.NotApplied).
		With("holder", rawJSON(append(q.appendPlace(nil, holder), '}')))
}

// appendPlace appends who stands at a key, as an object without its closing brace.
func (q *queue) appendPlace(dst []byte, kv wire.KeyValue) []byte {
	return kvjson.AppendPlace(append(dst, '{'), kv, q.prefix, q.encoding)
}

// queueMember appends the name of the lock or election.
func (c *call) queueMember(q *queue) {
	c.body = append(kvjson.AppendName(c.body, "name", q.name, q.encoding), ',')
}

// queueAnswer appends the whole queue: who has it, as a member of the first name, unless nobody has, and who waits. With
// values the holder's value is told too.
func (c *call) queueAnswer(q *queue, has, wait string, values bool) error {
	if _, err := c.length(q); err != nil {
		return err
	}
	first, all := q.oldest(), q.oldest()
	first.KeysOnly, all.Limit = !values, mostShaped
	answer, err := c.store.Txn(c.ctx(), &wire.TxnRequest{Then: []wire.Op{{Range: first}, {Range: all}}})
	if err != nil {
		return err
	}
	defer answer.Free()
	holder, held := firstOf(answer.Results)
	if len(answer.Results) != 2 || answer.Results[1].Range == nil {
		return unreadable()
	}
	c.revision = answer.Header.Revision
	c.openObject()
	c.queueMember(q)
	if held {
		c.name(has)
		if values {
			c.body = kvjson.AppendLeader(c.body, holder, q.prefix, q.encoding)
		} else {
			c.body = append(q.appendPlace(c.body, holder), '}')
		}
		c.body = append(c.body, ',')
	}
	c.name(wait)
	c.waiting(q, &answer.Results[1].Range.KVs)
	c.closeObject()
	return nil
}

// waiting appends all but the first of a queue.
func (c *call) waiting(q *queue, kvs *wire.KeyValues) {
	c.body = append(c.body, '[')
	n := 0
	for kv := range kvs.All() {
		if n > 1 {
			c.body = append(c.body, ',')
		}
		if n > 0 {
			c.body = append(q.appendPlace(c.body, kv), '}')
		}
		n++
	}
	c.body = append(c.body, ']')
}
