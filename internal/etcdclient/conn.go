package etcdclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// conn is one HTTP/2 connection to an endpoint. It takes work once the member behind it has answered a first probe.
type conn struct {
	pool     *pool
	endpoint *endpoint
	class    class
	cc       *grpc.ClientConn

	wanted   atomic.Bool            // it has been asked for, and is kept connected from then on
	up       atomic.Bool            // connected, and the member has answered
	inFlight atomic.Int64           // calls and streams under way
	used     atomic.Bool            // something was sent since the last check
	stale    atomic.Bool            // what is known of the cluster is to be asked again
	stranger atomic.Bool            // the member does not tell its status without a token
	silent   atomic.Bool            // it did not answer; its member may have done so since by another connection
	member   atomic.Pointer[member] // who is behind it; never nil
	lastErr  atomic.Pointer[string] // why it is not up
	kick     chan struct{}          // wakes the supervisor; capacity 1, never closed

	mu       sync.Mutex
	attempts map[*attempt]struct{} // what is under way, to be ended when the member falls silent
}

var (
	errMemberSilent   = errors.New("the member stopped answering")
	errAttemptTimeout = errors.New("the member took its share of the time")
	errForeignKey     = wire.ErrOutsideNamespace
)

func (p *pool) newConn(e *endpoint, c class, opts []grpc.DialOption) (*conn, error) {
	cc, err := grpc.NewClient("passthrough:///"+e.address, append(opts, e.dialOptions(p.config.Roots)...)...)
	if err != nil {
		return nil, err
	}
	n := &conn{
		pool: p, endpoint: e, class: c, cc: cc,
		kick: make(chan struct{}, 1), attempts: make(map[*attempt]struct{}),
	}
	n.member.Store(&member{})
	return n, nil
}

// want connects the connection, now and again whenever it is lost.
func (c *conn) want() {
	if !c.wanted.Swap(true) {
		c.cc.Connect()
	}
}

// follow watches the connection's state until ctx ends, and connects it again whenever it is lost.
func (c *conn) follow(ctx context.Context) {
	var pace pacer
	for {
		s := c.cc.GetState()
		switch s {
		case connectivity.Ready:
			c.wake()
		case connectivity.Idle:
			c.down("")
			if c.wanted.Load() && pace.wait(ctx) {
				c.cc.Connect()
			}
		case connectivity.TransientFailure:
			c.down(c.connectionError(ctx))
		default:
			c.down("")
		}
		if !c.cc.WaitForStateChange(ctx, s) {
			return
		}
	}
}

// connectionError asks gRPC for the reason of a failed connection: a call that does not wait fails with it at once.
func (c *conn) connectionError(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, c.pool.config.HealthTimeout)
	defer cancel()
	_, err := healthpb.NewHealthClient(c.cc).Check(ctx, &healthpb.HealthCheckRequest{})
	if err == nil {
		return ""
	}
	return status.Convert(err).Message()
}

// pacer spaces out the attempts to connect to a server that takes connections and drops them, which gRPC's own backoff,
// for connections that fail, does not see.
type pacer struct {
	last  time.Time
	quick int
}

// wait waits until it is time for another attempt; false when ctx has ended.
func (p *pacer) wait(ctx context.Context) bool {
	if time.Since(p.last) > time.Second {
		p.quick = 0
	}
	if p.quick > 0 {
		timer := time.NewTimer(min(reconnectBase<<min(p.quick-1, 8), reconnectMax))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	p.quick++
	p.last = time.Now()
	return true
}

func (c *conn) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// down takes the connection out of work; an empty reason keeps the last one.
func (c *conn) down(reason string) {
	if reason != "" {
		c.lastErr.Store(&reason)
		c.pool.lastErr.Store(&reason)
	}
	if c.up.Swap(false) {
		c.member.Store(&member{})
	}
	if reason != "" {
		c.pool.changed()
	}
}

// need is how well the member behind a connection must be.
type need uint8

const (
	needAny     need = iota // it may be silent
	needAnswers             // it may be set aside, but not for its silence
	needWell
)

// can says that the connection can take work and that its member is as well as that.
func (c *conn) can(n need) bool {
	return c.up.Load() && (n < needAnswers || !c.silent.Load()) && (n < needWell || !c.member.Load().aside.Load())
}

// usable says that the connection can take work, and well.
func (c *conn) usable() bool { return anyWork(c) && c.can(needWell) }

// anyWork fits the connections that take the work of those who name no member: a learner gets none of it.
func anyWork(c *conn) bool { return !c.member.Load().learner.Load() }

// full says that the connection's endpoint has as many calls under way as it may: one that is slow is not given more and more.
// Watches and keepalives are bounded by those who open them.
func (c *conn) full() bool {
	return c.class.bounded() && c.endpoint.calls[c.class].Load() >= int64(c.pool.config.MaxCalls)
}

// begin counts a call or a stream, which is ended when the member falls silent.
func (c *conn) begin(a *attempt) {
	c.inFlight.Add(1)
	c.endpoint.calls[c.class].Add(1)
	c.used.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts[a] = struct{}{}
}

func (c *conn) end(a *attempt) {
	c.mu.Lock()
	delete(c.attempts, a)
	c.mu.Unlock()
	c.inFlight.Add(-1)
	c.endpoint.calls[c.class].Add(-1)
}

// evict ends what is under way: a read goes elsewhere, the caller of a write that has left learns now rather than much
// later that nobody knows what became of it.
func (c *conn) evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.attempts {
		a.cancel(errMemberSilent)
	}
}

// note learns from an answer's header which member is behind the connection, and that there was an election.
func (c *conn) note(h wire.Header) {
	if h.MemberID != 0 && h.MemberID != c.member.Load().id {
		c.member.Store(c.pool.memberOf(h.MemberID))
		c.stale.Store(true)
		c.wake()
	}
	if h.RaftTerm > c.pool.term.Load() && !c.stale.Swap(true) {
		c.wake()
	}
}

// observe notes the header of any answer; that of a frame is noted by the one who reads it.
func (c *conn) observe(answer any) {
	switch a := answer.(type) {
	case *frame:
		a.from = c
	case interface{ GetHeader() *pb.ResponseHeader }:
		c.note(headerOf(a.GetHeader()))
	}
}
