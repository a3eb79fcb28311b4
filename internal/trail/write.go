package trail

import "github.com/etcdrest/etcdrest/internal/problem"

// Write is one call of etcd that changes something, and what came of it. Keys alias the call's memory: whoever keeps a Write
// copies them.
type Write struct {
	// RPC is etcd's name for it, as service/method.
	RPC string
	// Event is something that happened to the caller rather than by a call of etcd: he has got a lock that he waited for, say.
	Event string
	// Ops are the keys that were written or deleted, in order. Of a transaction that wrote nothing, or of which nobody knows
	// what it did, they are those that it asked for.
	Ops []Op
	// Lease is that which was granted, revoked or renewed, TTL its seconds.
	Lease, TTL int64
	// Details name what is no key: users, roles, members, addresses. Never a password.
	Details []Detail
	// Outcome says whether it happened, Error the name of what went wrong.
	Outcome problem.Outcome
	Error   string
	// Revision is the store's after the write, 0 when etcd told none or nothing was applied.
	Revision int64
}

// Op is one write of a key or of a range.
type Op struct {
	// Kind is put or delete.
	Kind string
	// Key alone is one key; End is exclusive; End of one NUL byte is every key from Key on.
	Key, End []byte
	// Lease is that which the key was attached to.
	Lease int64
	// Before is the key's mod revision before, 0 for a key that did not exist, Unknown when etcd was not asked.
	Before int64
	// Deleted is how many keys a delete removed, Unknown when it has not been answered.
	Deleted int64
}

// Applied is the outcome of a write that happened; the others are of those that failed.
const Applied problem.Outcome = "applied"

// Unknown stands for a number that nobody was told.
const Unknown = -1

// Detail is a named word about a write.
type Detail struct{ Name, Value string }
