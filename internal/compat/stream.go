package compat

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// serveStream answers a request for a stream, over a WebSocket when the caller asks for one.
func (g *Gateway) serveStream(w http.ResponseWriter, r, received *http.Request) {
	if upgrades(r.Header) {
		g.serveSocket(w, r)
		return
	}
	// Answers come while requests still follow; HTTP/2 needs no leave for that.
	_ = http.NewResponseController(w).EnableFullDuplex() // without it, answers wait for the end of the body
	body := &openBody{ReadCloser: r.Body}
	r.Body = body
	out := g.answering(w, received)
	if r.ProtoMajor == 1 {
		out.body = body
	}
	defer body.leave(w)
	g.mux.ServeHTTP(out, r)
}

// openBody is a body that may still be open when the answer ends.
type openBody struct {
	io.ReadCloser
	ended atomic.Bool
}

// Read implements io.Reader.
func (b *openBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// leave takes leave of a body while net/http still watches over the request: with full duplex it would itself read the rest
// too late, and trip over that read when the next request comes. What has not arrived by now is not waited for.
func (b *openBody) leave(w http.ResponseWriter) {
	if !b.ended.Load() {
		interrupt(w)
	}
	_ = b.Close() // nobody wants the rest
}

// interrupt ends a read of the body that is under way, and all that follow. It must not be used once the body has ended: then
// it is net/http that reads, to see whether the caller leaves.
func interrupt(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // not every writer has deadlines (tests)
}

func upgrades(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket")
}

// answering is the way to the caller. It bounds each write, instead of the whole: a caller that does not read must not hold
// a stream for ever.
type answering struct {
	http.ResponseWriter
	// received is the request with the caller's own context, which ends when he leaves.
	received *http.Request
	timeout  time.Duration
	// body is that of a stream over HTTP/1, where it shares its connection with the next request's; else nil.
	body  *openBody
	begun bool
}

func (g *Gateway) answering(w http.ResponseWriter, received *http.Request) *answering {
	return &answering{ResponseWriter: w, received: received, timeout: g.options.WriteTimeout}
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader writes the head. While the body is open, the connection ends with the answer, which may come first: what
// follows then would not be the next request.
func (a *answering) WriteHeader(status int) {
	a.begun = true
	if a.body != nil && !a.body.ended.Load() {
		a.Header().Set("Connection", "close")
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *answering) Write(b []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.received.Context().Err() == nil { // else net/http would keep a stream of HTTP/2 that was reset until then
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.timeout)) // not every writer has deadlines
	}
	return a.ResponseWriter.Write(b)
}
