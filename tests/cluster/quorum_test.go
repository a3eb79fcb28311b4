package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestLostQuorum: two of three members, the leader among them, hang for eight seconds.
//
//   - Every call ends by its deadline (timeout=2, and a second for a busy machine).
//   - Linearizable reads and writes fail as 503 or 504, and every failed write with the right outcome.
//   - /readyz says no and /livez yes, on both listeners.
//   - Once the gateway has noticed (five seconds), serializable reads are answered by the member that is left.
//   - Everything flows again at most five seconds after the members go on.
func TestLostQuorumFailsByTheDeadlineWithHonestOutcomesAndIsReadyAgainInFiveSeconds(t *testing.T) { //nolint:paralleltest // it measures
	const lostFor, timeout = 8 * time.Second, 2 * time.Second
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	gateway, api := startGateway(t, cluster.Endpoints())
	admin := newAPI(t, gateway.Admin)
	var all history
	known := create(t, api, &all, "quorum/known")
	writes := startTraffic(t, "writes", 50*time.Millisecond, func(ctx context.Context, n int) answer {
		key := fmt.Sprintf("quorum/%d", n)
		a := api.create(ctx, key, key, "?timeout=2")
		all.wrote(key, key, a)
		return a
	})
	reads := startTraffic(t, "reads", 50*time.Millisecond, func(ctx context.Context, _ int) answer {
		a := api.get(ctx, "/v1/kv/"+known+"?timeout=2")
		all.saw(known, a)
		return a
	})
	local := startTraffic(t, "serializable reads", 50*time.Millisecond, func(ctx context.Context, _ int) answer {
		return api.get(ctx, "/v1/kv/"+known+"?timeout=2&consistency=serializable")
	})
	flowing := time.Now()
	eventually(t, 20*time.Second, "calls are served", func() bool { return len(reads.between(flowing, time.Now())) > 20 })

	first := leader(t, cluster)
	frozen := []*harness.Member{first}
	for _, m := range cluster.Members {
		if m != first && len(frozen) < 2 {
			frozen = append(frozen, m)
		}
	}
	lost := time.Now()
	for _, m := range frozen {
		freeze(t, m)
	}
	for _, a := range []answer{api.get(t.Context(), "/readyz"), admin.get(t.Context(), "/readyz")} {
		if a.status != http.StatusServiceUnavailable && a.status != http.StatusGatewayTimeout {
			t.Errorf("got %v, want 503 or 504", a)
		}
		if a.took() > 4*time.Second {
			t.Errorf("a probe's patience is a few seconds: %v", a)
		}
	}
	for _, a := range []answer{api.get(t.Context(), "/livez"), admin.get(t.Context(), "/livez")} {
		if !a.ok() || a.took() > prompt {
			t.Errorf("got %v, want 200 at once", a)
		}
	}
	pass(t, lost.Add(lostFor))
	back := time.Now()
	for _, m := range frozen {
		m.Thaw()
	}
	eventually(t, flowsWithin, "the gateway is ready", func() bool { return api.get(t.Context(), "/readyz").ok() })
	ready := time.Since(back)
	pass(t, back.Add(flowsWithin+time.Second))
	writes.stop()
	reads.stop()
	local.stop()

	for _, f := range []*traffic{writes, reads} {
		for _, a := range f.between(lost.Add(timeout), back.Add(-timeout)) {
			if a.status != http.StatusServiceUnavailable && a.status != http.StatusGatewayTimeout {
				t.Errorf("without a quorum: got %v, want 503 or 504", a)
			}
		}
	}
	for _, f := range []*traffic{writes, reads, local} {
		if a := slowest(f.between(lost.Add(-timeout), back.Add(timeout))); a.took() > timeout+time.Second {
			t.Errorf("%s: got %v, want the end within %v", f.name, a, timeout)
		}
		d, last := f.blackout(back, time.Now())
		t.Logf("%s: flowed %v after the quorum was back (ready after %v)", f.name, d, ready)
		if d > flowsWithin {
			t.Errorf("%s: flow %v after the quorum is back, want %v: %v", f.name, d, flowsWithin, last)
		}
	}
	d, last := local.blackout(lost, back)
	t.Logf("serializable reads: flowed %v after the quorum was lost; before the last one failed: %v", d, last)
	if d > flowsWithin {
		t.Errorf("serializable reads flow %v after the quorum was lost, want %v: %v", d, flowsWithin, last)
	}
	t.Logf("writes: %v", all.told())
	all.check(t, readBack(t, client, "quorum/"))
}
