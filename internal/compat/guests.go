package compat

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Gate tells what somebody who is known may do now; *authz.Gate satisfies it.
type Gate interface {
	Again(ctx context.Context, p *authn.Principal) (*authz.Caller, error)
}

// guests are those whose calls last: they are let out when their credentials end, or the policy has other words for them.
type guests struct {
	mu     sync.Mutex
	inside map[*guest]struct{}
	// judging says that they are being judged, and wanted that they are to be judged once more.
	judging, wanted bool
}

type guest struct {
	caller *authz.Caller
	end    context.CancelCauseFunc
}

var errChanged = status.Error(codes.Unavailable, "what the caller may do has changed; ask again")

// enter takes note of a call until leave. Nothing is to be noted of one whose caller nobody was asked for.
func (g *Gateway) enter(ctx context.Context, end context.CancelCauseFunc) (leave func(), err error) {
	caller := authz.From(ctx)
	if caller == nil {
		return func() {}, nil
	}
	if err := caller.Usage().OpenStream(); err != nil {
		return nil, limitError{problem.From(err)}
	}
	if err := caller.Usage().StreamsLeaveRoom(int64(len(g.lasting)), int64(cap(g.lasting))); err != nil {
		caller.Usage().CloseStream()
		return nil, limitError{problem.From(err)}
	}
	who := &guest{caller: caller, end: end}
	stay := func() bool { return true }
	if at := caller.Principal.Expires; !at.IsZero() {
		stay = time.AfterFunc(time.Until(at), func() { end(rpctypes.ErrGRPCInvalidAuthToken) }).Stop
	}
	g.guests.mu.Lock()
	g.guests.inside[who] = struct{}{}
	g.guests.mu.Unlock()
	if !g.judge(ctx, who) { // the policy may have changed since the door
		g.Rejudge()
	}
	return func() {
		stay()
		g.guests.mu.Lock()
		delete(g.guests.inside, who)
		g.guests.mu.Unlock()
		caller.Usage().CloseStream()
	}, nil
}

// Rejudge has those let out, within a second, who may not do any more what they could do when they came. It is for when the
// policy has changed, and does not wait.
func (g *Gateway) Rejudge() {
	g.guests.mu.Lock()
	defer g.guests.mu.Unlock()
	g.guests.wanted = true
	if g.guests.judging || !g.letIn() {
		return
	}
	g.guests.judging = true
	go func() {
		defer g.sockets.Done()
		for g.guests.next() {
			g.judgeAll(g.stopping)
		}
	}()
}

// next tells whether everybody is to be judged, for the one who does that. Those of whom it cannot be found out hold up nobody.
func (g *guests) next() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.judging, g.wanted = g.wanted, false
	return g.judging
}

const (
	// judgedAtOnce is how many are judged at a time: some are proven by asking etcd.
	judgedAtOnce = 16
	// judgeTimeout bounds that, and judgePause is how long those wait of whom it could not be found out.
	judgeTimeout = 5 * time.Second
	judgePause   = 250 * time.Millisecond
)

func (g *Gateway) judgeAll(ctx context.Context) {
	left := g.guests.list()
	for len(left) > 0 && ctx.Err() == nil && !g.guests.isWanted() {
		var (
			mu    sync.Mutex
			again []*guest
			work  sync.WaitGroup
		)
		places := make(chan struct{}, judgedAtOnce)
		for _, who := range left {
			places <- struct{}{}
			work.Go(func() {
				defer func() { <-places }()
				if !g.judge(ctx, who) {
					mu.Lock()
					defer mu.Unlock()
					again = append(again, who)
				}
			})
		}
		work.Wait()
		if left = again; len(left) > 0 {
			pause(ctx, judgePause)
		}
	}
}

// isWanted tells whether everybody is to be judged once more: those of whom it could not be found out wait with the others then.
func (g *guests) isWanted() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted
}

func (g *guests) list() []*guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*guest, 0, len(g.inside))
	for who := range g.inside {
		all = append(all, who)
	}
	return all
}

// judge ends the call of one who is not granted the same any more. It is false when that could not be found out, because
// etcd could not be asked.
func (g *Gateway) judge(ctx context.Context, who *guest) bool {
	if g.options.Gate == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	now, err := g.options.Gate.Again(ctx, who.caller.Principal)
	e := problem.From(err)
	switch {
	case e == nil && now.Same(who.caller):
	case e == nil:
		who.end(errChanged)
	case ctx.Err() != nil || e.Code.Info().Retryable:
		return !g.guests.has(who)
	default:
		who.end(statusOf(e).Err())
	}
	return true
}

func (g *guests) has(who *guest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, is := g.inside[who]
	return is
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
