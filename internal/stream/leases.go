package stream

import (
	"context"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// lease is a lease that lives as long as its socket: it is kept alive while the peer is there, and left to expire when it is
// gone, so that a short interruption does not end what hangs on it.
type lease struct {
	session *session
	name    string
	store   Store
	// cancel ends the asking for it.
	cancel func()

	// Under the session's lock.
	id   int64
	kept *etcdclient.KeepAlive // nil until etcd has granted it
	over bool
}

var _ etcdclient.Keeper = (*lease)(nil)

// describe spells the lease's id. The session's lock is held.
func (l *lease) describe() string { return string(kvjson.AppendID(nil, l.id)) }

// leaseOp grants a lease and keeps it.
func (s *session) leaseOp(o *op) error {
	if o.ttl == 0 {
		return problem.New(problem.InvalidArgument, "a lease needs a ttl, in seconds").AtPointer("/ttl")
	}
	who := s.identity.now()
	if err := who.mayLease(); err != nil {
		return err
	}
	l := &lease{session: s, name: o.id, store: who.store}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.roomLocked(o.id); err != nil {
		return err
	}
	cancel, started := s.hub.spawn(func(ctx context.Context) { l.begin(ctx, o.ttl) })
	if !started {
		return s.hub.drained()
	}
	l.cancel = cancel
	s.leases[o.id] = l
	return nil
}

// mostTTL is the longest lease that etcd grants.
const mostTTL = 9_000_000_000

// begin asks for the lease and has it kept alive.
func (l *lease) begin(ctx context.Context, ttl int64) {
	s := l.session
	ctx, cancel := context.WithTimeout(trail.With(ctx, s.notes), stepTimeout)
	defer cancel()
	granted, err := l.store.LeaseGrant(ctx, ttl, 0)
	if err != nil {
		l.Lost(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[l.name] != l { // cancelled meanwhile, which has been answered: it expires
		return
	}
	l.id, l.kept = granted.ID, l.store.KeepAlive(granted.ID, granted.TTL, l)
	message := appendID(nil, l.name)
	message = append(message, `"type":"lease","lease":`...)
	message = kvjson.AppendID(message, granted.ID)
	message = append(message, `,"ttl":`...)
	message = strconv.AppendInt(message, granted.TTL, 10)
	s.replies = append(s.replies, append(message, '}'))
	s.writeLocked()
}

// Lost implements etcdclient.Keeper: the lease could not be granted, or is gone, and the peer is told.
func (l *lease) Lost(err error) {
	s := l.session
	s.mu.Lock()
	told := l.over
	l.over = true
	if s.leases[l.name] == l {
		delete(s.leases, l.name)
	}
	s.mu.Unlock()
	if !told {
		s.fault(l.name, err)
	}
}

// stop leaves the lease to its time to live.
func (l *lease) stop() {
	l.cancel()
	l.session.mu.Lock()
	l.over = true
	kept := l.kept
	l.session.mu.Unlock()
	if kept != nil {
		kept.Stop()
	}
}
