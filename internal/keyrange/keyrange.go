// Package keyrange is ranges of keys as callers name them: by prefix, or from one key to another. One clamp keeps the
// gateway's own state, the keys that begin with NUL, out of every list, count, export, deletion and watch, exactly.
package keyrange

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Range is the keys at or after Start and before End. Make it with OfPrefix or Between, which keep the reserved keys out of
// it. It never is a single key by accident: End is never empty.
type Range struct {
	// Start is the first key that can be in the range; never empty.
	Start []byte
	// End is the first key behind the range, or OpenEnd.
	End []byte
	// Prefix is what the range was named by; empty for from/to and for everything.
	Prefix []byte
	// Named tells whether somebody named a range at all; if not, it is everything.
	Named bool
	// Whole says that the range has no bound of the caller's own: everything, an empty prefix, or an open end.
	Whole bool
}

// OpenEnd is etcd's spelling of "no end". Reserved keys begin with the same byte, so FirstKey is where the ranges of callers
// begin at the earliest.
const (
	OpenEnd  = "\x00"
	FirstKey = "\x01"
)

// OfPrefix is the range of the keys that begin with prefix; with an empty one, of every key. State lets the reserved keys
// in. The error is a problem without a place: prefix names nothing but reserved keys.
func OfPrefix(prefix []byte, state bool) (Range, error) {
	if len(prefix) == 0 {
		r, err := Between(nil, nil, state)
		r.Named = true
		return r, err
	}
	if prefix[0] == 0 && !state {
		return Range{}, Reserved()
	}
	return Range{Start: prefix, End: PrefixEnd(prefix), Prefix: prefix, Named: true}, nil
}

// Between is the range of the keys at or after from and before to; an empty from is the first key there is, an empty to is
// no end. State lets the reserved keys in. The error is a problem without a place: the range has nothing but reserved keys,
// or it holds no key at all.
func Between(from, to []byte, state bool) (Range, error) {
	r := Range{Start: from, End: to, Named: true, Whole: len(to) == 0}
	first := FirstKey
	if state {
		first = "\x00"
	}
	if string(r.Start) < first {
		r.Start = []byte(first)
	}
	if len(to) == 0 {
		r.End = []byte(OpenEnd)
		return r, nil
	}
	if bytes.Compare(from, to) >= 0 || (state && bytes.Compare(r.Start, to) >= 0) {
		return Range{}, problem.New(problem.InvalidArgument, "no key lies in the range: from must come before to")
	}
	if bytes.Compare(r.Start, to) >= 0 {
		return Range{}, Reserved()
	}
	return r, nil
}

// Reserved is the refusal of keys that hold the gateway's own state.
func Reserved() *problem.Error {
	return problem.New(problem.Reserved, "keys that begin with a NUL byte hold the gateway's own state")
}

// PrefixEnd is the first key behind all that begin with prefix: the prefix without the 0xff bytes at its end, its last byte
// one higher. Behind a prefix of nothing but 0xff there is none.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return []byte(OpenEnd)
}

// After is the key that comes next behind key.
func After(key []byte) []byte {
	next := make([]byte, len(key)+1)
	copy(next, key)
	return next
}

// Open tells whether the range has no end.
func (r *Range) Open() bool { return string(r.End) == OpenEnd }

// Contains tells whether key lies in the range.
func (r *Range) Contains(key []byte) bool {
	return bytes.Compare(key, r.Start) >= 0 && r.Before(key)
}

// Before tells whether key comes before the range's end.
func (r *Range) Before(key []byte) bool { return r.Open() || bytes.Compare(key, r.End) < 0 }

// Request is a read of the whole range, to be narrowed by the caller.
func (r *Range) Request() wire.RangeRequest { return wire.RangeRequest{Key: r.Start, End: r.End} }
