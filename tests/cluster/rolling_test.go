package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestRollingRestart: each member in turn is stopped in good order (SIGTERM) and started again, the leader last, while eight
// writers create keys, and 24 readers read single keys and lists.
//
//   - No linearizable read fails: neither GET of a key nor of a list.
//   - Writes fail only with an honest outcome.
func TestRollingRestartFailsNoLinearizableReadAndLosesNoWrite(t *testing.T) { //nolint:paralleltest // it measures
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	load := startLoad(t, api, "rolling", 8, 12)
	lists := startTraffic(t, "lists", 20*time.Millisecond, func(ctx context.Context, n int) answer {
		return api.get(ctx, []string{"/v1/kv?prefix=rolling/&limit=50", "/v1/kv?prefix=rolling/1/&limit=500"}[n%2])
	})
	order := append([]*harness.Member(nil), cluster.Members...)
	for i := range order {
		if last := len(order) - 1; order[i] == leader(t, cluster) {
			order[i], order[last] = order[last], order[i]
		}
	}
	for _, m := range order {
		flowing := time.Now()
		eventually(t, 20*time.Second, "writers write", func() bool { return load.acks().since(flowing) > 50 })
		stopped := time.Now()
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
		restart(t, m)
		leader(t, cluster)
		t.Logf("restarted within %v; no write for %v", time.Since(stopped), load.acks().longestGap(stopped, time.Now()))
	}
	flowing := time.Now()
	eventually(t, 20*time.Second, "writers write", func() bool { return load.acks().since(flowing) > 50 })
	load.stop()
	lists.stop()
	t.Logf("writes: %v; %d reads, %d lists", load.told(), len(load.reads), len(lists.answers))
	for _, a := range append(load.unread, lists.answers...) {
		if !a.ok() {
			t.Errorf("a read failed: %v", a)
		}
	}
	if len(load.reads) < 500 || len(lists.answers) < 50 {
		t.Error("too few reads to show anything")
	}
	load.check(t, readBack(t, client, "rolling/"))
}
