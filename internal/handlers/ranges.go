package handlers

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// keyRange is a range of keys: those at or after start and before end. Make it with call.keyRange, rangeOfPrefix or
// rangeBetween, which keep the reserved keys out of it. It never is a single key by accident: end is never empty.
type keyRange struct {
	// start is the first key that can be in the range; never empty.
	start []byte
	// end is the first key behind the range, or openEnd.
	end []byte
	// prefix is what the range was named by; empty for from/to and for everything.
	prefix []byte
	// named tells whether the request named a range at all; if not, it is everything.
	named bool
	// whole says that the range has no bound of the caller's own: everything, an empty prefix, or an open end.
	whole bool
}

// openEnd is etcd's spelling of "no end". Reserved keys begin with the same byte, so firstKey is where native ranges
// begin at the earliest: one clamp keeps the gateway's state out of every list, count, export and deletion, exactly.
const (
	openEnd  = "\x00"
	firstKey = "\x01"
)

// keyRange reads prefix, or from and to, or nothing: everything. Reads take state too, which lets the reserved keys in.
// Faults of the parameters are kept for query.done, as everywhere; the error is that the range is reserved as a whole.
func (c *call) keyRange() (keyRange, error) {
	q := &c.query
	if !c.isWrite() {
		q.state = q.boolean("state")
	}
	prefix, byPrefix := q.keyText("prefix")
	from, hasFrom := q.keyText("from")
	to, hasTo := q.keyText("to")
	if byPrefix && (hasFrom || hasTo) {
		q.fault("prefix", problem.InvalidParameter, "give a prefix, or from and to, but not both")
		return keyRange{}, nil
	}
	if byPrefix {
		r, err := rangeOfPrefix(prefix, q.state)
		return r, atParameter("prefix", err)
	}
	if len(to) > 0 && bytes.Compare(from, to) >= 0 {
		q.fault("to", problem.InvalidParameter, "from must come before to, which is not in the range itself")
		return keyRange{}, nil
	}
	r, err := rangeBetween(from, to, q.state)
	r.named = hasFrom || hasTo
	return r, atParameter("to", err)
}

// atParameter names the parameter at fault, if there is a fault.
func atParameter(name string, err error) error {
	if err == nil {
		return nil
	}
	return problem.From(err).AtParameter(name)
}

// rangeOfPrefix is the range of the keys that begin with prefix; with an empty one, of every key. State lets the reserved
// keys in. The error is a problem without a place: prefix names nothing but reserved keys.
func rangeOfPrefix(prefix []byte, state bool) (keyRange, error) {
	if len(prefix) == 0 {
		r, err := rangeBetween(nil, nil, state)
		r.named = true
		return r, err
	}
	if prefix[0] == 0 && !state {
		return keyRange{}, reservedRange()
	}
	return keyRange{start: prefix, end: prefixEnd(prefix), prefix: prefix, named: true}, nil
}

// rangeBetween is the range of the keys at or after from and before to; an empty from is the first key there is, an empty
// to is no end. State lets the reserved keys in. The error is a problem without a place: the range has nothing but
// reserved keys, or it holds no key at all.
func rangeBetween(from, to []byte, state bool) (keyRange, error) {
	r := keyRange{start: from, end: to, named: true, whole: len(to) == 0}
	first := firstKey
	if state {
		first = "\x00"
	}
	if string(r.start) < first {
		r.start = []byte(first)
	}
	if len(to) == 0 {
		r.end = []byte(openEnd)
		return r, nil
	}
	if bytes.Compare(from, to) >= 0 || (state && bytes.Compare(r.start, to) >= 0) {
		return keyRange{}, problem.New(problem.InvalidArgument, "no key lies in the range: from must come before to")
	}
	if bytes.Compare(r.start, to) >= 0 {
		return keyRange{}, reservedRange()
	}
	return r, nil
}

func reservedRange() error {
	return problem.New(problem.Reserved, "keys that begin with a NUL byte hold the gateway's own state")
}

// prefixEnd is the first key behind all that begin with prefix: the prefix without the 0xff bytes at its end, its last
// byte one higher. Behind a prefix of nothing but 0xff there is none.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return []byte(openEnd)
}

// keyAfter is the key that comes next behind key.
func keyAfter(key []byte) []byte {
	next := make([]byte, len(key)+1)
	copy(next, key)
	return next
}

// open tells whether the range has no end.
func (r *keyRange) open() bool { return string(r.end) == openEnd }

// contains tells whether key lies in the range.
func (r *keyRange) contains(key []byte) bool {
	return bytes.Compare(key, r.start) >= 0 && r.before(key)
}

// before tells whether key comes before the range's end.
func (r *keyRange) before(key []byte) bool { return r.open() || bytes.Compare(key, r.end) < 0 }

// request is a read of the whole range, to be narrowed by the caller.
func (r *keyRange) request() wire.RangeRequest { return wire.RangeRequest{Key: r.start, End: r.end} }
