package fault_test

import (
	"fmt"
	"testing"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestCompactionEndsOnlyThoseThatNeedWhatIsGone: the member that a gateway's watch is at hangs, meanwhile much is written and
// compacted, so that the watch cannot go on where it was. Subscribers that have come with a later start, which is not
// compacted (from another gateway, say), share that watch; they must not be told that their start is.
func TestCompactionEndsOnlyThoseThatNeedWhatIsGone(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 3)
	g := startGateway(t, s)
	view := history.View{Key: "p/", Prefix: true}
	old := open(t, subscribe.NDJSON{Gateway: subscribe.Gateway{URL: g.API}}, subscribe.Ask{View: view})
	next(t, old, history.Created)
	victim := s.watched(t)
	if err := victim.Freeze(within(t, settled)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(victim.Thaw)
	var head int64
	for i := range 50 {
		eventually(t, settled, "a write goes through", func() bool {
			put, err := s.client.Put(within(t, settled), "p/1", fmt.Sprint(i))
			if err == nil {
				head = put.Header.Revision
			}
			return err == nil
		})
	}
	if _, err := s.client.Compact(within(t, settled), head); err != nil {
		t.Fatal(err)
	}
	for _, transport := range kinds(g)[:4] {
		feed := open(t, transport, subscribe.Ask{View: view, Start: head})
		if m := next(t, feed, history.Events); m.Revision != head {
			t.Errorf("%s: got revision %d, want %d", transport, m.Revision, head)
		}
	}
}

// watched is the member that the gateway watches; the truth watches each.
func (s *stage) watched(t *testing.T) (found *harness.Member) {
	t.Helper()
	eventually(t, settled, "one member has a watch more than the others", func() bool {
		for _, m := range s.cluster.Members {
			n, err := harness.Metric(t.Context(), m.Endpoint, "etcd_debugging_mvcc_watcher_total")
			if err != nil {
				t.Fatal(err)
			}
			if n == 2 {
				found = m
			}
		}
		return found != nil
	})
	return found
}
