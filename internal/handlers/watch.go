package handlers

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
)

// Watches answers the routes that watch; *stream.Hub satisfies it. An error means that nothing has been written. The request
// id of an answer is its X-Request-Id, which is set before.
type Watches interface {
	// Watch serves a watch over the transport that the request asks for, for as long as it lasts.
	Watch(w http.ResponseWriter, r *http.Request, q *query.Query) error
	// Poll gives what has happened as one JSON document, and the revision that it covers.
	Poll(w http.ResponseWriter, r *http.Request, q *query.Query) (body []byte, revision int64, err error)
}

// watch answers GET /v1/watch.
func (a *API) watch(c *call) error {
	if a.options.Watches == nil {
		return errNoWatches()
	}
	set(c.w.Header(), "X-Request-Id", c.id)
	if err := a.options.Watches.Watch(c.w, c.r, &c.query.Query); err != nil {
		return err
	}
	c.answered, c.status = true, http.StatusOK
	return nil
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
