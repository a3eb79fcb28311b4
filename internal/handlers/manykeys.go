package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// mostKeys is how many single keys one call names: etcd takes that many operations in one transaction.
const mostKeys = 128

// singleKeys reads the keys of key=a&key=b, each once, in the order of the request. A key named twice is one key: it is
// answered at its first place, and deleted once.
func (c *call) singleKeys() ([][]byte, error) {
	q := &c.query
	if !c.isWrite() {
		q.State = q.Boolean("state")
	}
	texts := q.All("key")
	for _, name := range [...]string{"prefix", "from", "to"} {
		q.Refuse(name, "give single keys or a range, but not both")
	}
	if len(texts) > mostKeys {
		q.Fault("key", problem.InvalidParameter, "at most %d keys can be named in one call", mostKeys)
		return nil, nil
	}
	keys := make([][]byte, 0, len(texts))
	seen := make(map[string]bool, len(texts))
	for _, text := range texts {
		key, err := q.DecodeKey("key", text)
		if err == nil && len(key) == 0 {
			err = problem.New(problem.InvalidParameter, "a key has at least one byte: key=NAME").AtParameter("key")
		}
		if err == nil {
			err = c.checkKey(key)
		}
		if err != nil {
			return nil, err
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// listSingleKeys answers GET /v1/kv?key=a&key=b: the keys as they are at one revision, in the order of the request, the
// absent ones apart.
func (c *call) listSingleKeys() error {
	keys, err := c.singleKeys()
	if err != nil {
		return err
	}
	q := &c.query
	how := q.consistency()
	o := kvjson.Options{Encoding: q.Encoding(), KeysOnly: q.Boolean("keys_only")}
	revision := q.Integer("revision", 0, 1, maxInt64)
	for _, name := range [...]string{
		"limit", "cursor", "count", "count_only", "delimiter", "order_by", "order",
		"min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision",
	} {
		q.Refuse(name, "%s is for ranges; single keys are all answered, in the order of the request", name)
	}
	if err := q.Done(); err != nil {
		return err
	}
	read := &wire.TxnRequest{Then: make([]wire.Op, len(keys))}
	for i, key := range keys {
		read.Then[i].Range = &wire.RangeRequest{Key: key, Revision: revision, KeysOnly: o.KeysOnly}
	}
	answer, err := c.readTxn(read, how)
	if err != nil {
		return err
	}
	defer answer.Free()
	if revision == 0 {
		revision = answer.Header.Revision
	}
	return c.singleKeysAnswer(keys, answer, revision, o)
}

func (c *call) singleKeysAnswer(keys [][]byte, answer *wire.TxnResponse, revision int64, o kvjson.Options) error {
	if len(answer.Results) != len(keys) {
		return unreadable()
	}
	var missing []byte
	c.openList(revision)
	for i, result := range answer.Results {
		if result.Range == nil {
			return unreadable()
		}
		if kv, ok := result.Range.KVs.First(); ok {
			c.appendItem(kv, o)
			continue
		}
		if len(missing) > 0 {
			missing = append(missing, ',')
		}
		missing = append(kvjson.AppendKey(append(missing, '{'), keys[i], o.Encoding), '}')
	}
	c.closeKVs()
	c.boolMember("more", false)
	c.name("missing")
	c.body = append(c.body, '[')
	c.body = append(c.body, missing...)
	c.body = append(c.body, `],`...)
	c.closeObject()
	return nil
}

// readTxn sends a transaction that reads single keys, at the consistency asked for, as read does for a range.
func (c *call) readTxn(r *wire.TxnRequest, how consistency) (*wire.TxnResponse, error) {
	send := func(serializable bool) (*wire.TxnResponse, error) {
		for i := range r.Then {
			r.Then[i].Range.Serializable = serializable
		}
		return c.store.Txn(c.ctx(), r)
	}
	answer, err := send(how.serializable)
	if how.serializable && (isFuture(err) || (err == nil && answer.Header.Revision < how.notOlderThan)) {
		answer, err = send(false)
	}
	if err != nil {
		return nil, err
	}
	return answer, how.check(answer.Header.Revision)
}
