package stream

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// session is one WebSocket with its watches and leases. The goroutine that serves the request reads; a writer exists only
// while there is something to write, so an idle socket costs one goroutine. The writer alone sends, and ends the socket.
type session struct {
	connection
	out     gathered
	pinging atomic.Bool
	// look's own: when it last asked for a sign of life, and what had been sent then.
	pinged     time.Time
	sentBefore int64
	// The reader's own: what the connection shows by itself, whether its peer has still to say who he is, and how often in
	// a row he could not be believed anew.
	shown   authn.Credentials
	intro   *introduction
	refused int
	frames  frames         // the writer's own
	writers sync.WaitGroup // at most one at a time

	mu      sync.Mutex
	raw     net.Conn          // nil until it is taken over
	socket  *websocket.Conn   // nil until the handshake is done
	ready   []*Cursor         // to be read
	spare   []*Cursor         // the memory of ready, in turn
	replies [][]byte          // messages of the session's own
	settled *sync.Cond        // replies have been taken, or closed was set
	watches map[string]*watch // by their ids
	leases  map[string]*lease
	writing bool
	// closing is how the socket is to end, once what is said before it has been written.
	closing *closing
	closed  bool
}

// watch is a watch of a session; its cursor is nil while it begins.
type watch struct {
	cursor    *Cursor
	cancelled bool
	cancel    func()
	// asks says that it is to tell how far it is, asking that it is being found out what that has to cover.
	asks, asking bool
	// only says that the socket is there for this watch alone, and ends with it.
	only bool
}

// closing is the end of a socket.
type closing struct {
	code   websocket.StatusCode
	reason string
	// why is what watches say that are about to begin; nil where they need not.
	why *problem.Error
}

var _ subscriber = (*session)(nil)

// maxMessage bounds what a client may send in one message.
const maxMessage = 64 << 10

func newSession(c connection) *session {
	s := &session{connection: c, watches: make(map[string]*watch), leases: make(map[string]*lease)}
	s.settled, s.frames.out = sync.NewCond(&s.mu), &s.out
	return s
}

// serve reads until the socket ends, and then lets go of everything.
func (s *session) serve(ctx context.Context) {
	defer s.noted()
	defer s.hub.leave(s.id)
	defer s.forgetIntro()
	s.mu.Lock()
	s.writeLocked() // what was ready before there was a socket
	s.mu.Unlock()
	for s.readOne(ctx) {
	}
	s.drop()
	s.writers.Wait()
	_ = s.socket.CloseNow() // whatever is left
}

func (s *session) noted() {
	s.notes.AddSent(s.sent.Load())
	s.notes.Done()
}

// readOne reads one message and acts on it; false when the socket is at its end.
func (s *session) readOne(ctx context.Context) bool {
	kind, message, err := s.socket.Read(context.Background()) //nolint:forbidigo,contextcheck // a read that is cancelled drops the socket without a word
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return false // the library has closed with 1009
	case err != nil:
		return false
	}
	s.notes.AddReceived(len(message))
	switch {
	case kind != websocket.MessageText:
		s.close(&closing{code: websocket.StatusUnsupportedData, reason: "messages are JSON text"})
	case !utf8.Valid(message):
		s.close(&closing{code: websocket.StatusInvalidFramePayloadData, reason: "messages are UTF-8"})
	default:
		s.act(ctx, message)
		s.settle()
	}
	return true
}

// maxReplies is how many replies may wait to be written before the session reads on.
const maxReplies = 64

// settle waits until the replies are on their way: who does not take answers cannot ask for more.
func (s *session) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.replies) > maxReplies && !s.closed {
		s.settled.Wait()
	}
}

// wake has the cursor read by the writer.
func (s *session) wake(c *Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.queued {
		c.queued = true
		s.ready = append(s.ready, c)
	}
	s.writeLocked()
}

// reply sends a message of the session's own.
func (s *session) reply(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, message)
	s.writeLocked()
}

// close has the socket ended once everything before it is written. The first reason wins.
func (s *session) close(c *closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil {
		s.closing = c
	}
	s.writeLocked()
}

// writeLocked sees to it that there is a writer.
func (s *session) writeLocked() {
	if s.writing || s.closed || s.socket == nil {
		return
	}
	s.writing = true
	s.writers.Add(1)
	go s.write()
}

