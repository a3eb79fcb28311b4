package authn

import (
	"sync"
	"time"
)

// The bounds of a cache: entries, and bytes of the credentials behind them.
const (
	maxCached      = 10_000
	maxCachedBytes = 16 << 20
)

// cache keeps who was found behind a credential, by the credential's digest; the one that was not used for longest goes first.
// An entry counts until the credential expires, and as long as what it was verified with, keys or authorities, is the present one. Only
// good credentials are kept, so nobody fills it who has none. It is safe for concurrent use.
type cache struct {
	maxEntries, maxBytes int

	mu      sync.Mutex
	entries map[[32]byte]*cached
	ring    cached // ring.next was used last, ring.previous is the next to go
	bytes   int
}

type cached struct {
	principal      *Principal
	trust          any // a pointer
	size           int
	next, previous *cached
}

func newCache() *cache {
	c := &cache{maxEntries: maxCached, maxBytes: maxCachedBytes, entries: make(map[[32]byte]*cached)}
	c.ring.next, c.ring.previous = &c.ring, &c.ring
	return c
}

// get gives the principal of a credential that counts now by what is trusted at present, or nil.
func (c *cache) get(digest [32]byte, trust any, now time.Time) *Principal {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[digest]
	if e == nil {
		return nil
	}
	if e.trust != trust || !now.Before(e.principal.Expires) {
		c.drop(e)
		return nil
	}
	e.unlink()
	c.link(e)
	return e.principal
}

// put keeps a principal, which was verified by what is trusted then, and had a credential of that many bytes.
func (c *cache) put(p *Principal, trust any, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if former := c.entries[p.Digest]; former != nil {
		c.drop(former)
	}
	e := &cached{principal: p, trust: trust, size: size}
	c.entries[p.Digest] = e
	c.bytes += size
	c.link(e)
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes {
		c.drop(c.ring.previous)
	}
}

func (c *cache) drop(e *cached) {
	e.unlink()
	c.bytes -= e.size
	delete(c.entries, e.principal.Digest)
}

func (c *cache) link(e *cached) {
	e.previous, e.next = &c.ring, c.ring.next
	e.next.previous, c.ring.next = e, e
}

func (e *cached) unlink() {
	e.previous.next, e.next.previous = e.next, e.previous
}
