package etcdclient

import (
	"time"
)

// Keeper is the owner of a lease that is kept alive.
type Keeper interface {
	// Lost says that the lease is not kept alive any more: it has expired or was revoked (ErrLeaseNotFound), etcd refuses
	// to renew it, or the client was closed. It is called once at most, must not block, and does not come after Stop. While
	// etcd cannot be reached nothing is said, since nobody knows then whether the lease lives.
	Lost(err error)
}

// KeepAlive is a lease being kept alive. It is safe for concurrent use.
type KeepAlive struct {
	keeper Keeper
	stream *leaseStream
	lease  *keptLease // nil when it is over; guarded by stream.mu
}

// KeepAlive keeps a lease alive, whose time to live is known to be ttl seconds, until it is stopped, and never blocks. The
// lease is renewed at once, and from then on when a third of its time has passed. Keeping alive revokes nothing when it
// ends. A lease may be kept alive by several at once; it is renewed once for all of them.
func (c *Client) KeepAlive(lease, ttl int64, k Keeper) *KeepAlive {
	s := c.keepAlives.streams[lease&(leaseStreams-1)]
	a := &KeepAlive{keeper: k, stream: s}
	if !s.begin(a, lease, ttl) {
		// The caller may hold what its Keeper needs, so that it is not called from here. The client is closed: there is no
		// one left to wait for the goroutine, which makes this one call.
		go k.Lost(errClosed(methodRenew))
	}
	return a
}

// KeepAlive is Client.KeepAlive: leases have no namespace in etcd.
func (n *Namespaced) KeepAlive(lease, ttl int64, k Keeper) *KeepAlive {
	return n.client.KeepAlive(lease, ttl, k)
}

// Stop leaves the lease to its time to live. It never blocks; a call of Lost that is under way may still finish. Stopping
// twice is harmless, and so is stopping from inside Lost.
func (a *KeepAlive) Stop() {
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	a.stream.leaveLocked(a)
}

// leaseStreams is the number of streams for the renewals of all leases. etcd renews the leases of a stream one after the
// other. It is a power of two.
const leaseStreams = 2

// keepAlives is every lease that a client keeps alive.
type keepAlives struct {
	streams [leaseStreams]*leaseStream
}

func newKeepAlives(c *Client) *keepAlives {
	k := new(keepAlives)
	for i := range k.streams {
		k.streams[i] = newLeaseStream(c)
	}
	return k
}

// count is the number of leases that are kept alive.
func (k *keepAlives) count() (n int) {
	for _, s := range k.streams {
		s.mu.Lock()
		for _, l := range s.byID {
			if len(l.keepers) > 0 {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// keptLease is one lease, for all that keep it alive. It is guarded by its stream's mu.
type keptLease struct {
	id      int64
	ttl     time.Duration
	keepers map[*KeepAlive]struct{}
	once    []*renewal // that wait for it to be renewed
	due     time.Time  // when to renew it; while it is being renewed, when to expect the answer at the latest
	sent    time.Time  // when it was renewed, while there is no answer
	at      int        // its place in the heap
}

// third is how often the lease is renewed, and how long an answer may take.
func (l *keptLease) third() time.Duration { return l.ttl / 3 }

func seconds(ttl int64) time.Duration { return time.Duration(max(ttl, 1)) * time.Second }

// dueLeases is a heap of leases by the time at which they are due (container/heap).
type dueLeases []*keptLease

func (d *dueLeases) Len() int           { return len(*d) }
func (d *dueLeases) Less(i, j int) bool { return (*d)[i].due.Before((*d)[j].due) }

func (d *dueLeases) Swap(i, j int) {
	h := *d
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (d *dueLeases) Push(x any) {
	l, _ := x.(*keptLease)
	l.at = len(*d)
	*d = append(*d, l)
}

func (d *dueLeases) Pop() any {
	h := *d
	last := h[len(h)-1]
	h[len(h)-1] = nil
	*d = h[:len(h)-1]
	return last
}
