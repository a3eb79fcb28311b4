package stream_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// message is one of the gateway's.
type message struct {
	Type     string           `json:"type"`
	ID       string           `json:"id"`
	Revision int64            `json:"revision"`
	Epoch    string           `json:"epoch"`
	Reason   string           `json:"reason"`
	Events   []event          `json:"events"`
	KVs      []keyValue       `json:"kvs"`
	Error    *problemDocument `json:"error"`
	Leader   *leader          `json:"leader"`
	Lease    string           `json:"lease"`
	TTL      int64            `json:"ttl"`

	// text is how it came, bookmark the id that Server-Sent Events have put before it.
	text, bookmark string
}

type event struct {
	Type   string    `json:"type"`
	KV     keyValue  `json:"kv"`
	PrevKV *keyValue `json:"prev_kv"`
}

// leader is who leads an election.
type leader struct {
	OwnerKey     string `json:"owner_key"`
	Lease        string `json:"lease"`
	FencingToken int64  `json:"fencing_token"`
	Value        string `json:"value"`
}

type keyValue struct {
	Key            string `json:"key"`
	KeyBase64      []byte `json:"key_base64"`
	Value          string `json:"value"`
	ValueBase64    []byte `json:"value_base64"`
	CreateRevision int64  `json:"create_revision"`
	ModRevision    int64  `json:"mod_revision"`
	Version        int64  `json:"version"`
	Lease          string `json:"lease"`
}

type problemDocument struct {
	Status          int    `json:"status"`
	Code            string `json:"code"`
	Detail          string `json:"detail"`
	Retryable       bool   `json:"retryable"`
	RequestID       string `json:"request_id"`
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compact_revision"`
	RetryAfterMS    int64  `json:"retry_after_ms"`
	Limit           int64  `json:"limit"`
}

// subscription reads the messages of a stream, one ahead of the test: a test that takes none stalls the gateway.
type subscription struct {
	t        testing.TB
	status   int
	header   http.Header
	messages chan message // closed by the reader at the end
	gone     chan struct{}
	leave    func()
	// retry is what Server-Sent Events said, err how the stream ended (nil is a clean end); the reader writes them before
	// it closes messages.
	retry []string
	err   error
}

// lines begins a watch as NDJSON.
func (g *gateway) lines(t testing.TB, query string, headers ...string) *subscription {
	t.Helper()
	return g.subscribe(t, "/v1/watch?"+query, func(s *subscription, body *bufio.Reader) { s.readLines(g, body) }, headers...)
}

// sse begins a watch as Server-Sent Events.
func (g *gateway) sse(t testing.TB, query string, headers ...string) *subscription {
	t.Helper()
	return g.subscribe(t, "/v1/watch?"+query, func(s *subscription, body *bufio.Reader) { s.readEvents(g, body) },
		append(headers, "Accept: text/event-stream")...)
}

func (g *gateway) subscribe(t testing.TB, path string, read func(*subscription, *bufio.Reader), headers ...string) *subscription {
	t.Helper()
	response := g.send(t, http.MethodGet, path, headers...)
	s := &subscription{
		t: t, status: response.StatusCode, header: response.Header, messages: make(chan message), gone: make(chan struct{}),
	}
	if s.status != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		t.Fatalf("GET %s: status %d: %s", path, s.status, body)
	}
	s.run(func() { read(s, bufio.NewReader(response.Body)) }, func() { _ = response.Body.Close() })
	return s
}

// run reads until the end, or until the test leaves.
func (s *subscription) run(read, cut func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(s.messages)
		read()
	}()
	s.leave = sync.OnceFunc(func() {
		close(s.gone)
		cut()
		<-ended
	})
	s.t.Cleanup(s.leave)
}

// deliver hands a message to the test; false when the test has left.
func (s *subscription) deliver(g *gateway, text, bookmark string, socket bool) bool {
	if len(text) < 32<<10 { // the large ones are like the small ones, and take the validator long
		g.messages.Check([]byte(text), socket)
	}
	m := message{text: text, bookmark: bookmark}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		s.t.Errorf("%v: %.300s", err, text)
		return false
	}
	select {
	case s.messages <- m:
		return true
	case <-s.gone:
		return false
	}
}

func (s *subscription) readLines(g *gateway, body *bufio.Reader) {
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			s.end(err)
			return
		}
		if !s.deliver(g, strings.TrimSuffix(line, "\n"), "", false) {
			return
		}
	}
}

// readEvents reads as the specification of Server-Sent Events has it, and refuses fields that the gateway does not send.
func (s *subscription) readEvents(g *gateway, body *bufio.Reader) {
	var data, bookmark string
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			s.end(err)
			return
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "id" && data == "":
			bookmark = value
		case field == "data" && data == "":
			data = value
		case field == "retry":
			s.retry = append(s.retry, value)
		case field == "" && data != "":
			if !s.deliver(g, data, bookmark, false) {
				return
			}
			data, bookmark = "", ""
		case field != "":
			s.t.Errorf("a line that is not to be in the stream: %q", line)
		}
	}
}

func (s *subscription) end(err error) {
	if !errors.Is(err, io.EOF) {
		s.err = err
	}
}

// next gives the next message.
func (s *subscription) next() message {
	s.t.Helper()
	select {
	case m, ok := <-s.messages:
		if !ok {
			s.t.Fatalf("the stream has ended (%v), and a message was wanted", s.err)
		}
		return m
	case <-time.After(patience):
		s.t.Fatalf("no message within %v", patience)
		return message{}
	}
}

// want fails the test unless the next messages are these texts.
func (s *subscription) want(texts ...string) {
	s.t.Helper()
	for _, want := range texts {
		if got := s.next(); got.text != want {
			s.t.Fatalf("message:\n got %s\nwant %s", got.text, want)
		}
	}
}

// created takes the first message.
func (s *subscription) created() message { s.t.Helper(); return s.kind("created") }

// kind takes the next message but for heartbeats, which must be of the type.
func (s *subscription) kind(kind string) message {
	s.t.Helper()
	m := s.next()
	for m.Type == "progress" && kind != m.Type {
		m = s.next()
	}
	if m.Type != kind {
		s.t.Fatalf("message: got %s, want one of type %s", m.text, kind)
	}
	return m
}

// fails takes the next message, which must be the error with that code and the last.
func (s *subscription) fails(code string) *problemDocument {
	s.t.Helper()
	m := s.kind("error")
	if m.Error.Code != code {
		s.t.Fatalf("error: got %s, want %s", m.text, code)
	}
	s.over()
	return m.Error
}

// over waits for the clean end of the stream, with no message before it.
func (s *subscription) over() {
	s.t.Helper()
	select {
	case m, ok := <-s.messages:
		if ok {
			s.t.Fatalf("a message follows the last: %s", m.text)
		}
		if s.err != nil {
			s.t.Fatalf("the stream was cut: %v", s.err)
		}
	case <-time.After(patience):
		s.t.Fatalf("the stream does not end")
	}
}
