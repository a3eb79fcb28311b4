package stream_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// One socket carries many watches, each under its id, and each is exact.
func TestOneSocketCarriesManyWatches(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	const watches = 50
	for i := range watches {
		s.send(`{"op":"watch","id":"w%d","prefix":"a/%d"}`, i, i%10)
	}
	for range watches {
		s.kind("created")
	}
	last := g.scribble(t, 1, 80)
	s.send(`{"op":"watch","id":"all","prefix":"a/","start_revision":1}`)
	got := make(map[string][]change)
	for all := got["all"]; len(all) == 0 || all[len(all)-1].Revision < last; all = got["all"] {
		if m := s.next(); m.Type == "events" {
			got[m.ID] = append(got[m.ID], m.change())
		}
	}
	truth := g.history(t, "a/", 1, last)
	same(t, "the watch of everything", got["all"], truth)
	for i := range watches {
		var want []change
		for _, c := range truth {
			c.Events = slices.DeleteFunc(slices.Clone(c.Events), func(e string) bool { return !strings.Contains(e, fmt.Sprintf(`"a/%d`, i%10)) })
			if len(c.Events) > 0 {
				want = append(want, c)
			}
		}
		same(t, fmt.Sprint("watch ", i), got[fmt.Sprint("w", i)], want)
	}
}

func TestCancelEndsAWatchAndFreesItsID(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	for range 3 {
		s.send(`{"op":"watch","id":"w","key":"a"}`)
		s.kind("created")
		s.send(`{"op":"cancel","id":"w"}`)
		s.want(`{"id":"w","type":"end"}`)
	}
	s.send(`{"op":"cancel","id":"w"}`)
	s.refused("w", "invalid_argument")
	// A watch that is cancelled before it has begun says so once; nothing follows.
	for range 20 {
		s.send(`{"op":"watch","id":"w","key":"a"}`)
		s.send(`{"op":"cancel","id":"w"}`)
		m := s.next()
		if m.Type == "created" {
			m = s.next()
		}
		if m.text != `{"id":"w","type":"end"}` {
			t.Fatalf("got %s", m.text)
		}
	}
	g.put(t, "a", "1")
	s.send(`{"op":"ping"}`)
	s.want(`{"type":"pong"}`)
}

func TestMessagesThatAreWrongAreAnsweredAndTheSocketStays(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	s.send(`{"op":"watch","id":"used","key":"a"}`)
	s.kind("created")
	long := strings.Repeat("i", 129)
	for _, c := range []struct{ message, id, code string }{
		{`{"op":"watch"`, "", "invalid_json"},
		{`[]`, "", "invalid_json"},
		{``, "", "invalid_json"},
		{`{"op":"watch","id":"w","id":"w","key":"a"}`, "w", "invalid_json"},
		{`{"op":"watch","id":7,"key":"a"}`, "", "invalid_json"},
		{`{"id":"w"}`, "w", "invalid_argument"},
		{`{"op":"look","id":"w"}`, "w", "invalid_argument"},
		{`{"op":"watch","key":"a"}`, "", "invalid_argument"},
		{`{"op":"watch","id":"","key":"a"}`, "", "invalid_argument"},
		{`{"op":"watch","id":"` + long + `","key":"a"}`, "", "invalid_argument"},
		{`{"op":"watch","id":"w"}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":""}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","prefix":"b"}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","key_base64":"YQ=="}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","from":"b","to":"a"}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"\u0000etcdrest/epoch"}`, "w", "reserved"},
		{`{"op":"watch","id":"w","prefix_base64":"AA=="}`, "w", "reserved"},
		{`{"op":"watch","perfix":"a","id":"w"}`, "w", "unknown_field"},
		{`{"op":"watch","id":"w","key":"a","start_revision":0}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","start_revision":1.5}`, "w", "invalid_json"},
		{`{"op":"watch","id":"w","key":"a","start_revision":3,"snapshot":true}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","heartbeat":301}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","encoding":"hex"}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","events":["move"]}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","on_compacted":"wait"}`, "w", "invalid_argument"},
		{`{"op":"watch","id":"w","key":"a","ttl":5}`, "w", "unknown_field"},
		{`{"op":"watch","id":"w","key":"a","start_revision":1000}`, "w", "future_revision"},
		{`{"op":"watch","id":"w","key":"a","epoch":"other"}`, "w", "epoch_changed"},
		{`{"op":"watch","id":"used","key":"a"}`, "used", "duplicate_id"},
		{`{"op":"lease","id":"used","ttl":5}`, "used", "duplicate_id"},
		{`{"op":"lease","id":"w"}`, "w", "invalid_argument"},
		{`{"op":"lease","id":"w","ttl":0}`, "w", "invalid_argument"},
		{`{"op":"cancel","id":"none"}`, "none", "invalid_argument"},
		{`{"op":"cancel","id":"used","key":"a"}`, "used", "unknown_field"},
		{`{"op":"progress","id":"none"}`, "none", "invalid_argument"},
		{`{"op":"ping","id":"w"}`, "w", "unknown_field"},
		{`{"op":"auth","token":"x"}`, "", "not_supported"},
	} {
		s.send("%s", c.message)
		s.refused(c.id, c.code)
	}
	r := g.put(t, "a", "1")
	if m := s.kind("events"); m.ID != "used" || m.Revision != r {
		t.Errorf("got %s", m.text)
	}
}

