package stream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Stream is one connection that watches, for operators.
type Stream struct {
	ID        string `json:"id"`
	Transport string `json:"transport"`
	Remote    string `json:"remote"`
	// Kind is how the caller is known, Principal his name, and Namespace what is in front of the keys of his watches.
	Kind      string      `json:"kind,omitempty"`
	Principal string      `json:"principal,omitempty"`
	Namespace string      `json:"namespace,omitempty"`
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
		all = append(all, inOrder(s.describe()))
	}
	slices.SortFunc(all, func(a, b Stream) int { return a.Since.Compare(b.Since) })
	return all
}

// AppendStreams appends the document {"streams": […]} of Streams.
func (h *Hub) AppendStreams(dst []byte) ([]byte, error) {
	return appendJSON(dst, struct {
		Streams []Stream `json:"streams"`
	}{h.Streams()})
}

// AppendStream appends the connection of that id as a JSON object; when there is none the error is stream_not_found.
func (h *Hub) AppendStream(dst []byte, id string) ([]byte, error) {
	s := h.find(id)
	if s == nil {
		return dst, problem.New(problem.StreamNotFound, "no stream of this gateway has that id")
	}
	return appendJSON(dst, inOrder(s.describe()))
}

// State is what a hub does altogether, and its limits.
type State struct {
	Streams  int64  `json:"streams"`
	Watches  int64  `json:"watches"`
	Feeds    int64  `json:"feeds"`
	Catchups int64  `json:"catchups"`
	LogBytes int64  `json:"log_bytes"`
	Limits   Limits `json:"limits"`
}

// Limits are those of the Options that operators can set.
type Limits struct {
	Streams          int   `json:"max_streams"`
	Watches          int   `json:"max_watches_per_stream"`
	LogBytes         int64 `json:"watch_log_bytes"`
	RevisionBytes    int   `json:"max_revision_bytes"`
	CatchupRevisions int64 `json:"max_catchup_revisions"`
}

// AppendState appends the State as a JSON object.
func (h *Hub) AppendState(dst []byte) ([]byte, error) {
	o := h.options
	h.mu.Lock()
	s := State{Streams: int64(len(h.streams)), Watches: int64(len(h.cursors)), Feeds: int64(len(h.feeds))}
	h.mu.Unlock()
	s.Catchups, s.LogBytes = int64(h.slots.count()), h.logs.bytes.Load()
	s.Limits = Limits{o.MaxStreams, o.MaxWatches, o.LogBytes, o.MaxRevisionBytes, o.MaxCatchupRevisions}
	dst, err := appendJSON(dst, s)
	return bytes.TrimSuffix(dst, []byte{'\n'}), err // it is a member of a document
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(append(dst, text...), '\n'), err
}

// End ends the connection of that id as the operator wishes; false when there is none.
func (h *Hub) End(id string) bool {
	s := h.find(id)
	if s == nil {
		return false
	}
	s.end(problem.New(problem.Draining, "an operator ended the stream").WithRetryAfter(comeBack()))
	return true
}

// find gives the connection of that id, nil when there is none.
func (h *Hub) find(id string) subscriber {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[n]
}

// inOrder puts the watches of a connection in order, the oldest first.
func inOrder(s Stream) Stream {
	slices.SortFunc(s.Watches, func(a, b WatchInfo) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return s
}

func (c *connection) describe() Stream {
	s := Stream{
		ID: strconv.FormatUint(c.id, 10), Transport: c.transport, Remote: c.remote, RequestID: c.requestID,
		Since: c.since, SentBytes: c.sent.Load(),
	}
	if who := c.identity.now().caller; who != nil {
		s.Kind, s.Principal, s.Namespace = string(who.Principal.Kind), who.Principal.Name, string(who.Namespace)
	}
	return s
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
