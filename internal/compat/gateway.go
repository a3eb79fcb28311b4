// Package compat serves /v3: etcd's own JSON gateway, byte for byte, over the gateway's client. It is grpc-gateway's mux with
// the handlers that etcd publishes, so what it says of a request is what etcd's own says; what it mends is in
// docs/reference/v3.md.
package compat

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
)

// Options say how far a caller may go. The zero value works.
type Options struct {
	// MaxBodyBytes bounds the body of a call, default 12 MiB.
	MaxBodyBytes int64
	// RequestTimeout bounds the calls that etcd answers at once, and how long a body may take to arrive; default 30 s.
	RequestTimeout time.Duration
	// WriteTimeout is how long one message of a stream, and the answer to a ping, may take; default 30 s.
	WriteTimeout time.Duration
	// PingInterval is how often a WebSocket is asked for a sign of life, default 30 s.
	PingInterval time.Duration
	// Feeds lets watches share what they ask of etcd (default: each has a stream of its own).
	Feeds Feeds
	// MaxStreams bounds the calls that last (watches, keepalives, waits for a lock), default 10,000.
	MaxStreams int
	// AdvertiseURL is what clients that look for members are told as the client URL of each, so that they stay with the
	// gateway; default: the members' own.
	AdvertiseURL string
	// Gate judges those again whose calls last; nil where nobody is asked who he is. Those whom the door lets in are in their
	// requests' contexts (authz.From).
	Gate Gate
}

// Gateway serves /v3/, /v3beta/ and /v3alpha/. Make it with New; it is safe for concurrent use. Host, origin and the like are
// not its own: it stands behind a door that judges them.
type Gateway struct {
	client  grpc.ClientConnInterface
	etcd    grpc.ClientConnInterface // the client itself, which judges nobody
	options Options
	mux     *runtime.ServeMux

	// lasting has room for the calls that may last.
	lasting chan struct{}
	// guests are those whose calls last, and watchmen their watches that etcd does not look after.
	guests   guests
	watchmen watchmen
	// stopping ends when the gateway drains: calls that last end with it.
	stopping context.Context //nolint:containedctx // the life of the gateway itself, not of a call
	stop     context.CancelFunc
	// closed ends when the sockets that are left are cut.
	closed context.Context //nolint:containedctx // as above
	cut    context.CancelFunc

	mu       sync.Mutex
	draining bool           // no socket is let in any more
	sockets  sync.WaitGroup // and what else goes on by itself
}

// New makes a gateway over a client, which stays the caller's. Close it.
func New(client grpc.ClientConnInterface, o Options) (*Gateway, error) {
	setDefault(&o.MaxBodyBytes, 12<<20)
	setDefault(&o.RequestTimeout, 30*time.Second)
	setDefault(&o.WriteTimeout, 30*time.Second)
	setDefault(&o.PingInterval, 30*time.Second)
	setDefault(&o.MaxStreams, 10_000)
	g := &Gateway{client: plain{guarded{client, o.Gate != nil}}, etcd: client, options: o, lasting: make(chan struct{}, o.MaxStreams)}
	g.guests.inside = make(map[*guest]struct{})
	g.stopping, g.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the gateway ends by Drain, not with a caller
	g.closed, g.cut = context.WithCancel(context.Background())    //nolint:forbidigo // as above
	return g, g.mount()
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Drain ends the calls that last, saying so to their callers, and waits for the sockets among them until ctx ends; the
// others are the HTTP server's to wait for. It tells whether all sockets are gone.
func (g *Gateway) Drain(ctx context.Context) bool {
	g.shut()
	gone := make(chan struct{})
	go func() { // ends with the sockets: each has a bound on saying goodbye
		g.sockets.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close cuts the sockets that are left, and waits for them.
func (g *Gateway) Close() {
	g.shut()
	g.cut()
	g.sockets.Wait()
}

// shut lets no more sockets in, and ends the calls that last.
func (g *Gateway) shut() {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	g.stop()
}

// letIn counts a socket in, unless the gateway is stopping.
func (g *Gateway) letIn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.draining {
		g.sockets.Add(1)
	}
	return !g.draining
}

// Lasts tells whether it is the caller, or others, who decide how long the call goes on.
func (g *Gateway) Lasts(r *http.Request) bool { return pace[canonical(r).URL.Path] == lasts }

// ServeHTTP answers a request below /v3/, /v3beta/ or /v3alpha/.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = canonical(r)
	received := r
	p := pace[r.URL.Path]
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	if p == lasts {
		select {
		case g.lasting <- struct{}{}:
			defer func() { <-g.lasting }()
		default:
			g.refuse(w, r, errTooMany)
			return
		}
		defer context.AfterFunc(g.stopping, func() { cancel(errStopping) })() //nolint:contextcheck // the gateway's life, not the call's
		leave, err := g.enter(ctx, cancel)                                    //nolint:contextcheck // to judge everybody is no part of the call
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		defer leave()
	}
	r = r.WithContext(ctx) //nolint:contextcheck // it is the request's
	if bidirectional[r.URL.Path] {
		g.serveStream(w, r, received)
		return
	}
	g.serveCall(w, r, received, p)
}

// serveCall answers a request whose body is one document.
func (g *Gateway) serveCall(w http.ResponseWriter, r, received *http.Request, p speed) {
	timed, cancel := context.WithTimeout(r.Context(), g.options.RequestTimeout)
	defer cancel()
	if err := g.readBody(timed, w, r); err != nil {
		g.refuse(w, r, err)
		return
	}
	if p == prompt {
		r = r.WithContext(timed)
	}
	g.mux.ServeHTTP(g.answering(w, received), r)
}
