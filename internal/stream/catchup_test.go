package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// Whoever begins at a past revision, while others write, gets exactly what has happened since.
func TestCatchUpsAreExactDuringWrites(t *testing.T) {
	t.Parallel()
	g := start(t)
	begun := g.scribble(t, 1, 200)
	var writing sync.WaitGroup
	var last int64
	writing.Go(func() { last = g.scribble(t, 2, 200) })
	random := rand.New(rand.NewPCG(1, 1))
	type subscriber struct {
		from int64
		s    *subscription
	}
	subscribers := make([]subscriber, 0, 30)
	for range 30 {
		from := 1 + random.Int64N(begun)
		s := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", from))
		s.created()
		subscribers = append(subscribers, subscriber{from, s})
	}
	writing.Wait()
	truth := g.history(t, "a/", 1, last)
	for _, u := range subscribers {
		same(t, fmt.Sprint("from ", u.from), u.s.until(last), after(truth, u.from))
	}
	eventually(t, "no catch-up is left", func() bool { return g.hub.Catchups() == 0 })
}

// Many at one past revision of one range are one catch-up; of many ranges, four run at a time and each gets its turn.
func TestCatchUpsAreSharedAndTakeTurns(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i := range 20 {
		g.put(t, fmt.Sprintf("a/%d/x", i), "1")
	}
	last := g.put(t, "z", "1")
	streams := make([]*subscription, 0, 60)
	for i := range 60 {
		streams = append(streams, g.lines(t, fmt.Sprintf("prefix=a/%d/&start_revision=1", i%20)))
	}
	for i, s := range streams {
		s.created()
		m := s.kind("events")
		if key, _ := m.Events[0].KV.bytes(); string(key) != fmt.Sprintf("a/%d/x", i%20) || m.Revision >= last {
			t.Errorf("stream %d: got %s", i, m.text)
		}
	}
	if n := g.hub.RunningCatchups(); n > 4 {
		t.Errorf("%d catch-ups run", n)
	}
	eventually(t, "all are caught up", func() bool { return g.hub.Catchups() == 0 })
}

// A reader that stalls falls off the log, and comes back by a catch-up that waits for it: nothing is lost.
func TestAReaderThatStallsComesBackExactly(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 200 << 10, CatchupBytes: 100 << 10} })
	stalled, quick := g.lines(t, "prefix=a/"), g.lines(t, "prefix=a/")
	from := stalled.created().Revision + 1
	quick.created()
	value := strings.Repeat("v", 10_000)
	var last int64
	for i := range 300 { // 3 MB, more than log and sockets hold
		last = g.put(t, fmt.Sprintf("a/%d", i%7), value)
		if m := quick.kind("events"); m.Revision != last {
			t.Fatalf("got revision %d, want %d", m.Revision, last)
		}
	}
	if n := g.hub.LogBytes(); n > 500<<10 {
		t.Errorf("the logs hold %d bytes", n)
	}
	truth := g.history(t, "a/", from, last)
	for i, want := range truth { // and goes on stalling now and then
		m := stalled.kind("events")
		if got := m.change(); got.Revision != want.Revision || strings.Join(got.Events, ",") != strings.Join(want.Events, ",") {
			t.Fatalf("change %d: got revision %d, want %d", i, got.Revision, want.Revision)
		}
	}
	eventually(t, "it has met the feed", func() bool { return g.hub.Catchups() == 0 })
	r := g.put(t, "a/0", "end")
	if m := stalled.kind("events"); m.Revision != r {
		t.Errorf("got %.100s", m.text)
	}
	stalled.leave()
	quick.leave()
	eventually(t, "nothing is held", func() bool { return g.hub.LogBytes() == 0 && g.hub.Feeds() == 0 })
}

// A reader that stalls does not hold up the others of its catch-up.
func TestAStalledReaderIsTakenOutOfTheCatchUpOfOthers(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 100 << 10, CatchupBytes: 50 << 10} })
	value := strings.Repeat("v", 10_000)
	from := g.put(t, "a/0", value)
	last := from
	for i := range 250 {
		last = g.put(t, fmt.Sprintf("a/%d", i%7), value)
	}
	query := fmt.Sprintf("prefix=a/&start_revision=%d", from)
	stalled, quick := g.lines(t, query), g.lines(t, query)
	stalled.created()
	quick.created()
	truth := g.history(t, "a/", from, last)
	same(t, "the quick one", quick.until(last), truth)
	same(t, "the stalled one", stalled.until(last), truth)
	eventually(t, "no catch-up is left", func() bool { return g.hub.Catchups() == 0 })
}

