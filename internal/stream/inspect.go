package stream

import (
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
	// State is live, catching_up, queued (for a catch-up), snapshot or ended.
	State string `json:"state"`
	// NextRevision is the first that has not been delivered, Behind how many revisions there are up to what is known.
	NextRevision int64 `json:"next_revision"`
	Behind       int64 `json:"behind"`
	BehindBytes  int64 `json:"behind_bytes"`
}

// Streams lists the connections, the oldest first.
func (h *Hub) Streams() []Stream {
	all := make([]Stream, 0)
	for _, s := range h.subscribers() {
		all = append(all, s.describe())
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
	c.mu.Lock()
	f, snap, ended := c.feed, c.snap, c.ended
	c.mu.Unlock()
	p := f.place(c)
	w.NextRevision, w.Behind, w.BehindBytes, w.State = p.next, p.behind, p.bytes, p.state
	switch {
	case ended:
		w.State = "ended"
	case snap != nil:
		w.State = "snapshot"
	}
	return w
}

func textOrBytes(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}

// placeInfo is where a cursor stands in its feed.
type placeInfo struct {
	next, behind, bytes int64
	state               string
}

// place tells where the cursor stands; a nil feed is none yet.
func (f *feed) place(c *Cursor) placeInfo {
	if f == nil {
		return placeInfo{state: "queued"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, here := f.cursors[c]; !here { // it has moved on meanwhile, and its place is under another lock
		return placeInfo{state: "queued"}
	}
	p := placeInfo{next: c.next, behind: max(f.log.head-c.next+1, 0), state: "live"}
	source := &f.log
	switch u := c.catch; {
	case u != nil && u.state == catchupQueued:
		p.state, source = "queued", &u.log
	case u != nil:
		p.state, source = "catching_up", &u.log
	}
	for _, e := range source.after(c.next) {
		p.bytes += int64(e.size)
	}
	return p
}
