// Package subscribe is clients of watches, written by hand from the contract: WebSocket, server-sent events, NDJSON and
// poll before the gateway, and etcd's official client as the one to compare with. They record all they see.
package subscribe

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Ask is what a client wants of one connection.
type Ask struct {
	View history.View
	// Start is the first revision to see; 0: the next, or what follows the snapshot.
	Start    int64
	Snapshot bool
}

// Transport opens connections.
type Transport interface {
	// Open asks; a refusal is a *RefusalError. The connection ends with ctx.
	Open(ctx context.Context, ask Ask) (Feed, error)
	String() string
}

// Feed is one connection. Not for concurrent use.
type Feed interface {
	// Next waits for a message. With the last one comes the error that ends the feed: a *RefusalError when the server told why.
	Next() (history.Message, error)
	// Close leaves: in good order, or as a client does that crashes.
	Close(abruptly bool)
}

// RefusalError is a problem document, before the stream or as its last message.
type RefusalError struct {
	Status          int
	Code            string
	Detail          string
	CompactRevision int64 `json:"compact_revision"`
	Revision        int64
	RetryAfterMS    int64 `json:"retry_after_ms"`
}

func (r *RefusalError) Error() string {
	return fmt.Sprintf("%d %s: %s (revision %d, compact revision %d)", r.Status, r.Code, r.Detail, r.Revision, r.CompactRevision)
}

// RetryAfter is how long the server asks to wait.
func (r *RefusalError) RetryAfter() time.Duration {
	return time.Duration(r.RetryAfterMS) * time.Millisecond
}
