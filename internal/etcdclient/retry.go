package etcdclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// Why a call is repeated; the metric's closed set.
const (
	retryToken      = "token"       // the token was renewed
	retryNotSent    = "not_sent"    // the request did not leave
	retryRefused    = "refused"     // the member refused before doing anything
	retryReadFailed = "read_failed" // a read failed, and reading twice does no harm
	retryMoved      = "moved"       // a read's member or connection was lost, and others are there
)

// unary makes one call: it picks a connection, and when the attempt fails and a repeat is safe and makes sense, picks
// another. A read is safe to repeat. A write is repeated only when it provably did not leave, or was refused in a way
// that proves that nothing was done. size is that of the encoded request.
func (c *Client) unary(ctx context.Context, m *method, request, answer any, size int, opts []grpc.CallOption) error {
	started := time.Now()
	attempts, err := c.attempts(ctx, m, request, answer, size, opts)
	took := time.Since(started)
	trail.From(ctx).AddUpstream(took)
	if err != nil {
		c.metrics.finished(m, attempts, took, err.Code)
		return err
	}
	c.metrics.finished(m, attempts, took, codes.OK)
	return nil // not a typed nil
}

func (c *Client) attempts(ctx context.Context, m *method, request, answer any, size int, opts []grpc.CallOption) (int, *Error) {
	if size > c.pool.config.MaxSendBytes {
		return 0, errTooLargeToSend(m, size, c.pool.config.MaxSendBytes)
	}
	c.budget.deposit()
	var (
		avoid   culprit
		renewed bool
	)
	who := c.identityOf(ctx)
	for n := 1; ; n++ {
		if c.pool.closed() {
			return n, errClosed(m)
		}
		t, err := who.token(ctx, m)
		if err != nil {
			return n, err
		}
		conn, err := c.pool.pick(ctx, m, avoid, c.fits)
		if err != nil {
			return n, err
		}
		failure := c.try(ctx, m, conn, t, request, answer, size, opts, n)
		if failure == nil {
			return n, nil
		}
		c.pool.heed(conn, failure)
		reason := c.reasonToRepeat(m, failure, n)
		if reason == "" {
			return n, failure
		}
		if reason == retryToken {
			if renewed || !who.mayRepeat(failure) {
				return n, who.final(failure)
			}
			renewed = true
			who.refused(t)
		} else {
			avoid = culpritAt(conn)
			if !c.backOff(ctx, n) {
				return n, failure
			}
		}
		c.metrics.retried(m, reason)
	}
}

// try makes one attempt on one connection.
func (c *Client) try(
	ctx context.Context, m *method, conn *conn, t *token, request, answer any, size int, opts []grpc.CallOption, n int,
) (failure *Error) {
	runs := conn.member.Load().release()
	if m.unseen && !runs.has(m) {
		return errLacks(m, runs)
	}
	a := new(attempt)
	actx, ended := c.traced(t.outgoing(context.WithValue(ctx, attemptKey{}, a)), m, conn, n)
	if ended != nil {
		defer func() { ended(asError(failure)) }()
	}
	actx, cancel := context.WithCancelCause(actx)
	defer cancel(nil)
	a.cancel = cancel
	if m.read {
		if share := c.share(ctx, m); share > 0 {
			var stop context.CancelFunc
			actx, stop = context.WithTimeoutCause(actx, share, errAttemptTimeout)
			defer stop()
		}
	}
	conn.begin(a)
	err := conn.confirm(actx, m)
	if err == nil {
		err = conn.cc.Invoke(actx, m.full, request, answer, opts...)
	}
	conn.end(a)
	if err == nil {
		conn.observe(answer)
		c.pool.accepted(t)
		return nil
	}
	e := c.failed(ctx, actx, m, a, err, size)
	e.explainLack(m, runs)
	return e
}

// asError gives an error that is nil when e is.
func asError(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

// failed finds out why an attempt failed: the caller left, the attempt's own time or member did, or etcd said so.
func (c *Client) failed(ctx, actx context.Context, m *method, a *attempt, err error, size int) *Error {
	sent, replied := a.sent.Load(), a.replied.Load()
	s := contextStatus(status.Convert(err))
	err = s.Err()
	code := s.Code()
	_, isKnown := knownByText[s.Message()]
	if (code == codes.Canceled || code == codes.DeadlineExceeded) && !isKnown {
		if cause := callerError(ctx, code); cause != nil {
			return ended(m, cause, sent, s.Message(), c.pool.lastError())
		}
		if c.pool.closed() {
			e := errClosed(m)
			if sent && !m.read {
				e.Outcome = unknown
			}
			return e
		}
		if cause := context.Cause(actx); cause != nil {
			e := fromStatus(m, status.Error(codes.Unavailable, cause.Error()), sent || m.read, false, size)
			if e.Name == NameNotConnected { // a write that has not left
				return e
			}
			e.Name, e.detail = NameMemberSilent, "the member of etcd that was asked does not answer"
			e.lost = errors.Is(cause, errMemberSilent)
			return e
		}
	}
	return fromStatus(m, err, sent, replied, size)
}

// lead is how much earlier than the caller's own clock etcd, which is told the deadline, may run out of time.
const lead = 20 * time.Millisecond

// callerError tells whether it was the caller's context that ended the call.
func callerError(ctx context.Context, code codes.Code) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok && code == codes.DeadlineExceeded && time.Until(d) < lead {
		return context.DeadlineExceeded
	}
	return nil
}

