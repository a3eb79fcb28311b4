package etcdclient

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Change is all that happened to a watched range at one revision. It is immutable and its memory belongs to whoever holds
// it.
type Change struct {
	Revision int64
	Events   []wire.Event
	// Size is the number of bytes that it holds.
	Size int
	// Header is that of etcd's answer, with the revision of the change.
	Header wire.Header
}

// WatchRequest says what to watch.
type WatchRequest struct {
	// Key and End are as in a range: no End is one key, an End of one NUL byte is every key from Key on.
	Key, End []byte
	// Revision is the first one wanted. It is always given, and positive.
	Revision int64
	PrevKV   bool
	// Alone gives the watch a stream of its own: its Watcher may block, which holds up nothing but this watch.
	Alone bool
	// MaxRevisionBytes bounds one revision: a larger one ends the watch with NameRevisionTooLarge; 0 is 64 MiB.
	MaxRevisionBytes int
}

// Watcher takes what a watch delivers. Its methods are called one at a time, in order. Unless the watch is Alone they must
// not block; then they may, but not for longer than the client is open, since Close waits for them.
type Watcher interface {
	// Created says that etcd has accepted the watch; it is called again after each resume. It certifies nothing: a start
	// that is compacted ends the watch after it.
	Created()
	// Changes are whole revisions, ascending, each once, never below WatchRequest.Revision.
	Changes(changes []Change)
	// Progress certifies that everything up to the revision has been delivered.
	Progress(revision int64)
	// Lost says that the watch was interrupted, or that an attempt to go on has failed; it goes on from the next revision
	// by itself.
	Lost(err error)
	// Ended is the last call, exactly once, except after Stop. The error is an *Error; errors.Is finds ErrCompacted in it
	// when that is why, and CompactRevision tells where the log begins.
	Ended(err error)
}

// Watch is a watch under way. It is safe for concurrent use.
type Watch struct {
	hub     *watches
	watcher Watcher
	prefix  namespace
	request wire.WatchCreateRequest // without revision and id
	// alone gives it a stream of its own, on a connection that fits.
	alone bool
	fits  func(*conn) bool
	// certain ends it where etcd's progress is not to be trusted.
	certain bool

	// These are guarded by hub.mu.
	over   bool         // stopped or ended: nothing is delivered any more
	stream *watchStream // that it is on; nil when it is over
	id     int64        // on the open stream; 0 before etcd was asked there
	open   bool         // Created came on the open stream
	asks   bool         // progress is wanted, and has not been asked for
	asked  bool         // progress was asked for, and has not been answered

	// These belong to the goroutine of the stream that it is on.
	revisions revisions
	failures  int // times in a row that etcd cancelled this watch and not its stream
	refusals  int // tokens in a row that etcd refused for it
}

const (
	defaultMaxRevision = 64 << 20
	// largestShared is the size from which on a request to watch does not travel with others: should it be more than etcd
	// takes, it costs them their stream.
	largestShared = 32 << 10
)

// Watch begins a watch, and never blocks. It ends when it is stopped, when the client is closed, or with Ended when etcd
// refuses it; anything else that happens to streams, connections and members only interrupts it.
func (c *Client) Watch(r WatchRequest, w Watcher) *Watch { return c.watchIn(r, w, nil, false) }

// Watch is Client.Watch within the namespace. An empty Key is the first key there can be, as it is for etcd.
func (n *Namespaced) Watch(r WatchRequest, w Watcher) *Watch {
	return n.client.watchIn(n.space.watchRequest(r), w, n.space, false)
}

func (c *Client) watchIn(r WatchRequest, watcher Watcher, prefix namespace, certain bool) *Watch {
	w := &Watch{
		hub: c.watches, watcher: watcher, prefix: prefix, fits: c.fits, certain: certain,
		request:   wire.WatchCreateRequest{Key: bytes.Clone(r.Key), End: bytes.Clone(r.End), PrevKV: r.PrevKV, Fragment: true},
		alone:     r.Alone || c.fits != nil || len(r.Key)+len(r.End) > largestShared,
		revisions: revisions{next: r.Revision, most: r.MaxRevisionBytes},
	}
	if w.revisions.most == 0 {
		w.revisions.most = defaultMaxRevision
	}
	c.watches.begin(w)
	return w
}

// fault says what is wrong with a request to watch before etcd is asked.
func (w *Watch) fault() *Error {
	most := w.hub.client.pool.config.MaxSendBytes
	switch size := room + len(w.request.Key) + len(w.request.End); {
	case w.revisions.next <= 0:
		return errArgument(methodWatch, "the revision to watch from is not positive")
	case w.revisions.most < 0:
		return errArgument(methodWatch, "the most bytes of a revision are negative")
	case size > most:
		return errTooLargeToSend(methodWatch, size, most)
	}
	return nil
}

// RequestProgress asks for a Progress soon: what etcd certifies after now. It never blocks, and many requests cost little
// more than one. There is none where etcd's progress cannot be trusted (before 3.4.31, and 3.5 before 3.5.13), nor while
// a watch of the same stream begins beyond the store's revision.
func (w *Watch) RequestProgress() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.stream != nil && !w.asks {
		w.asks = true
		w.stream.wake()
	}
}

// Stop ends the watch. It never blocks; a call of the Watcher that is under way may still finish, and none follows.
// Stopping twice is harmless, and so is stopping from inside a Watcher's method.
func (w *Watch) Stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.removeLocked(w)
}