// Readers that leave in the middle of a catch-up leave nothing behind.
func TestReadersThatLeaveACatchUpLeaveNothing(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 100 << 10, CatchupBytes: 50 << 10} })
	value := strings.Repeat("v", 10_000)
	from := g.put(t, "a/0", value)
	for i := range 200 {
		g.put(t, fmt.Sprintf("a/%d", i%7), value)
	}
	random := rand.New(rand.NewPCG(3, 3))
	streams := make([]*subscription, 0, 4)
	for range cap(streams) {
		s := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", from+random.Int64N(50)))
		s.created()
		for range random.IntN(60) {
			s.kind("events")
		}
		streams = append(streams, s)
	}
	for _, i := range random.Perm(len(streams)) {
		streams[i].leave()
	}
	eventually(t, "nothing is left", func() bool {
		return g.hub.Catchups() == 0 && g.hub.Feeds() == 0 && g.hub.LogBytes() == 0 && g.hub.Cursors() == 0 && g.hub.RunningCatchups() == 0
	})
}

// A compaction ends exactly those who need what is gone.
func TestACompactionEndsWhoNeedsWhatIsGone(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 100 << 10, CatchupBytes: 50 << 10} })
	stalled, resync, quick := g.lines(t, "prefix=a/"), g.lines(t, "prefix=a/&on_compacted=resync"), g.lines(t, "prefix=a/")
	for _, s := range []*subscription{stalled, resync, quick} {
		s.created()
	}
	value := strings.Repeat("v", 10_000)
	var last int64
	for i := range 250 {
		last = g.put(t, fmt.Sprintf("a/%d", i%7), value)
		quick.kind("events")
	}
	g.stuck(t, 3)
	g.compact(t, last)
	delivered := int64(0)
	for m := stalled.next(); ; m = stalled.next() {
		if m.Type == "events" {
			delivered = m.Revision
			continue
		}
		if m.Type == "progress" { // a slow machine
			continue
		}
		if m.Type != "error" || m.Error.Code != "compacted" || m.Error.CompactRevision != last || m.Error.Revision != delivered {
			t.Errorf("got %s, want compacted behind %d", m.text, delivered)
		}
		break
	}
	stalled.over()
	m := resync.next()
	for m.Type == "events" || m.Type == "progress" {
		m = resync.next()
	}
	if m.text != `{"type":"reset","reason":"compacted"}` {
		t.Fatalf("got %.200s", m.text)
	}
	if got := resync.state(); len(got.keys) != 7 || got.revision < last {
		t.Errorf("the new state: %d keys at %d", len(got.keys), got.revision)
	}
	r := g.put(t, "a/0", "end")
	for _, s := range []*subscription{quick, resync} {
		if m := s.kind("events"); m.Revision != r {
			t.Errorf("got revision %d, want %d", m.Revision, r)
		}
	}
}

// A transaction is one message, also one that etcd sends in fragments.
func TestARevisionIsNeverSplit(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.lines(t, "prefix=a/&prev_kv=true")
	s.created()
	ops := make([]clientv3.Op, 0, 50)
	for i := range 50 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("a/%02d", i), "1"))
	}
	r := g.txn(t, ops...)
	if m := s.kind("events"); m.Revision != r || len(m.Events) != 50 {
		t.Errorf("got %d events of revision %d", len(m.Events), m.Revision)
	}
	const keys = 60 // 6 MB; tests/fault does it with 20
	value := strings.Repeat("v", 100_000)
	for i := range keys {
		g.put(t, fmt.Sprintf("a/0%03d", i), value)
		s.kind("events")
	}
	if _, err := g.oracle.Delete(t.Context(), "a/0", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	m := s.kind("events") // all of it is in the former values
	if len(m.text) < 100_000*keys || len(m.Events) < keys {
		t.Errorf("got %d bytes, %d events", len(m.text), len(m.Events))
	}
	s.leave()
	eventually(t, "the feed is gone", func() bool { return g.hub.Feeds() == 0 })
	late := g.lines(t, fmt.Sprintf("prefix=a/&prev_kv=true&start_revision=%d", m.Revision))
	late.created()
	if again := late.kind("events"); again.text != m.text { // by a catch-up
		t.Errorf("got %.100s", again.text)
	}
}

// A revision that is too large ends the watch before it, with the revision to resume behind.
func TestARevisionThatIsTooLargeEndsTheWatch(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options.MaxRevisionBytes = 100 << 10 })
	s, other := g.lines(t, "prefix=a/"), g.lines(t, "prefix=b/")
	s.created()
	other.created()
	before := g.put(t, "a/x", "1")
	value := strings.Repeat("v", 60<<10)
	large := g.txn(t, clientv3.OpPut("a/1", value), clientv3.OpPut("a/2", value))
	s.kind("events")
	if p := s.fails("revision_too_large"); p.Revision != before || p.Limit != 100<<10 {
		t.Errorf("got %+v, want to resume behind %d", p, before)
	}
	again := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", before+1))
	again.created()
	again.fails("revision_too_large")
	behind := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", large+1))
	behind.created()
	r := g.txn(t, clientv3.OpPut("a/x", "2"), clientv3.OpPut("b/x", "2"))
	for _, s := range []*subscription{behind, other} {
		if m := s.kind("events"); m.Revision != r {
			t.Errorf("got %.200s", m.text)
		}
	}
}
