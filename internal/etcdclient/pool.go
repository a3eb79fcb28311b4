package etcdclient

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
)

// pool is the connections to a cluster: who is behind them, who of them is well, and which is to take the next call. It
// knows nothing of identities: whoever calls brings a token along, and the pool's own questions borrow one that was accepted.
type pool struct {
	config Config
	log    *slog.Logger
	conns  [classes][]*conn

	leader  atomic.Uint64 // member id, 0 while unknown
	term    atomic.Uint64 // the highest raft term seen
	cluster atomic.Uint64
	lastErr atomic.Pointer[string] // the last connection error of any connection
	shown   atomic.Pointer[token]  // one that etcd has accepted; nil while there is none

	mu      sync.Mutex
	members map[uint64]*member
	signal  chan struct{} // closed and replaced at every change

	done  <-chan struct{} // closed when the pool closes
	stop  context.CancelFunc
	spawn func(func(context.Context)) // starts a goroutine of the pool, with the pool's context
	work  sync.WaitGroup
	ended bool // no more goroutines
}

// The pauses between attempts to connect.
const (
	reconnectBase = 100 * time.Millisecond
	reconnectMax  = 3 * time.Second
)

// newPool opens the pool; its goroutines run until close.
func newPool(config Config, endpoints []*endpoint) (*pool, error) {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // New takes no context: the pool lives until Close
	p := &pool{
		config: config, log: config.Logger, stop: stop, done: ctx.Done(),
		members: make(map[uint64]*member), signal: make(chan struct{}),
	}
	p.spawn = func(f func(context.Context)) { p.work.Go(func() { f(ctx) }) }
	counts := [classes]int{config.UnaryConns, config.BulkConns, config.WatchConns, config.LeaseConns}
	for class := range classes {
		for _, e := range endpoints {
			for range counts[class] {
				c, err := p.newConn(e, class, p.dialOptions(class))
				if err != nil {
					p.close()
					return nil, err
				}
				p.conns[class] = append(p.conns[class], c)
			}
		}
	}
	p.each(func(c *conn) {
		p.spawn(c.follow)
		p.spawn(c.supervise)
	})
	for _, c := range p.conns[classUnary] {
		c.want()
	}
	return p, nil
}

// dialOptions are those of every connection. Pings go only where there are streams, and no oftener than gRPC and etcd
// allow; liveness is the supervisor's business.
func (p *pool) dialOptions(class class) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(newCodec()),
			grpc.MaxCallSendMsgSize(math.MaxInt32), // checked by us, before anything is sent
			grpc.MaxCallRecvMsgSize(p.config.MaxReceiveBytes),
		),
		grpc.WithStatsHandler(attemptStats{}),
		experimental.WithBufferPool(buffers),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: p.config.DialTimeout,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // gRPC's retry policies; what the server did not process it still repeats by itself
		grpc.WithUserAgent("etcdrest"),
	}
	if class == classBulk { // large answers come in fewer pieces, without the pings that would find out how large
		options = append(options, grpc.WithInitialWindowSize(bulkWindow), grpc.WithInitialConnWindowSize(4*bulkWindow),
			grpc.WithReadBufferSize(bulkBuffer))
	}
	return options
}

// bulkWindow is how much of one large answer etcd may send ahead of its reader, bulkBuffer what is read from the socket at once.
const (
	bulkWindow = 1 << 20
	bulkBuffer = 256 << 10
)

func (p *pool) each(f func(*conn)) {
	for _, conns := range p.conns {
		for _, c := range conns {
			f(c)
		}
	}
}

// run starts a goroutine that close waits for; false when the pool is closed.
func (p *pool) run(f func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.spawn(f)
	return true
}

// close ends every call and waits for the pool's goroutines.
func (p *pool) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.stop()
	p.each(func(c *conn) { _ = c.cc.Close() }) // its only error is that it was closed before
	p.work.Wait()
}

func (p *pool) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// changed wakes those that wait for a connection.
func (p *pool) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.signal)
	p.signal = make(chan struct{})
}

func (p *pool) change() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal
}

// accepted notes a token that a call went well with. Members that would not tell a stranger who they are are asked again.
func (p *pool) accepted(t *token) {
	if t.value != "" && p.shown.Load() == nil && p.shown.CompareAndSwap(nil, t) {
		p.each((*conn).wake)
	}
}

func (p *pool) memberOf(id uint64) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members[id]
	if m == nil {
		m = &member{id: id}
		p.members[id] = m
	}
	return m
}

// sameCluster refuses an endpoint of another cluster while one of the first is connected: mixing two would be worse than
// losing one. A cluster that was replaced as a whole is taken over.
func (p *pool) sameCluster(id uint64, asking *conn) bool {
	known := p.cluster.Load()
	if id == 0 || id == known || known == 0 && p.cluster.CompareAndSwap(0, id) {
		return true
	}
	others := false
	p.each(func(c *conn) { others = others || c != asking && c.up.Load() })
	if others {
		return p.cluster.Load() == id
	}
	p.cluster.Store(id)
	return true
}

func (p *pool) learnLeader(id, term uint64) {
	if id == 0 || term < p.term.Load() {
		return
	}
	p.term.Store(term)
	p.leader.Store(id)
}

