package compat

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	mvcc "go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// watched is one watch of a stream: by a feed, or by a stream of etcd's that is its own.
type watched struct {
	request *pb.WatchCreateRequest
	id      int64
	// began is where the store was.
	began *pb.ResponseHeader

	// These are guarded by the stream's lock.
	live   bool // its creation has been told
	queued bool // it is about to be read
	gone   bool
	// announced is that its creation has been received, and denied why etcd would not begin it any more.
	announced bool
	denied    *etcdclient.Error
	feed      Feed // nil when it has a stream of its own
	own       *ownStream
	// told is up to which revision everything has been told.
	told int64
	// answered is how often etcd has told of progress on the stream of its own.
	answered int

	// What is caught up with is told in batches, as etcd does, up to the revision sync; 0 when that is done. These belong to
	// who receives.
	sync      int64
	batch     []*mvcc.Event
	revisions int
	bytes     int
}

// starts notes that there is nothing to be told before the start.
func (w *watched) starts() {
	if w.told = w.began.GetRevision(); w.request.GetStartRevision() > 0 {
		w.told = w.request.GetStartRevision() - 1
	}
}

// The bounds of a batch: etcd's own in revisions, and one in bytes.
const (
	mostBatch      = 1000
	mostBatchBytes = 1 << 20
	// takes is how many revisions are taken for a batch at a time.
	takes = 16
)

// step gives the next message of a feed; more is that it is to be asked again at once.
func (w *watched) step() (m *pb.WatchResponse, upTo int64, more bool, err error) {
	most := 1
	if w.sync > 0 {
		most = takes
	}
	changes, upTo, err := w.feed.Take(most)
	if w.sync > 0 {
		m, more = w.catchUp(changes, upTo, err != nil)
		if m != nil {
			err = nil // it comes again
		}
		return m, upTo, more, err
	}
	if err != nil || len(changes) == 0 {
		return nil, upTo, false, err
	}
	if events := appendEvents(nil, w.request, changes[0].Events); len(events) > 0 {
		m = &pb.WatchResponse{Header: headerOf(changes[0].Header), WatchId: w.id, Events: events}
	}
	return m, upTo, true, nil
}

// catchUp gathers a batch, and gives it when it is full, or all there is.
func (w *watched) catchUp(changes []etcdclient.Change, upTo int64, last bool) (m *pb.WatchResponse, more bool) {
	for _, c := range changes {
		w.batch = appendEvents(w.batch, w.request, c.Events)
		w.bytes += c.Size
		w.revisions++
	}
	if upTo >= w.sync {
		w.sync, last = 0, true
	}
	if last || w.revisions >= mostBatch || w.bytes >= mostBatchBytes {
		m = w.whole(upTo)
	}
	return m, len(changes) > 0 || w.sync == 0 || m != nil
}

// whole gives what has been gathered, if there is anything.
func (w *watched) whole(upTo int64) (m *pb.WatchResponse) {
	if len(w.batch) > 0 {
		h := w.began
		m = &pb.WatchResponse{
			Header:  &pb.ResponseHeader{ClusterId: h.ClusterId, MemberId: h.MemberId, RaftTerm: h.RaftTerm, Revision: max(h.Revision, upTo)},
			WatchId: w.id, Events: w.batch,
		}
	}
	w.batch, w.revisions, w.bytes = nil, 0, 0
	return m
}

// ending is what etcd would say of a watch that ends for such a reason; nil when a watch of its own may still go on.
func (w *watched) ending(err error) *pb.WatchResponse {
	m := &pb.WatchResponse{Header: headerOf(wire.Header{}), WatchId: w.id, Canceled: true}
	m.Header.ClusterId, m.Header.MemberId, m.Header.RaftTerm = w.began.ClusterId, w.began.MemberId, w.began.RaftTerm
	e, ok := errors.AsType[*etcdclient.Error](err)
	switch {
	case ok && e.CompactRevision > 0:
		m.CompactRevision = e.CompactRevision
		return m
	case ok && (etcdclient.RefusesIdentity(e) || e == w.denied):
		m.Header.Revision, m.CancelReason = w.began.Revision, denial(e).Error()
		return m
	}
	return nil
}

// letGo lets go of what a watch holds.
func letGo(feed Feed, own *ownStream) {
	if feed != nil {
		feed.Close()
	}
	if own != nil {
		own.cancel()
	}
}

// ownStream is a stream of etcd's with one watch.
type ownStream struct {
	grpc.ClientStream
	cancel context.CancelFunc
}

// mostRenewals is how often a watch is tried again because the gateway's own token had run out.
const mostRenewals = 2

// openOwn begins a watch on a stream of its own, and gives etcd's answer.
func (g *Gateway) openOwn(ctx context.Context, r *pb.WatchCreateRequest, start int64) (*ownStream, *pb.WatchResponse, error) {
	create := &pb.WatchCreateRequest{
		Key: r.GetKey(), RangeEnd: r.GetRangeEnd(), StartRevision: start, ProgressNotify: r.GetProgressNotify(),
		Filters: r.GetFilters(), PrevKv: r.GetPrevKv(), Fragment: r.GetFragment(),
	}
	most := renewals(ctx)
	for n := 0; ; n++ {
		s, m, err := g.tryOwn(ctx, create)
		if err != nil || !m.GetCanceled() || n == most || !renewable(etcdclient.FromReason(m.GetCancelReason())) {
			return s, m, err
		}
		s.cancel() // the client has forgotten the token
	}
}

// renewals is how often a token that etcd refuses can be renewed: not at all when it is the caller's own.
func renewals(ctx context.Context) int {
	caller := authz.From(ctx)
	if caller != nil && !caller.Client().Renews() || caller == nil && etcdclient.BringsToken(ctx) {
		return 0
	}
	return mostRenewals
}

// renewable tells whether a watch is refused for a token that a newer one can replace.
func renewable(e *etcdclient.Error) bool {
	return e.Name == "InvalidAuthToken" || e.Name == "AuthOldRevision"
}

func (g *Gateway) tryOwn(ctx context.Context, create *pb.WatchCreateRequest) (_ *ownStream, _ *pb.WatchResponse, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	stream, err := g.client.NewStream(ctx, bothWays, watchKind.method)
	if err != nil {
		return nil, nil, err
	}
	s := &ownStream{stream, cancel}
	if err := s.create(create); err != nil {
		return nil, nil, err
	}
	m, err := s.receive()
	return s, m, err
}

// create asks for a watch. Why a stream has ended, receive tells.
func (s *ownStream) create(r *pb.WatchCreateRequest) error {
	err := s.SendMsg(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// receive gives the next message.
func (s *ownStream) receive() (*pb.WatchResponse, error) {
	m := new(pb.WatchResponse)
	err := s.RecvMsg(m)
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.Unavailable, "etcd ended the stream")
	}
	return m, err
}
