package etcdclient

import (
	"container/heap"
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// LeaseKeepAliveOnce renews the lease and gives the seconds it has from now. An unknown lease is ErrLeaseNotFound. It travels
// on the streams that keep leases alive, however many are renewed at a time: a stream for each would cost more than the
// renewal. Renewing twice is renewing once, so it is repeated like a read.
func (c *Client) LeaseKeepAliveOnce(ctx context.Context, id int64) (int64, error) {
	began := time.Now()
	a, err := audited(ctx, c, methodRenew, &pb.LeaseKeepAliveRequest{ID: id}, func() (*pb.LeaseKeepAliveResponse, error) {
		ttl, err := c.renew(ctx, id)
		return &pb.LeaseKeepAliveResponse{ID: id, TTL: ttl}, err
	})
	trail.From(ctx).AddUpstream(time.Since(began))
	return a.GetTTL(), err
}

func (c *Client) renew(ctx context.Context, id int64) (int64, error) {
	s := c.keepAlives.streams[id&(leaseStreams-1)]
	o := &renewal{done: make(chan struct{})}
	if !s.beginOnce(o, id) {
		return 0, errClosed(methodRenew)
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		if sent, over := s.leaveOnce(o); !over {
			return 0, ended(methodRenew, ctx.Err(), sent, "the lease was not renewed in time", c.pool.lastError())
		}
	}
	if o.err != nil {
		return 0, o.err
	}
	return o.ttl, nil
}

// renewal is one that is asked for once. It is guarded by its stream's mu until done is closed, which ends it.
type renewal struct {
	lease    *keptLease
	sent     bool // since it was asked for, so that the answer is its
	failures int  // of streams that it was to travel on

	ttl  int64
	err  *Error
	done chan struct{}
}

// onceThird is how long the answer to a renewal may take where the lease's time is not known.
const onceThird = 2 * time.Second

// beginOnce asks for a renewal; false when the client is closed.
func (s *leaseStream) beginOnce(o *renewal, id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.startLocked() {
		return false
	}
	l := s.leaseLocked(id, 3*onceThird)
	l.once = append(l.once, o)
	o.lease = l
	if l.sent.IsZero() { // else it is renewed again when that answer has come
		l.due = time.Now()
		heap.Fix(&s.due, l.at)
	}
	s.wake()
	return true
}

// leaveOnce gives a renewal up, unless it is over; sent says that it may have happened.
func (s *leaseStream) leaveOnce(o *renewal) (sent, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.lease == nil {
		return true, true
	}
	o.lease.once = slices.DeleteFunc(o.lease.once, func(other *renewal) bool { return other == o })
	s.dropUnwantedLocked(o.lease)
	return o.sent, false
}

func (o *renewal) end(ttl int64, err *Error) {
	o.lease, o.ttl, o.err = nil, ttl, err
	close(o.done)
}

// renewedLocked ends the renewals that this was the answer to, and has those renewed that were asked for later.
func (s *leaseStream) renewedLocked(l *keptLease, ttl time.Duration) {
	left := l.once[:0]
	for _, o := range l.once {
		if o.sent {
			o.end(int64(ttl/time.Second), nil)
		} else {
			left = append(left, o)
		}
	}
	clear(l.once[len(left):])
	if l.once = left; len(left) > 0 {
		l.due = s.heard
		heap.Fix(&s.due, l.at)
	}
	s.dropUnwantedLocked(l)
}

// failedOnceLocked has what was asked for once sent again after the end of a stream, unless it has been tried often enough; a
// stream that ended because of another lease does not count.
func (s *leaseStream) failedOnceLocked(err *Error, counts bool) {
	for _, l := range s.byID {
		l.once = slices.DeleteFunc(l.once, func(o *renewal) bool {
			o.sent = false
			if counts {
				o.failures++
			}
			if o.failures < s.client.pool.config.MaxAttempts {
				return false
			}
			o.end(0, err)
			return true
		})
		s.dropUnwantedLocked(l)
	}
}
