package compat

import (
	"context"
	"maps"
	"slices"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// watchStream is a stream of watches as etcd's own would be to its caller, made of feeds that others share, and of a stream of
// etcd's own for each watch that no feed can serve. One goroutine sends, and one receives.
type watchStream struct {
	ctx     context.Context //nolint:containedctx // a stream is a call under way
	gateway *Gateway
	// answers are those to requests, and what watches on streams of their own tell. Few may wait: then the sender does.
	answers chan answer
	kick    chan struct{} // something has changed; capacity 1
	work    sync.WaitGroup

	mu      sync.Mutex
	watches map[int64]*watched
	nextID  int64      // that etcd would draw
	ready   []*watched // feeds that may have something
	asks    []ask
	denied  []*watched // that are to be told of
	failed  error

	// leave has the watchman forget the stream; nil while it does not know it.
	leave func()
}

// answer is a message, and the watch on a stream of its own that it comes from, or whose creation it tells.
type answer struct {
	from, begins *watched
	m            *pb.WatchResponse
}

const (
	// mostAnswers is how many may wait, as in etcd.
	mostAnswers = 16
	// mostWatches is how many a stream may have.
	mostWatches = 10_000
	// everyWatch is the id of an answer that is of all watches, or of none.
	everyWatch = -1
	// duplicate is etcd's word for an id that is in use.
	duplicate = "mvcc: duplicate watch ID provided on the WatchStream"
)

func newWatchStream(ctx context.Context, g *Gateway) *watchStream {
	return &watchStream{
		ctx: ctx, gateway: g, answers: make(chan answer, mostAnswers), kick: make(chan struct{}, 1), watches: make(map[int64]*watched),
	}
}

// asker is the context for feeds, which ask etcd as the caller's identity and not by what he showed here.
func (s *watchStream) asker() context.Context {
	if authz.From(s.ctx) == nil {
		return s.ctx
	}
	return withoutCredentials(s.ctx)
}

// Header is what etcd's stream begins with.
func (*watchStream) Header() (metadata.MD, error) {
	return metadata.MD{"content-type": {"application/grpc"}}, nil
}

// CloseSend does nothing: watches outlive their requests.
func (*watchStream) CloseSend() error { return nil }

// close lets go of everything. Nobody may send or receive any more.
func (s *watchStream) close() {
	s.mu.Lock()
	watches, leave := slices.Collect(maps.Values(s.watches)), s.leave
	s.mu.Unlock()
	if leave != nil {
		leave()
	}
	for _, w := range watches {
		s.remove(w)
	}
	s.work.Wait()
}

// SendMsg does what a request asks for. An error ends the stream.
func (s *watchStream) SendMsg(m any) (err error) {
	r, _ := m.(*pb.WatchRequest)
	switch {
	case r.GetCreateRequest() != nil:
		err = s.create(r.GetCreateRequest())
	case r.GetCancelRequest() != nil:
		err = s.cancel(r.GetCancelRequest().GetWatchId())
	case r.GetProgressRequest() != nil:
		err = s.progress()
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// fail ends the stream.
func (s *watchStream) fail(err error) {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = err
	}
	s.mu.Unlock()
	s.nudge()
}

func (s *watchStream) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// tell has a message received.
func (s *watchStream) tell(a answer) error {
	select {
	case s.answers <- a:
		return nil
	case <-s.ctx.Done():
		return s.over()
	}
}

func (s *watchStream) over() error { return status.FromContextError(s.ctx.Err()).Err() }

// create begins a watch.
func (s *watchStream) create(r *pb.WatchCreateRequest) error {
	s.mu.Lock()
	full := len(s.watches) >= mostWatches
	s.mu.Unlock()
	if full {
		return status.Errorf(codes.ResourceExhausted, "a stream may have %d watches", mostWatches)
	}
	w := &watched{request: r}
	refused, err := s.begin(w)
	if err != nil {
		return err
	}
	if refused != nil {
		return s.tell(answer{m: refused})
	}
	if !s.admit(w) {
		letGo(w.feed, w.own)
		return s.tell(answer{m: &pb.WatchResponse{Header: w.began, WatchId: everyWatch, Created: true, Canceled: true, CancelReason: duplicate}})
	}
	if err := s.tell(answer{begins: w, m: &pb.WatchResponse{Header: w.began, WatchId: w.id, Created: true}}); err != nil {
		return err
	}
	s.start(w)
	return nil
}

// begin finds what serves the watch. etcd's refusal is its answer, an error the stream's end.
func (s *watchStream) begin(w *watched) (refused *pb.WatchResponse, err error) {
	r := w.request
	if s.gateway.shareable(s.ctx, r) {
		feed, header, err := s.gateway.options.Feeds.Follow(s.asker(), firstKey(r), r.GetRangeEnd(), r.GetStartRevision(), r.GetPrevKv(), func() { s.wake(w) })
		if err == nil {
			w.feed, w.began = feed, headerOf(header)
			w.starts()
			if start := r.GetStartRevision(); start != 0 && start <= header.Revision {
				w.sync = header.Revision
				feed.Certify(w.sync)
			}
			return nil, nil
		}
		if err := s.outage(err); err != nil {
			return nil, err
		}
	}
	own, m, err := s.gateway.openOwn(s.ctx, r, r.GetStartRevision())
	switch {
	case err != nil:
		return nil, err
	case m.GetCanceled():
		own.cancel()
		return m, nil
	}
	w.own, w.began = own, m.GetHeader()
	w.starts()
	return nil, nil
}

// outage is the error of a stream whose watch cannot begin, or go on, for reasons that are not its own; nil when etcd can be asked
// what it says of the watch.
func (s *watchStream) outage(err error) error {
	if s.ctx.Err() != nil {
		return s.over()
	}
	e := problem.From(err)
	switch e.Code { //nolint:exhaustive // everything else is about the watch
	case problem.Draining:
		return errStopping
	case problem.EpochChanged:
		return status.Error(codes.Unavailable, "the store was replaced")
	case problem.Unavailable, problem.Overloaded, problem.DeadlineExceeded:
		if coded, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
			return coded.GRPCStatus().Err()
		}
		return status.Error(codes.Unavailable, e.Detail)
	}
	return nil
}

// admit gives the watch its id, as etcd does; false when that is in use.
func (s *watchStream) admit(w *watched) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.id = w.request.GetWatchId()
	if w.id == 0 {
		for s.watches[s.nextID] != nil {
			s.nextID++
		}
		w.id = s.nextID
		s.nextID++
	} else if s.watches[w.id] != nil {
		return false
	}
	s.watches[w.id] = w
	return true
}

