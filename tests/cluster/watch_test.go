package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestWatchesLeaveAFrozenMember: thirty watches of one range are spread over three members.
// One member hangs (SIGSTOP) for ten seconds, first a follower, then the leader; then each member in turn is killed.
//
//   - What is written while a member hangs reaches every watch within five seconds.
//   - In the end every watch has had every revision once, in order.
func TestWatchesLeaveAFrozenMemberWithinFiveSecondsAndMissNothing(t *testing.T) { //nolint:paralleltest // it measures
	cluster := harness.StartCluster(t, 3)
	written, n := map[int64]string{}, 0
	// write writes one more key through a member, until it is acknowledged, and gives the revision.
	write := func(through *harness.Member) int64 {
		var revision int64
		eventually(t, 4*flowsWithin, "a write is acknowledged", func() bool {
			n++ // what was not acknowledged may have been written
			revision = putThrough(t, through, fmt.Sprintf("w/%d", n))
			return revision > 0
		})
		written[revision] = fmt.Sprintf("w/%d", n)
		return revision
	}
	start := write(cluster.Members[0])
	observers := observe(t, strings.Split(cluster.Endpoints(), ","), 30, start)
	// caughtUp gives how long it takes until every watch has a write that was made after now.
	caughtUp := func(what string, through *harness.Member) time.Duration {
		t.Helper()
		began, revision := time.Now(), write(through)
		eventually(t, 4*flowsWithin, what, func() bool {
			for _, o := range observers {
				if o.reached() < revision {
					return false
				}
			}
			return true
		})
		return time.Since(began)
	}
	for _, role := range []string{"follower", "leader"} {
		victim := leader(t, cluster)
		if role == "follower" {
			victim = other(cluster, victim)
		}
		lost := lostOf(observers)
		freeze(t, victim)
		d := caughtUp("every watch is up to date although a "+role+" hangs", other(cluster, victim))
		moved := lostOf(observers) - lost
		t.Logf("%s frozen: %d interruptions of %d watches, all up to date after %v", role, moved, len(observers), d)
		if moved == 0 {
			t.Errorf("%s frozen: it had no watch, which proves nothing", role)
		}
		if d > flowsWithin {
			t.Errorf("%s frozen: the watches were up to date after %v, want %v", role, d, flowsWithin)
		}
		victim.Thaw()
	}
	for _, victim := range cluster.Members {
		if err := victim.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := caughtUp("every watch is up to date although a member is dead", other(cluster, victim))
		t.Logf("%s killed: all up to date after %v", victim.Endpoint, d)
		restart(t, victim)
	}
	checkHistory(t, official(t, cluster), start, observers, written)
}

// putThrough puts a key through that member only, and gives the revision, or 0 when it does not answer soon.
func putThrough(t *testing.T, m *harness.Member, key string) int64 {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := client.Put(ctx, key, "v")
	if err != nil {
		return 0
	}
	return r.Header.Revision
}

func other(c *harness.Cluster, m *harness.Member) *harness.Member {
	for _, o := range c.Members {
		if o != m {
			return o
		}
	}
	return nil
}

// checkHistory wants every watch to have had what etcd's own client sees, and what was acknowledged to be among it.
func checkHistory(t *testing.T, client *clientv3.Client, start int64, observers []*observer, written map[int64]string) {
	t.Helper()
	r, err := client.Get(t.Context(), "w/", clientv3.WithPrefix(), clientv3.WithLimit(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	truth := map[int64]string{} // every key was written once, or twice when the first answer was lost
	for _, kv := range r.Kvs {
		truth[kv.ModRevision] = string(kv.Key)
	}
	for revision, key := range written {
		if truth[revision] != key {
			t.Fatalf("etcd has lost %s of revision %d", key, revision)
		}
	}
	for i, o := range observers {
		eventually(t, 20*time.Second, "a watch is at the end", func() bool { return o.reached() >= r.Header.Revision })
		o.note(func() {
			if len(o.ended) > 0 {
				t.Errorf("watch %d: %v", i, o.ended)
			}
			for revision, key := range truth {
				if revision >= start && o.events[revision] != key {
					t.Errorf("watch %d missed %s of revision %d", i, key, revision)
				}
			}
		})
	}
}
