package compat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// bidi serves a stream in both directions. etcd's own handler opens the stream, reads on in the background and forgets what
// goes wrong there; this one reads the first request before, and ends the stream with what is wrong with a later one.
func (g *Gateway) bidi(k kind) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
		in, out := runtime.MarshalerForRequest(g.mux, r)
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		ctx, err := runtime.AnnotateContext(ctx, g.mux, r, k.method, runtime.WithHTTPPathPattern(k.path))
		if err != nil {
			g.fail(r.Context(), out, w, r, err)
			return
		}
		s := &exchange{kind: k, ctx: ctx, cancel: cancel, requests: newRequests(in, r.Body, k.request)}
		s.watches.alive = make(map[int64]struct{})
		first, err := g.first(w, s)
		if err == nil {
			err = s.open(g, first) //nolint:contextcheck // the exchange has its context
		}
		if err != nil {
			g.fail(ctx, out, w, r, err)
			return
		}
		defer s.hangUp(w, r)
		header, err := s.upstream.Header()
		if err != nil {
			g.fail(ctx, out, w, r, s.failure(err))
			return
		}
		ctx = runtime.NewServerMetadataContext(ctx, runtime.ServerMetadata{HeaderMD: header})
		runtime.ForwardResponseStream(ctx, g.mux, out, w, r, s.receive)
	}
}

// fail says why there is no stream: by status over HTTP, in a message on a socket.
func (g *Gateway) fail(ctx context.Context, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if _, socket := w.(*frames); socket {
		runtime.HTTPStreamError(ctx, g.mux, m, w, r, err)
		return
	}
	runtime.HTTPError(ctx, g.mux, m, w, r, err)
}

// first reads the request that the stream begins with, nil when the body is empty.
func (g *Gateway) first(w http.ResponseWriter, s *exchange) (proto.Message, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(g.options.RequestTimeout)) // a socket has none: it is held to its pings
	m, err := s.requests.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_ = rc.SetReadDeadline(time.Time{})
	return m, s.kind.begins(m)
}

// exchange is a stream under way: requests one way, answers the other.
type exchange struct {
	kind     kind
	ctx      context.Context //nolint:containedctx // an exchange is a call under way
	cancel   context.CancelCauseFunc
	requests *requests
	upstream upstream
	watches  watches
	// over says that the last answer has been given; it belongs to receive.
	over bool
	sent chan struct{} // closed when the goroutine that sends has ended
	// close lets go of the upstream, once nothing is sent any more; nil when the end of the context does that.
	close func()
}

var bothWays = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// upstream is where an exchange leads to: a stream of etcd's, or one that is made of several.
type upstream interface {
	Header() (metadata.MD, error)
	SendMsg(m any) error
	RecvMsg(m any) error
	CloseSend() error
}

// open opens the stream to etcd and begins to send.
func (s *exchange) open(g *Gateway, first proto.Message) error {
	s.sent = make(chan struct{})
	if s.kind.method == watchKind.method {
		return s.openWatches(g, first)
	}
	stream, err := g.client.NewStream(s.ctx, bothWays, s.kind.method)
	if err != nil {
		return err
	}
	s.upstream = stream
	go s.send(first)
	return nil
}

// openWatches opens a stream of watches. The first one is begun before the answer, so that it has a status when etcd is not there.
func (s *exchange) openWatches(g *Gateway, first proto.Message) error {
	w := newWatchStream(s.ctx, g)
	s.upstream, s.close = w, w.close
	s.watches.sent(first)
	if err := w.SendMsg(first); err != nil {
		w.close()
		return err
	}
	go s.send(nil)
	return nil
}

// send passes the requests on, m first unless it is nil, until there are no more, or one is wrong.
func (s *exchange) send(m proto.Message) {
	defer close(s.sent)
	var err error
	if m == nil {
		m, err = s.requests.next()
	}
	for m != nil && err == nil {
		s.watches.sent(m)
		if s.upstream.SendMsg(m) != nil {
			return // receive learns why
		}
		m, err = s.requests.next()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.cancel(err)
		return
	}
	if s.watches.finished() {
		s.cancel(io.EOF)
		return
	}
	_ = s.upstream.CloseSend() // receive learns why
}

// receive gives the next answer, io.EOF after the last one.
func (s *exchange) receive() (proto.Message, error) {
	if s.over {
		return nil, io.EOF
	}
	m := s.kind.answer()
	if err := s.upstream.RecvMsg(m); err != nil {
		return nil, s.failure(err)
	}
	s.over = s.watches.received(m)
	return m, nil
}

// failure is why the stream ended: io.EOF when it was over.
func (s *exchange) failure(err error) error {
	if errors.Is(context.Cause(s.ctx), io.EOF) {
		return io.EOF
	}
	return reason(s.ctx, err)
}

// hangUp ends what is left of the stream, and waits for the goroutine that sends: it may be waiting for the caller's next
// word, which nobody wants any more.
func (s *exchange) hangUp(w http.ResponseWriter, r *http.Request) {
	if s.close != nil {
		defer s.close()
	}
	s.cancel(nil)
	select {
	case <-s.sent:
		return
	default:
	}
	if body, ok := r.Body.(*openBody); !ok {
		_ = r.Body.Close() // that of a socket
	} else if !body.ended.Load() {
		interrupt(w)
	}
	<-s.sent
}
