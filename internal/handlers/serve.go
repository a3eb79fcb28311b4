package handlers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// ServeHTTP serves one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

// serve is the life of a request, from the route to the last byte.
func (a *API) serve(rt *route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := a.newCall(w, r)
		c.route = rt
		c.id = requestID(r.Header)
		c.note() //nolint:contextcheck // a call carries its request, and so its context
		c.boundBody()
		c.standsAlone()
		defer c.end()      //nolint:contextcheck // as above
		err := a.handle(c) //nolint:contextcheck // as above
		c.pace(err)        //nolint:contextcheck // as above
		c.finish(err)      //nolint:contextcheck // as above
	}
}

// handle guards, parses and dispatches one call.
func (a *API) handle(c *call) error {
	if err := a.guard(c); err != nil {
		return err
	}
	if err := a.room(c); err != nil {
		return err
	}
	if err := a.admit(c); err != nil {
		return err
	}
	defer c.letGo()
	if c.route.compat {
		return c.route.handle(a, c)
	}
	if err := c.query.Parse(c.r.URL.RawQuery); err != nil {
		return err
	}
	c.query.Common()
	c.noteKey()
	if c.query.Given("state") {
		if err := c.needsAdmin(); err != nil {
			return err
		}
	}
	if !c.route.live && (!c.route.long || c.query.Timeout > 0) {
		ctx, cancel := context.WithTimeout(c.r.Context(), a.limit(&c.query))
		defer cancel()
		c.r = c.r.WithContext(ctx)
	}
	answered, release, err := c.once()
	defer release()
	if answered || err != nil {
		return err
	}
	return c.route.handle(a, c)
}

// boundBody bounds the time of a body that nobody may want to read: net/http takes in the rest of one before it answers. Whoever
// reads it sets bounds of his own.
func (c *call) boundBody() {
	if c.r.ContentLength != 0 && c.r.Body != http.NoBody {
		_ = http.NewResponseController(c.w).SetReadDeadline(c.started.Add(c.api.options.RequestTimeout)) // not every writer has deadlines (tests)
	}
}

// standsAlone has the connection closed behind a request of which a proxy could think that it ends elsewhere: what comes next
// could be a part of it, put there by its sender for others to pay. net/http takes chunks beside a Content-Length, and in HTTP/1.0,
// and does not tell (RFC 9112, sections 6.1 and 11.2), so each body in chunks is meant, and each of HTTP/1.0.
func (c *call) standsAlone() {
	if c.r.ProtoMajor == 1 && c.r.ContentLength != 0 && (c.r.ContentLength < 0 || c.r.ProtoMinor == 0) {
		set(c.w.Header(), "Connection", "close")
	}
}

// limit is the time that the call has: what it asks for, else the default, and what it wants to wait for on top.
func (a *API) limit(q *params) time.Duration {
	if q.Timeout > 0 {
		return time.Duration(q.Timeout) * time.Second
	}
	return a.options.RequestTimeout + time.Duration(q.Waiting())*time.Second
}

// end is the panic guard, the measuring and the recycling. A panic after the first byte can only cut the answer.
func (c *call) end() {
	if p := recover(); p != nil {
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			c.observe()
			c.uncount()
			panic(p)
		}
		c.api.options.Logger.ErrorContext(c.ctx(), "panic in a handler",
			"panic", p, "request_id", c.id, "operation", c.route.operation, "stack", string(debug.Stack()))
		if c.written > 0 || c.streamed {
			c.observe()
			c.uncount()
			panic(http.ErrAbortHandler)
		}
		c.finish(problem.New(problem.Internal, "the gateway could not do this because of a fault of its own; its log has the cause"))
	}
	c.observe()
	c.uncount()
	c.recycle()
}

// observe counts the call; how long one took whose caller chose that is not told.
func (c *call) observe() {
	c.noted()
	o := c.api.options.Observer
	if o == nil {
		return
	}
	took := time.Since(c.started)
	if c.route.live || c.waits || c.lasts || c.query.Waiting() > 0 {
		took = 0
	}
	o.Observe(c.route.pattern, c.r.Method, c.status, took, c.written)
}

// requestID is the caller's own id when it is short and plain, else a new one.
func requestID(h http.Header) string {
	if id := h.Get("X-Request-Id"); plainID(id) {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func plainID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
