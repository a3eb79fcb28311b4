package stream

import (
	"cmp"
	"context"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// begin begins a watch in the background, so that a socket can begin many at once.
func (s *session) begin(id string, r *Request, only bool) error {
	w := &watch{only: only}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.roomLocked(id); err != nil {
		return err
	}
	if s.closed || s.closing != nil {
		return nil
	}
	cancel, started := s.hub.spawn(func(ctx context.Context) { s.subscribe(ctx, id, w, r) })
	if !started {
		return s.hub.drained()
	}
	w.cancel = cancel
	s.watches[id] = w
	return nil
}

// roomLocked refuses an id that is in use, and more than a socket may have.
func (s *session) roomLocked(id string) error {
	most := s.hub.options.MaxWatches
	switch {
	case s.watches[id] != nil, s.leases[id] != nil:
		return problem.New(problem.DuplicateID, "the id %q is in use on this socket", id).AtPointer("/id")
	case len(s.watches)+len(s.leases) >= most:
		return problem.New(problem.RateLimited, "a socket may have %d watches and leases", most).With("limit", most)
	}
	return nil
}

// subscribe is the beginning of a watch.
func (s *session) subscribe(ctx context.Context, id string, w *watch, r *Request) {
	who := s.identity.now()
	c, err := s.hub.subscribe(ctx, who, r, s.requestID, s.wake)
	s.mu.Lock()
	gone := s.watches[id] != w
	if err != nil || gone {
		if !gone {
			delete(s.watches, id)
		}
		s.mu.Unlock()
		if c != nil {
			c.close(s.hub.options.Linger)
		}
		if !gone {
			s.refuse(id, w, err)
		}
		return
	}
	w.cursor = c
	c.name = id
	cancelled, ending := w.cancelled, s.closing
	s.askLocked(w)
	s.mu.Unlock()
	if now := s.identity.now(); now.caller != who.caller { // it was changed while the watch began
		c.become(now)
	}
	switch {
	case cancelled:
		c.stop(nil)
	case ending != nil:
		c.stop(cmp.Or(ending.why, s.hub.drained()))
	default:
		s.wake(c)
	}
}

// refuse tells that a watch could not begin. The socket stays, unless it is there for that watch alone.
func (s *session) refuse(id string, w *watch, err error) {
	s.fault(id, err)
	if w.only {
		info := problem.From(err).Code.Info()
		s.close(&closing{code: websocket.StatusCode(info.Close), reason: string(info.Code)})
	}
}

// adopt takes over a watch that has begun before the socket was there.
func (s *session) adopt(id string, c *Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[id] = &watch{cursor: c, only: true, cancel: func() {}}
	c.name = id
	c.queued = true
	s.ready = append(s.ready, c)
}

// finish lets go of a watch that has said its last message.
func (s *session) finish(c *Cursor) {
	s.mu.Lock()
	w := s.watches[c.name]
	mine := w != nil && w.cursor == c
	if mine {
		delete(s.watches, c.name)
	}
	s.mu.Unlock()
	c.close(s.hub.options.Linger)
	if !mine || !w.only {
		return
	}
	end := &closing{code: websocket.StatusNormalClosure}
	if e := c.reason; e != nil {
		info := e.Code.Info()
		end = &closing{code: websocket.StatusCode(info.Close), reason: string(info.Code)}
	}
	s.close(end)
}

// cancelOp ends a watch or a lease of the socket.
func (s *session) cancelOp(id string) error {
	s.mu.Lock()
	w, l := s.watches[id], s.leases[id]
	var c *Cursor
	if w != nil {
		w.cancelled, c = true, w.cursor
	}
	delete(s.leases, id)
	s.mu.Unlock()
	switch {
	case c != nil:
		c.stop(nil)
	case w != nil: // it is about to begin, and ends then
	case l != nil:
		l.stop()
		s.reply(append(appendID(nil, id), messageEnd...))
	default:
		return problem.New(problem.InvalidArgument, "there is no watch with the id %q on this socket", id).AtPointer("/id")
	}
	return nil
}

// progressOp has a watch tell how far it is.
func (s *session) progressOp(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[id]
	if w == nil {
		return problem.New(problem.InvalidArgument, "there is no watch with the id %q on this socket", id).AtPointer("/id")
	}
	w.asks = true
	s.askLocked(w)
	return nil
}

// askLocked finds out where the store is for a watch that is to tell how far it is, once the watch has begun. There is one
// question at a time: whoever asks meanwhile may mean a later write, and is answered by the next.
func (s *session) askLocked(w *watch) {
	c := w.cursor
	if !w.asks || w.asking || c == nil {
		return
	}
	_, w.asking = s.hub.spawn(func(ctx context.Context) {
		s.ask(ctx, c)
		s.mu.Lock()
		defer s.mu.Unlock()
		w.asking = false
		s.askLocked(w)
	})
	w.asks = false
}

func (s *session) ask(ctx context.Context, c *Cursor) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := c.ask(ctx); err != nil {
		s.hub.options.Logger.DebugContext(ctx, "progress", "error", err)
	}
}
