package stream

import (
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// access is on whose behalf a watch reads: whom it is judged by, and the store as he sees it.
type access struct {
	// caller is nil where nobody is asked who he is.
	caller *authz.Caller
	store  Store
	// scope tells apart what must not be shared.
	scope authz.Scope
}

// accessOf gives the access of a caller. To watch is a verb of its own: what a watch reads beside is judged by it too.
func (h *Hub) accessOf(c *authz.Caller) access {
	if c == nil {
		return access{store: h.store}
	}
	return access{caller: c, store: c.Store().For(authz.Watch), scope: c.Scope()}
}

// to gives the access for what is asked, or refuses who may not watch the range. What shows more than its changes, or may have
// to, needs the right to read as well. An election may be observed by those who may lock its name, or watch and read its keys.
func (a access) to(r *Request) (access, error) {
	if a.caller == nil {
		return a, nil
	}
	verbs := authz.Watch
	switch {
	case r.form.election && a.caller.May(authz.Lock, r.Start, r.End):
		a.store = a.caller.Store().For(authz.Lock)
		return a, nil
	case r.form.election, r.Snapshot, r.Resync, r.form.prevKV:
		verbs |= authz.Read
	}
	return a, a.caller.Authorise(verbs, r.Start, r.End)
}

// mayLease refuses who may not have leases.
func (a *access) mayLease() error {
	if a.caller == nil {
		return nil
	}
	return a.caller.Has(authz.Lease)
}

// who tells on whose behalf the cursor reads.
func (c *Cursor) who() access {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.access
}

// become has the cursor read on behalf of the same caller as he is now. When he may not watch the range any more, it ends.
func (c *Cursor) become(a access) {
	a, err := a.to(c.request)
	if err != nil {
		c.stop(problem.From(err))
		return
	}
	c.mu.Lock()
	c.access = a
	c.mu.Unlock()
	c.nudge()
}

// moves takes the cursor out of a feed that is of another scope by now, and puts it into one of its own at its place.
func (c *Cursor) moves(f *feed, scope authz.Scope) bool {
	if f.key.scope == scope {
		return false
	}
	next, in := f.placeOf(c)
	return in && c.move(next)
}
