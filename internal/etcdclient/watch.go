package etcdclient

import (
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Change is all that happened to a watched range at one revision. It is immutable and its memory belongs to whoever holds
// it.
type Change struct {
	Revision int64
	Events   []wire.Event
	// Size is the number of bytes that it holds.
	Size int
}

// WatchRequest says what to watch.
type WatchRequest struct {
	// Key and End are as in a range: no End is one key, an End of one NUL byte is every key from Key on.
	Key, End []byte
	// Revision is the first one wanted; it is positive.
	Revision int64
	PrevKV   bool
	// Alone gives the watch a stream of its own: its Watcher may block, which holds nothing up but this watch.
	Alone bool
	// MaxRevisionBytes bounds one revision: a larger one ends the watch with NameRevisionTooLarge; 0 is 64 MiB.
	MaxRevisionBytes int
}

// Watcher takes what a watch delivers. Its methods are called one at a time, in order. Unless the watch is Alone they must
// not block.
type Watcher interface {
	// Created says that etcd has accepted the watch; it is called again after each resume.
	Created()
	// Changes are whole revisions, ascending, each once, never below WatchRequest.Revision.
	Changes(changes []Change)
	// Progress certifies that everything up to the revision has been delivered.
	Progress(revision int64)
	// Lost says that the watch was interrupted; it goes on from the next revision by itself.
	Lost(err error)
	// Ended is the last call, exactly once, except after Stop. The error is an *Error; errors.Is finds ErrCompacted in it
	// when that is why, and CompactRevision tells where the log begins.
	Ended(err error)
}

// Watch is a watch under way. It is safe for concurrent use.
type Watch struct{}

// Watch begins a watch, and never blocks.
func (c *Client) Watch(r WatchRequest, w Watcher) *Watch { return new(Watch) }

// Watch is Client.Watch within the namespace.
func (n *Namespaced) Watch(r WatchRequest, w Watcher) *Watch { return new(Watch) }

// RequestProgress asks for a Progress soon. It never blocks.
func (w *Watch) RequestProgress() {}

// Stop ends the watch. It never blocks; a call of the Watcher that is under way may still finish, and none follows.
// Stopping twice is harmless, and so is stopping from inside a Watcher's method.
func (w *Watch) Stop() {}
