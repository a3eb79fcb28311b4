package stream

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// The pace of the hub's housekeeping.
const (
	tick = 100 * time.Millisecond
	// beatEvery is how many ticks there are between two looks at the cursors.
	beatEvery = 10
	// rolesEvery is how many ticks there are between two looks at etcd's roles: with a second to ask and one to judge, it takes
	// the six seconds at most that are promised.
	rolesEvery = 40
	// certifyAhead is how long before a heartbeat is due its feed is asked how far it is.
	certifyAhead = 2 * time.Second
)

// Run does the hub's housekeeping until ctx ends: it starts catch-ups when their turn has come, closes feeds that nobody
// needs, sends heartbeats, and ends what has had its time or belongs to another epoch.
func (h *Hub) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-h.slots.changed:
			n--
		case <-h.rejudge:
			n--
			h.judgeCallers()
		case now := <-ticker.C:
			h.reap(now)
			if n%beatEvery == 0 {
				h.beat(now)
				h.judgeCallers()
				h.lookAtEpoch(ctx) // which asks etcd every five seconds
			}
			if n%rolesEvery == 0 {
				h.lookAtRoles(ctx)
			}
		}
		h.startCatchups()
	}
}

// startCatchups gives free slots to those who wait for one.
func (h *Hub) startCatchups() {
	for u := h.slots.next(); u != nil; u = h.slots.next() {
		u.run()
	}
}

// reap closes the feeds that nobody has needed for a while.
func (h *Hub) reap(now time.Time) {
	var idle []*feed
	h.mu.Lock()
	for key, f := range h.feeds {
		if f.idle(now) {
			delete(h.feeds, key)
			idle = append(idle, f)
		}
	}
	h.mu.Unlock()
	for _, f := range idle {
		f.close()
	}
}

// beat looks at every cursor: whose time is over, who has heard nothing for too long, who waits for room.
func (h *Hub) beat(now time.Time) {
	h.mu.Lock()
	cursors := make([]*Cursor, 0, len(h.cursors))
	for c := range h.cursors {
		cursors = append(cursors, c)
	}
	feeds := make([]*feed, 0, len(h.feeds))
	for _, f := range h.feeds {
		feeds = append(feeds, f)
	}
	h.mu.Unlock()
	for _, f := range feeds {
		f.parkStalled(now)
	}
	h.relieve(feeds)
	for _, c := range cursors {
		c.look(now)
	}
	for _, s := range h.subscribers() {
		s.look(now)
	}
}

// relieve has large logs give way when all together take nearly what they may. One that has grown while there was room would
// otherwise leave those that come later none, and their readers would fall off at every pause.
func (h *Hub) relieve(feeds []*feed) {
	most := h.options.LogBytes
	if len(feeds) == 0 || h.logs.bytes.Load() <= most/4*3 {
		return
	}
	for _, f := range feeds {
		f.trim(most / 2 / int64(len(feeds)))
	}
}

// look does for one cursor what the time has come for.
func (c *Cursor) look(now time.Time) {
	switch {
	case !c.deadline.IsZero() && now.After(c.deadline):
		c.stop(nil)
		return
	case c.starved.Load():
		c.nudge()
	}
	left := c.request.Heartbeat - now.Sub(time.Unix(0, c.heard.Load()))
	if left <= certifyAhead+time.Second {
		c.certify()
	}
	if left <= time.Second {
		c.beat.Store(true)
		c.nudge()
	}
}

// certify has the feed find out how far it is.
func (c *Cursor) certify() {
	c.mu.Lock()
	f := c.feed
	c.mu.Unlock()
	if f != nil {
		f.watch.RequestProgress()
	}
}

// ask has the cursor send a progress message that covers everything up to now.
func (c *Cursor) ask(ctx context.Context) error {
	revision, err := c.revision(ctx)
	if err != nil {
		return err
	}
	c.asked.Store(max(revision, 1))
	c.certify()
	c.nudge()
	return nil
}

func (f *feed) parkStalled(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.catchups {
		u.parkStalledLocked(now)
	}
}

// lookAtEpoch ends the watches of another epoch. While etcd cannot be asked nothing is known, and nothing ends.
func (h *Hub) lookAtEpoch(ctx context.Context) {
	if h.watching() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	epoch, err := h.epoch.Current(ctx)
	if err != nil {
		return
	}
	h.endAll(func(c *Cursor) *problem.Error {
		if c.epoch == epoch {
			return nil
		}
		return epochChanged()
	})
}

// endAll ends the cursors that there is a reason for.
func (h *Hub) endAll(reason func(*Cursor) *problem.Error) {
	h.mu.Lock()
	cursors := make([]*Cursor, 0, len(h.cursors))
	for c := range h.cursors {
		cursors = append(cursors, c)
	}
	h.mu.Unlock()
	for _, c := range cursors {
		if e := reason(c); e != nil {
			c.stop(e)
		}
	}
}

func (h *Hub) watching() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.cursors)
}

// Drain tells everybody who watches that the gateway goes away, each to come back at another time, and lets nobody in any
// more. It waits until they are gone, or ctx ends; then Close cuts what is left. It tells whether all have gone.
func (h *Hub) Drain(ctx context.Context) bool {
	h.drainOnce.Do(func() { close(h.draining) })
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		streams := h.subscribers()
		if len(streams) == 0 {
			return true
		}
		for _, s := range streams {
			s.end(h.drained())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Close cuts what is left and waits for the hub's goroutines. The transports' own end with their connections.
func (h *Hub) Close() {
	h.drainOnce.Do(func() { close(h.draining) })
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, s := range h.subscribers() {
		s.cut()
	}
	h.stop()
	h.work.Wait()
	h.mu.Lock()
	feeds := h.feeds
	h.feeds = make(map[feedKey]*feed)
	h.mu.Unlock()
	for _, f := range feeds {
		f.close()
	}
}

// cutOff is told that a subscriber took nothing of what was written, or went away while it was written.
func (h *Hub) cutOff(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.countEnd(problem.SlowConsumer)
	}
}

// countEnd counts a watch that ended for a reason, or with none because it was cancelled or its time was over.
func (h *Hub) countEnd(code problem.Code) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends[code]++
}
