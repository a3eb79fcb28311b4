package etcdclient

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// namespace is a prefix in front of keys. Its arithmetic keeps every range inside [prefix, successor of prefix), and
// copies requests rather than changing them.
type namespace []byte

// fromKey is how etcd spells the end of a range that has none.
const fromKey = "\x00"

// key puts the prefix in front of a key.
func (ns namespace) key(key []byte) []byte {
	if len(ns) == 0 {
		return key
	}
	return append(append(make([]byte, 0, len(ns)+len(key)), ns...), key...)
}

// end gives the end of a range: none stays none, the open end becomes the namespace's own.
func (ns namespace) end(end []byte) []byte {
	switch {
	case len(ns) == 0 || len(end) == 0:
		return end
	case string(end) == fromKey:
		return ns.successor()
	default:
		return ns.key(end)
	}
}

// successor is the first key after all that begin with the prefix. After a prefix of nothing but 0xff there is none, and
// the open end takes its place: every key from such a prefix on begins with it.
func (ns namespace) successor() []byte {
	for i := len(ns) - 1; i >= 0; i-- {
		if ns[i] < 0xff {
			s := bytes.Clone(ns[:i+1])
			s[i]++
			return s
		}
	}
	return []byte(fromKey)
}

// strip takes the prefix off; false when the key does not have it.
func (ns namespace) strip(key []byte) ([]byte, bool) { return bytes.CutPrefix(key, ns) }

// ownKeys keeps the keys of the namespace, without the prefix.
func (ns namespace) ownKeys(keys [][]byte) [][]byte {
	own := keys[:0:0]
	for _, k := range keys {
		if s, ok := ns.strip(k); ok {
			own = append(own, s)
		}
	}
	return own
}

// The requests, with the prefix in front of every key; false for an empty key, which etcd refuses.

// own puts the prefix in front of a key, unless it holds the gateway's own state: that has no namespace. It is for keys
// that the gateway makes; what callers of /v3 name goes through key.
func (ns namespace) own(key []byte) []byte {
	if wire.IsState(key) {
		return key
	}
	return ns.key(key)
}

// interval is own for a range: only a single key can be one of the state.
func (ns namespace) interval(key, end []byte) (innerKey, innerEnd []byte) {
	if len(end) == 0 {
		return ns.own(key), nil
	}
	return ns.key(key), ns.end(end)
}

func (ns namespace) rangeRequest(r *wire.RangeRequest) (wire.RangeRequest, bool) {
	inner := *r
	inner.Key, inner.End = ns.interval(r.Key, r.End)
	return inner, len(r.Key) > 0
}

// watchRequest is the one place where etcd takes an empty key: for the first key there can be.
func (ns namespace) watchRequest(r WatchRequest) WatchRequest {
	if len(r.Key) == 0 {
		r.Key = []byte(fromKey)
	}
	r.Key, r.End = ns.key(r.Key), ns.end(r.End)
	return r
}

func (ns namespace) putRequest(r *wire.PutRequest) (wire.PutRequest, bool) {
	inner := *r
	inner.Key = ns.own(r.Key)
	return inner, len(r.Key) > 0
}

func (ns namespace) deleteRequest(r *wire.DeleteRequest) (wire.DeleteRequest, bool) {
	inner := *r
	inner.Key, inner.End = ns.interval(r.Key, r.End)
	return inner, len(r.Key) > 0
}

func (ns namespace) txnRequest(t *wire.TxnRequest) (*wire.TxnRequest, bool) {
	inner := &wire.TxnRequest{If: make([]wire.Compare, len(t.If))}
	for i, c := range t.If {
		if len(c.Key) == 0 {
			return nil, false
		}
		c.Key, c.End = ns.interval(c.Key, c.End)
		inner.If[i] = c
	}
	var ok bool
	if inner.Then, ok = ns.ops(t.Then); !ok {
		return nil, false
	}
	if inner.Else, ok = ns.ops(t.Else); !ok {
		return nil, false
	}
	return inner, true
}

func (ns namespace) ops(ops []wire.Op) (inner []wire.Op, ok bool) {
	inner = make([]wire.Op, len(ops))
	for i, op := range ops {
		ok = true
		switch {
		case op.Range != nil:
			var r wire.RangeRequest
			r, ok = ns.rangeRequest(op.Range)
			inner[i].Range = &r
		case op.Put != nil:
			var r wire.PutRequest
			r, ok = ns.putRequest(op.Put)
			inner[i].Put = &r
		case op.Delete != nil:
			var r wire.DeleteRequest
			r, ok = ns.deleteRequest(op.Delete)
			inner[i].Delete = &r
		case op.Txn != nil:
			inner[i].Txn, ok = ns.txnRequest(op.Txn)
		}
		if !ok {
			return nil, false
		}
	}
	return inner, true
}
