package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// A snapshot and the changes behind it are the state, without a gap and without overlap, whatever is written meanwhile.
func TestASnapshotAndItsChangesAreTheState(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.scribble(t, 1, 50)
	done := make(chan int64)
	go func() { done <- g.scribble(t, 2, 300) }()
	copies := make([]*state, 0, 12)
	streams := make([]*subscription, 0, 12)
	for range 12 {
		s := g.lines(t, "prefix=a/&snapshot=true")
		c := s.created()
		copied := s.state()
		if copied.revision != c.Revision {
			t.Errorf("created at %d, synced at %d", c.Revision, copied.revision)
		}
		copies, streams = append(copies, copied), append(streams, s)
	}
	last := <-done
	want := g.state(t, "a/")
	for i, s := range streams {
		for copies[i].revision < last {
			m := s.next()
			if m.Type == "events" {
				copies[i].apply(t, &m)
			}
		}
		if diff := cmp.Diff(want, copies[i].keys); diff != "" {
			t.Errorf("copy %d (-want +got):\n%.2000s", i, diff)
		}
	}
}

// state is what etcd has of the keys with the prefix.
func (g *gateway) state(t testing.TB, prefix string) map[string]keyValue {
	t.Helper()
	r, err := g.oracle.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]keyValue)
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = keyValue{
			Key: string(kv.Key), Value: string(kv.Value), CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
		}
	}
	return all
}

// fill writes n keys a/00000 and so on, of that many bytes each.
func (g *gateway) fill(t testing.TB, n, size int) {
	t.Helper()
	value := strings.Repeat("v", size)
	for i := 0; i < n; {
		var ops []clientv3.Op
		for ; i < n && len(ops) < 100 && len(ops)*size < 1<<20; i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("a/%05d", i), value))
		}
		g.txn(t, ops...)
	}
}

// A big state comes in chunks, none of which is large.
func TestABigSnapshotComesInChunks(t *testing.T) {
	t.Parallel()
	g := start(t)
	const keys = 20_000
	g.fill(t, keys, 100)
	s := g.lines(t, "prefix=a/&snapshot=true&keys_only=false")
	s.created()
	got, largest := 0, 0
	for {
		m := s.next()
		if m.Type == "synced" {
			break
		}
		got, largest = got+len(m.KVs), max(largest, len(m.text))
	}
	if got != keys || largest > 100<<10 {
		t.Errorf("got %d keys in chunks of at most %d bytes", got, largest)
	}
}

// A snapshot whose revision is compacted before it is complete begins anew, once; then the subscriber is too slow.
func TestASnapshotThatIsCompactedBeginsAnewOnce(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.fill(t, 3_000, 10_000) // far more than what the sockets between hold
	s := g.lines(t, "prefix=a/&snapshot=true")
	s.created()
	s.kind("snapshot")
	advance := func() { g.compact(t, g.put(t, "b", "x")) }
	advance()
	m := s.behindTheSnapshot()
	if m.Type != "reset" || m.Reason != "compacted" {
		t.Fatalf("got %s, want a reset", m.text)
	}
	s.kind("snapshot")
	advance()
	m = s.behindTheSnapshot()
	if m.Type != "error" || m.Error.Code != "slow_consumer" || m.Error.Revision != 0 {
		t.Errorf("got %s, want slow_consumer without a revision to resume behind", m.text)
	}
	s.over()
}

// behindTheSnapshot takes the first message that is no part of a snapshot.
func (s *subscription) behindTheSnapshot() message {
	s.t.Helper()
	for {
		if m := s.next(); m.Type != "snapshot" {
			return m
		}
	}
}

