package stream

import (
	"context"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// lease is a lease that lives as long as its socket: it is renewed while the peer is there, and left to expire when it is
// gone, so that a short interruption does not end what hangs on it.
type lease struct {
	id     int64
	cancel func()
}

func (l *lease) describe() string { return string(kvjson.AppendID(nil, l.id)) }

// leaseOp grants a lease and keeps it.
func (s *session) leaseOp(o *op) error {
	if o.ttl == 0 {
		return problem.New(problem.InvalidArgument, "a lease needs a ttl, in seconds").AtPointer("/ttl")
	}
	l := &lease{}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.watches[o.id] != nil, s.leases[o.id] != nil:
		return problem.New(problem.DuplicateID, "the id %q is in use on this socket", o.id).AtPointer("/id")
	case len(s.watches)+len(s.leases) >= s.hub.options.MaxWatches:
		return problem.New(problem.RateLimited, "a socket may have %d watches and leases", s.hub.options.MaxWatches).With("limit", s.hub.options.MaxWatches)
	}
	cancel, started := s.hub.spawn(func(ctx context.Context) { s.keep(ctx, o.id, l, o.ttl) })
	if !started {
		return s.hub.drained()
	}
	l.cancel = cancel
	s.leases[o.id] = l
	return nil
}

// mostTTL is the longest lease that etcd grants.
const mostTTL = 9_000_000_000

// keep is the life of a lease.
func (s *session) keep(ctx context.Context, id string, l *lease, ttl int64) {
	granted, err := s.hub.grant(ctx, ttl)
	if err != nil {
		s.lose(id, l, err)
		return
	}
	message := appendID(nil, id)
	message = append(message, `"type":"lease","lease":`...)
	message = kvjson.AppendID(message, granted.ID)
	message = append(message, `,"ttl":`...)
	message = strconv.AppendInt(message, granted.TTL, 10)
	if s.granted(id, l, granted.ID, append(message, '}')) {
		s.lose(id, l, s.hub.renew(ctx, granted))
	}
}

// granted tells that the lease is there; false when it was cancelled meanwhile, which has been answered.
func (s *session) granted(id string, l *lease, number int64, message []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[id] != l {
		return false
	}
	l.id = number
	s.replies = append(s.replies, message)
	s.writeLocked()
	return true
}

// lose tells that a lease could not be granted, or is gone. A lease that was cancelled is not spoken of.
func (s *session) lose(id string, l *lease, err error) {
	s.mu.Lock()
	mine := s.leases[id] == l
	if mine {
		delete(s.leases, id)
	}
	s.mu.Unlock()
	if mine && err != nil {
		s.fault(id, err)
	}
}

// grant asks for a lease.
func (h *Hub) grant(ctx context.Context, ttl int64) (etcdclient.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return h.store.LeaseGrant(ctx, ttl, 0)
}

// renew keeps the lease until ctx ends, or gives the reason why it cannot be kept: it is gone, or its time ran out before
// etcd could be reached again.
func (h *Hub) renew(ctx context.Context, l etcdclient.Lease) error {
	ttl := time.Duration(l.TTL) * time.Second
	expires := time.Now().Add(ttl)
	for {
		select {
		case <-time.After(ttl/3 - jitter(ttl/12)):
		case <-ctx.Done():
			return nil
		}
		step, cancel := context.WithDeadline(ctx, expires)
		left, err := h.store.LeaseKeepAliveOnce(step, l.ID)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the session has let go of the lease
		case err == nil:
			expires = time.Now().Add(time.Duration(left) * time.Second)
		case problem.From(err).Code == problem.LeaseNotFound, time.Now().After(expires):
			return err
		}
	}
}
