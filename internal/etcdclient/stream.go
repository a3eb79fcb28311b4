package etcdclient

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// NewStream opens a stream, for the generated clients. A stream is opened elsewhere when it provably did not leave, and
// from then on is never repeated: its end is the caller's to handle. When the member falls silent the stream ends with an
// error that says so. A refused token is forgotten, so that the next stream brings a new one. A token in ctx is the caller's
// own, as with Invoke.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, full string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	m := lookup(full, nil)
	auditor := c.pool.config.Auditor
	if m != methodRenew || auditor == nil || !m.told(ctx) {
		auditor = nil
	} else if err := auditor.Ready(); err != nil {
		return nil, errNotRecorded(m, err)
	}
	s, err := c.open(ctx, desc, m, culprit{}, c.fits, opts)
	if err != nil {
		return nil, err
	}
	if auditor != nil {
		return &auditedStream{ClientStream: s, ctx: ctx, auditor: auditor}, nil
	}
	return s, nil
}

// open opens a stream on a connection that fits.
func (c *Client) open(
	ctx context.Context, desc *grpc.StreamDesc, m *method, avoid culprit, fits func(*conn) bool, opts []grpc.CallOption,
) (*stream, *Error) {
	who := c.identityOf(ctx)
	for n := 1; ; n++ {
		t, err := who.token(ctx, m)
		if err != nil {
			return nil, err
		}
		conn, err := c.pool.pick(ctx, m, avoid, fits)
		if err != nil {
			return nil, err
		}
		s, err := c.openOn(ctx, conn, desc, m, t, opts)
		if err == nil {
			return s, nil
		}
		c.pool.heed(conn, err)
		if err.Name != NameNotConnected || n >= c.pool.config.MaxAttempts || !c.backOff(ctx, n) {
			c.metrics.finished(m, n, 0, err.Code)
			return nil, err
		}
		c.metrics.retried(m, retryNotSent)
		avoid = culpritAt(conn)
	}
}

func (c *Client) openOn(ctx context.Context, conn *conn, desc *grpc.StreamDesc, m *method, t *token, opts []grpc.CallOption) (*stream, *Error) {
	s := &stream{client: c, method: m, conn: conn, token: t, caller: ctx, notes: trail.From(ctx), ended: make(chan struct{})}
	sctx, traced := c.traced(t.outgoing(context.WithValue(ctx, attemptKey{}, &s.attempt)), m, conn, 1)
	s.traced = traced
	sctx, cancel := context.WithCancelCause(sctx)
	s.attempt.cancel, s.own = cancel, sctx
	conn.begin(&s.attempt)
	// gRPC calls OnFinish exactly once when the stream was opened, however it ends.
	opts = append(slices.Clip(opts), grpc.OnFinish(s.release))
	inner, err := conn.cc.NewStream(sctx, desc, m.full, opts...)
	if err != nil {
		e := c.failed(ctx, sctx, m, &s.attempt, err, 0)
		s.release(err)
		return nil, e
	}
	s.ClientStream = inner
	s.opened.Store(true)
	return s, nil
}

// stream is a gRPC stream with the client's errors, counted as load until it ends.
type stream struct {
	grpc.ClientStream
	client  *Client
	method  *method
	conn    *conn
	token   *token
	attempt attempt
	caller  context.Context //nolint:containedctx // a stream is a call under way, and these are the contexts that can end it
	own     context.Context //nolint:containedctx // as above
	notes   *trail.Request
	traced  func(error) // nil when nobody follows

	once   sync.Once
	opened atomic.Bool
	ended  chan struct{} // closed by release
}

// release ends the accounting of the stream, and whatever of it is left.
func (s *stream) release(err error) {
	s.once.Do(func() {
		if s.opened.Load() {
			s.client.metrics.finished(s.method, 1, 0, status.Code(err))
		}
		s.tell(err)
		s.conn.end(&s.attempt)
		s.attempt.cancel(nil)
		close(s.ended)
	})
}

// tell tells who follows the stream how it ended.
func (s *stream) tell(err error) {
	switch {
	case s.traced == nil:
	case err == nil || s.own.Err() != nil: // who has enough of a stream cancels it
		s.traced(nil)
	default:
		s.traced(fromStatus(s.method, err, true, true, 0))
	}
}

// stop cancels the stream and waits until gRPC has let go of it.
func (s *stream) stop() {
	s.attempt.cancel(context.Canceled)
	<-s.ended
}

func (s *stream) SendMsg(m any) error {
	if message, ok := m.(proto.Message); ok {
		if size, most := proto.Size(message), s.client.pool.config.MaxSendBytes; size > most {
			return errTooLargeToSend(s.method, size, most)
		}
	}
	err := s.ClientStream.SendMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err // the stream's end is RecvMsg's to tell
	}
	return s.fail(err)
}

func (s *stream) CloseSend() error {
	if err := s.ClientStream.CloseSend(); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *stream) RecvMsg(m any) error {
	var began time.Time
	if s.notes != nil {
		began = time.Now()
	}
	err := s.ClientStream.RecvMsg(m)
	if s.notes != nil && s.method.class != classWatch {
		s.notes.AddUpstream(time.Since(began))
	}
	if err == nil {
		s.conn.observe(m)
		s.watchToken(m)
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return s.fail(err)
}

func (s *stream) fail(err error) error {
	e := s.client.failed(s.caller, s.own, s.method, &s.attempt, err, 0)
	s.client.pool.heed(s.conn, e)
	if e.follow == followRenew {
		s.client.identity.refused(s.token)
		return s.client.identityOf(s.caller).final(e)
	}
	return e
}

// watchToken forgets a token that a watch was refused for: etcd says so in a message, and the stream lives on.
func (s *stream) watchToken(m any) {
	if w, ok := m.(*pb.WatchResponse); ok && w.GetCanceled() && FromReason(w.GetCancelReason()).follow == followRenew {
		s.client.identity.refused(s.token)
	}
}
