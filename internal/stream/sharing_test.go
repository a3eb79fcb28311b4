package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// A hundred subscribers of a range are one watch of etcd, which is gone soon after they are.
func TestSubscribersOfARangeShareAWatch(t *testing.T) { //nolint:paralleltest // it counts watches
	g := start(t)
	before := g.watchers(t)
	streams := make([]*subscription, 0, 100)
	for i := range 100 {
		var s *subscription
		switch i % 3 {
		case 0:
			s = g.lines(t, "prefix=a")
		case 1:
			s = g.sse(t, "prefix=a&keys_only=true")
		default:
			s = g.dial(t, "prefix=a&events=put").subscription
		}
		s.created()
		streams = append(streams, s)
	}
	eventually(t, "etcd has one watcher more", func() bool { return g.watchers(t)-before == 1 })
	r := g.put(t, "a", "1")
	for _, s := range streams {
		if m := s.kind("events"); m.Revision != r {
			t.Errorf("got %s", m.text)
		}
	}
	for _, s := range streams {
		s.leave()
	}
	began := time.Now()
	eventually(t, "the cursors are gone", func() bool { return g.hub.Cursors() == 0 })
	eventually(t, "the feed is gone", func() bool { return g.hub.Feeds() == 0 })
	if d := time.Since(began); d > time.Second {
		t.Logf("the feed was gone after %v", d)
	}
	eventually(t, "the watch is gone", func() bool { return g.watchers(t) == before })
	if g.hub.Feeds() != 0 || g.hub.LogBytes() != 0 || g.hub.Cursors() != 0 {
		t.Errorf("left: %d feeds, %d bytes, %d cursors", g.hub.Feeds(), g.hub.LogBytes(), g.hub.Cursors())
	}
}

// watchers is how many watches the etcds of this process serve, as their metrics have it.
func (g *gateway) watchers(t testing.TB) (n int) {
	t.Helper()
	a := g.outside(t, g.etcd.Endpoint()+"/metrics")
	for line := range strings.Lines(a) {
		if value, ok := strings.CutPrefix(line, "etcd_debugging_mvcc_watcher_total "); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("etcd's metrics have no watcher_total")
	return 0
}

// A chain of polls uses one feed, which waits for the next poll.
func TestAPollLeavesItsFeedForTheNext(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{Linger: time.Millisecond, PollLinger: time.Hour} })
	last := g.scribble(t, 1, 40)
	truth := g.history(t, "a/", 1, last)
	next, got := int64(1), []change(nil)
	for next <= last {
		p := g.poll(t, fmt.Sprintf("prefix=a/&start_revision=%d&wait=0", next))
		if p.NextRevision <= next || p.Epoch != g.epoch {
			t.Fatalf("poll of %d: %+v", next, p)
		}
		for i := range p.Events {
			revision := p.Events[i].KV.ModRevision
			if n := len(got); n == 0 || got[n-1].Revision != revision {
				got = append(got, change{Revision: revision})
			}
			got[len(got)-1].Events = append(got[len(got)-1].Events, p.Events[i].spelled())
		}
		next = p.NextRevision
	}
	same(t, "the polls", got, truth)
	if p := g.poll(t, fmt.Sprintf("prefix=a/&start_revision=%d&wait=0", next)); len(p.Events) != 0 || p.NextRevision != next || p.Revision != next-1 {
		t.Errorf("a poll of nothing: %+v", p)
	}
	if n := g.hub.Feeds(); n != 1 {
		t.Errorf("%d feeds, want one that waits", n)
	}
	began := make(chan struct{})
	go func() { defer close(began); g.put(t, "a/x", "1") }()
	p := g.poll(t, fmt.Sprintf("prefix=a/&start_revision=%d&wait=60", next))
	if len(p.Events) != 1 || p.Revision != next {
		t.Errorf("got %+v", p)
	}
	<-began
	a := g.get(t, "/v1/watch/poll?key=a&wait=1")
	if want := fmt.Sprintf(`{"revision":%d,"epoch":"%s","events":[],"next_revision":%d}`+"\n", next, g.epoch, next+1); string(a.body) != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
	for _, query := range []string{"key=a&snapshot=true", "key=a&heartbeat=5", "key=a&on_compacted=resync", "key=a&wait=301", "wait=1"} {
		g.get(t, "/v1/watch/poll?"+query).problem(t, 400, "invalid_parameter")
	}
}

// A subscriber that comes back while the feed lingers finds what happened in between in its log.
func TestAFeedLingersForWhoComesBack(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options.Linger = time.Hour })
	s := g.lines(t, "prefix=a")
	r := s.created().Revision
	s.leave()
	eventually(t, "the stream is gone", func() bool { return len(g.hub.Streams()) == 0 })
	g.put(t, "a", "1")
	g.put(t, "a", "2")
	back := g.lines(t, fmt.Sprintf("prefix=a&start_revision=%d", r+1))
	back.created()
	same(t, "what happened in between", back.until(r+2), g.history(t, "a", r+1, r+2))
	if g.hub.Feeds() != 1 || g.hub.Catchups() != 0 {
		t.Errorf("%d feeds, %d catch-ups", g.hub.Feeds(), g.hub.Catchups())
	}
}

// A log that has taken all room gives way to the others.
func TestALargeLogGivesWay(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{LogBytes: 400 << 10, FeedBytes: 400 << 10} })
	first, second := g.lines(t, "prefix=a/"), g.lines(t, "prefix=b/")
	first.created()
	second.created()
	value := strings.Repeat("v", 10_000)
	put := func(s *subscription, key string, n int) {
		for range n {
			g.put(t, key, value)
			s.kind("events")
		}
	}
	put(first, "a/x", 30)
	for n := 0; n < 8; n = g.hub.Logged("b/") {
		put(second, "b/x", 1)
	}
	if n := g.hub.LogBytes(); n > 420<<10 {
		t.Errorf("the logs hold %d bytes", n)
	}
}
