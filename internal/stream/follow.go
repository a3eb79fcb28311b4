package stream

import (
	"errors"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// batchSize is how many revisions a cursor takes at a time.
const batchSize = 64

// follow reads what the feed, or a catch-up, has from the cursor's place on.
func (c *Cursor) follow(dst []byte, f framer, feed *feed) ([]byte, readState) {
	var store [batchSize]*entry
	left := room
	for {
		entries, head, err := feed.take(c, store[:0])
		for _, e := range entries {
			text, size, refused := c.event(dst, f, e)
			if refused != nil {
				return c.finish(dst, f, problem.From(refused)), readOver
			}
			dst, left = text, left-size
		}
		switch {
		case err != nil:
			return c.leave(dst, f, err, head+1)
		case len(entries) == 0:
			c.delivered = max(c.delivered, head)
			return c.bookmark(dst, f), readIdle
		case left <= 0:
			return dst, readMore
		}
	}
}

// bookmark tells how far the watch is, when the subscriber has asked or has heard nothing for too long.
func (c *Cursor) bookmark(dst []byte, f framer) []byte {
	asked := c.asked.Load()
	if !c.beat.Swap(false) && (asked == 0 || c.delivered < asked) {
		return dst
	}
	if asked != 0 && c.delivered >= asked {
		c.asked.CompareAndSwap(asked, 0)
	}
	return c.put(dst, f, message{appendRevision(nil, "progress", c.delivered), c.delivered})
}

// event appends the message of one revision, if the subscriber wants anything of it, and gives the size of that.
func (c *Cursor) event(dst []byte, f framer, e *entry) (_ []byte, size int, err error) {
	if c.request.form.election {
		return c.vote(dst, f, e)
	}
	c.delivered = e.revision
	array := e.array(c.request.form)
	if len(array) == 0 {
		return dst, 0, nil
	}
	c.heard.Store(time.Now().UnixNano())
	dst = f.begin(dst, e.revision)
	dst = appendEvents(dst, e.revision, array)
	return f.end(dst), len(array), nil
}

// leave ends the watch, or begins it anew with a snapshot where the history is gone and the subscriber wants that.
func (c *Cursor) leave(dst []byte, f framer, err error, next int64) ([]byte, readState) {
	e := problem.From(err)
	if stands(err, next) && c.move(next) {
		return dst, readIdle
	}
	if c.request.Resync && isGone(e) && c.resync(e.Code) {
		c.delivered = 0 // what has been delivered is to be forgotten: there is nothing to resume behind
		return dst, readIdle
	}
	return c.finish(dst, f, e), readOver
}

// stands tells whether the cursor's own place is not compacted, although what it has read from was: a feed can be behind its
// cursors when the member that it watches hangs.
func stands(err error, next int64) bool {
	e, ok := errors.AsType[*etcdclient.Error](err)
	return ok && e.CompactRevision > 0 && next >= e.CompactRevision
}

// take gives the cursor the next revisions, as many as into has room for, and moves it behind them; head is the revision up to which it has read
// everything then, or had when there is an error. When there are none, the cursor waits.
func (f *feed) take(c *Cursor, into []*entry) (entries []*entry, head int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasLocked(c) { // its connection has let go of it while it was about to be read: it must not join a catch-up any more
		return nil, 0, nil
	}
	for {
		source, err := f.sourceLocked(c)
		if err != nil {
			return nil, c.next - 1, err
		}
		before := c.next
		if source != nil {
			into = c.advanceLocked(source, into)
		}
		if u := c.catch; u != nil && c.next > before {
			if err := c.pace.judge(f.log.head-before, u.state == catchupPaused); err != nil {
				return nil, c.next - 1, err
			}
			u.readLocked(before)
			if len(into) == 0 {
				continue // the replay has nothing more, and may have led to the feed
			}
		}
		if len(into) == 0 {
			if f.ended != nil && c.catch == nil {
				return nil, c.next - 1, f.ended
			}
			f.waitLocked(c)
		}
		return into, c.next - 1, nil
	}
}

// advanceLocked takes the next revisions from the log, or learns that there are none up to its head.
func (c *Cursor) advanceLocked(l *log, into []*entry) []*entry {
	found := l.after(c.next)
	into = append(into, found[:min(cap(into), len(found))]...)
	if len(into) > 0 {
		c.next = into[len(into)-1].revision + 1
	} else {
		c.next = max(c.next, l.head+1)
	}
	return into
}

// sourceLocked gives the log that has the cursor's next revision, the feed's own or a catch-up's; nil when none has it yet.
func (f *feed) sourceLocked(c *Cursor) (*log, error) {
	if c.next >= f.log.from {
		f.leaveCatchupLocked(c)
		c.pace = pace{}
		return &f.log, nil
	}
	if u := c.catch; u != nil && c.next >= u.log.from {
		if u.ended != nil && len(u.log.after(c.next)) == 0 {
			return nil, u.ended
		}
		return &u.log, nil
	}
	switch {
	case f.ended != nil:
		return nil, f.ended
	case f.log.head-c.next > f.hub.options.MaxCatchupRevisions:
		return nil, tooFarBehind(f.hub.options.MaxCatchupRevisions)
	}
	f.leaveCatchupLocked(c)
	c.starved.Store(!f.joinCatchupLocked(c))
	return nil, nil //nolint:nilnil // nothing yet is not a fault
}

func tooFarBehind(most int64) error {
	return problem.New(problem.TooFarBehind, "the watch would have to catch up with more than %d revisions", most).
		WithHint("read the present state with snapshot=true, and follow from there").With("limit", most)
}

// pace finds out whether a cursor that catches up ever will.
type pace struct {
	since time.Time
	lag   int64
	full  bool // the catch-up had to wait for its readers meanwhile
}

// paceTime is how long a cursor has to come closer.
const paceTime = 10 * time.Second

// judge refuses a cursor that has not come closer although everything was there for it to read.
func (p *pace) judge(lag int64, full bool) error {
	now := time.Now()
	p.full = p.full || full
	switch {
	case p.since.IsZero():
	case now.Sub(p.since) < paceTime:
		return nil
	case p.full && lag >= p.lag:
		return slowConsumer("the subscriber falls behind further while it catches up")
	}
	*p = pace{since: now, lag: lag}
	return nil
}

func slowConsumer(detail string) *problem.Error {
	return problem.New(problem.SlowConsumer, "%s", detail).WithHint("resume behind revision, and read faster or watch less")
}
