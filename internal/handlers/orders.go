package handlers

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// order is the order of a list. The zero value is the keys' own.
type order struct {
	by         wire.SortBy
	descending bool
}

func (o order) any() bool { return o.by != wire.ByKey || o.descending }

func (q *params) order() (o order) {
	switch q.Choice("order_by", "key", "key", "version", "create_revision", "mod_revision", "value") {
	case "version":
		o.by = wire.ByVersion
	case "create_revision":
		o.by = wire.ByCreateRevision
	case "mod_revision":
		o.by = wire.ByModRevision
	case "value":
		o.by = wire.ByValue
	}
	o.descending = q.Choice("order", "asc", "asc", "desc") == "desc"
	return o
}

// compare puts a before b when it is negative. Equals are put in the order of their keys, ascending whatever the order is:
// etcd leaves them as they fall, and two readings of one state would differ.
func (o order) compare(a, b wire.KeyValue) int {
	n := 0
	switch o.by {
	case wire.ByKey:
		n = bytes.Compare(a.Key, b.Key)
	case wire.ByVersion:
		n = cmp.Compare(a.Version, b.Version)
	case wire.ByCreateRevision:
		n = cmp.Compare(a.CreateRevision, b.CreateRevision)
	case wire.ByModRevision:
		n = cmp.Compare(a.ModRevision, b.ModRevision)
	case wire.ByValue:
		n = bytes.Compare(a.Value, b.Value)
	}
	if o.descending {
		n = -n
	}
	if n == 0 {
		n = bytes.Compare(a.Key, b.Key)
	}
	return n
}

// filter keeps the keys whose revisions lie within these bounds; 0 is no bound.
type filter struct {
	minMod, maxMod, minCreate, maxCreate int64
}

func (f filter) any() bool { return f != filter{} }

func (q *params) filter() filter {
	return filter{
		minMod:    q.Integer("min_mod_revision", 0, 1, maxInt64),
		maxMod:    q.Integer("max_mod_revision", 0, 1, maxInt64),
		minCreate: q.Integer("min_create_revision", 0, 1, maxInt64),
		maxCreate: q.Integer("max_create_revision", 0, 1, maxInt64),
	}
}

// mostShaped is the largest range that is sorted or filtered: etcd reads all of it for either, and holds writes up.
const mostShaped = 10_000

// listShaped answers a list in another order, or a filtered one. The range is counted first and read whole; each page
// does so anew, at the revision of the first one, so the pages fit together.
func (c *call) listShaped(l *list) error {
	p := &page{list: l, count: -1, revision: l.revision}
	if l.from != nil {
		p.revision = l.from.revision
	}
	total, revision, err := c.countAt(l, p.revision)
	if err != nil {
		return err
	}
	most := c.mostKeys(mostShaped)
	if p.revision = revision; total > most {
		return problem.New(problem.ResultTooLarge,
			"the range holds %d keys, and only a list by key ascending without filters takes more than %d", total, most).
			WithHint("narrow the range, or list it by key in pages").With("limit", most)
	}
	r := l.Request()
	r.Revision = p.revision
	r.KeysOnly = l.countOnly || (l.KeysOnly && l.by != wire.ByValue)
	r.MinModRevision, r.MaxModRevision = l.minMod, l.maxMod
	r.MinCreateRevision, r.MaxCreateRevision = l.minCreate, l.maxCreate
	answer, err := c.read(&r, l.consistency)
	if err != nil {
		return err
	}
	defer answer.Free()
	if l.count || l.countOnly {
		p.count = int64(answer.KVs.Len())
	}
	if !l.countOnly {
		if err := c.sortInto(p, answer); err != nil {
			return err
		}
	}
	return c.finishList(p)
}

// sortInto appends the page's part of the sorted key-values.
func (c *call) sortInto(p *page, answer *wire.RangeResponse) error {
	l := p.list
	kvs := slices.AppendSeq(make([]wire.KeyValue, 0, answer.KVs.Len()), answer.KVs.All())
	if l.order.any() {
		slices.SortFunc(kvs, l.compare)
	}
	if l.from != nil {
		i := slices.IndexFunc(kvs, func(kv wire.KeyValue) bool { return bytes.Equal(kv.Key, l.from.key) })
		if i < 0 {
			return problem.New(problem.InvalidCursor, "the cursor's key is not in this list").AtParameter("cursor")
		}
		kvs = kvs[i+1:]
	}
	return c.take(p, each(slices.Values(kvs)), 0)
}
