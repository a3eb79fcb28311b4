package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// probeTimeout bounds the question that a probe asks etcd: an orchestrator's own patience is about that long.
const probeTimeout = 3 * time.Second

// livez answers while the process serves at all, whatever etcd does.
func (a *API) livez(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	c.ok()
	return nil
}

// readyz answers 200 when etcd answers a linearizable read and the gateway is not stopping.
func (a *API) readyz(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	if a.draining.Load() {
		return problem.New(problem.Draining, "the gateway is stopping").WithRetryAfter(time.Second)
	}
	if err := a.ask(c.ctx(), false); err != nil {
		return err
	}
	c.ok()
	return nil
}

// Ready tells whether etcd answers and the gateway is not stopping: readyz for the admin listener.
func (a *API) Ready(ctx context.Context) error {
	if a.draining.Load() {
		return problem.New(problem.Draining, "the gateway is stopping")
	}
	return a.ask(ctx, false)
}

func (c *call) ok() {
	c.openObject()
	c.textMember("status", "ok")
	c.closeObject()
}

// ask sends the cheapest read that proves a quorum (or with serializable, a member).
func (a *API) ask(ctx context.Context, serializable bool) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	answer, err := a.store.Range(ctx, &wire.RangeRequest{Key: []byte("health"), CountOnly: true, Serializable: serializable})
	if err == nil {
		answer.Free()
	}
	if refusedAfterAsking(err) {
		return nil
	}
	return err
}

// refusedAfterAsking tells whether etcd answered that the gateway's user may not read the key, or that the gateway has none,
// where all callers bring users of their own. That is no less of an answer: etcd agrees on a read before it looks at rights.
// Its own /health goes by the same.
func refusedAfterAsking(err error) bool {
	e, ok := errors.AsType[*etcdclient.Error](err)
	return ok && e.Answered && (e.Name == "PermissionDenied" || e.Name == "UserEmpty")
}

// health answers what etcd's own /health does, for probes that knew etcd: health and reason as text, 503 when ill.
func (a *API) health(c *call) error {
	serializable := c.query.Boolean("serializable")
	exclude := c.query.All("exclude")
	if err := c.query.Done(); err != nil {
		return err
	}
	var reason string
	if err := a.ask(c.ctx(), serializable); err != nil {
		reason = "RANGE ERROR:" + string(problem.From(err).Code)
	} else {
		reason = a.alarmed(c.ctx(), exclude)
	}
	c.openObject()
	if reason == "" {
		c.textMember("health", "true")
	} else {
		c.status = http.StatusServiceUnavailable
		c.textMember("health", "false")
	}
	c.textMember("reason", reason)
	c.closeObject()
	return nil
}

// alarmed names a raised alarm that is not excluded. A serializable probe works without a quorum, which alarms need, so
// an alarm that cannot be asked for is none.
func (a *API) alarmed(ctx context.Context, exclude []string) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	alarms, _, err := a.backend.Alarms(ctx)
	if err != nil {
		return ""
	}
	for _, alarm := range alarms {
		if !contains(exclude, alarm.Kind) {
			return "ALARM " + alarm.Kind
		}
	}
	return ""
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
