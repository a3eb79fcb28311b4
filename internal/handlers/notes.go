package handlers

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// Recorder keeps what operators want to know of each request: logs and traces.
type Recorder interface {
	// Begin is called when the route is known. The context it gives is the request's from then on.
	Begin(r *http.Request, t *trail.Request) context.Context
	// Began is called when a stream has answered, and goes on.
	Began(ctx context.Context, t *trail.Request)
	// Happened is called when the request's caller has got something that has a line of its own, and is no write.
	Happened(ctx context.Context, w *trail.Write)
	// End is called when the answer, or the stream, is over.
	End(ctx context.Context, t *trail.Request)
}

// note begins the call's notes, if somebody wants them.
func (c *call) note() {
	recorder := c.api.options.Recorder
	if recorder == nil {
		return
	}
	t := &trail.Request{
		ID: c.id, Method: c.r.Method, Protocol: c.r.Proto, Remote: c.r.RemoteAddr, Started: c.started,
		Route: c.route.pattern, Operation: c.route.operation, Writes: c.route.writes,
	}
	ctx := trail.With(recorder.Begin(c.r, t), t)
	t.Begin(func() { recorder.End(ctx, t) })
	c.notes = t
	body := c.r.Body
	c.r = c.r.WithContext(ctx)
	if body != nil && body != http.NoBody {
		c.r.Body = &meteredBody{ReadCloser: body, notes: t}
	}
	c.received = c.r
}

// meteredBody counts what is read of a body.
type meteredBody struct {
	io.ReadCloser
	notes *trail.Request
}

// Read implements io.Reader.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.notes.AddReceived(n)
	return n, err
}

// noteKey notes the beginning of the key that the request is about, if it names one.
func (c *call) noteKey() {
	if c.notes == nil {
		return
	}
	name, text := "key", ""
	if c.route.keyPrefix != "" {
		text = c.r.URL.Path[min(len(c.route.keyPrefix), len(c.r.URL.Path)):]
	} else {
		for _, name = range [...]string{"prefix", "key", "from"} {
			if text = c.query.Peek(name); text != "" {
				break
			}
		}
	}
	if key, err := c.query.DecodeKey(name, text); err == nil {
		c.notes.KeyPrefix = trail.KeyPrefix(key)
	}
}

// noteTurn notes that the place is the oldest now, whether the caller had to wait for that or not: nobody writes anything when
// his turn comes.
func (c *call) noteTurn(p *place) {
	recorder := c.api.options.Recorder
	if recorder == nil || !p.created {
		return
	}
	key := p.key
	if c.caller != nil {
		key = slices.Concat(c.caller.Namespace, p.key)
	}
	recorder.Happened(c.ctx(), &trail.Write{
		Event: c.route.turn, Lease: p.lease, TTL: p.ttl, Outcome: trail.Applied, Revision: c.revision,
		Details: []trail.Detail{{Name: "key", Value: string(key)}, {Name: "fencing_token", Value: strconv.FormatInt(p.token, 10)}},
	})
}

// noteProblem notes the problem that the call is answered with.
func (c *call) noteProblem(e *problem.Error) {
	if c.notes != nil {
		c.notes.Code, c.notes.Outcome = string(e.Code), string(outcome(e))
	}
}

// noted ends the notes, but for a stream that goes on.
func (c *call) noted() {
	if c.notes == nil {
		return
	}
	c.notes.Status = c.status
	c.notes.AddSent(c.written)
	c.notes.Done()
}
