package stream_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A watch that has no start begins at the next revision; one in the past gets everything from there on, one at the next
// revision is as good as none.
func TestAStartIsExact(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.put(t, "a/1", "1")
	last := g.scribble(t, 1, 60)
	truth := g.history(t, "a/", 1, last)
	for _, from := range []int64{1, first, first + 1, (first + last) / 2, last, last + 1} {
		s := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", from))
		if c := s.created(); c.Revision != from-1 {
			t.Errorf("created for start %d: got %d", from, c.Revision)
		}
		if from <= last {
			same(t, fmt.Sprint("start ", from), s.until(last), after(truth, from))
		}
		s.leave()
	}
	next := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", last+1))
	none := g.lines(t, "prefix=a/")
	next.created()
	if c := none.created(); c.Revision != last {
		t.Errorf("created without a start: got %d, want %d", c.Revision, last)
	}
	r := g.put(t, "a/1", "more")
	for _, s := range []*subscription{next, none} {
		same(t, "the next revision", s.until(r), g.history(t, "a/", r, r))
	}
}

func TestAStartInTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	p := g.get(t, fmt.Sprintf("/v1/watch?prefix=a&start_revision=%d", g.revision+2)).problem(t, 409, "future_revision")
	if p.Revision != g.revision {
		t.Errorf("revision: got %d, want %d", p.Revision, g.revision)
	}
	g.get(t, fmt.Sprintf("/v1/watch/poll?prefix=a&start_revision=%d", g.revision+2)).problem(t, 409, "future_revision")
}

func TestACompactedStartIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	last := g.scribble(t, 2, 20)
	g.compact(t, last-5)
	for _, path := range []string{"/v1/watch?", "/v1/watch/poll?"} {
		p := g.get(t, path+fmt.Sprintf("prefix=a/&start_revision=%d", last-10)).problem(t, 410, "compacted")
		if p.CompactRevision != last-5 {
			t.Errorf("%s compact_revision: got %d, want %d", path, p.CompactRevision, last-5)
		}
	}
	// With events in a log that has them, a compacted start is served all the same, as far as the log goes.
	s := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", last-4))
	s.created()
	same(t, "just after the compaction", s.until(last), g.history(t, "a/", last-4, last))
	g.compact(t, last)
	again := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", last))
	again.created()
	same(t, "at the compaction", again.until(last), g.history(t, "a/", last, last))
}

func TestAStartOfAnotherEpochIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.get(t, fmt.Sprintf("/v1/watch?prefix=a&start_revision=%d&epoch=other", g.revision)).problem(t, 409, "epoch_changed")
	g.get(t, "/v1/watch/poll?prefix=a&epoch=other").problem(t, 409, "epoch_changed")
	g.lines(t, "prefix=a&epoch="+url.QueryEscape(g.epoch)).created()
}

func TestAStartTooFarBehindIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options.MaxCatchupRevisions = 20 })
	last := g.scribble(t, 3, 40)
	p := g.get(t, "/v1/watch?prefix=a/&start_revision=1").problem(t, 410, "too_far_behind")
	if p.Limit != 20 {
		t.Errorf("limit: got %d", p.Limit)
	}
	s := g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", last-19))
	s.created()
	same(t, "within the bound", s.until(last), g.history(t, "a/", last-19, last))
	resync := g.lines(t, "prefix=a/&start_revision=1&on_compacted=resync")
	resync.created()
	if m := resync.kind("reset"); m.Reason != "too_far_behind" {
		t.Errorf("reset: got %s", m.text)
	}
	resync.state()
}

