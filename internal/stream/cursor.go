package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Cursor is a subscriber's place. It holds no messages: it reads them from its feed, or from a catch-up, when its transport
// has room. One goroutine at a time reads it; everything else may be called by any.
type Cursor struct {
	hub       *Hub
	id        uint64
	request   *Request
	requestID string
	since     time.Time
	deadline  time.Time // zero: none
	// usage counts it among its caller's; nil where nobody is asked.
	usage *authz.Usage
	// epoch and present are those of the store when the watch began.
	epoch   string
	present int64
	began   wire.Header
	// wake tells the transport that there may be something to read. It never blocks, and a wake that comes too late or for
	// nothing does no harm. Before the transport has the cursor, nobody is woken.
	wake   func(*Cursor)
	opened atomic.Bool

	// asked is the revision that the subscriber wants to be certified, 0 for none.
	asked atomic.Int64
	// beat says that it has heard nothing for too long, and starved that no catch-up had room for it.
	beat, starved atomic.Bool
	// heard is when it last got a message, in nanoseconds since the epoch.
	heard atomic.Int64

	mu     sync.Mutex // the innermost lock; it guards what follows
	access access     // on whose behalf it reads
	feed   *feed
	// first are messages that come before all others.
	first []message
	snap  *snapshot // under way
	end   *problem.Error
	ended bool // end is to be said; nil then is a good end
	gone  bool

	// Under the feed's lock.
	next  int64 // the next revision that it needs
	waits int   // its place among the waiting, from 1; 0 for none
	catch *catchup
	pace  pace

	// The reader's own.
	delivered int64  // everything up to it has been handed over
	ballot    ballot // of an election: who stands behind that; set under mu while a snapshot is under way
	finished  bool
	reason    *problem.Error // why it finished; nil is a good end

	// The transport's own.
	queued bool   // it is about to be read
	name   string // the id of its watch on a socket; empty until the socket has the cursor
}

// message is one of those that are made for a single subscriber.
type message struct {
	tail []byte // without its opening brace
	// completes is the revision up to which everything has been told with it, 0 for none.
	completes int64
}

// framer is how a transport frames a message: what comes before it and behind it. dst is what has been gathered.
type framer interface {
	begin(dst []byte, completes int64) []byte
	end(dst []byte) []byte
}

// readState says what there is after a read.
type readState uint8

const (
	readIdle readState = iota // nothing more: wake will be called
	readMore                  // there is more than there was room for
	readOver                  // that was the last message
)

// read appends what is ready, framed, until there is about room. It never blocks.
func (c *Cursor) read(dst []byte, f framer) ([]byte, readState) {
	if c.finished {
		return dst, readOver
	}
	c.mu.Lock()
	first, snap, feed, scope, over, end := c.first, c.snap, c.feed, c.access.scope, c.ended, c.end
	c.first = nil
	c.mu.Unlock()
	for _, m := range first {
		dst = c.put(dst, f, m)
	}
	if over {
		return c.finish(dst, f, end), readOver
	}
	if snap != nil {
		if m, ok := snap.take(); ok {
			return c.put(dst, f, m), readMore
		}
		if c.beat.Swap(false) {
			dst = c.put(dst, f, message{tail: []byte(messageBeat)})
		}
		return dst, readIdle
	}
	if feed == nil || c.moves(feed, scope) { // it is on its way to another one
		return dst, readIdle
	}
	return c.follow(dst, f, feed)
}

// put appends one message.
func (c *Cursor) put(dst []byte, f framer, m message) []byte {
	if m.completes > 0 {
		c.delivered = m.completes
	}
	c.heard.Store(time.Now().UnixNano())
	dst = f.begin(dst, m.completes)
	dst = append(dst, m.tail...)
	return f.end(dst)
}

// finish says how the watch ended; nil is that it was cancelled or its time is over.
func (c *Cursor) finish(dst []byte, f framer, e *problem.Error) []byte {
	c.finished, c.reason = true, e
	dst = f.begin(dst, 0)
	if e == nil {
		c.hub.countEnd("")
		dst = append(dst, messageEnd...)
	} else {
		c.hub.countEnd(e.Code)
		dst = c.hub.appendError(dst, e, c.requestID, c.delivered)
	}
	return f.end(dst)
}

// stop has the cursor say how it ended, after what it has begun to say. The first reason wins.
func (c *Cursor) stop(reason *problem.Error) {
	c.mu.Lock()
	if !c.ended {
		c.ended, c.end = true, reason
	}
	c.mu.Unlock()
	c.nudge()
}

// isStopped tells whether the cursor has been told to end.
func (c *Cursor) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// nudge wakes the transport.
func (c *Cursor) nudge() {
	if c.opened.Load() {
		c.wake(c)
	}
}

// close lets go of everything. The transport calls it once it reads no more; calling it twice is harmless.
func (c *Cursor) close(linger time.Duration) {
	c.mu.Lock()
	gone, f, snap := c.gone, c.feed, c.snap
	c.gone = true
	c.mu.Unlock()
	if gone {
		return
	}
	c.hub.unregister(c)
	if c.usage != nil {
		c.usage.CloseWatch()
	}
	if snap != nil {
		snap.cancel()
	}
	if f != nil {
		f.remove(c, linger)
	}
}
