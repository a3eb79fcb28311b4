package etcdclient

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// watchStream is a few watches that share one gRPC stream after the other: when one breaks they go on together on the
// next. Its goroutine, run, opens the streams, reads them and calls the Watchers; a second one writes while one is open.
type watchStream struct {
	hub    *watches
	shared bool // other watches may join
	fits   func(*conn) bool
	kick   chan struct{} // there is something to send, or the last watch has left; capacity 1, never closed

	// These are guarded by hub.mu.
	watches map[*Watch]struct{}
	retired bool               // no watch joins any more, and run ends
	cancel  context.CancelFunc // ends run; nil before it has begun
	inner   *stream            // nil while none is open
	release release            // what the member of the open stream runs
	byID    map[int64]*Watch   // those that etcd was asked for
	sent    []int64            // the ids that etcd has not answered, in the order in which it will
	cancels []int64            // the ids to cancel
	lastID  int64
	asked   time.Time // when progress was asked for, while there is no answer
	lastAsk time.Time
	empty   time.Time // since when there is no watch

	// These are run's.
	failures int       // in a row
	since    time.Time // when the present stream was opened
	avoid    culprit   // where the last one ended
}

const (
	reopenBase = 50 * time.Millisecond
	reopenMax  = 3 * time.Second
	// stable is how long a stream must have worked for its end to count as the first failure.
	stable = 5 * time.Second
)

// reopenAfter is the pause after so many failures in a row, with full jitter.
func reopenAfter(failures int, most time.Duration) time.Duration {
	return rand.N(min(reopenBase<<min(failures, 8), most)) //nolint:gosec // jitter needs no secrecy
}

var watchDesc = &grpc.StreamDesc{StreamName: "Watch", ServerStreams: true, ClientStreams: true}

func newWatchStream(h *watches, shared bool, fits func(*conn) bool) *watchStream {
	return &watchStream{
		hub: h, shared: shared, fits: fits, kick: make(chan struct{}, 1),
		watches: make(map[*Watch]struct{}), byID: make(map[int64]*Watch),
	}
}

func (s *watchStream) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// roomierLocked says that a watch is better off here than there.
func (s *watchStream) roomierLocked(there *watchStream) bool {
	if (s.inner != nil) != (there.inner != nil) {
		return s.inner != nil
	}
	return len(s.watches) < len(there.watches)
}

func (s *watchStream) joinLocked(w *Watch) {
	w.stream = s
	s.watches[w] = struct{}{}
	s.wake()
}

// leaveLocked takes a watch off the stream, and off etcd. A stream of one watch goes with it, which etcd notices even
// when it is stuck sending.
func (s *watchStream) leaveLocked(w *Watch) {
	delete(s.watches, w)
	if w.id != 0 {
		delete(s.byID, w.id)
		s.cancels = append(s.cancels, w.id)
	}
	w.stream, w.id, w.open, w.asked = nil, 0, false, false
	if !s.shared && len(s.watches) == 0 {
		s.retireLocked()
	}
	s.wake()
}

func (s *watchStream) retireLocked() {
	s.retired = true
	delete(s.hub.streams, s)
	if s.cancel != nil {
		s.cancel()
	}
}

// run keeps the watches going until the last has left or ctx, the pool's, has ended.
func (s *watchStream) run(ctx context.Context) {
	own, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader))
	defer cancel()
	s.hub.mu.Lock()
	s.cancel = cancel
	s.hub.mu.Unlock()
	for s.pause(own) {
		err := s.serve(own)
		if own.Err() == nil {
			s.lost(err)
		}
	}
	for _, w := range s.retire() { // the pool is closing
		s.hub.end(w, errClosed(methodWatch))
	}
}

// pause waits, with full jitter, before the next attempt; false when there is to be none.
func (s *watchStream) pause(ctx context.Context) bool {
	if s.failures > 0 {
		timer := time.NewTimer(reopenAfter(s.failures, reopenMax))
		defer timer.Stop()
		for waiting := true; waiting && s.wanted(); {
			select {
			case <-timer.C:
				waiting = false
			case <-s.kick: // maybe the last watch has left
			case <-ctx.Done():
				return false
			}
		}
	}
	return ctx.Err() == nil && s.wanted()
}

// wanted says that there are watches; without any the stream is retired in the same moment, so that none can join it.
func (s *watchStream) wanted() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if len(s.watches) == 0 {
		s.retireLocked()
	}
	return len(s.watches) > 0
}

// retire takes the stream out, and gives the watches that are left.
func (s *watchStream) retire() []*Watch {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.retireLocked()
	return s.listLocked()
}

func (s *watchStream) listLocked() []*Watch {
	list := make([]*Watch, 0, len(s.watches))
	for w := range s.watches {
		list = append(list, w)
	}
	return list
}

// serve opens a stream and reads it until it ends, with the reason.
func (s *watchStream) serve(ctx context.Context) *Error {
	inner, err := s.hub.client.open(ctx, watchDesc, methodWatch, s.avoid, s.fits, nil)
	if err != nil {
		return err
	}
	s.since = time.Now()
	s.avoid = culpritAt(inner.conn)
	var writing sync.WaitGroup
	if s.opened(inner) {
		writing.Go(func() { s.write(inner) })
		err = s.read(ctx, inner)
	}
	inner.stop()
	writing.Wait()
	s.closed()
	if s.proven() {
		s.failures = 0
	}
	return err
}

// proven says that the present stream has worked for a while.
func (s *watchStream) proven() bool { return time.Since(s.since) > stable }

// opened makes the stream the present one; false when nobody wants it any more.
func (s *watchStream) opened(inner *stream) bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.retired {
		return false
	}
	s.inner, s.release = inner, inner.conn.member.Load().release()
	return true
}

// closed forgets what the stream that ended knew.
func (s *watchStream) closed() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.inner, s.sent, s.cancels, s.asked = nil, nil, nil, time.Time{}
	clear(s.byID)
	for w := range s.watches {
		w.id, w.open = 0, false
		w.asks, w.asked = w.asks || w.asked, false
	}
}

// lost tells the watches that the stream ended, or that none could be opened; they go on when the reason lets them.
func (s *watchStream) lost(err *Error) {
	s.failures++
	s.hub.mu.Lock()
	watches := s.listLocked()
	s.hub.mu.Unlock()
	final := s.hub.client.refusal(err)
	for _, w := range watches {
		switch {
		case final:
			s.hub.end(w, err)
		case s.hub.live(w):
			w.revisions.drop()
			w.watcher.Lost(err)
		}
	}
	if !final && len(watches) > 0 {
		s.hub.client.metrics.resumed(err)
	}
}

// read hands out what comes until the stream ends.
func (s *watchStream) read(ctx context.Context, inner *stream) *Error {
	var f frame
	defer f.free()
	for {
		if err := inner.RecvMsg(&f); err != nil {
			return streamEnd(methodWatch, err)
		}
		if err := s.take(ctx, inner, &f); err != nil {
			return err
		}
		f.free()
	}
}

// streamEnd is why a stream ended.
func streamEnd(m *method, err error) *Error {
	if errors.Is(err, io.EOF) {
		err = fromStatus(m, errEndedEarly, true, false, 0)
	}
	e, _ := errors.AsType[*Error](err) // a stream's errors are
	return e
}
