// Package stream is live watches: feeds, which are logs of what has changed in a range, and subscribers, which are cursors
// into them, over four transports (WebSocket, Server-Sent Events, NDJSON and a poll).
//
// The life of a watch: a transport reads a Request strictly; Hub.subscribe finds out whether its start is right, and puts a
// Cursor into the feed of its range, opening the feed when it is the first; the feed appends what etcd sends to its log and
// wakes those who wait; the transport reads its cursor when it has room, and writes. Whoever stands where the log does not
// reach reads a catch-up until he has come to the log.
package stream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Store is what watches need of etcd; *etcdclient.Client and its namespaced form satisfy it.
type Store interface {
	scan.Store
	Watch(r etcdclient.WatchRequest, w etcdclient.Watcher) *etcdclient.Watch
	// WatchFaults are what the watches of the present members lack.
	WatchFaults() etcdclient.WatchFaults
	// Authenticated tells whether etcd is shown who asks, and AuthRevision when what its users may do has changed.
	Authenticated() bool
	AuthRevision(ctx context.Context) (uint64, error)
	LeaseGrant(ctx context.Context, ttl, id int64) (etcdclient.Lease, error)
	KeepAlive(lease, ttl int64, k etcdclient.Keeper) *etcdclient.KeepAlive
}

// Epoch names the store's history; *epoch.Keeper satisfies it.
type Epoch interface {
	Current(ctx context.Context) (string, error)
	Highest() int64
	Observe(floor int64, h wire.Header)
}

var _ Epoch = (*epoch.Keeper)(nil)

