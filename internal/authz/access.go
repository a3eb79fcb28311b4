package authz

import (
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Access is what one part of a request does with keys, and with the lease that it names, whichever API it came by. What has
// to be granted for it is decided here alone; make one with the functions below.
type Access struct {
	verb     Verb
	key, end []byte
	// valueless shows whether there is a key, and when it changed, and no value: who may lock sees who holds the lock.
	valueless bool
	// lease must be the caller's; 0 is none.
	lease int64
}

// Ranges reads keys.
func Ranges(key, end []byte, keysOnly bool) Access {
	return Access{verb: Read, key: key, end: end, valueless: len(end) == 0 && keysOnly}
}

// Compares decides by what is there: whoever sees the outcome has read it, bit by bit.
func Compares(key, end []byte, value bool) Access {
	return Access{verb: Read, key: key, end: end, valueless: len(end) == 0 && !value}
}

// Puts writes a key. It tells what was there when it asks for that, or when it fails without a former value or lease to keep.
func Puts(key []byte, tells bool, lease int64) Access {
	return Access{verb: telling(Write, tells), key: key, lease: lease}
}

// Deletes deletes keys.
func Deletes(key, end []byte, prevKV bool) Access {
	return Access{verb: telling(Write, prevKV), key: key, end: end}
}

// Watches tells of changes.
func Watches(key, end []byte, prevKV bool) Access {
	return Access{verb: telling(Watch, prevKV), key: key, end: end}
}

// Queues takes part in a lock or an election, whose keys these are: it reads and writes them.
func Queues(key, end []byte, lease int64) Access {
	return Access{verb: Lock, key: key, end: end, lease: lease}
}

func telling(v Verb, tells bool) Verb {
	if tells {
		v |= Read
	}
	return v
}

// Permit refuses an access of the caller's, to keys as he sees them. Keys that begin with NUL are for Admin, unless the
// caller has a namespace, in which they are keys like any other.
func (c *Caller) Permit(a Access) error {
	if len(c.Namespace) == 0 {
		if err := c.reserves(a.key); err != nil {
			return err
		}
	}
	return c.permit(a, 0)
}

// permit is Permit for keys that are not the gateway's own; stead is granted in the stead of all other verbs, unless it is 0.
func (c *Caller) permit(a Access, stead Verb) error {
	v := a.verb
	if stead != 0 {
		v = stead
	}
	if !c.May(v, a.key, a.end) && (!a.valueless || !c.May(Lock, a.key, a.end)) {
		return denied(v)
	}
	if a.lease == 0 {
		return nil
	}
	return c.mine(a.lease)
}

// Exceeds tells whether a read of a range, limited to so many keys or by 0 to none, may have etcd read more keys than the
// caller may have read by one request.
func (c *Caller) Exceeds(end []byte, limit int64, countOnly bool) bool {
	most := c.Limits.KeysPerRequest
	return most > 0 && len(end) > 0 && !countOnly && (limit <= 0 || limit > most)
}

// reserves refuses a key that may be the gateway's own, or a range that begins with one.
func (c *Caller) reserves(key []byte) error {
	if len(key) > 0 && key[0] == 0 && c.Has(Admin) != nil {
		return problem.New(problem.Reserved, "keys that begin with a NUL byte hold the gateway's own state").WithOutcome(problem.NotApplied)
	}
	return nil
}
