package stream

import (
	"context"
	"math"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Follower is a watch whose reader has messages of its own: a place in the feed that everyone else who watches the range
// shares. One goroutine at a time calls Take; everything else may be called by any.
type Follower struct {
	cursor *Cursor
	linger time.Duration
}

// Follow begins a watch of the range from the revision start on, 0 for the next; it gives where the store is. The range is as
// etcd takes it, and may have the gateway's own keys in it. wake is called, and must not block, whenever Take may have
// something that it had not.
func (h *Hub) Follow(ctx context.Context, key, end []byte, start int64, prevKV bool, wake func()) (*Follower, wire.Header, error) {
	r := &Request{Start: key, End: end, Revision: start, Heartbeat: math.MaxInt64, form: form{prevKV: prevKV}}
	c, err := h.subscribe(ctx, h.accessOf(authz.From(ctx)), r, "", func(*Cursor) { wake() })
	if err != nil {
		return nil, wire.Header{}, err
	}
	if c.delivered = c.present; start != 0 {
		c.delivered = start - 1
	}
	return &Follower{cursor: c, linger: h.options.Linger}, c.began, nil
}

// Header tells where the store is, by a linearizable read of a key.
func (h *Hub) Header(ctx context.Context, key []byte) (wire.Header, error) {
	return h.header(ctx, h.accessOf(authz.From(ctx)).store, key)
}

// Take gives up to so many further revisions, at most 64, with their events as the feed has them: whether these have the
// former key-values is for the reader to judge. upTo is the revision up to which everything has been given. It never blocks.
// An error is the end of the watch; what is behind upTo can be had by another one, if the error allows it.
func (f *Follower) Take(most int) (changes []etcdclient.Change, upTo int64, err error) {
	c := f.cursor
	c.mu.Lock()
	feed, ended, reason := c.feed, c.ended, c.end
	c.mu.Unlock()
	if ended && reason != nil { // a follower has neither a time-out nor a cancel, the ends without a reason
		return nil, c.delivered, f.over(reason)
	}
	if feed == nil { // it is being moved
		return nil, c.delivered, nil
	}
	var store [batchSize]*entry
	entries, head, err := feed.take(c, store[:0:min(most, batchSize)])
	if stands(err, head+1) && c.move(head+1) {
		return nil, c.delivered, nil
	}
	if err != nil {
		return nil, c.delivered, f.over(err)
	}
	for _, e := range entries {
		changes = append(changes, etcdclient.Change{Revision: e.revision, Events: e.events, Size: e.size, Header: e.header})
	}
	c.delivered = max(c.delivered, head)
	if asked := c.asked.Load(); asked != 0 && c.delivered >= asked {
		c.asked.CompareAndSwap(asked, 0)
	}
	return changes, c.delivered, nil
}

// over counts the end of the watch.
func (f *Follower) over(err error) error {
	f.cursor.hub.countEnd(problem.From(err).Code)
	return err
}

// Certify has the feed find out whether it has everything up to the revision, so that upTo of Take comes to it.
func (f *Follower) Certify(revision int64) {
	f.cursor.asked.Store(max(revision, 1))
	f.cursor.certify()
	f.cursor.nudge()
}

// Close ends the watch. It never blocks, and calling it twice is harmless.
func (f *Follower) Close() { f.cursor.close(f.linger) }
