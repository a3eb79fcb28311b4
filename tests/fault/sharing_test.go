package fault_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// watchers is how many watches etcd has.
func (s *stage) watchers(t *testing.T) (n int) {
	t.Helper()
	for _, m := range s.cluster.Members {
		v, err := harness.Metric(t.Context(), m.Endpoint, "etcd_debugging_mvcc_watcher_total")
		if err != nil {
			t.Fatal(err)
		}
		n += int(v)
	}
	return n
}

// TestFiveHundredSubscribersShareOneWatch: 500 subscribers of one prefix over all streams, of which etcd knows at most two
// watches; all of them see the next change; and when they go, by FIN or by RST, the watches go.
func TestFiveHundredSubscribersShareOneWatch(t *testing.T) { //nolint:paralleltest // it measures
	const n = 500
	s := newStage(t, 1)
	streams := kinds(startGateway(t, s))[:4] // a poll is no stream
	eventually(t, settled, "the watch of the truth is there", func() bool { return s.watchers(t) == 1 })
	feeds := make([]subscribe.Feed, n)
	together(t, n, func(i int) {
		feeds[i] = open(t, streams[i%len(streams)], subscribe.Ask{View: history.View{Key: "p/", Prefix: true}})
		next(t, feeds[i], history.Created)
	})
	if got := s.watchers(t) - 1; got > 2 {
		t.Errorf("%d subscribers are %d watches at etcd, want at most 2", n, got)
	}
	put, err := s.client.Put(t.Context(), "p/1", "v")
	if err != nil {
		t.Fatal(err)
	}
	together(t, n, func(i int) {
		if m := next(t, feeds[i], history.Events); m.Revision != put.Header.Revision {
			t.Errorf("subscriber %d saw revision %d first, want %d", i, m.Revision, put.Header.Revision)
		}
	})
	gone := time.Now()
	together(t, n, func(i int) { feeds[i].Close(i%2 == 0) })
	eventually(t, 5*time.Second, "the watch is released", func() bool { return s.watchers(t) == 1 })
	t.Logf("released %v after the first of %d began to leave", time.Since(gone), n)
}

// TestGoneClientsAreNoticedWithinASecond: each way to leave, on each stream, ends the watch behind it.
func TestGoneClientsAreNoticedWithinASecond(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 1)
	g := startGateway(t, s)
	eventually(t, settled, "the watch of the truth is there", func() bool { return s.watchers(t) == 1 })
	for _, abruptly := range []bool{false, true} {
		for i, transport := range kinds(g)[:4] {
			feed := open(t, transport, subscribe.Ask{View: history.View{Key: fmt.Sprintf("gone%d/", i), Prefix: true}})
			next(t, feed, history.Created)
			if got := s.watchers(t); got != 2 {
				t.Errorf("%s: got %d watches, want 2", transport, got)
			}
			gone := time.Now()
			feed.Close(abruptly)
			eventually(t, 5*time.Second, "the watch is released", func() bool { return s.watchers(t) == 1 })
			took := time.Since(gone)
			t.Logf("%s, abruptly %v: released after %v", transport, abruptly, took)
			if took > time.Second {
				t.Errorf("%s, abruptly %v: released after %v, want a second", transport, abruptly, took)
			}
		}
	}
}