// start has the watch read, now that its creation is told.
func (s *watchStream) start(w *watched) {
	s.mu.Lock()
	w.live = true
	own := w.own
	s.mu.Unlock()
	if own == nil {
		s.wake(w)
		return
	}
	s.lookAfter()
	s.work.Go(func() { s.relay(w, own) })
}

// relay passes on what a watch on a stream of its own tells.
func (s *watchStream) relay(w *watched, own *ownStream) {
	for {
		m, err := own.receive()
		if err == nil {
			err = s.tell(answer{from: w, m: m})
		} else if !s.isOver(w) {
			s.fail(err)
		}
		if err != nil || m.GetCanceled() {
			own.cancel()
			return
		}
	}
}

// isOver tells whether nothing of the watch is to be received any more.
func (s *watchStream) isOver(w *watched) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.gone || w.denied != nil
}

// cancel ends a watch. etcd says nothing of one that is not there.
func (s *watchStream) cancel(id int64) error {
	s.mu.Lock()
	w := s.watches[id]
	s.mu.Unlock()
	if w == nil {
		return nil
	}
	header := w.began
	if feeds := s.gateway.options.Feeds; feeds != nil {
		if h, err := feeds.Header(s.asker(), firstKey(w.request)); err == nil {
			header = headerOf(h)
		}
	}
	if !s.remove(w) {
		return nil // it has just ended by itself
	}
	return s.tell(answer{m: &pb.WatchResponse{Header: header, WatchId: id, Canceled: true}})
}

// remove lets go of a watch; false when it is gone already. Nothing of it is received any more.
func (s *watchStream) remove(w *watched) bool {
	s.mu.Lock()
	if w.gone {
		s.mu.Unlock()
		return false
	}
	w.gone = true
	feed, own := w.feed, w.own
	delete(s.watches, w.id)
	s.mu.Unlock()
	letGo(feed, own)
	s.nudge() // others may have waited for it
	return true
}
