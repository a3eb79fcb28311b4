package etcdclient

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// leaseStream renews a share of the leases on one gRPC stream after the other. While there are leases its goroutine, run,
// opens the streams, reads them and calls the Keepers; a second one writes while one is open.
type leaseStream struct {
	client *Client
	kick   chan struct{} // there may be something to send, or nothing any more; capacity 1, never closed

	mu      sync.Mutex
	byID    map[int64]*keptLease
	due     dueLeases
	order   []int64 // the leases being renewed, in the order in which etcd answers
	running bool
	heard   time.Time // when the last answer came on the open stream
	empty   time.Time // since when there is no lease

	// These are run's.
	failures int     // in a row
	avoid    culprit // where the last one ended
}

const (
	// mostRenewing bounds the renewals without an answer, so that sending them never blocks.
	mostRenewing = 500
	// renewMax is the longest pause between attempts to open a stream: shorter than for watches, since time runs.
	renewMax = time.Second
	// patience is the most that an answer may take, however long the lease's time.
	patience = 10 * time.Second
)

var renewDesc = &grpc.StreamDesc{StreamName: "LeaseKeepAlive", ServerStreams: true, ClientStreams: true}

func newLeaseStream(c *Client) *leaseStream {
	return &leaseStream{client: c, kick: make(chan struct{}, 1), byID: make(map[int64]*keptLease)}
}

func (s *leaseStream) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// begin adds one that keeps a lease alive; false when the client is closed.
func (s *leaseStream) begin(a *KeepAlive, id, ttl int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.startLocked() {
		return false
	}
	l := s.leaseLocked(id, seconds(ttl))
	l.keepers[a] = struct{}{}
	a.lease = l
	s.wake()
	return true
}

// startLocked has run going; false when the client is closed.
func (s *leaseStream) startLocked() bool {
	s.running = s.running || s.client.pool.run(s.run)
	return s.running
}

// leaseLocked gives the lease of that id; one that is new is due.
func (s *leaseStream) leaseLocked(id int64, ttl time.Duration) *keptLease {
	l := s.byID[id]
	if l == nil {
		l = &keptLease{id: id, ttl: ttl, keepers: make(map[*KeepAlive]struct{}), due: time.Now()}
		s.byID[id] = l
		heap.Push(&s.due, l)
	}
	return l
}

// leaveLocked takes one off; the last takes the lease along.
func (s *leaseStream) leaveLocked(a *KeepAlive) {
	l := a.lease
	if l == nil {
		return
	}
	a.lease = nil
	delete(l.keepers, a)
	s.dropUnwantedLocked(l)
}

func (s *leaseStream) dropUnwantedLocked(l *keptLease) {
	if len(l.keepers)+len(l.once) == 0 {
		s.dropLocked(l)
	}
}

func (s *leaseStream) dropLocked(l *keptLease) {
	delete(s.byID, l.id)
	heap.Remove(&s.due, l.at)
	s.wake()
}

// lost tells all that keep a lease alive that it is not any more.
func (s *leaseStream) lost(id int64, err *Error) {
	s.mu.Lock()
	l := s.byID[id]
	if l == nil {
		s.mu.Unlock()
		return
	}
	keepers := make([]*KeepAlive, 0, len(l.keepers))
	for a := range l.keepers {
		a.lease = nil
		keepers = append(keepers, a)
	}
	for _, o := range l.once {
		o.end(0, err)
	}
	s.dropLocked(l)
	s.mu.Unlock()
	for _, a := range keepers {
		a.keeper.Lost(err)
	}
}

// run renews until the last lease has left or ctx, the pool's, has ended.
func (s *leaseStream) run(ctx context.Context) {
	own := metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	for s.pause(own) {
		err := s.serve(own)
		if ctx.Err() == nil && err != nil {
			s.failed(err)
		}
	}
	if ctx.Err() != nil {
		for _, id := range s.finish() {
			s.lost(id, errClosed(methodRenew))
		}
	}
}

// finish ends run when there is no other, and gives the leases that are left.
func (s *leaseStream) finish() (ids []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false // nothing more begins: the pool starts no goroutine
	for id := range s.byID {
		ids = append(ids, id)
	}
	return ids
}

// pause waits before the next attempt; false when there is to be none.
func (s *leaseStream) pause(ctx context.Context) bool {
	if s.failures > 0 {
		timer := time.NewTimer(reopenAfter(s.failures, renewMax))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil && s.wanted()
}

// wanted says that there are leases; without any run has ended.
func (s *leaseStream) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = len(s.byID) > 0
	return s.running
}

