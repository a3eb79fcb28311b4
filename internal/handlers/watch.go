package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
	"github.com/etcdrest/etcdrest/internal/ticket"
)

// Watches answers the routes that watch; *stream.Hub satisfies it. An error means that nothing has been written. The request
// id of an answer is its X-Request-Id, which is set before, and the caller is in the request's context (authz.From), or why
// there is none (authz.RefusalOf).
type Watches interface {
	// Watch serves a watch over the transport that the request asks for, for as long as it lasts.
	Watch(w http.ResponseWriter, r *http.Request, q *query.Query) error
	// Poll gives what has happened as one JSON document, and the revision that it covers.
	Poll(w http.ResponseWriter, r *http.Request, q *query.Query) (body []byte, revision int64, err error)

	// AppendStreams appends the document {"streams": […]}: the connections that watch, the oldest first.
	AppendStreams(dst []byte) ([]byte, error)
	// AppendStream appends one of them; the error of an unknown id is stream_not_found.
	AppendStream(dst []byte, id string) ([]byte, error)
	// AppendState appends a JSON object: how much is watched, and the limits.
	AppendState(dst []byte) ([]byte, error)
	// End has the watches of a connection say that they end, and then ends it; false when there is none of that id.
	End(id string) bool
}

// watch answers GET /v1/watch.
func (a *API) watch(c *call) error {
	if a.options.Watches == nil {
		return errNoWatches()
	}
	set(c.w.Header(), "X-Request-Id", c.id)
	begun := &begun{ResponseWriter: c.w, call: c}
	if err := a.options.Watches.Watch(begun, c.r, &c.query.Query); err != nil {
		return err
	}
	c.answered, c.status = true, begun.status
	if errors.Is(context.Cause(c.ctx()), ticket.ErrTaken) {
		panic(http.ErrAbortHandler) // a clean end of the answer would pass for the end of the watch
	}
	return nil
}

// begun notes the status that a stream began with: 101 for a WebSocket. Unwrap keeps http.ResponseController working.
type begun struct {
	http.ResponseWriter
	call   *call
	status int
}

func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *begun) WriteHeader(status int) {
	b.status = status
	if c := b.call; c.notes.Transport() != "" {
		c.notes.Status = status
		c.api.options.Recorder.Began(c.ctx(), c.notes)
	}
	b.ResponseWriter.WriteHeader(status)
}

// pollEvents answers GET /v1/watch/poll.
func (a *API) pollEvents(c *call) error {
	if a.options.Watches == nil {
		return errNoWatches()
	}
	set(c.w.Header(), "X-Request-Id", c.id)
	body, revision, err := a.options.Watches.Poll(c.w, c.r, &c.query.Query)
	if err != nil {
		return err
	}
	c.body, c.revision = append(c.body, body...), revision
	return nil
}

func errNoWatches() error { return problem.New(problem.NotSupported, "this gateway serves no watches") }
