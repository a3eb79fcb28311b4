package compat

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// guests are those whose calls last: they are let out when their credentials end, or the policy has other words for them.
type guests struct {
	mu     sync.Mutex
	inside map[*guest]struct{}
}

type guest struct {
	caller *authz.Caller
	end    context.CancelCauseFunc
}

func newGuests() *guests { return &guests{inside: make(map[*guest]struct{})} }

var (
	errExpired = status.Error(codes.Unauthenticated, "the credentials have expired")
	errChanged = status.Error(codes.Unavailable, "what the caller may do has changed; ask again")
)

// enter takes note of a call until leave; nothing is to be noted of one whose caller nobody knows.
func (g *guests) enter(c *authz.Caller, end context.CancelCauseFunc) (leave func()) {
	if c == nil {
		return func() {}
	}
	who := &guest{caller: c, end: end}
	expiry := func() bool { return false }
	if at := c.Principal.Expires; !at.IsZero() {
		expiry = time.AfterFunc(time.Until(at), func() { end(errExpired) }).Stop
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside[who] = struct{}{}
	return func() {
		expiry()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.inside, who)
	}
}

// Judge tells what somebody who is known may do now; *authz.Gate satisfies it by its method Again.
type Judge func(ctx context.Context, p *authn.Principal) (*authz.Caller, error)

// Rejudge lets those out who may not do any more what they did when they came. It is for when the policy has changed.
func (g *Gateway) Rejudge(ctx context.Context, again Judge) {
	g.guests.mu.Lock()
	inside := make([]*guest, 0, len(g.guests.inside))
	for who := range g.guests.inside {
		inside = append(inside, who)
	}
	g.guests.mu.Unlock()
	for _, who := range inside {
		switch now, err := again(ctx, who.caller.Principal); {
		case err == nil && now.Same(who.caller):
		case err == nil:
			who.end(errChanged)
		default:
			who.end(status.Error(codeOf(problem.From(err)), problem.From(err).Detail))
		}
	}
}