// serve opens a stream and reads it until it ends, with the reason, which is nil when nobody wants it any more.
func (s *leaseStream) serve(ctx context.Context) *Error {
	inner, err := s.client.open(ctx, renewDesc, methodRenew, s.avoid, s.client.fits, nil)
	if err != nil {
		return err
	}
	opened := time.Now()
	s.avoid = culpritAt(inner.conn)
	var writing sync.WaitGroup
	idle := false
	writing.Go(func() { idle = s.write(inner) })
	err = s.read(inner)
	inner.stop()
	writing.Wait()
	if idle || time.Since(opened) > stable {
		s.failures = 0
	}
	if idle {
		return nil
	}
	return err
}

// read takes the answers until the stream ends.
func (s *leaseStream) read(inner *stream) *Error {
	for {
		var r pb.LeaseKeepAliveResponse
		if err := inner.RecvMsg(&r); err != nil {
			return streamEnd(methodRenew, err)
		}
		if r.GetTTL() <= 0 {
			s.answered(r.GetID(), 0)
			s.lost(r.GetID(), errLeaseNotFound(methodRenew))
		} else {
			s.answered(r.GetID(), seconds(r.GetTTL()))
		}
	}
}

// answered notes that a lease was renewed, for ttl from when it was asked for.
func (s *leaseStream) answered(id int64, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	if at := slices.Index(s.order, id); at >= 0 {
		s.order = slices.Delete(s.order, at, at+1)
	}
	if l := s.byID[id]; l != nil && ttl > 0 {
		from := l.sent
		if from.IsZero() {
			from = s.heard
		}
		third := ttl / 3
		l.ttl, l.sent = ttl, time.Time{}
		l.due = from.Add(third - rand.N(third/4)) //nolint:gosec // jitter needs no secrecy
		heap.Fix(&s.due, l.at)
		s.renewedLocked(l, ttl)
	}
	s.wake() // another may be renewed
}

// failed handles the end of a stream: what was being renewed is due again. What etcd refuses to renew is lost: it answers
// in the order in which it was asked, so that it is the first without an answer.
func (s *leaseStream) failed(err *Error) {
	s.failures++
	s.mu.Lock()
	order := s.order
	s.order, s.heard = nil, time.Time{}
	refused := []int64{}
	switch {
	case !s.client.refusal(err):
	case len(order) > 0:
		refused = order[:1]
	default: // not even a stream is to be had
		for id := range s.byID {
			refused = append(refused, id)
		}
	}
	for _, id := range order {
		if l := s.byID[id]; l != nil {
			l.sent, l.due = time.Time{}, time.Now()
			heap.Fix(&s.due, l.at)
		}
	}
	s.failedOnceLocked(err, len(refused) == 0)
	s.mu.Unlock()
	for _, id := range refused {
		s.lost(id, err)
	}
}

// errSilentStream ends a stream that has not answered in time.
var errSilentStream = errors.New("the member does not answer renewals")

// write renews what is due until the stream ends; idle says that it ended it because there are no leases.
func (s *leaseStream) write(inner *stream) (idle bool) {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		ids, wait, end := s.outgoing(time.Now())
		if end != nil {
			inner.attempt.cancel(end)
			return end != errSilentStream //nolint:errorlint // it is one of two values
		}
		for _, id := range ids {
			if inner.SendMsg(&pb.LeaseKeepAliveRequest{ID: id}) != nil {
				return false // the reader sees why
			}
		}
		timer.Reset(wait)
		select {
		case <-s.kick:
		case <-timer.C:
		case <-inner.ended:
			return false
		}
	}
}

// outgoing gives what is to be renewed now, and when to look again at the latest; or why the stream is to end.
func (s *leaseStream) outgoing(now time.Time) (ids []int64, wait time.Duration, end error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return nil, linger, s.lingerLocked(now)
	}
	s.empty = time.Time{}
	for {
		l := s.due[0]
		if l.sent.IsZero() && len(s.order) >= mostRenewing { // an answer makes room
			if l = s.byID[s.order[0]]; l == nil { // it was stopped
				return ids, progressPause, nil
			}
		}
		if wait := l.due.Sub(now); wait > 0 {
			return ids, wait, nil
		}
		switch {
		case !l.sent.IsZero() && !s.heard.After(l.sent):
			return nil, 0, errSilentStream
		case !l.sent.IsZero(): // others were answered: it is one of many
		default:
			s.order = append(s.order, l.id)
			ids = append(ids, l.id)
			for _, o := range l.once {
				o.sent = true
			}
		}
		l.sent, l.due = now, now.Add(min(l.third(), patience))
		heap.Fix(&s.due, l.at)
	}
}

// lingerLocked ends a stream that has not been wanted for a while.
func (s *leaseStream) lingerLocked(now time.Time) error {
	if s.empty.IsZero() {
		s.empty = now
	}
	if now.Sub(s.empty) < linger {
		return nil
	}
	return context.Canceled
}
