// Package traffic is writers: they change keys in every way there is, by etcd's official client and through the gateway,
// with values that are never written twice, and keep what they were told.
package traffic

import (
	"context"
	"time"
)

// Op is one change of a transaction.
type Op struct {
	Delete     bool
	Key, Value string
	Lease      int64 // of the puts through etcd's client
	TTL        int64 // of the puts through the gateway, which grants the lease
}

// Told is what a writer was told of a write.
type Told string

// The outcomes, in the gateway's words.
const (
	Applied    Told = "applied"
	NotApplied Told = "not_applied"
	Unknown    Told = "unknown"
)

// Write is one write and what became of it.
type Write struct {
	Ops      []Op
	Told     Told
	Revision int64 // of the answer
	Err      error
	Ended    time.Time
}

// Store is a way to write. A single operation is a plain put or delete, several are one transaction.
type Store interface {
	Write(ctx context.Context, ops []Op) Write
}
