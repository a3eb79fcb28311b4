package telemetry

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// Recorder keeps notes of every request and hands them to those who are there. The zero value has nobody to hand them to.
type Recorder struct {
	Access *AccessLog
	Audit  *AuditLog
	Traces *Tracing
}

// Idle tells whether nobody wants notes.
func (r *Recorder) Idle() bool { return r.Access == nil && r.Audit == nil && r.Traces == nil }

// Begin is called when the route of a request is known.
func (r *Recorder) Begin(request *http.Request, t *trail.Request) context.Context {
	if r.Traces == nil {
		return request.Context()
	}
	return r.Traces.begin(request, t)
}

// Began is called when a stream has answered, and goes on.
func (r *Recorder) Began(ctx context.Context, t *trail.Request) {
	if r.Access != nil {
		r.Access.began(ctx, t)
	}
}

// Happened is called when a caller has got what others had until then.
func (r *Recorder) Happened(ctx context.Context, w *trail.Write) {
	if r.Audit != nil {
		r.Audit.Written(ctx, w)
	}
}

// End is called when the answer, or the stream, is over.
func (r *Recorder) End(ctx context.Context, t *trail.Request) {
	if r.Audit != nil && t.Recorded() == 0 && asksToWrite(t) {
		r.Audit.asked(t)
	}
	if r.Traces != nil {
		r.Traces.end(ctx, t)
	}
	if r.Access != nil {
		r.Access.ended(ctx, t)
	}
}

// asksToWrite tells whether a request would have changed something. A route of /v3 does not say so: there it is a refusal at
// the door that counts, whatever it was for.
func asksToWrite(t *trail.Request) bool {
	return t.Writes || strings.HasPrefix(t.Route, "/v3") && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, t.Status)
}
