package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// subprotocol is what clients of this API offer.
const subprotocol = "etcdrest.v1"

// urlWatch is the id of the watch that the URL's own parameters begin.
const urlWatch = "0"

// serveSocket upgrades the request and serves the socket until it ends. What is wrong with the request itself is answered by
// status, since nothing has been written yet; what concerns the watch of the URL is said on the socket when the caller has
// offered the subprotocol, since browsers see nothing of a refused handshake.
func (h *Hub) serveSocket(w http.ResponseWriter, r *http.Request, q *query.Query) error {
	if r.Method != http.MethodGet || r.ProtoMajor != 1 {
		return problem.New(problem.InvalidArgument, "a WebSocket begins with a GET over HTTP/1.1")
	}
	var first *Request
	if slices.ContainsFunc([]string{"key", "prefix", "from", "to", "election"}, q.Given) {
		var err error
		if first, err = requestOf(q); err != nil {
			return err
		}
	}
	if err := q.Done(); err != nil {
		return err
	}
	refused, expectsErrors := authz.RefusalOf(r.Context()), offers(r.Header, subprotocol)
	if refused != nil && !expectsErrors {
		return refused.Err
	}
	s := newSession(h.connect(w, r, overWebSocket))
	s.shown = shownBy(r)
	err := h.enroll(s.id, s)
	if e := problem.From(err); e != nil && e.Code == problem.RateLimited && expectsErrors { // he is told on a socket that is not his
		refused, s.identity = &authz.Refusal{Err: err}, new(identity)
		err = h.enroll(s.id, s)
	}
	if err != nil {
		return err
	}
	if first != nil && !expectsErrors { // find out before
		c, err := h.subscribe(r.Context(), s.identity.now(), first, s.requestID, s.wake)
		if err != nil {
			h.leave(s.id)
			return err
		}
		s.adopt(urlWatch, c)
		first = nil
	}
	if err := s.accept(w, r); err != nil {
		s.drop()
		h.leave(s.id)
		return err
	}
	switch {
	case refused == nil:
		s.beginFirst(first)
	case refused.Anonymous && h.options.Gate != nil:
		s.receive(first)
	default:
		s.expel(problem.From(refused.Err))
	}
	s.notes.Hold() // the socket outlives its request
	// The goroutine of the request goes back to where it came from, with a stack that has seen all of the way here.
	if _, started := h.spawn(s.serve); !started {
		s.cut()
		s.serve(r.Context())
	}
	return nil
}

// beginFirst begins the watch of the URL, if there is one.
func (s *session) beginFirst(first *Request) {
	if first == nil {
		return
	}
	if err := s.begin(urlWatch, first, true); err != nil {
		s.refuse(urlWatch, &watch{only: true}, err)
	}
}

func offers(h http.Header, name string) bool {
	for _, line := range h["Sec-Websocket-Protocol"] {
		for offered := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(offered) == name {
				return true
			}
		}
	}
	return false
}

// accept makes the socket. The origin has been judged before.
func (s *session) accept(w http.ResponseWriter, r *http.Request) error {
	refusal := &refusal{ResponseWriter: w, session: s}
	socket, err := websocket.Accept(refusal, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return problem.New(problem.InvalidArgument, "the WebSocket handshake is not valid").Because(err)
	}
	socket.SetReadLimit(maxMessage)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.socket = socket
	return nil
}

// refusal keeps the library from answering a bad handshake by itself, and hands out the wrapped connection.
type refusal struct {
	http.ResponseWriter
	session *session
	refused bool
}

func (w *refusal) WriteHeader(status int) {
	if w.refused = status != http.StatusSwitchingProtocols; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *refusal) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Hijack implements http.Hijacker.
func (w *refusal) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	s := w.session
	s.out.Conn, s.out.timeout, s.out.sent, s.out.notes = conn, s.hub.options.WriteTimeout, s.sent, s.notes
	s.mu.Lock()
	s.raw = conn
	s.mu.Unlock()
	return &s.out, smallBuffers(&s.out, buffers.Reader), nil
}

