package etcdclient

import (
	"sync"
)

// watches is every watch of a client, and the streams that they are on. A watch is on one stream at a time, and only that
// stream's goroutine calls its Watcher.
type watches struct {
	client *Client

	mu      sync.Mutex
	all     map[*Watch]struct{}
	streams map[*watchStream]struct{}
}

// maxShared is the most watches of one stream: etcd serves a stream from one goroutine, so that the slowest of its watches
// sets the pace of all.
const maxShared = 64

func newWatches(c *Client) *watches {
	return &watches{client: c, all: make(map[*Watch]struct{}), streams: make(map[*watchStream]struct{})}
}

// begin starts the watch.
func (h *watches) begin(w *Watch) {
	err := w.fault()
	if err == nil {
		h.mu.Lock()
		ok := h.placeLocked(w)
		if ok {
			h.all[w] = struct{}{}
		}
		h.mu.Unlock()
		if ok {
			return
		}
		err = errClosed(methodWatch)
	}
	w.over = true // nobody else has it yet
	// The caller may hold what its Watcher needs, so that it is not called from here. When the client is closed there is no
	// one left to wait for the goroutine, which makes this one call.
	go w.watcher.Ended(err)
}

// placeLocked gives the watch a stream; false when the client is closed.
func (h *watches) placeLocked(w *Watch) bool {
	shared := !w.alone && w.failures == 0
	if shared {
		if s := h.roomLocked(); s != nil {
			s.joinLocked(w)
			return true
		}
	}
	s := newWatchStream(h, shared, w.fits)
	s.failures = w.failures
	s.joinLocked(w)
	if !h.client.pool.run(s.run) {
		s.leaveLocked(w)
		return false
	}
	h.streams[s] = struct{}{}
	return true
}

// roomLocked gives the stream that a watch that shares joins, nil for a new one: there are as many streams as connections
// before any is shared, and a stream whose token was replaced takes no more watches, since etcd would refuse them.
func (h *watches) roomLocked() (best *watchStream) {
	token := h.client.identity.current.Load()
	most, n := h.client.pool.upOf(classWatch), 0
	for s := range h.streams {
		if !s.shared || s.inner != nil && s.inner.token != token {
			continue
		}
		n++
		if len(s.watches) < maxShared && (best == nil || s.roomierLocked(best)) {
			best = s
		}
	}
	if n < most {
		return nil
	}
	return best
}

// upOf is the number of connections of the class that can take work.
func (p *pool) upOf(c class) (n int) {
	for _, conn := range p.conns[c] {
		if conn.usable() {
			n++
		}
	}
	return n
}

// removeLocked takes the watch out of everything; false when it was out already.
func (h *watches) removeLocked(w *Watch) bool {
	if w.over {
		return false
	}
	w.over = true
	delete(h.all, w)
	if w.stream != nil {
		w.stream.leaveLocked(w)
	}
	return true
}

// live says that the watch has neither been stopped nor ended.
func (h *watches) live(w *Watch) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !w.over
}

// end ends the watch with an error; the goroutine of its stream calls it.
func (h *watches) end(w *Watch, err *Error) {
	h.mu.Lock()
	ok := h.removeLocked(w)
	h.mu.Unlock()
	if ok {
		w.watcher.Ended(err)
	}
}

// move takes a watch that etcd cancelled by itself to another stream; the goroutine of the present one calls it.
func (h *watches) move(w *Watch, err *Error) {
	w.revisions.drop()
	w.watcher.Lost(err)
	h.mu.Lock()
	if w.over {
		h.mu.Unlock()
		return
	}
	w.stream.leaveLocked(w)
	ok := h.placeLocked(w)
	h.mu.Unlock()
	h.client.metrics.resumed(err)
	if !ok {
		h.end(w, errClosed(methodWatch))
	}
}

// counts are the watches there are, and the streams that are open for them.
func (h *watches) counts() (watches, streams int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		if s.inner != nil {
			streams++
		}
	}
	return len(h.all), streams
}
