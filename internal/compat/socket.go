package compat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// serveSocket serves a stream over a WebSocket, as grpc-websocket-proxy does in front of etcd's gateway: a message is a
// request, and each answer is a message. The token comes in a header, or as the second subprotocol behind Bearer.
func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	if !g.letIn() {
		g.refuse(w, r, errStopping)
		return
	}
	defer g.sockets.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{bearer}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	}) // the origin has been judged at the door
	if err != nil {
		return // it has been answered
	}
	conn.SetReadLimit(maxMessage)
	s := &socket{conn: conn, timeout: g.options.WriteTimeout}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer context.AfterFunc(g.stopping, func() { cancel(errStopping) })()           //nolint:contextcheck // the gateway's life, not the socket's
	defer context.AfterFunc(r.Context(), func() { endWith(r.Context(), cancel) })() //nolint:contextcheck // the request's life is what it is about
	defer context.AfterFunc(g.closed, func() { _ = conn.CloseNow() })()             //nolint:contextcheck // as above
	body, feed := io.Pipe()
	defer context.AfterFunc(ctx, func() { _ = feed.CloseWithError(errGone) })() // one who has said nothing yet is not waited for
	var parts sync.WaitGroup
	parts.Go(func() { s.read(feed, cancel) }) //nolint:contextcheck // a read that is cancelled drops the socket without a word
	parts.Go(func() { s.ping(ctx, g.options.PingInterval) })
	out := &frames{ctx: ctx, socket: s, header: make(http.Header)}
	g.mux.ServeHTTP(out, streamRequest(context.WithValue(ctx, framesKey{}, out), r, body))
	_ = out.FlushError() //nolint:contextcheck // what is said last is said after the end
	_ = body.Close()     // the reader goes on, for the peer's own goodbye
	s.end(out.failed)
	cancel(nil)
	parts.Wait()
}

// endWith ends the socket when its caller may not stay; that the request is over says nothing.
func endWith(ctx context.Context, end context.CancelCauseFunc) {
	if cause, ok := context.Cause(ctx).(interface{ GRPCStatus() *status.Status }); ok {
		end(cause.GRPCStatus().Err())
	}
}

const bearer = "Bearer"

// streamRequest is the request that the socket stands for.
func streamRequest(ctx context.Context, r *http.Request, body io.ReadCloser) *http.Request {
	again := r.Clone(ctx)
	again.Method, again.Body, again.ContentLength = http.MethodPost, body, -1
	if authorization := authn.Offered(r.Header); authorization != "" {
		again.Header.Set("Authorization", authorization)
	}
	return again
}

// socket is a WebSocket. One goroutine reads, and one writes.
type socket struct {
	conn    *websocket.Conn
	timeout time.Duration
}

// read feeds the messages to the stream as its body, until the peer leaves.
func (s *socket) read(feed *io.PipeWriter, cancel context.CancelCauseFunc) {
	for {
		_, message, err := s.conn.Read(context.Background()) //nolint:forbidigo // an upgraded request's context does not end with its peer
		if err != nil {
			cancel(nil)
			_ = feed.CloseWithError(errGone)
			return
		}
		_, err = feed.Write(append(message, '\n'))
		if err != nil { // the stream takes no more; what the peer still sends is read for the sake of the closing handshake
			_ = feed.CloseWithError(err)
		}
	}
}

var errGone = errors.New("the socket is closed")

// ping finds out whether the peer is there, and cuts the connection when it is not.
func (s *socket) ping(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		timed, cancel := context.WithTimeout(ctx, s.timeout)
		err := s.conn.Ping(timed)
		cancel()
		if err != nil && ctx.Err() == nil {
			_ = s.conn.CloseNow() // the reader ends with it, and the stream with the reader
			return
		}
	}
}

// farewell is how long the peer has to answer a close frame.
const farewell = time.Second

// end closes the socket with the code that fits why the stream ended.
func (s *socket) end(failed error) {
	code, reason := websocket.StatusNormalClosure, ""
	switch {
	case failed == nil:
	case errors.Is(failed, errStopping):
		code, reason = websocket.StatusGoingAway, "the gateway is stopping"
	case status.Code(failed) == codes.InvalidArgument:
		code, reason = websocket.StatusInvalidFramePayloadData, "the request cannot be used"
	case status.Code(failed) == codes.Unauthenticated, status.Code(failed) == codes.PermissionDenied:
		code, reason = websocket.StatusPolicyViolation, "the caller may not go on"
	default:
		code, reason = websocket.StatusInternalError, "the stream failed"
	}
	cut := time.AfterFunc(farewell, func() { _ = s.conn.CloseNow() })
	defer cut.Stop()
	_ = s.conn.Close(code, reason) // nobody is left to tell
	_ = s.conn.CloseNow()
}

// keptBytes is the largest buffer that a socket keeps between its messages.
const keptBytes = 64 << 10

// framesKey is where a request's context has its frames.
type framesKey struct{}

// frames writes the documents of an answer as messages.
type frames struct {
	ctx    context.Context //nolint:containedctx // ends with the socket
	socket *socket
	header http.Header
	next   bytes.Buffer
	// failed is what the stream ended with, nil when it was over.
	failed error
}

// Header, WriteHeader and Write are those of an http.ResponseWriter.
func (f *frames) Header() http.Header { return f.header }

// WriteHeader does nothing: a message has no status.
func (f *frames) WriteHeader(int) {}

// Write gathers what is written until it is flushed.
func (f *frames) Write(b []byte) (int, error) { return f.next.Write(b) }

// FlushError sends what was written as one message.
func (f *frames) FlushError() error {
	message := bytes.TrimSuffix(f.next.Bytes(), []byte("\n"))
	if len(message) == 0 {
		return nil
	}
	defer func() {
		if f.next.Reset(); f.next.Cap() > keptBytes {
			f.next = bytes.Buffer{}
		}
	}()
	notes := trail.From(f.ctx)
	notes.AddMessage()
	notes.AddSent(int64(len(message)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), f.socket.timeout)
	defer cancel()
	return f.socket.conn.Write(ctx, websocket.MessageText, message)
}
