package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// flushBytes is how much of a streamed answer is gathered before it is written.
const flushBytes = 32 << 10

// writeTimeout is how long one write of a stream may block on a slow reader.
const writeTimeout = 30 * time.Second

// startStream writes the status line and headers of an NDJSON answer. From here on a failure is said as a last line of
// type error, and a stream without a last line was cut. The handler appends whole lines to c.body and calls flushLines.
func (c *call) startStream() {
	c.streamed = true
	h := c.w.Header()
	set(h, "X-Request-Id", c.id)
	if c.revision > 0 {
		set(h, "Etcd-Revision", strconv.FormatInt(c.revision, 10))
	}
	set(h, "Cache-Control", "no-store")
	set(h, "Content-Type", ndjsonType)
	set(h, "Server-Timing", c.timing())
	set(h, "X-Accel-Buffering", "no")
	c.status = http.StatusOK
	c.w.WriteHeader(c.status)
	c.body = c.body[:0]
}

// flushLines writes the gathered lines when there are enough of them, or all of them when now is set. An error means that
// the caller is gone.
func (c *call) flushLines(now bool) error {
	if len(c.body) == 0 || (!now && len(c.body) < flushBytes) {
		return nil
	}
	if c.r.Method == http.MethodHead {
		c.body = c.body[:0]
		return nil
	}
	rc := http.NewResponseController(c.w)
	if !c.left() {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines (tests)
	}
	n, err := c.w.Write(c.body)
	c.written += int64(n)
	c.body = c.body[:0]
	if err == nil && now {
		err = rc.Flush()
	}
	if err != nil {
		return problem.New(problem.ClientGone, "the client went away").Because(err)
	}
	return nil
}

// finishStream ends a stream: what is left, and for a failure the error line.
func (c *call) finishStream(err error) {
	if err != nil {
		e := problem.From(err)
		c.noteProblem(e)
		c.body = append(c.body, `{"type":"error","error":`...)
		c.body = c.appendProblem(c.body, e)
		c.body = append(c.body[:len(c.body)-1], "}\n"...)
		if e.Code == problem.Internal {
			c.api.options.Logger.ErrorContext(c.ctx(), "internal error in a stream",
				"error", e.Error(), "request_id", c.id, "operation", c.route.operation)
		}
	}
	_ = c.flushLines(true) // nobody is left to tell
}