// setAside takes the member out of work until a probe through one of its connections succeeds.
func (p *pool) setAside(m *member, c *conn, reason string) {
	if p.leader.Load() == m.id {
		p.leader.Store(0)
	}
	if !m.fail(time.Now()) {
		return
	}
	p.log.Warn("etcd member set aside", "endpoint", c.endpoint.name, "reason", reason) //nolint:sloglint // it concerns no one request
	p.each(func(other *conn) {
		if other.member.Load() == m {
			other.wake()
		}
	})
}

// silenced takes the work from a member that did not answer, by c: from each of its connections, until that one has answered. They
// need not all be silent, a proxy may hang on some, and only asking tells which.
func (p *pool) silenced(m *member, c *conn) {
	p.each(func(other *conn) {
		if other == c || m.id != 0 && other.member.Load() == m {
			other.silent.Store(true)
			other.evict()
		}
	})
}

// forgetLeader has the leader asked for again.
func (p *pool) forgetLeader(c *conn) {
	p.leader.Store(0)
	c.stale.Store(true)
	c.wake()
}

// lastError is the last connection error, or empty.
func (p *pool) lastError() string {
	if s := p.lastErr.Load(); s != nil {
		return *s
	}
	return ""
}

// pick chooses the connection for a call, waiting for one within ctx and the dial time-out.
// Without fits it is one that takes any work.
func (p *pool) pick(ctx context.Context, m *method, avoid culprit, fits func(*conn) bool) (*conn, *Error) {
	if fits == nil {
		fits = anyWork
	}
	c, busy := p.choose(m, avoid, fits)
	switch {
	case c != nil:
		return c, nil
	case busy:
		return nil, errBusy(m)
	}
	return p.await(ctx, m, avoid, fits)
}

func (p *pool) await(ctx context.Context, m *method, avoid culprit, fits func(*conn) bool) (*conn, *Error) {
	for _, c := range p.conns[m.class] {
		if fits(c) {
			c.want()
		}
	}
	timer := time.NewTimer(p.config.DialTimeout)
	defer timer.Stop()
	for {
		change := p.change()
		c, busy := p.choose(m, avoid, fits)
		switch {
		case c != nil:
			return c, nil
		case busy:
			return nil, errBusy(m)
		}
		select {
		case <-change:
		case <-p.done:
			return nil, errClosed(m)
		case <-timer.C:
			return nil, errNotConnected(m, p.lastError())
		case <-ctx.Done():
			return nil, ended(m, ctx.Err(), false, "no member could be reached", p.lastError())
		}
	}
}

// culprit is where a call has just failed: its next attempt goes to another member, or else by another connection, since one
// that hangs (a proxy's, say) tells nothing of the others to the same member. The zero value is nowhere.
type culprit struct {
	conn   *conn
	member *member
}

// culpritAt is that connection with the member that is behind it now: one that is lost has none.
func culpritAt(c *conn) culprit { return culprit{conn: c, member: c.member.Load()} }

// needs is what is asked of the connections that a call may take, one after the other until there is one.
var needs = [...]struct {
	need
	otherMember, otherConn bool // than where the call has just failed
}{
	{need: needWell, otherMember: true},
	{need: needWell, otherConn: true},
	{need: needWell},
	{need: needAnswers},
	{need: needAny},
}

// choose gives the less loaded of two random connections of the class, the leader's weighing half where the leader
// answers sooner; nil when there is none, and busy when those there are have as many calls under way as they may. Members
// that are set aside are better than nobody, silent ones last.
func (p *pool) choose(m *method, avoid culprit, fits func(*conn) bool) (best *conn, busy bool) {
	var room [16]*conn
	candidates := room[:0]
	for _, n := range needs {
		for _, c := range p.conns[m.class] {
			if !fits(c) || !c.can(n.need) || n.otherMember && c.member.Load() == avoid.member || n.otherConn && c == avoid.conn {
				continue
			}
			if c.full() {
				busy = true
				continue
			}
			candidates = append(candidates, c)
		}
		if len(candidates) > 0 {
			break
		}
	}
	if len(candidates) < 2 {
		if len(candidates) == 1 {
			return candidates[0], false
		}
		return nil, busy
	}
	i, j := rand.IntN(len(candidates)), rand.IntN(len(candidates)-1) //nolint:gosec // spreading load needs no secrecy
	if j >= i {
		j++
	}
	a, b := candidates[i], candidates[j]
	if leader := p.leader.Load(); m.leader && leader != 0 {
		if l := leastLoaded(candidates, leader); l != nil {
			a = l
		}
		return lighter(a, b, leader), false
	}
	return lighter(a, b, 0), false
}

func leastLoaded(conns []*conn, id uint64) (best *conn) {
	for _, c := range conns {
		if c.member.Load().id == id && (best == nil || c.inFlight.Load() < best.inFlight.Load()) {
			best = c
		}
	}
	return best
}

func lighter(a, b *conn, leader uint64) *conn {
	if weight(b, leader) < weight(a, leader) {
		return b
	}
	return a
}

func weight(c *conn, leader uint64) int64 {
	w := c.inFlight.Load() + 1
	if leader != 0 && c.member.Load().id != leader {
		w *= 2
	}
	return w
}