// What a socket takes nothing of ends it, with the code of RFC 6455.
func TestFramesThatEndASocket(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, c := range []struct {
		name string
		kind websocket.MessageType
		text []byte
		code websocket.StatusCode
	}{
		{"binary", websocket.MessageBinary, []byte(`{"op":"ping"}`), websocket.StatusUnsupportedData},
		{"not UTF-8", websocket.MessageText, []byte("{\"op\":\"\xff\"}"), websocket.StatusInvalidFramePayloadData},
		{"too big", websocket.MessageText, []byte(`{"op":"ping"` + strings.Repeat(" ", 64<<10) + `}`), websocket.StatusMessageTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := g.open(t)
			s.send(`{"op":"watch","id":"w","key":"a"}`)
			s.kind("created")
			s.sendAs(c.kind, c.text)
			s.closed(c.code)
		})
	}
	big := g.open(t)
	text := `{"op":"ping"}`
	big.send("%s", text+strings.Repeat(" ", 64<<10-len(text)))
	big.want(`{"type":"pong"}`)
}

// The answer to progress covers everything that was written before it was asked.
func TestProgressCoversWhatWasWrittenBefore(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	s.send(`{"op":"watch","id":"w","key":"a"}`)
	s.send(`{"op":"progress","id":"w"}`) // also before the watch has begun
	s.kind("created")
	s.kind("progress")
	for i := range 10 {
		r := g.put(t, "b", "1") // not in the range
		if i%2 == 0 {
			r = g.put(t, "a", "1")
		}
		s.send(`{"op":"progress","id":"w"}`)
		seen := int64(0)
		for m := s.next(); m.Type != "progress" || m.Revision < r; m = s.next() {
			if m.Type == "events" {
				seen = m.Revision
			} else if m.Revision < seen {
				t.Errorf("progress %d after events of %d", m.Revision, seen)
			}
		}
		if i%2 == 0 && seen != r {
			t.Errorf("progress covers %d, but the events of it did not come", r)
		}
	}
}

// Parameters in the URL begin the watch "0", whose end is the socket's.
func TestTheWatchOfTheURL(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, protocols := range [][]string{nil, {subprotocol}, {"other", subprotocol}} {
		s := g.dial(t, "key=a&timeout=1", protocols...)
		if got, want := s.conn.Subprotocol() == subprotocol, len(protocols) > 0; got != want {
			t.Errorf("subprotocol of %v: got %q", protocols, s.conn.Subprotocol())
		}
		s.want(fmt.Sprintf(`{"id":"0","type":"created","revision":%d,"epoch":"%s"}`, g.present(t), g.epoch))
		s.want(`{"id":"0","type":"end"}`)
		s.closed(websocket.StatusNormalClosure)
	}
	// What is wrong with its start is said by status, or on the socket to those who expect it there.
	future := fmt.Sprintf("key=a&start_revision=%d", g.revision+10)
	if _, status, err := g.tryDial(t, future); err == nil || status != http.StatusConflict {
		t.Errorf("without the subprotocol: got %d, %v", status, err)
	}
	s := g.dial(t, future, subprotocol)
	s.refused("0", "future_revision")
	s.closed(4409)
	other := g.dial(t, "key=a&epoch="+url.QueryEscape("other"), subprotocol)
	other.refused("0", "epoch_changed")
	other.closed(4409)
	// It is one of many where more are begun.
	both := g.dial(t, "key=a", subprotocol)
	both.kind("created")
	both.send(`{"op":"watch","id":"0","key":"b"}`)
	both.refused("0", "duplicate_id")
	both.send(`{"op":"cancel","id":"0"}`)
	both.want(`{"id":"0","type":"end"}`)
	both.closed(websocket.StatusNormalClosure)
}

func TestTheLimitsOfSockets(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{MaxStreams: 2, MaxWatches: 3} })
	s := g.open(t)
	for i := range 2 {
		s.send(`{"op":"watch","id":"%d","key":"a"}`, i)
		s.kind("created")
	}
	s.send(`{"op":"lease","id":"l","ttl":60}`)
	s.kind("lease")
	s.send(`{"op":"watch","id":"more","key":"a"}`)
	if p := s.refused("more", "rate_limited"); p.Limit != 3 {
		t.Errorf("limit: got %d", p.Limit)
	}
	s.send(`{"op":"cancel","id":"1"}`)
	s.want(`{"id":"1","type":"end"}`)
	s.send(`{"op":"watch","id":"more","key":"a"}`)
	s.kind("created")
	g.open(t)
	if _, status, err := g.tryDial(t, "", subprotocol); err == nil || status != http.StatusServiceUnavailable {
		t.Errorf("a third socket: got %d, %v", status, err)
	}
}

// A peer that sends without reading is not answered without bound.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	sent := make(chan int)
	go func() {
		n := 0
		message := []byte(`{"op":"watch","id":"` + strings.Repeat("x", 100) + `","key":"a","start_revision":99999}`)
		for ; n < 200_000; n++ {
			if s.conn.Write(t.Context(), websocket.MessageText, message) != nil {
				break
			}
		}
		sent <- n
	}()
	eventually(t, "the gateway takes no more", func() bool { return g.hub.Replies() > 60 })
	for range 1000 {
		if n := g.hub.Replies(); n > 100 {
			t.Fatalf("%d replies wait", n)
		}
	}
	s.leave()
	<-sent
}

// Bytes that are not text are named by base64, and come back so.
func TestBinaryKeysOverASocket(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	s.send(`{"op":"watch","id":"w","to_base64":"AP8="}`)
	s.refused("w", "reserved")
	s.send(`{"op":"watch","id":"w","from_base64":"gA==","to_base64":"%s","snapshot":true}`, base64.StdEncoding.EncodeToString([]byte("\xff\xff")))
	s.kind("created")
	s.kind("synced")
	r := g.put(t, "\x80\x00", "\xfe")
	s.want(fmt.Sprintf(`{"id":"w","type":"events","revision":%[1]d,"events":[{"type":"put","kv":{"key_base64":"gAA=","value_base64":"/g==","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}}]}`, r))
}
