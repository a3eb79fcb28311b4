package authz

import "context"

// Refusal is why a caller was not let in, for those who tell him so by themselves: what is answered to the handshake of a
// WebSocket, no script in a browser can see.
type Refusal struct {
	Err error
	// Anonymous says that the caller has shown nothing, and may yet say who he is.
	Anonymous bool
}

type refusalKey struct{}

// WithRefusal puts the refusal of the caller into a context that has no caller.
func WithRefusal(ctx context.Context, r *Refusal) context.Context {
	return context.WithValue(ctx, refusalKey{}, r)
}

// RefusalOf gives the refusal, nil when the caller was let in, or nobody was asked who he is.
func RefusalOf(ctx context.Context) *Refusal {
	r, _ := ctx.Value(refusalKey{}).(*Refusal)
	return r
}
