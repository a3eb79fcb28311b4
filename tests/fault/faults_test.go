package fault_test

import (
	"context"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

const settled = 60 * time.Second // for a member to serve again, on a busy machine

func (s *stage) leader(t *testing.T) *harness.Member {
	t.Helper()
	m, err := s.cluster.Leader(within(t, settled))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// follower is a member that does not lead.
func (s *stage) follower(t *testing.T) *harness.Member {
	t.Helper()
	leader := s.leader(t)
	for _, m := range s.cluster.Members {
		if m != leader {
			return m
		}
	}
	t.Fatal("all members lead")
	return nil
}

func kill(t *testing.T, m *harness.Member) {
	t.Helper()
	if err := m.Kill(within(t, settled)); err != nil {
		t.Fatal(err)
	}
}

func restart(t *testing.T, m *harness.Member) {
	t.Helper()
	if err := m.Restart(within(t, settled)); err != nil {
		t.Fatal(err)
	}
}

// hang stops a member where it is for a while.
func hang(t *testing.T, m *harness.Member, d time.Duration) {
	t.Helper()
	if err := m.Freeze(within(t, settled)); err != nil {
		t.Fatal(err)
	}
	last(t, d)
	m.Thaw()
}

// moveLeader hands the lead to a follower, in good order.
func (s *stage) moveLeader(t *testing.T) {
	t.Helper()
	leader, heir := s.leader(t), s.follower(t)
	client := official(t, &harness.Cluster{Members: []*harness.Member{leader}})
	if _, err := client.MoveLeader(within(t, settled), heir.ID); err != nil {
		t.Logf("the leader was not moved: %v", err) // it had moved by itself
	}
}

// compact forgets all but the newest revisions, again and again.
func (s *stage) compact(every time.Duration, keep int64) {
	s.compacted = true
	s.keep(every, func(ctx context.Context) {
		_, _ = s.client.Compact(ctx, s.truth.Head()-keep) // what is compacted already, or has no leader, is tried again
	})
}

// trouble is one round of every fault; more is what happens between them.
func (s *stage) trouble(t *testing.T, more func()) {
	t.Helper()
	last(t, 2*time.Second)
	leader := s.leader(t)
	kill(t, leader)
	more()
	last(t, 3*time.Second)
	restart(t, leader)
	more()
	hang(t, s.leader(t), 4*time.Second)
	if !s.compacted {
		s.compact(100*time.Millisecond, 50)
	}
	more()
	s.moveLeader(t)
	last(t, time.Second)
	follower := s.follower(t)
	kill(t, follower)
	more()
	last(t, 2*time.Second)
	restart(t, follower)
}
