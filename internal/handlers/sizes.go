package handlers

import (
	"hash/fnv"
	"sync/atomic"
)

// rangeSizes remembers roughly how much the ranges held that were listed last, to choose how to read them the next time:
// a small range by one Range, a large one by a stream, which does not count what it leaves. It is a hint, and a wrong one
// costs time but never an answer. The zero value is ready, and safe for concurrent use.
type rangeSizes struct {
	// slots each hold the upper bits of a range's hash, and below them the number of keys plus one. Ranges that fall into
	// one slot displace one another.
	slots [1024]atomic.Uint64
}

const (
	sizeBits = 20
	// largeRange is the size of a range that was found to be large, without having been counted.
	largeRange = 1<<sizeBits - 2
	// mostAtOnce is how many keys a range may hold for one Range to be the best way to read its first page: etcd counts as
	// many in less time than one more call takes. mostAtOnceBytes bounds the answer that comes in one piece.
	mostAtOnce      = 4_000
	mostAtOnceBytes = 4 << 20
)

// get gives the number of keys that the list's range is thought to hold, up to largeRange; ok is false when nothing is known.
func (s *rangeSizes) get(l *list) (keys int64, ok bool) {
	slot, tag := s.slot(l)
	v := slot.Load()
	if v>>sizeBits != tag || v&(1<<sizeBits-1) == 0 {
		return 0, false
	}
	return int64(v&(1<<sizeBits-1)) - 1, true
}

// set remembers it.
func (s *rangeSizes) set(l *list, keys int64) {
	slot, tag := s.slot(l)
	slot.Store(tag<<sizeBits | uint64(min(keys, largeRange)+1)) //nolint:gosec // a count is never negative
}

// slot finds the range's place. With its values a range is another one than without, since they decide the bytes.
func (s *rangeSizes) slot(l *list) (slot *atomic.Uint64, tag uint64) {
	h := fnv.New64a()
	_, _ = h.Write(l.Start) // never fails
	_, _ = h.Write([]byte{0, 0})
	_, _ = h.Write(l.End)
	sum := h.Sum64()
	if l.KeysOnly {
		sum = ^sum
	}
	return &s.slots[sum%uint64(len(s.slots))], sum >> sizeBits
}
