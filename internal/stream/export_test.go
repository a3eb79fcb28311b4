package stream

import (
	"strconv"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Feeds is how many feeds are found.
func (h *Hub) Feeds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.feeds)
}

// Texts is how many texts the logs hold, and of how many revisions.
func (h *Hub) Texts() (texts, revisions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		f.mu.Lock()
		for _, e := range f.log.entries {
			e.mu.Lock()
			texts, revisions = texts+len(e.texts), revisions+1
			e.mu.Unlock()
		}
		f.mu.Unlock()
	}
	return texts, revisions
}

// LogBytes is what all logs hold.
func (h *Hub) LogBytes() int64 { return h.logs.bytes.Load() }

// Catchups is how many catch-ups there are.
func (h *Hub) Catchups() int {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	return h.slots.all
}

// Replies is how many replies wait to be written, of all sockets.
func (h *Hub) Replies() (n int) {
	for _, s := range h.subscribers() {
		if s, ok := s.(*session); ok {
			s.mu.Lock()
			n += len(s.replies)
			s.mu.Unlock()
		}
	}
	return n
}

// Cursors is how many cursors there are.
func (h *Hub) Cursors() int { return h.watching() }

// Strangers is how many sockets wait for their peers to say who they are.
func (h *Hub) Strangers() int {
	h.strangers.mu.Lock()
	defer h.strangers.mu.Unlock()
	return h.strangers.all
}

// RunningCatchups is how many catch-ups have a watch.
func (h *Hub) RunningCatchups() int {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	return runningCatchups - h.slots.free
}

// Understand reads a client's message as a socket does, and gives what it asks for.
func Understand(message []byte) (name, id string, key, end []byte, err error) {
	var o op
	if err = o.read(message); err == nil && o.name == opWatch {
		err = o.resolve()
	}
	return o.name, o.id, o.request.Start, o.request.End, err
}

// After gives where a bookmark leads to.
func After(bookmark string) (epoch string, revision int64, err error) {
	var r Request
	err = r.after(bookmark)
	return r.Epoch, r.Revision, err
}

// Bookmark is how the id of a message is spelled.
func Bookmark(epoch string, revision int64) string {
	id := string(sse{epoch: epoch}.begin(nil, revision))
	if revision == 0 { // which has none, and may be resumed behind all the same
		return epoch + "-" + strconv.FormatInt(revision, 10)
	}
	return id[len("id: ") : len(id)-len("\ndata: {")]
}

// FanOut is a feed of its own with n cursors that read it, for benchmarks.
type FanOut struct {
	feed    *feed
	cursors []*Cursor
	buffer  []byte
	next    int64
}

// NewFanOut makes one whose cursors want each revision in the same form.
func NewFanOut(n int) *FanOut {
	h := New(nil, nil, Options{})
	f := &feed{hub: h, ready: make(chan struct{}), cursors: make(map[*Cursor]struct{})}
	f.log.open(1, &h.logs)
	u := &FanOut{feed: f, next: 1, buffer: make([]byte, 0, 1<<16)}
	for range n {
		c := h.newCursor(access{}, &Request{form: form{options: kvjson.Options{}}}, "", func(*Cursor) {})
		c.feed, c.next = f, 1
		f.cursors[c] = struct{}{}
		c.opened.Store(true)
		u.cursors = append(u.cursors, c)
	}
	return u
}

// Deliver has every cursor read a revision with these events.
func (u *FanOut) Deliver(change etcdclient.Change) {
	change.Revision = u.next
	u.next++
	u.feed.Changes([]etcdclient.Change{change})
	for _, c := range u.cursors {
		u.buffer, _ = c.read(u.buffer[:0], ndjson{})
	}
}

// Pace is what finds out whether a reader will ever have caught up.
type Pace struct{ pace }

// Judge refuses one that will not.
func (p *Pace) Judge(lag int64, full bool) error { return p.judge(lag, full) }

// Logged is how many revisions the log of the feed that begins there holds.
func (h *Hub) Logged(start string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, f := range h.feeds {
		if key.start == start {
			f.mu.Lock()
			n += len(f.log.entries)
			f.mu.Unlock()
		}
	}
	return n
}

// Ballot is who stands in an election.
type Ballot struct{ ballot }

// After is the ballot once the events have happened.
func (b Ballot) After(events ...wire.Event) Ballot {
	next, _ := b.after(events)
	return Ballot{next}
}

// Leader is the leader's key and value, "" when there is none.
func (b Ballot) Leader() (key, value string) {
	kv := b.leader()
	if kv == nil {
		return "", ""
	}
	return string(kv.Key), string(kv.Value)
}

// Size is how many stand, the bytes of their keys and values with what a node takes, and how deep the tree is.
func (b Ballot) Size() (count, bytes, depth int) {
	if b.root == nil {
		return 0, 0, 0
	}
	var deepest func(n *candidate) int
	deepest = func(n *candidate) int {
		if n == nil {
			return 0
		}
		return 1 + max(deepest(n.left), deepest(n.right))
	}
	return b.root.count, b.root.bytes - b.root.count*candidateOverhead, deepest(b.root)
}