// The buffers of a socket: clients say little, and what is said to them is gathered elsewhere. Those of an HTTP connection
// would be most of what an idle socket takes.
const (
	readBuffer  = 512
	writeBuffer = 256 // a control frame
)

// smallBuffers makes small buffers of an HTTP connection's, which may have read ahead.
func smallBuffers(out net.Conn, ahead *bufio.Reader) *bufio.ReadWriter {
	early, _ := ahead.Peek(ahead.Buffered()) // it is there
	r := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	_, _ = r.Peek(len(early)) // the library takes what is buffered, and reads the connection behind it
	return bufio.NewReadWriter(r, bufio.NewWriterSize(out, writeBuffer))
}

// gathered is a connection that gathers what is written until it is told to send it, so that a batch of frames is one write
// to the network. Messages are framed here (RFC 6455, 5.2), which is a few bytes and saves half of what the library's way
// costs; handshake, reading, control frames and the end are the library's. Its frames come as one Write each, so they stay
// whole between ours.
type gathered struct {
	net.Conn
	timeout time.Duration
	sent    *atomic.Int64 // bytes; not under mu, which is held while the peer takes its time
	notes   *trail.Request

	mu sync.Mutex
	// due is the write deadline that is set. It is moved on when half of its time is over, not at every write.
	due  time.Time
	held []byte
	lent *[]byte // what held lives in
	hold bool
	err  error
}

// Write implements io.Writer.
func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	if g.hold && len(g.held)+len(b) <= room {
		g.held = append(g.held, b...)
		return len(b), nil
	}
	if g.sendLocked(g.held); g.err == nil {
		g.held = g.held[:0]
		g.sendLocked(b)
	}
	if g.err != nil {
		return 0, g.err
	}
	return len(b), nil
}

// message sends b as one text frame.
func (g *gathered) message(b []byte) error {
	var head [10]byte
	head[0] = finalText
	n := 2
	switch size := len(b); {
	case size < 126:
		head[1] = byte(size)
	case size <= math.MaxUint16:
		head[1] = 126
		binary.BigEndian.PutUint16(head[2:], uint16(size))
		n = 4
	default:
		head[1] = 127
		binary.BigEndian.PutUint64(head[2:], uint64(size))
		n = 10
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes.AddMessage()
	g.held = append(append(g.held, head[:n]...), b...)
	if !g.hold || len(g.held) > room {
		g.sendLocked(g.held)
		g.held = g.held[:0]
	}
	return g.err
}

// finalText opens the only frame of a text message.
const finalText = 0x81

// gather begins to hold back what is written.
func (g *gathered) gather() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = true
	if g.held == nil {
		g.lent, _ = buffers.Get().(*[]byte)
		g.held = (*g.lent)[:0]
	}
}

// flush sends what was held back.
func (g *gathered) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = false
	g.sendLocked(g.held)
	if g.lent != nil {
		if cap(g.held) <= 2*room {
			*g.lent = g.held
		}
		buffers.Put(g.lent)
	}
	g.held, g.lent = nil, nil
	return g.err
}

// buffers are lent to connections while they write, so that an idle one has none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// sendLocked writes to the network, in pieces that each have the whole time-out.
func (g *gathered) sendLocked(b []byte) {
	for len(b) > 0 && g.err == nil {
		if now := time.Now(); g.due.Sub(now) < g.timeout/2 {
			g.due = now.Add(g.timeout)
			_ = g.SetWriteDeadline(g.due) // fails only on a closed connection, as the write will
		}
		n, err := g.Conn.Write(b[:min(len(b), 2*room)])
		g.sent.Add(int64(n))
		g.err = err
		b = b[n:]
	}
}

// ping finds out whether the peer is there, and cuts the connection when it is not. It has the time that a write has: what
// was sent before must be read first.
func (s *session) ping(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.hub.options.WriteTimeout)
	defer cancel()
	if err := s.socket.Ping(ctx); err != nil && ctx.Err() != nil {
		s.cut()
	}
	s.pinging.Store(false)
}