// write sends what is ready until there is nothing left. It runs for every event of every subscriber, so it is sparing:
// what it works with belongs to the session or is lent by a pool.
func (s *session) write() {
	defer s.writers.Done()
	scratch, _ := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	var ready []*Cursor
	for {
		s.mu.Lock()
		ready = s.takeReadyLocked(ready)
		replies, end := s.replies, s.closing
		s.replies = nil
		s.settled.Broadcast()
		over := end != nil && len(replies) == 0 && s.doneLocked() // whatever else the watches may have to say
		if s.closed || !over && len(ready)+len(replies) == 0 {
			s.writing, s.spare = false, ready[:0]
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if over {
			s.hangUp(end)
			return
		}
		if err := s.batch(scratch, replies, ready); err != nil {
			s.hub.cutOff(err)
			s.cut()
			s.shut()
			return
		}
	}
}

// takeReadyLocked gives those that are to be read; read is what it gave before, whose memory serves again.
func (s *session) takeReadyLocked(read []*Cursor) []*Cursor {
	if read != nil {
		s.spare = read[:0]
	}
	ready := s.ready
	s.ready, s.spare = s.spare, nil
	for _, c := range ready {
		c.queued = false
	}
	return slices.DeleteFunc(ready, func(c *Cursor) bool { return c.name == "" }) // about to begin, and read then
}

// doneLocked tells whether every watch that was ended has said so.
func (s *session) doneLocked() bool {
	return !slices.ContainsFunc(s.cursorsLocked(), (*Cursor).isStopped)
}

func (s *session) cursorsLocked() []*Cursor {
	all := make([]*Cursor, 0, len(s.watches))
	for _, w := range s.watches {
		if w.cursor != nil {
			all = append(all, w.cursor)
		}
	}
	return all
}

// batch writes the replies and what the cursors have, as one write to the network where it is not too much.
func (s *session) batch(scratch *[]byte, replies [][]byte, ready []*Cursor) error {
	s.out.gather()
	for _, m := range replies {
		if err := s.out.message(m); err != nil {
			return err
		}
	}
	for _, c := range ready {
		s.frames.id = c.name
		dst, state := c.read((*scratch)[:0], &s.frames)
		if cap(dst) <= 2*room {
			*scratch = dst
		}
		if s.frames.err != nil {
			return s.frames.err
		}
		switch state {
		case readMore:
			s.wake(c)
		case readOver:
			s.finish(c)
		case readIdle:
		}
	}
	return s.out.flush()
}

// frames sends each message as a frame of its own: nothing is gathered in dst, which only lends its memory.
type frames struct {
	out *gathered
	id  string
	err error
}

func (f *frames) begin(dst []byte, _ int64) []byte { return appendID(dst, f.id) }

func (f *frames) end(dst []byte) []byte {
	if f.err == nil {
		f.err = f.out.message(dst)
	}
	return dst[:0]
}

// hangUp ends the socket: the peer has a second to say goodbye as well.
func (s *session) hangUp(end *closing) {
	s.shut()
	cut := time.AfterFunc(closeTime, s.cut)
	defer cut.Stop()
	_ = s.socket.Close(end.code, end.reason) // the peer may be gone
}

// shut has nothing written any more. The writer calls it, and is the last.
func (s *session) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.closed = false, true
	s.settled.Broadcast()
}

// closeTime is how long a peer has to answer the end of a socket.
const closeTime = time.Second

// drop lets go of everything that the session has.
func (s *session) drop() {
	s.mu.Lock()
	s.closed = true
	watches, leases := s.watches, s.leases
	s.watches, s.leases = map[string]*watch{}, map[string]*lease{}
	s.ready, s.replies = nil, nil
	s.mu.Unlock()
	for _, w := range watches {
		w.cancel()
		if w.cursor != nil {
			w.cursor.close(s.hub.options.Linger)
		}
	}
	for _, l := range leases {
		l.stop()
	}
}

// end implements subscriber: each watch says why, and then the socket ends.
func (s *session) end(reason *problem.Error) {
	s.mu.Lock()
	if s.closing != nil {
		s.mu.Unlock()
		return
	}
	cursors := s.cursorsLocked()
	if len(cursors) == 0 && s.socket != nil {
		s.replies = append(s.replies, s.hub.appendError([]byte{'{'}, reason, s.requestID, 0))
	}
	s.mu.Unlock()
	for _, c := range cursors {
		c.stop(reason)
	}
	info := reason.Code.Info()
	s.close(&closing{code: websocket.StatusCode(info.Close), reason: string(info.Code), why: reason})
}

func (s *session) cut() {
	s.mu.Lock()
	conn := s.raw
	s.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // it is given up either way
	}
}

// look implements subscriber: now and then it asks the peer for a sign of life. Not while much is being sent: a peer that is
// busy reading comes to a ping late, and one that is gone is found out by the write time-out.
func (s *session) look(now time.Time) {
	every := s.hub.options.PingEvery
	if s.pinged.IsZero() {
		s.pinged = now.Add(-jitter(every))
	}
	if now.Sub(s.pinged) < every || s.pinging.Swap(true) {
		return
	}
	total := s.out.sent.Load()
	busy := total-s.sentBefore > room
	s.pinged, s.sentBefore = now, total
	if busy {
		s.pinging.Store(false)
		return
	}
	if _, started := s.hub.spawn(s.ping); !started {
		s.pinging.Store(false)
	}
}
