package stream

import (
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// catchup replays etcd's log from a past revision for the cursors of one feed, until each has reached the feed's own log. Its
// watch has a stream of its own and pulls no more than the bound ahead of its slowest reader: beyond, the watch is
// cancelled, and made again when half has been read. It is under its feed's lock.
type catchup struct {
	feed    *feed
	log     log
	cursors map[*Cursor]struct{}
	// low is the lowest revision that a cursor needs, as of the last look.
	low   int64
	state catchupState
	watch *etcdclient.Watch
	// turn tells the present watch from those before it, whose last deliveries no longer count.
	turn int
	// asks is when the present watch's progress is asked for.
	asks *time.Timer
	// slotless is that the running watch has given its turn back already.
	slotless bool
	// ended is why the replay cannot go on.
	ended error
	// fullAt is when it was last paused.
	fullAt time.Time
}

type catchupState uint8

const (
	catchupQueued  catchupState = iota // waits for its turn: only so many run at a time
	catchupRunning                     // has a watch
	catchupPaused                      // is full, and waits for its readers
	catchupOver
)

// joinCatchupLocked puts the cursor into a catch-up that has, or will have, its next revision; false when there is none, and
// no room for a further one.
func (f *feed) joinCatchupLocked(c *Cursor) bool {
	for _, u := range f.catchups {
		if u.state == catchupQueued && u.watch == nil && u.log.head < u.log.from && c.next < u.log.from {
			u.log.from, u.log.head = c.next, c.next-1 // it has not begun: it can as well begin earlier
		}
		if u.log.from <= c.next && u.ended == nil {
			u.cursors[c], c.catch = struct{}{}, u
			u.low = min(u.low, c.next)
			return true
		}
	}
	if !f.hub.slots.admit() {
		return false
	}
	u := &catchup{feed: f, cursors: map[*Cursor]struct{}{c: {}}, low: c.next}
	u.log.open(c.next, &f.hub.logs)
	f.catchups, c.catch = append(f.catchups, u), u
	f.hub.slots.enqueue(u)
	return true
}

// leaveCatchupLocked takes the cursor out of its catch-up, if it is in one. The last one ends it.
func (f *feed) leaveCatchupLocked(c *Cursor) {
	u := c.catch
	if u == nil {
		return
	}
	c.catch = nil
	delete(u.cursors, c)
	if len(u.cursors) > 0 {
		u.readLocked(u.low)
		return
	}
	u.stopLocked(catchupOver)
	u.log.clear()
	f.hub.slots.dismiss()
	for i, other := range f.catchups {
		if other == u {
			f.catchups = append(f.catchups[:i], f.catchups[i+1:]...)
			break
		}
	}
}

// stopLocked cancels the watch and gives the turn back.
func (u *catchup) stopLocked(next catchupState) {
	switch u.state {
	case catchupRunning:
		u.turn++
		if u.asks != nil {
			u.asks.Stop()
		}
		u.watch.Stop()
		u.watch = nil
		if !u.slotless {
			u.feed.hub.slots.release()
		}
	case catchupQueued:
		u.feed.hub.slots.dequeue(u)
	case catchupPaused, catchupOver:
	}
	u.state = next
}

// run begins the watch behind what has been replayed already. The catch-up's turn has come.
func (u *catchup) run() {
	u.feed.mu.Lock()
	defer u.feed.mu.Unlock()
	if u.state != catchupQueued { // it ended while it was being called
		u.feed.hub.slots.release()
		return
	}
	u.state, u.slotless = catchupRunning, false
	r := u.feed.request(u.log.head + 1)
	r.Alone = true
	u.watch = u.feed.store.Watch(r, &replay{catchup: u, turn: u.turn})
}

// readLocked is told that a cursor that needed the revision before has moved: what nobody needs any more is let go, and a
// paused replay goes on when half of it has been read.
func (u *catchup) readLocked(before int64) {
	if before > u.low {
		return
	}
	u.low = u.log.head + 1
	for c := range u.cursors {
		u.low = min(u.low, c.next)
	}
	u.log.dropBelow(u.low)
	if u.state == catchupPaused && u.log.bytes() <= u.feed.hub.options.CatchupBytes/2 {
		u.state = catchupQueued
		u.feed.hub.slots.enqueue(u)
	}
}

// parkStalledLocked takes those out that have not read for a while although there is something to read, when others would
// have to wait for them. They come back by themselves when they read on.
func (u *catchup) parkStalledLocked(now time.Time) {
	if u.state != catchupPaused || now.Sub(u.fullAt) < stallTime || len(u.cursors) < 2 {
		return
	}
	for c := range u.cursors {
		if c.next <= u.low && len(u.cursors) > 1 {
			u.feed.leaveCatchupLocked(c)
		}
	}
}

// stallTime is how long a reader may hold up the others of its catch-up.
const stallTime = 5 * time.Second

// replay is one watch of a catch-up.
type replay struct {
	catchup *catchup
	turn    int
}

var _ etcdclient.Watcher = (*replay)(nil)

// syncTime is how long etcd takes to look after a watch that begins in the past: it does so every 100 ms, and does not answer
// who asks for progress before.
const syncTime = 120 * time.Millisecond

// Created implements etcdclient.Watcher. What is not in the range leaves no trace in the replay, so its progress is asked for.
func (r *replay) Created() {
	r.current(func(u *catchup) { u.asks = time.AfterFunc(syncTime, r.ask) })
}

func (r *replay) ask() {
	r.current(func(u *catchup) {
		u.watch.RequestProgress()
		if u.feed.hub.store.WatchFaults().Uncertified {
			u.asks = time.AfterFunc(quietTime, r.makeRoom)
		}
	})
}

// quietTime is how long a replay may keep its turn without a word of etcd's, which does not tell when it has scanned its log.
const quietTime = 2 * time.Second

// makeRoom gives the turn back, for others; the watch goes on, and ends with the first event that leads to the feed.
func (r *replay) makeRoom() {
	r.current(func(u *catchup) {
		if !u.slotless {
			u.slotless = true
			u.feed.hub.slots.release()
		}
	})
}

// Changes implements etcdclient.Watcher.
func (r *replay) Changes(changes []etcdclient.Change) {
	r.current(func(u *catchup) {
		u.log.append(changes)
		if u.log.bytes() >= u.feed.hub.options.CatchupBytes {
			u.stopLocked(catchupPaused)
			u.fullAt = time.Now()
		}
	})
}

// Progress implements etcdclient.Watcher.
func (r *replay) Progress(revision int64) {
	r.current(func(u *catchup) { u.log.certify(revision) })
}

// Lost implements etcdclient.Watcher.
func (r *replay) Lost(error) {}

// Ended implements etcdclient.Watcher.
func (r *replay) Ended(err error) {
	r.current(func(u *catchup) {
		u.ended = err
		u.stopLocked(catchupOver)
	})
}

// current does what a delivery asks for unless it is of a former watch, and wakes the readers.
func (r *replay) current(do func(*catchup)) {
	f := r.catchup.feed
	f.mu.Lock()
	var woken []*Cursor
	if u := r.catchup; u.turn == r.turn && u.state == catchupRunning {
		do(u)
		woken = make([]*Cursor, 0, len(u.cursors))
		for c := range u.cursors {
			if c.waits != 0 {
				f.forgetWaitingLocked(c)
				woken = append(woken, c)
			}
		}
	}
	f.mu.Unlock()
	f.wake(woken)
}