// reasonToRepeat says why the call may be made once more, or nothing.
func (c *Client) reasonToRepeat(m *method, e *Error, n int) string {
	switch {
	case e.cause != nil || e.Name == NameClosed:
		return ""
	case e.follow == followRenew:
		return retryToken
	case n >= c.pool.config.MaxAttempts:
		return ""
	case e.Name == NameNotConnected:
		return retryNotSent
	case m.read && (e.lost || e.Name == NameConnectionLost && e.wire == codes.Unavailable):
		// One lost member can end hundreds of reads at once. To move them is no storm: what is lost does no work, and a
		// connection takes work only once its member has answered.
		return retryMoved
	case e.Name == "NoLeader" || e.follow == followElsewhere:
		return c.withinBudget(retryRefused)
	case m.read && e.transient():
		return c.withinBudget(retryReadFailed)
	}
	return ""
}

func (c *Client) withinBudget(reason string) string {
	if c.budget.withdraw() {
		return reason
	}
	return ""
}

// transient says that another member, or the same one a little later, may answer.
func (e *Error) transient() bool {
	if e.Name == NameConnectionLost || e.Name == NameMemberSilent || e.follow == followAside || e.follow == followLeader {
		return true
	}
	switch e.wire {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	default:
		return false
	}
}

// heed has the pool draw its conclusions from a failure.
func (p *pool) heed(c *conn, e *Error) {
	switch e.follow {
	case followAside:
		p.setAside(c.member.Load(), c, e.Name)
	case followElsewhere:
		c.stale.Store(true)
		c.wake()
	case followLeader:
		p.forgetLeader(c)
	case followNothing, followRenew:
	}
	if e.Name == NameMemberSilent || e.Name == NameDeadlineExceeded {
		c.used.Store(true)
		c.wake()
	}
}

const (
	backOffBase = 25 * time.Millisecond
	backOffMax  = time.Second
)

// backOff waits with full jitter before attempt n+1; false when the caller or the client is gone.
func (c *Client) backOff(ctx context.Context, n int) bool {
	most := min(backOffBase<<min(n-1, 6), backOffMax)
	timer := time.NewTimer(rand.N(most)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true // the next pick or attempt says so, in its proper form
	case <-c.pool.done:
		return false
	}
}

// pointShare bounds one attempt at something small.
const pointShare = 5 * time.Second

// share is an attempt's part of the time that the caller has, so that a member that hangs is left in time to ask another.
// It is 0, for all of it, when there is no other member to ask.
func (c *Client) share(ctx context.Context, m *method) time.Duration {
	if c.fits != nil || !c.pool.choice(m.class) {
		return 0
	}
	most := time.Duration(0)
	if m.class == classUnary {
		most = pointShare
	}
	if d, ok := ctx.Deadline(); ok {
		half := time.Until(d) / 2
		if most == 0 || half < most {
			most = half
		}
	}
	return max(most, 0)
}

// choice says that more than one member could be asked, of those that would be.
func (p *pool) choice(c class) bool {
	for _, n := range needs {
		var first *member
		for _, conn := range p.conns[c] {
			if !anyWork(conn) || !conn.can(n.need) {
				continue
			}
			m := conn.member.Load()
			if first != nil && m != first && m.id != 0 {
				return true
			}
			first = m
		}
		if first != nil {
			return false
		}
	}
	return false
}

// budget is a token bucket that keeps repeats to a share of the calls.
type budget struct {
	mu     sync.Mutex
	share  float64
	tokens float64
}

// budgetMost is what the bucket holds, and starts with: a quiet client may repeat a few calls in a row.
const budgetMost = 20

func newBudget(share float64) *budget { return &budget{share: share, tokens: budgetMost} }

func (b *budget) deposit() {
	b.mu.Lock()
	b.tokens = min(b.tokens+b.share, budgetMost)
	b.mu.Unlock()
}

func (b *budget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