// A start that is compacted begins with a reset where the subscriber wants that, over every transport.
func TestACompactedStartResyncs(t *testing.T) {
	t.Parallel()
	g := start(t)
	last := g.scribble(t, 5, 30)
	g.compact(t, last-3)
	start := last - 10
	for _, begin := range []func() *subscription{
		func() *subscription {
			return g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d&on_compacted=resync", start))
		},
		func() *subscription {
			return g.sse(t, "prefix=a/&on_compacted=resync&snapshot=true", fmt.Sprintf("Last-Event-ID: %s-%d", g.epoch, start))
		},
	} {
		s := begin()
		if c := s.created(); c.Revision != last || c.bookmark != "" {
			t.Errorf("created: got %s with id %q", c.text, c.bookmark)
		}
		s.want(`{"type":"reset","reason":"compacted"}`)
		if diff := cmp.Diff(g.state(t, "a/"), s.state().keys); diff != "" {
			t.Errorf("the state (-want +got):\n%s", diff)
		}
		r := g.put(t, "a/1", "more")
		last = r
		same(t, "behind the snapshot", s.until(r), g.history(t, "a/", r, r))
	}
}

func TestASnapshotOfOneKeyOfNoneAndWithoutValues(t *testing.T) {
	t.Parallel()
	g := start(t)
	r := g.put(t, "a", "1")
	g.put(t, "ab", "2")
	one := g.lines(t, "key=a&snapshot=true")
	one.created()
	one.want(
		fmt.Sprintf(`{"type":"snapshot","kvs":[{"key":"a","value":"1","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}]}`, r),
		fmt.Sprintf(`{"type":"synced","revision":%d}`, r+1),
	)
	none := g.lines(t, "key=c&snapshot=true")
	none.created()
	none.want(fmt.Sprintf(`{"type":"synced","revision":%d}`, r+1))
	bare := g.lines(t, "prefix=a&snapshot=true&keys_only=true&encoding=base64")
	bare.created()
	bare.want(fmt.Sprintf(`{"type":"snapshot","kvs":[{"key_base64":"YQ==","create_revision":%[1]d,"mod_revision":%[1]d,"version":1},`+
		`{"key_base64":"YWI=","create_revision":%[2]d,"mod_revision":%[2]d,"version":1}]}`, r, r+1))
}

// gated holds back reads of a range until the test lets them go, as an etcd does that is busy.
type gated struct {
	stream.Store

	gate   chan struct{}
	closed atomic.Bool
	err    error
}

// Range is Store.Range behind the gate.
func (g *gated) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	if !r.CountOnly && g.closed.Load() {
		if err := g.wait(ctx); err != nil {
			return nil, err
		}
	}
	return g.Store.Range(ctx, r)
}

// RangeStream is Store.RangeStream behind the gate.
func (g *gated) RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error) {
	if g.closed.Load() {
		if err := g.wait(ctx); err != nil {
			return nil, err
		}
	}
	return g.Store.RangeStream(ctx, r)
}

func (g *gated) wait(ctx context.Context) error {
	select {
	case <-g.gate:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// While a snapshot is waited for, the subscriber hears that the connection lives.
func TestASnapshotThatIsWaitedForHasHeartbeats(t *testing.T) {
	t.Parallel()
	held := &gated{gate: make(chan struct{})}
	held.closed.Store(true)
	g := start(t, func(s *setup) { s.store = func(store stream.Store) stream.Store { held.Store = store; return held } })
	g.put(t, "a", "1")
	s := g.sse(t, "prefix=a&snapshot=true&heartbeat=1")
	s.created()
	for range 2 {
		if m := s.kind("snapshot"); len(m.KVs) != 0 || m.bookmark != "" {
			t.Errorf("got %s with id %q", m.text, m.bookmark)
		}
	}
	close(held.gate)
	if got := s.state(); len(got.keys) != 1 {
		t.Errorf("got %v", got)
	}
}

// A snapshot that fails ends the watch, with nothing of what has changed meanwhile.
func TestASnapshotThatFailsEndsTheWatch(t *testing.T) {
	t.Parallel()
	held := &gated{gate: make(chan struct{}), err: errors.New("planted")}
	held.closed.Store(true)
	g := start(t, func(s *setup) { s.store = func(store stream.Store) stream.Store { held.Store = store; return held } })
	s := g.lines(t, "prefix=a&snapshot=true")
	s.created()
	g.put(t, "a", "1")
	close(held.gate)
	if p := s.fails("internal"); p.Revision != 0 {
		t.Errorf("revision: got %d, want none to resume behind", p.Revision)
	}
}
