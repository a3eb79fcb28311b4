package stream

import (
	"cmp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Stream is one connection that watches, for operators.
type Stream struct {
	ID        string      `json:"id"`
	Transport string      `json:"transport"`
	Remote    string      `json:"remote"`
	RequestID string      `json:"request_id"`
	Since     time.Time   `json:"since"`
	SentBytes int64       `json:"sent_bytes"`
	Watches   []WatchInfo `json:"watches"`
	Leases    []string    `json:"leases,omitempty"`
}

// WatchInfo is one watch of a connection.
type WatchInfo struct {
	ID string `json:"id,omitempty"`
	// Key and End are the range, End as etcd takes it; in base64 where they are not text.
	Key       string    `json:"key,omitempty"`
	KeyBase64 []byte    `json:"key_base64,omitempty"`
	End       string    `json:"end,omitempty"`
	EndBase64 []byte    `json:"end_base64,omitempty"`
	Since     time.Time `json:"since"`
	// State is live, catching_up, queued (behind the feed's log, without a catch-up that runs), snapshot or ended.
	State string `json:"state"`
	// NextRevision is the first that has not been delivered. Behind is how many revisions of the store the changes that
	// have not been delivered span, BehindBytes their size as far as they are in memory; both are 0 when there is none.
	NextRevision int64 `json:"next_revision"`
	Behind       int64 `json:"behind"`
	BehindBytes  int64 `json:"behind_bytes"`
}

// The states of a watch, as operators see them.
const (
	stateLive       = "live"
	stateCatchingUp = "catching_up"
	stateQueued     = "queued"
	stateSnapshot   = "snapshot"
	stateEnded      = "ended"
)

// Streams lists the connections, the oldest first.
func (h *Hub) Streams() []Stream {
	all := make([]Stream, 0)
	for _, s := range h.subscribers() {
		d := s.describe()
		slices.SortFunc(d.Watches, func(a, b WatchInfo) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Stream) int { return a.Since.Compare(b.Since) })
	return all
}

// End ends the connection of that id as the operator wishes; false when there is none.
func (h *Hub) End(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false
	}
	h.mu.Lock()
	s := h.streams[n]
	h.mu.Unlock()
	if s == nil {
		return false
	}
	s.end(problem.New(problem.Draining, "an operator ended the stream").WithRetryAfter(comeBack()))
	return true
}

func (c *connection) describe() Stream {
	return Stream{
		ID: strconv.FormatUint(c.id, 10), Transport: c.transport, Remote: c.remote, RequestID: c.requestID,
		Since: c.since, SentBytes: c.sent.Load(),
	}
}

// describe tells where the cursor stands.
func (c *Cursor) describe(id string) WatchInfo {
	w := WatchInfo{ID: id, Since: c.since}
	w.Key, w.KeyBase64 = textOrBytes(c.request.Start)
	w.End, w.EndBase64 = textOrBytes(c.request.End)
	f, state := c.standing()
	p := placeInfo{state: state}
	if f != nil {
		f.mu.Lock()
		p = f.placeLocked(c, state)
		f.mu.Unlock()
	}
	w.NextRevision, w.Behind, w.BehindBytes, w.State = p.next, p.behind, p.bytes, p.state
	return w
}

func textOrBytes(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}

// standing gives the cursor's feed, nil while it has none, and its state, "" where that follows from its place in the feed.
func (c *Cursor) standing() (*feed, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return c.feed, stateEnded
	case c.snap != nil:
		return c.feed, stateSnapshot
	case c.feed == nil:
		return nil, stateQueued
	}
	return c.feed, ""
}

// placeInfo is where a cursor stands in its feed.
type placeInfo struct {
	next, behind, bytes int64
	state               string
}

// placeLocked tells where the cursor stands, and its state unless that is known.
func (f *feed) placeLocked(c *Cursor, state string) placeInfo {
	if !f.hasLocked(c) { // it has just left, or is about to join
		return placeInfo{state: cmp.Or(state, stateQueued)}
	}
	p := placeInfo{next: c.next, state: stateLive}
	p.behind, p.bytes = f.log.ahead(c.next)
	if c.next < f.log.from {
		p.state = stateQueued
		p.behind = max(f.log.head-c.next+1, 0)
	}
	if u := c.catch; u != nil {
		if u.state != catchupQueued {
			p.state = stateCatchingUp
		}
		_, replayed := u.log.ahead(c.next)
		_, later := f.log.ahead(max(c.next, u.log.head+1))
		p.bytes = replayed + later
	}
	if state != "" {
		p.state = state
	}
	return p
}
