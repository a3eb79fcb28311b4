package handlers

import (
	"strconv"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// list is what GET /v1/kv asks for.
type list struct {
	keyrange.Range
	consistency
	kvjson.Options

	limit int
	// revision is the one asked for, 0 for the present.
	revision int64
	// count asks for the number of keys of the whole range, countOnly for nothing else.
	count, countOnly bool
	// delimiter folds keys into folders; nil when absent.
	delimiter []byte
	order
	filter
	// from is where the list goes on; nil for a first page.
	from *cursor
}

// The sizes of a list's page, in keys and folders.
const (
	defaultLimit = 1_000
	mostLimit    = 10_000
)

// listKeys answers GET /v1/kv: a page of a range, or up to 128 single keys. A page in the order of the keys costs what it
// shows, however large the range is; any other order and every filter is worked out here over a bounded range.
func (a *API) listKeys(c *call) error {
	if c.query.Given("key") {
		return c.listSingleKeys()
	}
	l, err := c.list()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.answerList(&l)
		// The caller asked for the present, so a compaction between two of our own reads is not its concern.
		if try == mostFreshTries || l.revision != 0 || l.from != nil || !isCompacted(err) {
			return err
		}
	}
}

// mostFreshTries is how often a list of the present is begun anew when it is overtaken by compactions.
const mostFreshTries = 3

// list reads the parameters of a range.
func (c *call) list() (l list, err error) {
	q := &c.query
	if l.Range, err = c.keyRange(); err != nil {
		return l, err
	}
	l.consistency = q.consistency()
	l.Options = kvjson.Options{Encoding: q.Encoding(), KeysOnly: q.Boolean("keys_only")}
	l.limit = int(c.mostKeys(q.Integer("limit", defaultLimit, 1, mostLimit)))
	l.revision = q.Integer("revision", 0, 1, maxInt64)
	l.count, l.countOnly = q.Boolean("count"), q.Boolean("count_only")
	l.order, l.filter = q.order(), q.filter()
	if delimiter, ok := q.Key("delimiter"); ok {
		if l.delimiter = delimiter; len(delimiter) == 0 {
			q.Fault("delimiter", problem.InvalidParameter, "delimiter must have at least one byte, like delimiter=/")
		}
		if l.shaped() || l.countOnly {
			q.Fault("delimiter", problem.InvalidParameter, "folders are listed in the order of the keys and without filters or count_only")
		}
	}
	text, hasCursor := q.Text("cursor")
	if hasCursor && text == "" {
		q.Fault("cursor", problem.InvalidCursor, "the cursor is empty; leave it out for the first page")
	}
	if err := q.Done(); err != nil {
		return l, err
	}
	l.from, err = c.resume(text, l.hash(), &l.Range)
	return l, err
}

// shaped tells whether the list is in another order than the keys' own, or filtered.
func (l *list) shaped() bool { return l.order.any() || l.filter.any() }

// hash is that of everything which the pages of one list have in common: all but limit, encoding and keys_only, and what
// says how to answer rather than what (timeout, and key_encoding, since the decoded bytes are hashed).
func (l *list) hash() uint64 {
	h := parameterHash{buffer: make([]byte, 0, 128)}
	h.bytes(l.Start)
	h.bytes(l.End)
	h.bytes(l.Prefix)
	h.bytes(l.delimiter)
	h.number(l.revision)
	h.flag(l.count)
	h.flag(l.countOnly)
	h.number(int64(l.by))
	h.flag(l.descending)
	for _, n := range [...]int64{l.minMod, l.maxMod, l.minCreate, l.maxCreate, l.notOlderThan} {
		h.number(n)
	}
	h.flag(l.serializable)
	return h.sum()
}

// answerList appends the answer.
func (c *call) answerList(l *list) error {
	c.body = c.body[:0] // what an overtaken try has left
	switch {
	case l.shaped():
		return c.listShaped(l)
	case l.countOnly:
		return c.listCount(l)
	default:
		return c.listPage(l)
	}
}

// listCount answers count_only.
func (c *call) listCount(l *list) error {
	count, revision, err := c.countAt(l, l.revision)
	if err != nil {
		return err
	}
	return c.finishList(&page{list: l, revision: revision, count: count})
}

// countAt counts the keys of the whole range at a revision, the present one for 0, and gives the revision.
func (c *call) countAt(l *list, revision int64) (count, at int64, err error) {
	r := l.Request()
	r.CountOnly, r.Revision = true, revision
	answer, err := c.read(&r, l.consistency)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Free()
	if revision == 0 {
		revision = answer.Header.Revision
	}
	return answer.Count, revision, nil
}

// finishList makes the whole document of the key-values in the body and the rest of the page.
func (c *call) finishList(p *page) error {
	if !p.opened {
		c.openListLate(p.revision)
	}
	c.revision = p.revision
	c.closeKVs()
	c.boolMember("more", p.more)
	if p.more {
		if err := c.cursorMember(p); err != nil {
			return err
		}
	}
	if p.count >= 0 {
		c.intMember("count", p.count)
	}
	if p.list.delimiter != nil {
		c.name("prefixes")
		c.body = append(c.body, '[')
		c.body = append(c.body, p.folders...)
		c.body = append(c.body, `],`...)
	}
	c.closeObject()
	return nil
}

// openList appends the opening of the document, whose key-values follow.
func (c *call) openList(revision int64) {
	c.revision = revision
	c.body = append(c.body, `{"revision":`...)
	c.body = strconv.AppendInt(c.body, revision, 10)
	c.body = append(c.body, `,"kvs":[`...)
}

// openListLate puts the opening in front of the key-values in the body, whose revision has become known only after them.
func (c *call) openListLate(revision int64) {
	end := len(c.body)
	c.openList(revision)
	head := append(make([]byte, 0, 40), c.body[end:]...)
	copy(c.body[len(head):], c.body[:end])
	copy(c.body, head)
}

// closeKVs ends the array of the key-values.
func (c *call) closeKVs() {
	if n := len(c.body); c.body[n-1] == ',' {
		c.body = c.body[:n-1]
	}
	c.body = append(c.body, `],`...)
}

// cursorMember appends where the next page begins.
func (c *call) cursorMember(p *page) error {
	epoch, err := c.api.epoch.Current(c.ctx())
	if err != nil {
		return err
	}
	k := cursor{hash: p.list.hash(), revision: p.revision, count: p.count, epoch: epoch, key: p.last}
	c.name("cursor")
	c.body = append(c.body, '"')
	c.body = k.appendTo(c.body)
	c.body = append(c.body, `",`...)
	return nil
}

// appendItem appends one more key-value to the array, and a comma.
func (c *call) appendItem(kv wire.KeyValue, o kvjson.Options) {
	c.body = append(kvjson.AppendKeyValue(c.body, kv, o), ',')
}
