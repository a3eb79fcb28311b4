package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/harness"
)

const (
	// frozenFor is longer than what the gateway needs to notice, and than etcd's election.
	frozenFor = 10 * time.Second
	// flowsWithin is how soon everything must flow again after a member hangs, or the quorum is back.
	flowsWithin = 5 * time.Second
	// memberSilent is how the gateway says that the member that it had asked hangs.
	memberSilent = "the member of etcd that was asked does not answer"
)

// TestFrozenMember: one member hangs (SIGSTOP: its connections stay open, and it answers nothing) for ten seconds, first
// the leader, then a follower, while reads and writes with the default time-outs begin steadily.
//
//   - Every call that begins five seconds after, or later, is served promptly, although the member still hangs.
//   - No read fails at all, not even those that began when the member froze.
//   - A write that had reached the leader when it froze is answered within five seconds too: unknown.
//   - What was acknowledged is there, what was told not_applied is not, nothing is there twice.
//   - The metrics show that the member is set aside, and that it is back after it goes on.
func TestFrozenMemberIsLeftWithinFiveSecondsAndComesBack(t *testing.T) { //nolint:paralleltest // it measures
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	gateway, api := startGateway(t, cluster.Endpoints())
	for _, role := range []string{"leader", "follower"} {
		var all history
		writes := startTraffic(t, "writes", 25*time.Millisecond, func(ctx context.Context, n int) answer {
			key := fmt.Sprintf("frozen-%s/%d", role, n)
			a := api.create(ctx, key, key, "")
			all.wrote(key, key, a)
			return a
		})
		known := create(t, api, &all, "frozen-"+role+"/known")
		everywhere(t, cluster, known) // the member that was frozen before may be behind, which serializable reads show
		reads := startTraffic(t, "reads", 25*time.Millisecond, func(ctx context.Context, _ int) answer {
			a := api.get(ctx, "/v1/kv/"+known)
			all.saw(known, a)
			return a
		})
		local := startTraffic(t, "serializable reads", 25*time.Millisecond, func(ctx context.Context, _ int) answer {
			return api.get(ctx, "/v1/kv/"+known+"?consistency=serializable") // these go to followers as well
		})
		flowing := time.Now()
		eventually(t, 20*time.Second, "calls are served", func() bool {
			return len(writes.between(flowing, time.Now())) > 40 && len(local.between(flowing, time.Now())) > 40
		})
		victim := leader(t, cluster)
		if role == "follower" {
			for _, m := range cluster.Members {
				if m != victim {
					victim = m
					break
				}
			}
		}
		frozen := time.Now()
		freeze(t, victim)
		eventually(t, frozenFor, "the member is set aside", func() bool {
			return metric(t, gateway.Admin, "etcdrest_etcd_members_set_aside") == 1
		})
		aside := time.Since(frozen)
		pass(t, frozen.Add(frozenFor))
		thawed := time.Now()
		victim.Thaw()
		eventually(t, 20*time.Second, "the member is back at work", func() bool {
			return metric(t, gateway.Admin, "etcdrest_etcd_members_set_aside") == 0 &&
				metric(t, gateway.Admin, "etcdrest_etcd_connections", `class="unary"`, victim.Endpoint) == 2
		})
		back := time.Since(thawed)
		writes.stop()
		reads.stop()
		local.stop()
		t.Logf("%s frozen: set aside after %v, back %v after it went on", role, aside, back)
		for _, f := range []*traffic{writes, reads, local} {
			d, last := f.blackout(frozen, thawed)
			t.Logf("%s frozen: %s flowed after %v; the slowest was %v", role, f.name, d, slowest(f.between(frozen.Add(-time.Second), thawed)))
			if d > flowsWithin {
				t.Errorf("%s frozen: %s flow after %v, want %v: %v", role, f.name, d, flowsWithin, last)
			}
		}
		for _, a := range append(reads.between(flowing, time.Now()), local.between(flowing, time.Now())...) {
			if !a.ok() {
				t.Errorf("%s frozen: a read failed: %v", role, a)
			}
		}
		caught := 0
		for _, a := range writes.between(flowing, thawed) {
			d := a.document()
			if d.Detail != memberSilent {
				continue
			}
			if caught++; d.Outcome != "unknown" || a.ended.Sub(latest(a.begun, frozen)) > flowsWithin {
				t.Errorf("%s frozen: a write at it: %v; want unknown within %v", role, a, flowsWithin)
			}
		}
		if caught == 0 && role == "leader" {
			t.Error("no write was under way at the leader when it froze")
		}
		t.Logf("%s frozen: writes: %v, %d of them at the member", role, all.told(), caught)
		all.check(t, readBack(t, client, "frozen-"+role+"/"))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// everywhere waits until every member has the key.
func everywhere(t *testing.T, cluster *harness.Cluster, key string) {
	t.Helper()
	for _, m := range cluster.Members {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		eventually(t, 20*time.Second, "a member has "+key, func() bool {
			r, err := client.Get(t.Context(), key, clientv3.WithSerializable(), clientv3.WithCountOnly())
			return err == nil && r.Count == 1
		})
	}
}

// create makes one key before the fault.
func create(t *testing.T, api *api, h *history, key string) string {
	t.Helper()
	a := api.create(t.Context(), key, key, "")
	if h.wrote(key, key, a) != acknowledged {
		t.Fatal(a)
	}
	return key
}
