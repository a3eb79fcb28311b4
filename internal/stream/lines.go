package stream

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// lines is a watch over a plain answer: Server-Sent Events or NDJSON. The goroutine that serves the request is its writer.
type lines struct {
	connection
	cursor *Cursor
	cancel context.CancelFunc
	frame  framer
	ready  chan struct{} // capacity 1
}

var _ subscriber = (*lines)(nil)

// room is about how much is gathered before it is written.
const room = 64 << 10

// serveLines serves a watch until it ends or the caller goes away.
func (h *Hub) serveLines(w http.ResponseWriter, r *http.Request, request *Request, transport string) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &lines{connection: h.connect(w, r, transport), cancel: cancel, ready: make(chan struct{}, 1)}
	if refused := authz.RefusalOf(r.Context()); refused != nil {
		return s.refuse(w, refused.Err)
	}
	err := s.open(ctx, request)
	if err != nil {
		return s.refuse(w, err)
	}
	defer s.cursor.close(h.options.Linger)
	if err := h.enroll(s.id, s); err != nil {
		return s.refuse(w, err)
	}
	defer h.leave(s.id)
	s.header(w, s.cursor.present)
	if s.notes != nil {
		s.frame = counted{s.frame, s.notes}
		defer func() { s.notes.AddSent(s.sent.Load()) }()
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if !s.serve(ctx, w) && r.Context().Err() == nil {
		panic(http.ErrAbortHandler) // a clean end of the answer would pass for the end of the watch
	}
	return nil
}

func (s *lines) open(ctx context.Context, request *Request) (err error) {
	s.cursor, err = s.hub.subscribe(ctx, s.identity.now(), request, s.requestID, func(*Cursor) { s.nudge() })
	if err != nil {
		return err
	}
	s.frame = ndjson{}
	if s.transport == overSSE {
		s.frame = sse{epoch: s.cursor.epoch}
	}
	return nil
}

func (s *lines) nudge() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// header writes the status line. Proxies must pass each message on at once, as it is.
func (s *lines) header(w http.ResponseWriter, revision int64) {
	header := w.Header()
	header["Content-Type"] = []string{"application/x-ndjson"}
	header["Cache-Control"] = []string{"no-store, no-transform"}
	header["X-Accel-Buffering"] = []string{"no"}
	if s.transport == overSSE {
		header["Content-Type"] = []string{"text/event-stream"}
	}
	header["Server-Timing"] = []string{"total;dur=" + strconv.FormatFloat(float64(time.Since(s.since).Microseconds())/1000, 'f', 3, 64)}
	if revision > 0 {
		header["Etcd-Revision"] = []string{strconv.FormatInt(revision, 10)}
	}
	w.WriteHeader(http.StatusOK)
}

// serve writes what the cursor has, and waits for more. It tells whether the last message was written.
func (s *lines) serve(ctx context.Context, w http.ResponseWriter) (whole bool) {
	var out []byte
	if s.transport == overSSE {
		out = appendRetry(out, comeBack())
	}
	for {
		var state readState
		out, state = s.cursor.read(out, s.frame)
		if written := s.write(w, out); !written || state == readOver {
			return written
		}
		if out = out[:0]; cap(out) > 2*room {
			out = nil
		}
		if state == readMore {
			continue
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return false
		}
	}
}

// write writes and flushes; false when the caller is gone, or takes nothing for the write time-out.
func (s *lines) write(w http.ResponseWriter, out []byte) bool {
	if len(out) == 0 {
		return true
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // another answer may come on the connection
	for len(out) > 0 {
		piece := out[:min(len(out), 2*room)]
		_ = control.SetWriteDeadline(time.Now().Add(s.hub.options.WriteTimeout)) // not every writer has deadlines (tests)
		n, err := w.Write(piece)
		s.sent.Add(int64(n))
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			s.hub.cutOff(err)
			return false
		}
		out = out[len(piece):]
	}
	return true
}

// refuse gives the error to be answered by its status, unless it is one that an EventSource must see as a stream: it gives
// up for good on any status but 200, so what can pass is told as a message with a time to come back.
func (s *lines) refuse(w http.ResponseWriter, err error) error {
	e := problem.From(err)
	switch e.Code.Info().Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return err
	}
	if s.transport != overSSE {
		return err
	}
	s.header(w, 0)
	out := appendRetry(nil, max(e.RetryAfter, comeBack()))
	frame := sse{}
	out = frame.begin(out, 0)
	out = s.hub.appendError(out, e, s.requestID, 0)
	s.write(w, frame.end(out))
	return nil
}

func (s *lines) end(reason *problem.Error) { s.cursor.stop(reason) }
func (s *lines) cut()                      { s.cancel() }
func (s *lines) become(a access)           { s.cursor.become(a) }
func (s *lines) look(time.Time)            {}

func (s *lines) describe() Stream {
	d := s.connection.describe()
	d.Watches = []WatchInfo{s.cursor.describe("")}
	return d
}

// counted notes each message.
type counted struct {
	framer
	notes *trail.Request
}

func (c counted) end(dst []byte) []byte {
	c.notes.AddMessage()
	return c.framer.end(dst)
}

// ndjson frames a message as a line.
type ndjson struct{}

func (ndjson) begin(dst []byte, _ int64) []byte { return append(dst, '{') }
func (ndjson) end(dst []byte) []byte            { return append(dst, '\n') }

// sse frames a message as an event. Its id is the bookmark of everything up to it.
type sse struct{ epoch string }

func (f sse) begin(dst []byte, completes int64) []byte {
	if completes > 0 {
		dst = append(dst, "id: "...)
		dst = append(dst, f.epoch...)
		dst = append(dst, '-')
		dst = strconv.AppendInt(dst, completes, 10)
		dst = append(dst, '\n')
	}
	return append(dst, "data: {"...)
}

func (sse) end(dst []byte) []byte { return append(dst, "\n\n"...) }

func appendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, "\n\n"...)
}
