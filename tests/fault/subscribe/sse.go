package subscribe

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// SSE is server-sent events as an EventSource reads them: it always asks by the URL of its first time, and by Last-Event-ID
// where it is. One SSE is for one client.
type SSE struct {
	Gateway

	state *sseState
}

type sseState struct {
	mu     sync.Mutex
	first  Ask
	last   string // event id
	lastAt int64  // its revision
}

// NewSSE is the event source of one client.
func NewSSE(g Gateway) *SSE { return &SSE{Gateway: g, state: &sseState{}} }

// At is the same event source at another gateway.
func (s *SSE) At(g Gateway) *SSE { return &SSE{Gateway: g, state: s.state} }

func (*SSE) String() string { return "sse" }

// Open connects, or connects again.
func (s *SSE) Open(ctx context.Context, ask Ask) (Feed, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	st := s.state
	st.mu.Lock()
	resumes := st.last != "" && ask.Start == st.lastAt+1
	if resumes {
		ask = st.first
		header.Set("Last-Event-ID", st.last)
	} else {
		st.first = ask // a new EventSource
	}
	st.mu.Unlock()
	answer, err := s.get(ctx, s.query(ask), header)
	if err != nil {
		return nil, err
	}
	if got := answer.header.Get("Content-Type"); got != "text/event-stream" {
		answer.Close(false)
		return nil, fmt.Errorf("content type %q", got)
	}
	return &sseFeed{stream: answer, state: st}, nil
}

type sseFeed struct {
	*stream

	state *sseState
}

// Next reads one event: the lines up to an empty one.
func (f *sseFeed) Next() (history.Message, error) {
	var data []byte
	var id string
	for {
		text, err := f.in.ReadBytes('\n')
		if err != nil {
			return closed, err
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		if len(text) == 0 && data != nil {
			return f.event(data, id)
		}
		name, value, _ := bytes.Cut(text, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			data = append(data, value...)
		case "id":
			id = string(value)
		case "retry":
			if _, err := strconv.ParseUint(string(value), 10, 31); err != nil {
				return closed, fmt.Errorf("retry: %w", err)
			}
		case "": // a comment
		default:
			return closed, fmt.Errorf("unknown field %.100q", text)
		}
	}
}

// event keeps the id; one that does not name its message's revision would resume elsewhere.
func (f *sseFeed) event(data []byte, id string) (history.Message, error) {
	m, err := decode(data)
	if id == "" {
		return m, err
	}
	_, revision, _ := strings.Cut(id, "-")
	if at, parsed := strconv.ParseInt(revision, 10, 64); parsed != nil || m.Revision != at {
		return m, fmt.Errorf("the id %q comes with revision %d", id, m.Revision)
	}
	f.state.mu.Lock()
	defer f.state.mu.Unlock()
	f.state.last, f.state.lastAt = id, m.Revision
	return m, err
}
