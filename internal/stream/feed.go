package stream

import (
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// feedKey tells feeds apart. What a log holds is of one epoch: in the next, the same revisions are others. And it is of one
// scope: what one identity at etcd may see, and in one namespace, says nothing of others.
type feedKey struct {
	scope             authz.Scope
	epoch, start, end string
	prevKV            bool
}

// feed is one watch of etcd, shared by everyone who watches the same range: a log of whole revisions. Subscribers are
// cursors into it, so a slow one costs nothing but its place. One lock guards the feed, its catch-ups and where its cursors
// stand; nothing is called under it that could block.
type feed struct {
	hub *Hub
	key feedKey
	// store is etcd as everybody sees it who is in the feed; whoever joins is judged before.
	store Store
	watch *etcdclient.Watch
	since time.Time
	// ready is closed, once, when etcd has accepted the watch or it has ended before.
	ready     chan struct{}
	readyOnce sync.Once

	mu       sync.Mutex
	log      log
	cursors  map[*Cursor]struct{}
	waiting  []*Cursor // those that have read all there is, and are woken by more
	catchups []*catchup
	// ended is why the watch has ended, for good.
	ended error
	// joining are those who have found the feed and are about to put a cursor into it.
	joining int
	// lingers is until when the feed stays without a cursor.
	lingers time.Time
	// closed is that the hub has let go of it. A delivery that was under way may still come, and is for nobody.
	closed bool
}

var _ etcdclient.Watcher = (*feed)(nil)

// openFeed begins a feed over a store that knows everything from the revision on.
func (h *Hub) openFeed(store Store, key feedKey, from int64) *feed {
	f := &feed{hub: h, key: key, store: store, since: time.Now(), ready: make(chan struct{}), cursors: make(map[*Cursor]struct{})}
	f.log.open(from, &h.logs)
	f.lingers = f.since.Add(h.options.Linger)
	f.watch = store.Watch(f.request(from), f)
	return f
}

func (f *feed) request(from int64) etcdclient.WatchRequest {
	return etcdclient.WatchRequest{
		Key: []byte(f.key.start), End: []byte(f.key.end), Revision: from, PrevKV: f.key.prevKV,
		MaxRevisionBytes: f.hub.options.MaxRevisionBytes,
	}
}

// Created implements etcdclient.Watcher.
func (f *feed) Created() { f.readyOnce.Do(func() { close(f.ready) }) }

// Changes implements etcdclient.Watcher: it appends the revisions, keeps the log within its bounds, and wakes those who wait.
func (f *feed) Changes(changes []etcdclient.Change) {
	f.mu.Lock()
	if f.closed || f.ended != nil { // it was under way when the watch was stopped, and nobody would let go of it
		f.mu.Unlock()
		return
	}
	f.log.append(changes)
	f.trimLocked()
	woken := f.takeWaitingLocked()
	f.mu.Unlock()
	f.wake(woken)
}

// Progress implements etcdclient.Watcher: it moves the head, which only those feel who have asked.
func (f *feed) Progress(revision int64) {
	f.mu.Lock()
	f.log.certify(revision)
	var asked []*Cursor
	behind := false
	for c := range f.cursors {
		if wanted := c.asked.Load(); wanted != 0 {
			asked = append(asked, c)
			behind = behind || wanted > revision
		}
	}
	f.mu.Unlock()
	if behind { // the member that serves the watch has not seen what another one has told
		f.watch.RequestProgress()
	}
	for _, c := range asked {
		c.nudge()
	}
}

// Lost implements etcdclient.Watcher. The log stays as it is: the watch goes on behind its head.
func (f *feed) Lost(error) { f.hub.resumes.Add(1) }

// Ended implements etcdclient.Watcher. The feed is no longer found; its cursors read what there is, and then the end.
func (f *feed) Ended(err error) {
	f.hub.forget(f)
	f.mu.Lock()
	f.ended = err
	woken := f.takeWaitingLocked()
	f.freeLocked()
	f.mu.Unlock()
	f.Created()
	f.wake(woken)
}

// trimLocked keeps the log within its own bound and, as far as it can, all logs within theirs. The newest revision stays:
// whoever is up to date must get it, however large it is.
func (f *feed) trimLocked() {
	for len(f.log.entries) > 1 && (f.log.bytes() > f.hub.options.FeedBytes || f.hub.logs.bytes.Load() > f.hub.options.LogBytes) {
		f.log.dropFirst()
	}
}

// trim keeps the log within a number of bytes, but for the newest revision.
func (f *feed) trim(most int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.log.entries) > 1 && f.log.bytes() > most {
		f.log.dropFirst()
	}
}

// waitLocked has the cursor woken by what comes next.
func (f *feed) waitLocked(c *Cursor) {
	if c.waits == 0 {
		f.waiting = append(f.waiting, c)
		c.waits = len(f.waiting)
	}
}

// takeWaitingLocked takes those who wait.
func (f *feed) takeWaitingLocked() []*Cursor {
	woken := f.waiting
	f.waiting = nil
	for _, c := range woken {
		c.waits = 0
	}
	return woken
}

func (f *feed) wake(woken []*Cursor) {
	for _, c := range woken {
		c.nudge()
	}
}

// covers tells whether the feed's own log has everything from start on, or why the feed has ended.
func (f *feed) covers(start int64) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return start >= f.log.from, f.ended
}

// add puts a cursor at start.
func (f *feed) add(c *Cursor, start int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		return f.ended
	}
	c.next = start
	f.cursors[c] = struct{}{}
	return nil
}

// hasLocked tells whether the cursor is in the feed. What a cursor has under the feed's lock belongs to another feed's otherwise.
func (f *feed) hasLocked(c *Cursor) bool {
	_, has := f.cursors[c]
	return has
}

// placeOf gives the next revision that the cursor needs; false when it is not in the feed any more.
func (f *feed) placeOf(c *Cursor) (next int64, in bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return c.next, f.hasLocked(c)
}

func (f *feed) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended == nil
}

// left is told that somebody who has found the feed has put a cursor into it, or has not.
func (f *feed) left() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joining--
}

// remove takes a cursor off the feed. The last one leaves the feed to linger.
func (f *feed) remove(c *Cursor, linger time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaveCatchupLocked(c)
	delete(f.cursors, c)
	f.forgetWaitingLocked(c)
	f.freeLocked()
	if until := time.Now().Add(linger); until.After(f.lingers) {
		f.lingers = until
	}
}

// freeLocked lets go of the log of a feed that has ended, once nobody reads it.
func (f *feed) freeLocked() {
	if f.ended != nil && len(f.cursors) == 0 {
		f.log.clear()
	}
}

// forgetWaitingLocked takes a cursor off the waiting ones.
func (f *feed) forgetWaitingLocked(c *Cursor) {
	if c.waits == 0 {
		return
	}
	last := len(f.waiting) - 1
	moved := f.waiting[last]
	f.waiting[c.waits-1], f.waiting[last] = moved, nil
	moved.waits = c.waits
	c.waits, f.waiting = 0, f.waiting[:last]
}

// idle tells whether the feed can go.
func (f *feed) idle(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.cursors) == 0 && f.joining == 0 && now.After(f.lingers)
}

// close ends the feed's watch and lets go of its log. No cursor may be left.
func (f *feed) close() {
	f.watch.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.log.clear()
}
