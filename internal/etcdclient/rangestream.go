package etcdclient

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// RangeStream is a range that etcd sends in pieces, by the key, at one revision. It is for one goroutine; close it.
type RangeStream struct {
	stream *stream
	prefix []byte
	first  *wire.RangeResponse // read when the stream was opened
	end    error
}

// rangeStreamDesc is KV/RangeStream.
var rangeStreamDesc = &grpc.StreamDesc{StreamName: "RangeStream", ServerStreams: true}

// RangeStream reads a range as a stream of pieces. Only the last piece has the header, the count and more. What fails
// before the first piece fails here, after the repeats that a read is allowed; later errors are Next's. A cluster without
// RangeStream (before etcd 3.7) gives the problem not_supported; HasRangeStream tells beforehand.
func (c *Client) RangeStream(ctx context.Context, r *wire.RangeRequest) (*RangeStream, error) {
	return c.rangeStreamIn(ctx, r, nil)
}

// HasRangeStream says whether RangeStream can be expected to work. While nothing is known of the members it is true. Connections that
// have carried calls know who is behind them; those for large answers may have none yet, and those for small ones do not learn it from
// a RangeStream that fails.
func (c *Client) HasRangeStream() bool {
	return mayStreamOver(c.pool.conns[classUnary]) && mayStreamOver(c.pool.conns[methodRangeStream.class])
}

// mayStreamOver says whether one of the connections may have RangeStream, or none is connected.
func mayStreamOver(conns []*conn) bool {
	seen := false
	for _, conn := range conns {
		if !conn.up.Load() {
			continue
		}
		if mayStream(conn) {
			return true
		}
		seen = true
	}
	return !seen
}

func mayStream(c *conn) bool { return c.member.Load().streams.Load() != streamsNo }

func (c *Client) rangeStreamIn(ctx context.Context, r *wire.RangeRequest, prefix []byte) (*RangeStream, error) {
	m := methodRangeStream
	request := encode(r, rangeSize(r))
	defer request.free()
	if size := request.len(); size > c.pool.config.MaxSendBytes {
		return nil, errTooLargeToSend(m, size, c.pool.config.MaxSendBytes)
	}
	c.budget.deposit()
	var avoid culprit
	renewed := false
	for n := 1; ; n++ {
		if !c.HasRangeStream() {
			return nil, errNoRangeStream()
		}
		s, err := c.startRangeStream(ctx, &request, prefix, avoid)
		if err == nil {
			return s, nil
		}
		reason := c.reasonToRepeat(m, err, n)
		switch {
		case err.Name == nameNoRangeStream && n < c.pool.config.MaxAttempts:
			continue // that member is known for it now
		case reason == retryToken && !renewed && c.identity.mayRepeat(err):
			renewed = true
		case reason == "" || reason == retryToken || !c.backOff(ctx, n):
			return nil, err
		default:
			avoid = s.from()
		}
		c.metrics.retried(m, reason)
	}
}

// startRangeStream opens the stream and reads its first piece. A stream that failed is given only to tell its member.
func (c *Client) startRangeStream(ctx context.Context, request *frame, prefix []byte, avoid culprit) (*RangeStream, *Error) {
	fits := func(n *conn) bool { return mayStream(n) && anyWork(n) && (c.fits == nil || c.fits(n)) }
	inner, e := c.open(ctx, rangeStreamDesc, methodRangeStream, avoid, fits, nil)
	if e != nil {
		return nil, e
	}
	s := &RangeStream{stream: inner, prefix: prefix}
	err := inner.SendMsg(request)
	if err == nil || errors.Is(err, io.EOF) {
		_ = inner.CloseSend() // it fails only when the stream has ended, and then Next says why
		s.first, err = s.read()
	}
	if err == nil {
		return s, nil
	}
	if errors.Is(err, io.EOF) {
		s.end = err
		return s, nil
	}
	s.Close()
	e, _ = errors.AsType[*Error](err)
	if e.wire == codes.Unimplemented && !isEtcdText(e.Message) {
		inner.conn.member.Load().streams.Store(streamsNo)
		e.Name = nameNoRangeStream
	}
	return s, e
}

// from is where a stream failed.
func (s *RangeStream) from() culprit {
	if s == nil {
		return culprit{}
	}
	return culpritAt(s.stream.conn)
}

// nameNoRangeStream marks a member that does not have the call, rather than refusing these arguments.
const nameNoRangeStream = "NoRangeStream"

func errNoRangeStream() *Error {
	return local(methodRangeStream, NameNotSupported, codes.Unimplemented, problem.NotSupported,
		"no member of the cluster has RangeStream", "the cluster lacks RangeStream, which came with etcd 3.7")
}

// Next gives the next piece, io.EOF at the good end, or why the stream was cut. The piece aliases a pooled buffer: call
// its Free when done with it, or leave it to the collector.
func (s *RangeStream) Next() (*wire.RangeResponse, error) {
	if s.first != nil {
		first := s.first
		s.first = nil
		return first, nil
	}
	if s.end != nil {
		return nil, s.end
	}
	piece, err := s.read()
	if err != nil {
		s.end = err
		return nil, err
	}
	return piece, nil
}

// Close ends the stream early and waits until it is gone. Closing twice, or after the end, is harmless.
func (s *RangeStream) Close() {
	s.stream.stop()
	if s.end == nil {
		s.end = io.EOF
	}
}

func (s *RangeStream) read() (*wire.RangeResponse, error) {
	f := new(frame)
	if err := s.stream.RecvMsg(f); err != nil {
		f.free()
		return nil, err
	}
	message, err := piece(f.buffer.ReadOnlyData())
	if err != nil {
		return nil, unreadable(methodRangeStream, f, err)
	}
	response, err := wire.ParseRange(message, s.prefix)
	if err != nil {
		return nil, unreadable(methodRangeStream, f, err)
	}
	response.Own(f.buffer)
	f.from.note(response.Header)
	return &response, nil
}

// piece takes the RangeResponse out of a RangeStreamResponse, whose only field it is.
func piece(b []byte) ([]byte, error) {
	var message []byte
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, kind, b[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		if num == 1 && kind == protowire.BytesType {
			part, _ := protowire.ConsumeBytes(b[n:])
			if message != nil { // a field that repeats is merged, and so are its bytes
				part = append(append(make([]byte, 0, len(message)+len(part)), message...), part...)
			}
			message = part
		}
		b = b[n+size:]
	}
	return message, nil
}