// The parameters that name what is to be watched.
func TestRangesThatAreWatched(t *testing.T) {
	t.Parallel()
	g := start(t)
	keys := []string{"\x01", "a", "a/", "a/b", "a0", "b", "z", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"}
	watched := func(query string) []string {
		s := g.lines(t, query)
		s.created()
		var ops []clientv3.Op
		for _, k := range keys {
			ops = append(ops, clientv3.OpPut(k, "1"))
		}
		g.txn(t, ops...)
		var got []string
		m := s.kind("events")
		for i := range m.Events {
			k, _ := m.Events[i].KV.bytes()
			got = append(got, string(k))
		}
		s.leave()
		return got
	}
	in := func(wanted func(string) bool) (out []string) {
		for _, k := range keys {
			if wanted(k) {
				out = append(out, k)
			}
		}
		return out
	}
	for _, c := range []struct {
		query string
		want  func(string) bool
	}{
		{"key=a/", func(k string) bool { return k == "a/" }},
		{"prefix=a", func(k string) bool { return strings.HasPrefix(k, "a") }},
		{"prefix=a/", func(k string) bool { return strings.HasPrefix(k, "a/") }},
		{"prefix=", func(string) bool { return true }},
		{"prefix=%ff", func(k string) bool { return strings.HasPrefix(k, "\xff") }},
		{"prefix=%ff%ff", func(k string) bool { return strings.HasPrefix(k, "\xff\xff") }},
		{"prefix=_v8&key_encoding=base64url", func(k string) bool { return strings.HasPrefix(k, "\xfe\xff") }},
		{"from=a/&to=b", func(k string) bool { return k >= "a/" && k < "b" }},
		{"from=b", func(k string) bool { return k >= "b" }},
		{"to=b", func(k string) bool { return k < "b" }},
	} {
		if got, want := fmt.Sprintf("%q", watched(c.query)), fmt.Sprintf("%q", in(c.want)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.query, got, want)
		}
	}
	for query, code := range map[string]string{
		"": "invalid_parameter", "key=": "invalid_parameter", "key=a&prefix=b": "invalid_parameter", "prefix=a&from=b": "invalid_parameter",
		"from=b&to=a": "invalid_parameter", "heartbeat=301&key=a": "invalid_parameter", "key=a&start_revision=0": "invalid_parameter",
		"key=a&start_revision=-1": "invalid_parameter", "key=a&snapshot=true&start_revision=1": "invalid_parameter", "key=a&x=1": "unknown_parameter",
		"key=a&events=x": "invalid_parameter", "key=a&on_compacted=x": "invalid_parameter",
	} {
		if a := g.get(t, "/v1/watch?"+query); !strings.Contains(string(a.body), code) || a.status != 400 {
			t.Errorf("%q: got %d %s, want 400 %s", query, a.status, a.body, code)
		}
	}
	for _, query := range []string{"key=%00etcdrest/epoch", "prefix=%00", "to=%00x"} {
		g.get(t, "/v1/watch?"+query).problem(t, 403, "reserved")
	}
}

// The gateway's own keys are in no watch, also where the range has no bounds.
func TestReservedKeysAreInNoWatch(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.lines(t, "prefix=&start_revision=1&snapshot=false&prev_kv=true")
	s.created()
	snapshot := g.lines(t, "prefix=&snapshot=true")
	snapshot.created()
	if state := snapshot.state(); len(state.keys) != 0 {
		t.Errorf("a snapshot of everything: got %v", state.keys)
	}
	g.txn(t, clientv3.OpPut("\x00etcdrest/x", "1"), clientv3.OpPut("\x00", "1"))
	r := g.txn(t, clientv3.OpPut("\x00etcdrest/x", "2"), clientv3.OpPut("a", "1"))
	g.put(t, "\x00y", "1")
	last := g.put(t, "b", "1")
	for _, s := range []*subscription{s, snapshot} {
		got := s.until(last)
		if len(got) != 2 || got[0].Revision != r || len(got[0].Events) != 1 || len(got[1].Events) != 1 {
			t.Errorf("got %v", got)
		}
	}
}

// A store at revision 1 has no history at all.
func TestAWatchFromTheFirstRevision(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.lines(t, "key=a&start_revision=1")
	if c := s.created(); c.Revision != 0 {
		t.Errorf("created: got %s", c.text)
	}
	r := g.put(t, "a", "1")
	same(t, "from 1", s.until(r), g.history(t, "a", r, r))
}

// state is what a subscriber that keeps a copy has.
type state struct {
	keys     map[string]keyValue
	revision int64
}

// state takes a snapshot up to synced, which must be a whole one: chunks in the order of the keys.
func (s *subscription) state() *state {
	s.t.Helper()
	copied, last := &state{keys: make(map[string]keyValue)}, ""
	for {
		m := s.next()
		switch m.Type {
		case "snapshot":
			for _, kv := range m.KVs {
				key, _ := kv.bytes()
				if string(key) <= last {
					s.t.Fatalf("the key %q comes after %q", key, last)
				}
				last = string(key)
				copied.keys[last] = kv
			}
		case "reset":
			copied, last = &state{keys: make(map[string]keyValue)}, ""
		case "synced":
			copied.revision = m.Revision
			return copied
		case "progress":
		default:
			s.t.Fatalf("a message of type %s in a snapshot: %s", m.Type, m.text)
		}
	}
}

// apply changes the copy by a message of events.
func (c *state) apply(t testing.TB, m *message) {
	t.Helper()
	if m.Revision <= c.revision {
		t.Fatalf("revision %d is applied to a copy at %d", m.Revision, c.revision)
	}
	for _, e := range m.Events {
		key, _ := e.KV.bytes()
		if e.Type == "delete" {
			delete(c.keys, string(key))
		} else {
			c.keys[string(key)] = e.KV
		}
	}
	c.revision = m.Revision
}
