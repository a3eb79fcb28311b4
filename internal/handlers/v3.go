package handlers

import (
	"io"
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Compat answers the routes of etcd's own JSON gateway; *compat.Gateway satisfies it.
type Compat interface {
	http.Handler
	// Lasts tells whether it is the caller, or others, who decide how long the call goes on.
	Lasts(r *http.Request) bool
	// AppendError appends the document that says in etcd's form why a request was refused before it was served.
	AppendError(dst []byte, e *problem.Error) []byte
}

// v3 passes a request on that the door has let in: id, Host, origin, limits, panics and metrics are those of every route.
func (a *API) v3(c *call) error {
	if a.options.Compat == nil {
		return a.notFound(c)
	}
	set(c.w.Header(), "X-Request-Id", c.id)
	c.lasts = a.options.Compat.Lasts(c.r)
	if !c.lasts {
		c.r.Body = &heldBody{ReadCloser: c.r.Body, call: c}
	}
	w := &passing{begun: begun{ResponseWriter: c.w, call: c}}
	if c.r.Header.Get("Upgrade") != "" {
		c.notes.SetTransport("websocket")
	}
	defer func() { // a panic passes here too
		c.answered, c.status, c.written = true, w.status, w.written
	}()
	a.options.Compat.ServeHTTP(w, c.r)
	if w.status == 0 { // an answer without a body
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

// heldBody counts what is read of a body as held until the call ends.
type heldBody struct {
	io.ReadCloser

	call *call
	read int64
}

// Read implements io.Reader. An error of its own is a *problem.Error.
func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if over := b.call.hold(b.read); over != nil {
		return 0, over
	}
	return n, err
}

// passing counts what is written besides.
type passing struct {
	begun
	written int64
}

// FlushError is for http.ResponseController: what is flushed is a message of a stream.
func (w *passing) FlushError() error {
	if t := w.call.notes; t != nil {
		t.AddMessage()
		if t.Transport() == "" {
			t.SetTransport("json")
			t.Status = w.status
			w.call.api.options.Recorder.Began(w.call.ctx(), t)
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Write implements io.Writer.
func (w *passing) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.written += int64(n)
	return n, err
}
