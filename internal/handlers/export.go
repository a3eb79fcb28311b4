package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// exportKeys answers GET /v1/export: a whole range at one revision as NDJSON, in constant memory. Lines of type kv come
// first, with the members of a KeyValue, and then exactly one other line: end with the count and the revision, or error.
// An export without its end line was cut.
//
// An export lives as long as it makes progress: the default time-out bounds each step of it (a piece from etcd, a write
// to the caller) and not the whole; timeout= bounds the whole. Everything that can be refused is refused by status, since
// the status line waits for the first piece.
//
// encoding=json is for people and programs that read values: white space inside documents is not kept. The other
// encodings give every byte back.
func (a *API) exportKeys(c *call) error {
	keys, err := c.keyRange()
	if err != nil {
		return err
	}
	o := kvjson.Options{Encoding: c.query.Encoding(), KeysOnly: c.query.Boolean("keys_only")}
	revision := c.query.Integer("revision", 0, 1, maxInt64)
	how := c.query.consistency()
	if err := c.query.Done(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.export(keys, revision, how, o)
		// The caller asked for the present, so a compaction between our own two reads is not its concern.
		if try == mostFreshTries || revision != 0 || c.streamed || !isCompacted(err) {
			return err
		}
	}
}

// export writes the lines of the range at the revision, the present one for 0.
func (c *call) export(keys keyrange.Range, revision int64, how consistency, o kvjson.Options) error {
	revision, err := c.pin(keys.Start, revision, how)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		c.startStream()
		return nil
	}
	s := c.newScan(keys.Start, keys.End, revision, how)
	s.Request.KeysOnly = o.KeysOnly
	most := c.mostKeys(maxInt64 - 1)
	s.Most = most + 1 // the one behind tells that there are too many
	count := int64(0)
	for kv, err := range s.All(c.ctx()) {
		if err != nil {
			return err
		}
		if count == most {
			return problem.New(problem.ResultTooLarge, "the range has more than the %d keys that the caller may have read at once", most).
				WithHint("export it in parts, by from and to").With("limit", most)
		}
		if !c.streamed {
			c.startStream()
		}
		c.body = appendKVLine(c.body, kv, o)
		count++
		if err := c.flushLines(false); err != nil {
			return err
		}
	}
	if !c.streamed {
		c.startStream()
	}
	c.body = append(c.body, `{"type":"end",`...)
	c.intMember("count", count)
	c.intMember("revision", revision)
	c.closeObject()
	return nil
}
