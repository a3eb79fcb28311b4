package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	ndjsonType  = "application/x-ndjson"
)

// finish writes the answer, or the problem when err is not nil. It is the one place that writes, but for streams.
func (c *call) finish(err error) {
	if c.streamed {
		c.finishStream(err)
		return
	}
	if c.answered && err == nil {
		return
	}
	h := c.w.Header()
	if err != nil {
		c.problem(c.whoLeft(problem.From(err)))
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	set(h, "X-Request-Id", c.id)
	if c.revision > 0 {
		set(h, "Etcd-Revision", strconv.FormatInt(c.revision, 10))
	}
	if c.etag > 0 {
		set(h, "Etag", `"`+strconv.FormatInt(c.etag, 10)+`"`)
		set(h, "Cache-Control", "private, no-cache")
	} else if h["Cache-Control"] == nil {
		set(h, "Cache-Control", "no-store")
	}
	set(h, "Server-Timing", c.timing())
	if c.status == http.StatusNoContent || c.status == http.StatusNotModified {
		c.w.WriteHeader(c.status)
		return
	}
	if c.contentType == "" {
		c.contentType = jsonType
	}
	set(h, "Content-Type", c.contentType)
	if c.etag == 0 && c.contentType == jsonType && len(c.body) >= gzipMinBytes && acceptsGzip(c.r.Header) {
		c.writeGzip()
		return
	}
	set(h, "Content-Length", strconv.Itoa(len(c.body)))
	c.w.WriteHeader(c.status)
	if c.r.Method != http.MethodHead {
		w := pacedWriter{w: c.w, left: c.left()}
		_, _ = w.Write(c.body) // the caller may be gone, which is not our error
		c.written = w.n
	}
}

// set is Header.Set for names that are canonical already.
func set(h http.Header, name, value string) { h[name] = []string{value} }

// timing says how long the call took, in milliseconds.
func (c *call) timing() string {
	b := make([]byte, 0, 24)
	b = append(b, "total;dur="...)
	b = strconv.AppendFloat(b, float64(time.Since(c.started).Microseconds())/1000, 'f', 3, 64)
	return string(b)
}

// problem turns the answer into application/problem+json.
func (c *call) problem(e *problem.Error) {
	c.noteProblem(e)
	info := e.Code.Info()
	c.status, c.etag, c.contentType = info.Status, 0, problemType
	if c.route.compat && c.api.options.Compat != nil {
		c.contentType = jsonType
		c.body = c.api.options.Compat.AppendError(c.body[:0], e)
	} else {
		c.body = c.appendProblem(c.body[:0], e)
	}
	if counted, ok := e.Extra["revision"].(int64); ok && e.Code == problem.TooManyDeletes {
		c.revision = counted
	}
	h := c.w.Header()
	if e.RetryAfter > 0 {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		set(h, "Retry-After", strconv.FormatInt(seconds, 10))
	} else if info.Status == http.StatusTooManyRequests || info.Status == http.StatusServiceUnavailable {
		set(h, "Retry-After", "1")
	}
	if info.Status == http.StatusUnauthorized {
		if h["Www-Authenticate"] == nil {
			set(h, "Www-Authenticate", "Bearer")
		}
	}
	if e.Code == problem.Internal {
		c.api.options.Logger.ErrorContext(c.ctx(), "internal error",
			"error", e.Error(), "request_id", c.id, "operation", c.route.operation)
	}
}

// whoLeft tells a caller that went away from one that the gateway itself cuts off when its time to stop has run out: both
// end the request's context.
func (c *call) whoLeft(e *problem.Error) *problem.Error {
	if e.Code != problem.ClientGone || !c.api.draining.Load() {
		return e
	}
	return problem.New(problem.Draining, "the gateway stopped before etcd answered").WithOutcome(outcome(e)).WithRetryAfter(time.Second).Because(e)
}

// appendProblem appends the document and its extension members, with a newline.
func (c *call) appendProblem(dst []byte, e *problem.Error) []byte {
	d := problem.Document{Base: c.api.base(), RequestID: c.id, Write: c.isWrite()}
	dst, err := d.Append(dst, e)
	if err != nil {
		c.api.options.Logger.ErrorContext(c.ctx(), "problem extension", "error", err, "request_id", c.id)
	}
	return append(dst, '\n')
}

// base is the prefix of the gateway's own URLs: the public URL, or "" for paths on this host.
func (a *API) base() string { return a.options.PublicURL }
