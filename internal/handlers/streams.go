package handlers

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// listStreams answers GET /v1/gateway/streams: who watches what at this gateway.
func (a *API) listStreams(c *call) error {
	return c.ofWatches(func(w Watches) (err error) {
		c.body, err = w.AppendStreams(c.body)
		return err
	})
}

// getStream answers GET /v1/gateway/streams/{id}.
func (a *API) getStream(c *call) error {
	return c.ofWatches(func(w Watches) (err error) {
		c.body, err = w.AppendStream(c.body, chi.URLParam(c.r, "id"))
		return err
	})
}

// endStream answers DELETE /v1/gateway/streams/{id}. The client is told to come back, and does unless it is told otherwise.
func (a *API) endStream(c *call) error {
	return c.ofWatches(func(w Watches) error {
		if !w.End(chi.URLParam(c.r, "id")) {
			return problem.New(problem.StreamNotFound, "no stream of this gateway has that id")
		}
		c.status = http.StatusNoContent
		if c.notes != nil {
			c.notes.Applied = true
		}
		return nil
	})
}

// gateway answers GET /v1/gateway: what this gateway is, what it does and its limits.
func (a *API) gateway(c *call) error {
	return c.ofWatches(func(w Watches) (err error) {
		c.openObject()
		c.textMember("version", a.options.Version)
		c.boolMember("draining", a.draining.Load())
		c.name("limits")
		c.openObject()
		c.intMember("max_body_bytes", a.options.MaxBodyBytes)
		c.intMember("max_value_bytes", a.options.MaxValueBytes)
		c.intMember("request_timeout", int64(a.options.RequestTimeout/time.Second))
		c.closeObject()
		c.body[len(c.body)-1] = ','
		c.name("watching")
		if c.body, err = w.AppendState(c.body); err != nil {
			return err
		}
		c.closeObject()
		return nil
	})
}

// ofWatches does what needs no more than the watches of a gateway that has some.
func (c *call) ofWatches(do func(Watches) error) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	w := c.api.options.Watches
	if w == nil {
		return errNoWatches()
	}
	return do(w)
}
