package fault_test

import (
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

const (
	// slack is what a gateway may add to the official client's silence when the leader dies.
	slack = time.Second
	// hangsAtMost is how long a member that hangs may silence a gateway's subscribers.
	hangsAtMost = 5 * time.Second
)

// TestEventsFlowAgain: the leader is killed, then each member in turn hangs, while subscribers before a gateway and beside
// it by etcd's official client see all there is.
//
//   - A killed leader silences the gateway's subscribers at most a second longer than the official client's.
//   - A hanging member silences them for at most five seconds, whichever it is.
func TestEventsFlowAgain(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 3)
	g := startGateway(t, s)
	s.beat(t)
	ours := s.steady(t, 10, kinds(g)...)
	var official6 []subscribe.Transport
	for range 6 {
		official6 = append(official6, subscribe.Etcd{Client: official(t, s.cluster)})
	}
	theirs := s.steady(t, 6, official6...)
	flow := func() {
		t.Helper()
		head := s.truth.Head()
		for _, c := range append(ours, theirs...) {
			eventually(t, settled, c.Name+" sees events", func() bool { return c.Position() > head+20 })
		}
	}
	flow()
	from := time.Now()
	leader := s.leader(t)
	kill(t, leader)
	last(t, 4*time.Second)
	flow()
	got, gotMedian := silence(ours, from, time.Now())
	base, baseMedian := silence(theirs, from, time.Now())
	t.Logf("leader killed: silent for %v (median %v), the official client for %v (%v)", got, gotMedian, base, baseMedian)
	if got > base+slack {
		t.Errorf("a killed leader silences subscribers for %v, want at most the official client's %v and %v", got, base, slack)
	}
	restart(t, leader)
	for _, m := range s.cluster.Members {
		flow()
		leads := s.leader(t) == m
		from = time.Now()
		hang(t, m, hangsAtMost+time.Second)
		until := time.Now()
		got, gotMedian = silence(ours, from, until)
		base, baseMedian = silence(theirs, from, until)
		t.Logf("a member hangs (the leader: %v): silent for %v (median %v), the official client for %v (%v)", leads, got, gotMedian, base, baseMedian)
		if got > hangsAtMost {
			t.Errorf("a member that hangs silences subscribers for %v, want at most %v", got, hangsAtMost)
		}
	}
	s.verdict(t, nil)
}
