package compat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
)

// readBody takes in the whole body within the limits of size and, by ctx, of time, so that handlers find it in memory.
func (g *Gateway) readBody(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	limit := g.options.MaxBodyBytes
	if r.ContentLength > limit {
		return errTooLarge()
	}
	rc := http.NewResponseController(w)
	if deadline, ok := ctx.Deadline(); ok {
		_ = rc.SetReadDeadline(deadline) // not every writer has deadlines (tests)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil { // the deadline stays: net/http would wait for the rest of the body before it answers
		return bodyError(err)
	}
	_ = rc.SetReadDeadline(time.Time{}) // net/http goes on reading, to see whether the caller leaves
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// maxMessage bounds one request of a stream: etcd takes 2 MiB, which are 2.7 MiB in base64.
const maxMessage = 4 << 20

var errMessageTooLarge = errors.New("the request is larger than the gateway takes")

// requests reads the requests of a stream: JSON values, with or without newlines in between.
type requests struct {
	decoder runtime.Decoder
	source  source
	fresh   func() proto.Message
}

func newRequests(m runtime.Marshaler, body io.Reader, fresh func() proto.Message) *requests {
	q := &requests{source: source{body: body}, fresh: fresh}
	q.decoder = m.NewDecoder(&q.source)
	return q
}

// next gives the next request; its error is io.EOF at the end of the body, errGone when the caller has left, and else says
// what is wrong with the request.
func (q *requests) next() (proto.Message, error) {
	q.source.left = maxMessage
	m := q.fresh()
	err := q.decoder.Decode(m)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case q.source.failed != nil:
		return nil, q.source.failed
	}
	return nil, bodyError(err)
}

// source is the body under a limit for what may come before a request is whole.
type source struct {
	body io.Reader
	left int
	// failed is why the body cannot be read to its end: it is not the fault of what was read.
	failed error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.failed = bodyError(errMessageTooLarge)
		return 0, s.failed
	}
	n, err := s.body.Read(p[:min(len(p), s.left)])
	s.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = bodyError(err)
	}
	return n, err
}
