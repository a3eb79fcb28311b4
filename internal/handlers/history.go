package handlers

import (
	"strconv"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	// mostEvents is the largest page of a history: each event costs etcd a read.
	mostEvents = 100
	// mostHistoryBytes ends a page early, since values may be large.
	mostHistoryBytes = 8 << 20
)

// getHistory answers GET /v1/history/{key}: the versions of the key's present life (or of its life at a past revision),
// newest first, by reads at mod_revision - 1. complete says that the page reaches the key's creation. Where it does not, a
// cursor leads on; without one, etcd has compacted what was before.
//
// etcd keeps the past by revision and not by key, so earlier lives (lives=all) can only be found by a scan of its log: see
// lives.go.
func (a *API) getHistory(c *call) error {
	c.query.State = c.query.Boolean("state")
	key, err := c.key()
	if err != nil {
		return err
	}
	h := history{key: key, limit: c.query.Integer("limit", mostEvents, 1, mostEvents)}
	h.Options = kvjson.Options{Encoding: c.query.Encoding(), KeysOnly: c.query.Boolean("keys_only")}
	h.revision = c.query.Integer("revision", 0, 1, maxInt64)
	how := c.query.consistency()
	lives := c.query.Choice("lives", "current", "current", "all")
	text := c.query.cursorText()
	if err := c.query.Done(); err != nil {
		return err
	}
	h.all = lives == "all"
	h.hash = h.parameters()
	at, err := c.resume(text, h.hash, &keyrange.Range{Start: key, End: keyrange.After(key)})
	if err != nil {
		return err
	}
	if at != nil {
		h.revision, h.continued = at.revision, true
	}
	if h.all {
		return c.allLives(&h, how)
	}
	return c.history(&h, how)
}

// history is a walk back through the versions of one key.
type history struct {
	kvjson.Options

	key   []byte
	limit int64
	// all asks for deletions and earlier lives too.
	all bool
	// revision is where the next read is made, 0 for the present.
	revision int64
	// continued means that the walk began on an earlier page.
	continued bool
	// hash is that of the parameters that a cursor belongs to.
	hash uint64
}

// parameters is the hash of what a cursor belongs to.
func (h *history) parameters() uint64 {
	var p parameterHash
	p.bytes([]byte("history"))
	p.bytes(h.key)
	p.number(h.revision)
	p.flag(h.all)
	return p.sum()
}

// history appends the page: the version at h.revision and those before it.
func (c *call) history(h *history, how consistency) error {
	answer, err := c.read(h.request(), how)
	switch {
	case h.continued && isCompacted(err): // since the page before, which therefore was the last
		if _, err := c.pin(h.key, 0, how); err != nil {
			return err
		}
	case err != nil:
		return err
	case !h.continued && answer.KVs.Len() == 0:
		return keyNotFound()
	}
	c.openObject()
	c.intMember("revision", c.revision)
	c.body = append(c.body, `"events":[`...)
	complete, more, err := c.historyEvents(h, answer)
	if err != nil {
		return err
	}
	c.body = append(c.body, `],"complete":`...)
	c.body = append(strconv.AppendBool(c.body, complete), ',')
	if more {
		if err := c.historyCursor(h); err != nil {
			return err
		}
	}
	c.closeObject()
	return nil
}

// historyCursor appends where the next page begins.
func (c *call) historyCursor(h *history) error {
	epoch, err := c.api.epoch.Current(c.ctx())
	if err != nil {
		return err
	}
	k := cursor{hash: h.hash, revision: h.revision, count: -1, epoch: epoch, key: h.key}
	c.body = append(k.appendTo(append(c.body, `"cursor":"`...)), `",`...)
	return nil
}

// historyEvents appends the versions from the one that answer holds (nil for none) on. Afterwards the walk is complete,
// or there is more, or what is before was compacted.
func (c *call) historyEvents(h *history, answer *wire.RangeResponse) (complete, more bool, err error) {
	for n := int64(1); answer != nil; n++ {
		kv, ok := answer.KVs.First()
		if !ok { // a version above 1 has one before it, unless that is gone
			return false, false, nil
		}
		if n > 1 {
			c.body = append(c.body, ',')
		}
		c.body = kvjson.AppendEvent(c.body, wire.Event{KV: kv}, h.Options)
		h.revision, complete = kv.ModRevision-1, kv.Version == 1
		answer.Free()
		switch {
		case complete:
			return true, false, nil
		case n == h.limit || len(c.body) > mostHistoryBytes:
			return false, true, nil
		}
		if answer, err = c.store.Range(c.ctx(), h.request()); isCompacted(err) {
			return false, false, nil
		} else if err != nil {
			return false, false, err
		}
	}
	return false, false, nil
}

func (h *history) request() *wire.RangeRequest {
	return &wire.RangeRequest{Key: h.key, Revision: h.revision, KeysOnly: h.KeysOnly}
}

func isCompacted(err error) bool {
	e := problem.From(err)
	return e != nil && e.Code == problem.Compacted
}
