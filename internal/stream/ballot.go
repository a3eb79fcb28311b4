package stream

import (
	"bytes"
	"hash/fnv"
	"math/bits"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// ballot is who stands in an election at one revision. It never changes: the ballot of the next revision shares all but the
// path to what is new with it, so that every observer of an election, and every revision in a log, has one at next to no
// cost. The zero value has no candidate.
type ballot struct{ root *candidate }

// candidate is a node of a treap, ordered by key, of the key-values of an election.
type candidate struct {
	kv          wire.KeyValue
	weight      uint64 // no child has more
	left, right *candidate

	// Of the node with all below it: who stands longest, how many they are, and the bytes of their keys and values.
	leader       *candidate
	count, bytes int
}

// The most that stand in an election that is observed: as many as a queue may have elsewhere, and what they may take in memory.
const (
	mostCandidates  = 10_000
	mostBallotBytes = 64 << 20
	// candidateOverhead is about what a node takes besides its key and value.
	candidateOverhead = 176
)

// leader is the candidate whose key was created first; nil when there is none. Of several that one transaction created it
// is the first by key, as for etcd.
func (b ballot) leader() *wire.KeyValue {
	if b.root == nil {
		return nil
	}
	return &b.root.leader.kv
}

// fits tells whether there are not more candidates than can be kept.
func (b ballot) fits() bool {
	return b.root == nil || b.root.count <= mostCandidates && b.root.bytes <= mostBallotBytes
}

// sameLeader tells whether both have the same leader with the same proclamation.
func (b ballot) sameLeader(other ballot) bool {
	x, y := b.leader(), other.leader()
	if x == nil || y == nil {
		return x == y
	}
	return x.ModRevision == y.ModRevision && bytes.Equal(x.Key, y.Key)
}

// after is the ballot once the events have happened, and about how many bytes it takes beyond b.
func (b ballot) after(events []wire.Event) (next ballot, grown int) {
	root := b.root
	for i := range events {
		kv := &events[i].KV
		if events[i].Delete {
			root = without(root, kv.Key)
		} else {
			root = with(root, leaf(kv.Clone()))
			grown += len(kv.Key) + len(kv.Value)
		}
		grown += root.depth() * candidateOverhead
	}
	return ballot{root}, grown
}

// with adds a candidate, or gives it its new value.
func with(n, added *candidate) *candidate {
	if n == nil {
		return added
	}
	switch c := bytes.Compare(added.kv.Key, n.kv.Key); {
	case c == 0:
		return added.over(n.left, n.right)
	case c < 0:
		left := with(n.left, added)
		if left.weight > n.weight {
			return left.over(left.left, n.over(left.right, n.right))
		}
		return n.over(left, n.right)
	default:
		right := with(n.right, added)
		if right.weight > n.weight {
			return right.over(n.over(n.left, right.left), right.right)
		}
		return n.over(n.left, right)
	}
}

// without takes a candidate off.
func without(n *candidate, key []byte) *candidate {
	if n == nil {
		return nil
	}
	switch c := bytes.Compare(key, n.kv.Key); {
	case c == 0:
		return merged(n.left, n.right)
	case c < 0:
		return n.over(without(n.left, key), n.right)
	default:
		return n.over(n.left, without(n.right, key))
	}
}

// merged joins two treaps, all keys of the first of which come before those of the second.
func merged(a, b *candidate) *candidate {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		return a.over(a.left, merged(a.right, b))
	default:
		return b.over(merged(a, b.left), b.right)
	}
}

func leaf(kv wire.KeyValue) *candidate {
	c := &candidate{kv: kv, weight: weigh(kv.Key)}
	c.sum()
	return c
}

// over is the candidate with other children.
func (n *candidate) over(left, right *candidate) *candidate {
	c := &candidate{kv: n.kv, weight: n.weight, left: left, right: right}
	c.sum()
	return c
}

func (n *candidate) sum() {
	n.leader, n.count, n.bytes = n, 1, len(n.kv.Key)+len(n.kv.Value)+candidateOverhead
	for _, child := range [...]*candidate{n.left, n.right} {
		if child == nil {
			continue
		}
		n.count += child.count
		n.bytes += child.bytes
		if first := child.leader; first.before(n.leader) {
			n.leader = first
		}
	}
}

func (n *candidate) before(other *candidate) bool {
	if n.kv.CreateRevision != other.kv.CreateRevision {
		return n.kv.CreateRevision < other.kv.CreateRevision
	}
	return bytes.Compare(n.kv.Key, other.kv.Key) < 0
}

// depth is about how many nodes a change copies.
func (n *candidate) depth() int {
	if n == nil {
		return 1
	}
	return bits.Len(uint(n.count))
}

// weigh draws the place of a key in the heap: by chance, but the same for the same key.
func weigh(key []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key)
	w := h.Sum64() // whose upper bits hardly depend on a key's last bytes
	w = (w ^ w>>33) * 0xff51afd7ed558ccd
	w = (w ^ w>>33) * 0xc4ceb9fe1a85ec53
	return w ^ w>>33
}
