package handlers

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// The bounds of a search, in keys looked at.
const (
	defaultBudget = 10_000
	mostBudget    = 1_000_000
	// progressKeys is how often a search says how far it is.
	progressKeys = 1_000
)

// search is what is looked for, and where.
type search struct {
	kvjson.Options

	contains   []byte
	folded     *regexp.Regexp // set when case does not matter
	key, value bool
	// budget is the most keys looked at, limit the most matches.
	budget, limit int64
	// hash is that of the parameters that a cursor belongs to.
	hash uint64
}

// searchKeys answers GET /v1/search: the keys of a range, at one revision, of which the key or the value contains the
// bytes given. Lines of type match and, every 1,000 keys, progress; last is one line end (or error). The search looks at
// budget keys at most, since etcd has no index to ask; end then has more and a cursor, which goes on at the same revision.
// With key_encoding=base64url, contains is base64url too: the form for bytes that are no text.
func (a *API) searchKeys(c *call) error {
	keys, err := c.keyRange()
	if err != nil {
		return err
	}
	q := c.search()
	q.Options = kvjson.Options{Encoding: c.query.Encoding(), KeysOnly: c.query.Boolean("keys_only")}
	how := c.query.consistency()
	revision := c.query.Integer("revision", 0, 1, maxInt64)
	text := c.query.cursorText()
	if err := c.query.Done(); err != nil {
		return err
	}
	q.hash = q.parameters(&keys, revision)
	at, err := c.resume(text, q.hash, &keys)
	if err != nil {
		return err
	}
	if at != nil {
		keys.Start, revision = keyrange.After(at.key), at.revision
	}
	if revision, err = c.pin(keys.Start, revision, how); err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		c.startStream()
		return nil
	}
	s := c.newScan(keys.Start, keys.End, revision, how)
	s.Request.KeysOnly = q.KeysOnly && !q.value
	s.Most = q.budget + 1 // the one behind the budget tells that there are more
	return c.runSearch(s, &q)
}

// search reads what to look for.
func (c *call) search() (q search) {
	contains, _ := c.query.Key("contains")
	if len(contains) == 0 && !c.query.Faulty() {
		c.query.Fault("contains", problem.InvalidParameter, "contains names the text to look for; it may not be empty")
	}
	q.contains = contains
	if c.query.Boolean("ignore_case") {
		if !utf8.Valid(contains) {
			c.query.Fault("ignore_case", problem.InvalidParameter, "only text has upper and lower case, and contains is not UTF-8")
		} else {
			q.folded = regexp.MustCompile("(?i)" + regexp.QuoteMeta(string(contains)))
		}
	}
	in := c.query.Choice("in", "both", "key", "value", "both")
	q.key, q.value = in != "value", in != "key"
	q.budget = c.mostKeys(c.query.Integer("budget", defaultBudget, 1, mostBudget))
	q.limit = c.query.Integer("limit", mostBudget, 1, mostBudget)
	return q
}

// parameters is the hash of what a cursor belongs to.
func (q *search) parameters(keys *keyrange.Range, revision int64) uint64 {
	var h parameterHash
	h.bytes([]byte("search"))
	h.bytes(keys.Start)
	h.bytes(keys.End)
	h.bytes(q.contains)
	h.flag(q.folded != nil)
	h.flag(q.key)
	h.flag(q.value)
	h.number(revision)
	return h.sum()
}

// runSearch writes the lines of the search.
func (c *call) runSearch(s *scan.Scan, q *search) error {
	var scanned, matches int64
	var last []byte
	more := false
	for kv, err := range s.All(c.ctx()) {
		if err != nil {
			return err
		}
		if !c.streamed {
			c.startStream()
		}
		if more = scanned == q.budget || matches == q.limit; more {
			break
		}
		scanned++
		last = append(last[:0], kv.Key...)
		if q.found(kv) {
			matches++
			c.body = append(c.body, `{"type":"match","kv":`...)
			c.body = kvjson.AppendKeyValue(c.body, kv, q.Options)
			c.body = append(c.body, "}\n"...)
		}
		if err := c.searchProgress(scanned); err != nil {
			return err
		}
	}
	if !c.streamed {
		c.startStream()
	}
	return c.endSearch(s, q, scanned, last, more)
}

// searchProgress sends what there is, with a progress line now and then, so that a search without matches is alive too.
func (c *call) searchProgress(scanned int64) error {
	if scanned%progressKeys != 0 {
		return c.flushLines(false)
	}
	c.body = append(c.body, `{"type":"progress","scanned":`...)
	c.body = strconv.AppendInt(c.body, scanned, 10)
	c.body = append(c.body, "}\n"...)
	return c.flushLines(true)
}

// endSearch appends the end line.
func (c *call) endSearch(s *scan.Scan, q *search, scanned int64, last []byte, more bool) error {
	k := cursor{hash: q.hash, revision: s.Request.Revision, count: -1, key: last}
	if more {
		var err error
		if k.epoch, err = c.api.epoch.Current(c.ctx()); err != nil {
			return err
		}
	}
	c.body = append(c.body, `{"type":"end",`...)
	c.boolMember("more", more)
	if more {
		c.body = append(k.appendTo(append(c.body, `"cursor":"`...)), `",`...)
	}
	c.intMember("scanned", scanned)
	c.intMember("revision", s.Request.Revision)
	c.closeObject()
	return nil
}

// found tells whether the key-value is a match.
func (q *search) found(kv wire.KeyValue) bool {
	return (q.key && q.in(kv.Key)) || (q.value && q.in(kv.Value))
}

func (q *search) in(b []byte) bool {
	if q.folded != nil {
		return q.folded.Match(b)
	}
	return bytes.Contains(b, q.contains)
}
