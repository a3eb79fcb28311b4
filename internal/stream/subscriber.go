package stream

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// subscriber is one connection that watches.
type subscriber interface {
	// end has every watch of the connection say why it ends, and then the connection end. It never blocks; once is enough.
	end(reason *problem.Error)
	// cut ends the connection at once.
	cut()
	// whose tells whom the connection is for, and become that he may do other things now.
	whose() *identity
	become(a access)
	// look is called every second.
	look(now time.Time)
	// describe is for operators.
	describe() Stream
	// traffic tells how many bytes went over which transport. It never waits for the peer.
	traffic() (transport string, sent int64)
}

// connection is what all kinds of subscribers have.
type connection struct {
	hub               *Hub
	id                uint64
	transport, remote string
	requestID         string
	since             time.Time
	sent              *atomic.Int64 // bytes
	notes             *trail.Request
	identity          *identity
}

// connect makes a connection of the request; enter lets it in.
func (h *Hub) connect(w http.ResponseWriter, r *http.Request, transport string) connection {
	notes := trail.From(r.Context())
	if transport != overPoll {
		notes.SetTransport(transport)
	}
	return connection{
		hub: h, notes: notes, id: h.lastID.Add(1), transport: transport, remote: r.RemoteAddr, requestID: w.Header().Get("X-Request-Id"), since: time.Now(), sent: new(atomic.Int64),
		identity: &identity{access: h.accessOf(authz.From(r.Context()))},
	}
}

func (c *connection) traffic() (transport string, sent int64) { return c.transport, c.sent.Load() }

func (c *connection) whose() *identity { return c.identity }

// enroll lets a subscriber in, unless the hub is full or goes away.
func (h *Hub) enroll(id uint64, s subscriber) error {
	select {
	case <-h.draining:
		return h.drained()
	default:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.drained()
	}
	if len(h.streams) >= h.options.MaxStreams {
		return problem.New(problem.Overloaded, "the gateway serves as many streams as it may").
			WithHint("the operator sets --max-streams").WithRetryAfter(comeBack()).With("limit", h.options.MaxStreams)
	}
	if err := s.whose().enter(s.end); err != nil {
		return err
	}
	if err := s.whose().leavesRoom(len(h.streams)+1, h.options.MaxStreams); err != nil {
		s.whose().leave()
		return err
	}
	h.streams[id] = s
	return nil
}

// leave is told that a subscriber is gone.
func (h *Hub) leave(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.streams[id]; s != nil {
		transport, sent := s.traffic()
		h.sent[transport] += sent
		s.whose().leave()
		delete(h.streams, id)
	}
}

// inside is how many connections watch.
func (h *Hub) inside() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

func (h *Hub) subscribers() []subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]subscriber, 0, len(h.streams))
	for _, s := range h.streams {
		all = append(all, s)
	}
	return all
}
