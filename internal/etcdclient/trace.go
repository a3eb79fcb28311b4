package etcdclient

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// Tracer follows the calls that are made for somebody. It must be safe for concurrent use.
type Tracer interface {
	// Attempt begins one attempt at a call. It gives the context to make it with, what to tell etcd of the trace (the value of
	// traceparent, empty for nothing), and what to call when the attempt has ended.
	Attempt(ctx context.Context, a trail.Attempt) (attempt context.Context, traceparent string, end func(error))
	// Shared gives, for a call that is made for all of the callers, a context that is none of theirs, but refers to them.
	Shared(ctx context.Context, callers []context.Context) context.Context
}

// traced begins an attempt for the tracer, whose metadata go out with it.
func (c *Client) traced(ctx context.Context, m *method, conn *conn, n int) (context.Context, func(error)) {
	tracer := c.pool.config.Tracer
	if tracer == nil {
		return ctx, nil
	}
	ctx, parent, end := tracer.Attempt(ctx, trail.Attempt{Method: m.name, Endpoint: conn.endpoint.name, Member: conn.member.Load().id, Number: n})
	if parent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", parent)
	}
	return ctx, end
}

// sharedContext is the context of a call for several callers: what is noted of each of them is not of the call.
func (c *Client) sharedContext(reads []*read) context.Context {
	ctx := context.WithoutCancel(reads[0].ctx)
	if trail.From(ctx) != nil {
		ctx = trail.With(ctx, nil)
	}
	tracer := c.pool.config.Tracer
	if tracer == nil || len(reads) == 1 {
		return ctx
	}
	callers := make([]context.Context, len(reads))
	for i, r := range reads {
		callers[i] = r.ctx //nolint:fatcontext // a list of them, not one inside the other
	}
	return tracer.Shared(ctx, callers)
}
