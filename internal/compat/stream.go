package compat

import (
	"net/http"
	"strings"
	"time"
)

// serveStream answers a request for a stream, over a WebSocket when the caller asks for one.
func (g *Gateway) serveStream(w http.ResponseWriter, r *http.Request) {
	if upgrades(r.Header) {
		g.serveSocket(w, r)
		return
	}
	// Answers come while requests still follow; HTTP/2 needs no leave for that.
	_ = http.NewResponseController(w).EnableFullDuplex() // without it, answers wait for the end of the body
	if r.ContentLength < 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // the answer may end first: what follows would not be the next request
	}
	g.mux.ServeHTTP(g.answering(w), r)
}

func upgrades(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket")
}

// answering is the way to the caller. It bounds each write, instead of the whole: a caller that does not read must not hold
// a stream for ever.
type answering struct {
	http.ResponseWriter
	timeout time.Duration
}

func (g *Gateway) answering(w http.ResponseWriter) *answering {
	return &answering{ResponseWriter: w, timeout: g.options.WriteTimeout}
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Write implements io.Writer.
func (a *answering) Write(b []byte) (int, error) {
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.timeout)) // not every writer has deadlines
	return a.ResponseWriter.Write(b)
}
