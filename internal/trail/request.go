// Package trail is what is noted of a request on its way through the gateway, for those who tell operators about it: the
// access log, the audit log, the traces. It holds no values, tokens or query strings.
package trail

import (
	"context"
	"sync/atomic"
	"time"
)

// Request is one request's notes. Whoever knows something puts it there; a nil Request takes everything and keeps nothing,
// so that nobody has to ask whether somebody listens. The methods are safe for concurrent use. The fields belong to the
// goroutine that serves the request until it is done.
type Request struct {
	// ID is the X-Request-Id of the answer, Method and Protocol are HTTP's, Remote is the other end of the connection.
	ID, Method, Protocol, Remote string
	// Route is the pattern of the routing table and Operation its name, both from closed sets; Writes says that it can change
	// something.
	Route, Operation string
	Writes           bool
	Started          time.Time

	// Status is that of the answer, Code the code of its problem, Outcome what a write did that had a problem.
	Status        int
	Code, Outcome string
	// KeyPrefix is the first part of the key that the request is about, as KeyPrefix makes it.
	KeyPrefix string
	// Applied says of a write that it has done something which is not etcd's to do.
	Applied bool

	principal atomic.Pointer[string]
	transport atomic.Pointer[string]

	received, sent, messages atomic.Int64
	upstream                 atomic.Int64
	writes                   atomic.Int64

	// holders are those who have not finished with the request: its own goroutine, and a stream that outlives it.
	holders atomic.Int32
	end     func()
}

// Begin has end called when all who hold the request are done with it; the caller is the first of them.
func (t *Request) Begin(end func()) {
	t.end = end
	t.holders.Store(1)
}

// Hold makes the request last until Done has been called once more: a stream may outlive its handler.
func (t *Request) Hold() {
	if t != nil {
		t.holders.Add(1)
	}
}

// Done lets go of the request; the last one to do so ends it.
func (t *Request) Done() {
	if t != nil && t.holders.Add(-1) == 0 {
		t.end()
	}
}

// SetPrincipal says who calls. It may change while a stream goes on.
func (t *Request) SetPrincipal(name string) {
	if t != nil {
		t.principal.Store(&name)
	}
}

// Principal is who calls, empty when nobody knows.
func (t *Request) Principal() string {
	if t == nil {
		return ""
	}
	return load(&t.principal)
}

// SetTransport says over what a stream goes: ndjson, sse or websocket.
func (t *Request) SetTransport(name string) {
	if t != nil {
		t.transport.Store(&name)
	}
}

// Transport is empty for what is no stream.
func (t *Request) Transport() string {
	if t == nil {
		return ""
	}
	return load(&t.transport)
}

func load(p *atomic.Pointer[string]) string {
	if s := p.Load(); s != nil {
		return *s
	}
	return ""
}

// AddReceived counts bytes of the request's body, or of a socket's messages.
func (t *Request) AddReceived(n int) {
	if t != nil {
		t.received.Add(int64(n))
	}
}

// AddSent counts bytes of the answer's body, or of a stream.
func (t *Request) AddSent(n int64) {
	if t != nil {
		t.sent.Add(n)
	}
}

// AddMessage counts a message of a stream.
func (t *Request) AddMessage() {
	if t != nil {
		t.messages.Add(1)
	}
}

// AddUpstream counts time that the request waited for etcd. Calls that are made at the same time add up.
func (t *Request) AddUpstream(d time.Duration) {
	if t != nil {
		t.upstream.Add(int64(d))
	}
}

// AddWrite counts a write that has its own line in the audit log.
func (t *Request) AddWrite() {
	if t != nil {
		t.writes.Add(1)
	}
}

// Received is how many bytes AddReceived has counted.
func (t *Request) Received() int64 { return t.received.Load() }

// Sent is how many bytes AddSent has counted.
func (t *Request) Sent() int64 { return t.sent.Load() }

// Messages is how often AddMessage was called.
func (t *Request) Messages() int64 { return t.messages.Load() }

// Upstream is the time that AddUpstream has counted.
func (t *Request) Upstream() time.Duration { return time.Duration(t.upstream.Load()) }

// Recorded is how many writes have lines of their own.
func (t *Request) Recorded() int64 { return t.writes.Load() }

type contextKey struct{}

// With gives a context that carries the request.
func With(ctx context.Context, t *Request) context.Context {
	return context.WithValue(ctx, contextKey{}, t)
}

// From gives the request that the context carries, nil for none.
func From(ctx context.Context) *Request {
	t, _ := ctx.Value(contextKey{}).(*Request)
	return t
}