// Options say how watches behave. The zero value works: the defaults are named with each field.
type Options struct {
	// PublicURL is the base of problem types.
	PublicURL string
	// MaxRevisionBytes bounds one revision (default 64 MiB): a larger one ends the watches that need it.
	MaxRevisionBytes int
	// LogBytes bounds all logs together (default 128 MiB), FeedBytes one of them (default a quarter of that), and
	// CatchupBytes how far a catch-up is ahead of its slowest reader (default 1 MiB).
	LogBytes, FeedBytes, CatchupBytes int64
	// MaxCatchupRevisions is the largest distance that is caught up with (default 100,000).
	MaxCatchupRevisions int64
	// MaxStreams bounds the connections that watch (default 10,000), MaxWatches the watches and leases of one socket
	// (default 1,000).
	MaxStreams, MaxWatches int
	// Linger is how long a feed stays without a subscriber (default 300 ms), PollLinger how long after a poll (default 30 s).
	Linger, PollLinger time.Duration
	// WriteTimeout is how long a subscriber may take none of what is written to it, and how long the peer of a socket may take
	// to answer a ping (default 30 s); PingEvery is how often it is pinged (default 20 s).
	WriteTimeout, PingEvery time.Duration
	// Gate knows callers who say on a socket who they are, and judges those who watch anew (default: nobody is asked).
	Gate Gate
	// Logger takes the cause of internal errors (default: discarded).
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxRevisionBytes, 64<<20)
	setDefault(&o.LogBytes, 128<<20)
	setDefault(&o.FeedBytes, o.LogBytes/4)
	setDefault(&o.CatchupBytes, 1<<20)
	setDefault(&o.MaxCatchupRevisions, 100_000)
	setDefault(&o.MaxStreams, 10_000)
	setDefault(&o.MaxWatches, 1_000)
	setDefault(&o.Linger, 300*time.Millisecond)
	setDefault(&o.PollLinger, 30*time.Second)
	setDefault(&o.WriteTimeout, 30*time.Second)
	setDefault(&o.PingEvery, 20*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

const (
	// runningCatchups is how many catch-ups have a watch at a time.
	runningCatchups = 4
	// snapshotsAtOnce and admittedAtOnce bound what subscriptions ask of etcd at a time.
	snapshotsAtOnce = 64
	admittedAtOnce  = 256
	// mostRetry is the longest that clients are told to wait before they come back; each is told another part of it.
	mostRetry = 5 * time.Second
)

// Gate lets callers in; *authz.Gate satisfies it.
type Gate interface {
	Admit(ctx context.Context, c authn.Credentials) (*authz.Caller, error)
	// Again judges somebody who is known anew.
	Again(ctx context.Context, p *authn.Principal) (*authz.Caller, error)
}

var _ Gate = (*authz.Gate)(nil)

// Hub is the live watches of one etcd. Make it with New, run it with Run, end it with Drain and Close. It is safe for
// concurrent use.
type Hub struct {
	store   Store
	epoch   Epoch
	options Options

	logs      account // all logs together
	slots     *slots
	snapshots chan struct{}
	admission chan struct{}
	draining  chan struct{} // closed by Drain
	drainOnce sync.Once
	lastID    atomic.Uint64
	// roles knows when the feeds are to be judged by etcd.
	roles etcdclient.AuthLook
	// judgement counts how often callers were to be judged anew; rejudge (capacity 1) tells Run, judging says that it goes on.
	judgement atomic.Int64
	rejudge   chan struct{}
	judging   atomic.Bool
	// judgingFeeds says that etcd is asked about the feeds just now.
	judgingFeeds atomic.Bool
	strangers    strangers
	resumes      atomic.Int64 // of feeds, those that are gone too

	// spawn starts a goroutine that Close waits for, and gives what cancels its context; false once the hub is closed.
	spawn func(func(context.Context)) (cancel func(), started bool)
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu      sync.Mutex // before a feed's lock, never behind it
	closed  bool
	feeds   map[feedKey]*feed
	cursors map[*Cursor]struct{}
	streams map[uint64]subscriber
	ends    map[problem.Code]int64 // how many watches ended with which code; "" is a good end
	sent    map[string]int64       // bytes that connections which are gone have sent, by transport

	metrics *metrics
}

// New makes a hub, which asks nothing of etcd until somebody watches.
func New(store Store, e Epoch, o Options) *Hub {
	h := &Hub{
		store: store, epoch: e, options: o.withDefaults(), slots: newSlots(runningCatchups),
		snapshots: make(chan struct{}, snapshotsAtOnce), admission: make(chan struct{}, admittedAtOnce), draining: make(chan struct{}), rejudge: make(chan struct{}, 1),
		feeds: make(map[feedKey]*feed), cursors: make(map[*Cursor]struct{}), streams: make(map[uint64]subscriber),
		ends: make(map[problem.Code]int64), sent: make(map[string]int64), metrics: newMetrics(),
	}
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // what a hub starts ends with Close, not with a caller
	h.stop = stop
	h.spawn = func(f func(context.Context)) (func(), bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.closed {
			return nil, false
		}
		own, cancel := context.WithCancel(ctx)
		h.work.Go(func() {
			defer cancel()
			f(own)
		})
		return cancel, true
	}
	return h
}

// feedFor gives the feed that serves the cursor as its caller, opening one from the revision on when there is none; fresh tells that.
// Whoever is given it must call left once. There is none once the hub is closed: nobody would end it.
func (h *Hub) feedFor(c *Cursor, from int64) (f *feed, fresh bool) {
	r := c.request
	who := c.who()
	key := feedKey{scope: who.scope, epoch: c.epoch, start: string(r.Start), end: string(r.End), prevKV: r.form.prevKV}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	f = h.feeds[key]
	if f == nil && !key.prevKV {
		fuller := key
		fuller.prevKV = true
		f = h.feeds[fuller]
	}
	if f == nil {
		f, fresh = h.openFeed(who.store, key, from), true
		h.feeds[key] = f
	}
	f.mu.Lock()
	f.joining++
	f.mu.Unlock()
	return f, fresh
}

// forget has a feed found no more.
func (h *Hub) forget(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds[f.key] == f {
		delete(h.feeds, f.key)
	}
}

func (h *Hub) newCursor(who access, r *Request, requestID string, wake func(*Cursor)) *Cursor {
	c := &Cursor{hub: h, access: who, id: h.lastID.Add(1), request: r, requestID: requestID, since: time.Now(), wake: wake}
	if r.Timeout > 0 {
		c.deadline = c.since.Add(r.Timeout)
	}
	c.heard.Store(c.since.UnixNano())
	return c
}

func (h *Hub) register(c *Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cursors[c] = struct{}{}
}

func (h *Hub) unregister(c *Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cursors, c)
}

// drained is what everybody is told while the hub drains.
func (h *Hub) drained() *problem.Error {
	return problem.New(problem.Draining, "the gateway is stopping; another one, or this one restarted, goes on").WithRetryAfter(comeBack())
}

func jitter(d time.Duration) time.Duration { return rand.N(d) } //nolint:gosec // spreading load needs no secrecy
