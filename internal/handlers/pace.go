package handlers

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// A caller who does not listen to refusals and comes again at once, over as many connections as it has, would have the gateway
// do nothing but refuse, while others wait for the processor. So refusals have a pace: the first of each second are told at
// once, the others after a moment, which holds nothing but the connection that asked.
const (
	// promptRefusals are told at once in a second, to all callers together.
	promptRefusals = 200
	// refusalDelay is the moment, short beside what Retry-After asks for. It differs by as much as half of it either way: those
	// who were refused together would else come again together.
	refusalDelay = 25 * time.Millisecond
	// mostHeld bounds the refusals that wait at a time; further ones are told at once.
	mostHeld = 1000
)

// pacer holds back refusals when there are many. The zero value is ready.
type pacer struct {
	// told were refused in that second since 1970. A race between two seconds only lets a few more through.
	second, told atomic.Int64
	held         atomic.Int64
}

// prompt tells whether one more can be told at once.
func (p *pacer) prompt(now time.Time) bool {
	if second := now.Unix(); p.second.Swap(second) != second {
		p.told.Store(0)
	}
	return p.told.Add(1) <= promptRefusals
}

// hold waits if it is time to, at most until ctx ends.
func (p *pacer) hold(ctx context.Context) {
	if p.prompt(time.Now()) || !within(&p.held, 1, mostHeld) {
		return
	}
	defer p.held.Add(-1)
	moment := time.NewTimer(refusalDelay/2 + rand.N(refusalDelay)) //nolint:gosec // no secret
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-ctx.Done():
	}
}

// paced are the refusals that ask to come again later, or as somebody else.
//
//nolint:gochecknoglobals // a constant table
var paced = []problem.Code{problem.Unauthenticated, problem.AuthExpired, problem.RateLimited, problem.Overloaded}

// pace gives back what a refused call has taken, and holds its refusal if there are many.
func (c *call) pace(err error) {
	if err == nil || c.streamed || c.answered || !slices.Contains(paced, problem.From(err).Code) {
		return
	}
	c.uncount()
	c.api.refusals.hold(c.received.Context())
}
