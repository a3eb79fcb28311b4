package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// place is where somebody stands in the queue of a lock.
type place struct {
	Lease string
	Token int64 `json:"fencing_token"`
	TTL   int64
}

// grantAll grants leases, many at a time, so that the first is not over before the last is there.
func grantAll(t *testing.T, client *clientv3.Client, n int, ttl int64) []string {
	t.Helper()
	const granters = 50
	ids := make([]string, n)
	var granting sync.WaitGroup
	for first := range granters {
		granting.Go(func() {
			for i := first; i < n; i += granters {
				lease, err := client.Grant(t.Context(), ttl)
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = fmt.Sprintf("%016x", int64(lease.ID))
			}
		})
	}
	granting.Wait()
	return ids
}

// TestACrashOfTheLeaderLosesNoLeaseAndNoPlaceInAQueue: 2,000 leases of five seconds are renewed for a minute by one call after
// the other, a second apart, while the leader of three members crashes and comes back. A lock is held by one of them, and a
// request waits for it with a lease of the gateway's, of five seconds too.
//
//   - No renewal says that a lease is lost, and every lease is there in the end.
//   - All of them travel on a few streams: etcd counts them.
//   - The request that waits keeps its place, and has the lock when it is released, with its whole time.
func TestACrashOfTheLeaderLosesNoLeaseAndNoPlaceInAQueue(t *testing.T) { //nolint:paralleltest // it measures
	const n, ttl = 2000, 5
	const before, after = 30 * time.Second, 30 * time.Second // the crash
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	ids := grantAll(t, client, n, ttl)
	batch := `{"ids":["` + strings.Join(ids, `","`) + `"]}`
	renewals := startTraffic(t, "keepalives", time.Second, func(ctx context.Context, _ int) answer {
		return api.call(ctx, http.MethodPost, "/v1/leases/keepalive?timeout=4", batch)
	})
	began, opened := time.Now(), keepAliveStreams(t, cluster)
	pass(t, began.Add(before))
	if opened = keepAliveStreams(t, cluster) - opened; opened > 10 {
		t.Errorf("%v streams for %d leases in %v, want a few", opened, n, before)
	}
	lock := api.call(t.Context(), http.MethodPost, "/v1/locks/crash", `{"lease":"`+ids[0]+`"}`)
	if lock.status != http.StatusCreated {
		t.Fatalf("the lock: %v", lock)
	}
	waiter := make(chan answer, 1)
	go func() {
		waiter <- api.call(t.Context(), http.MethodPost, "/v1/locks/crash", fmt.Sprintf(`{"ttl":%d,"wait":120}`, ttl))
	}()
	var queue struct {
		Holder  place
		Waiters []place
	}
	look := func() int {
		a := api.get(t.Context(), "/v1/locks/crash")
		if !a.ok() || json.Unmarshal(a.body, &queue) != nil {
			return -1
		}
		return len(queue.Waiters)
	}
	eventually(t, 20*time.Second, "one waits for the lock", func() bool { return look() == 1 })
	waiting := queue.Waiters[0]

	m := leader(t, cluster)
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	leader(t, cluster)
	pass(t, killed.Add(2*ttl*time.Second))
	restart(t, m)
	pass(t, killed.Add(after))
	renewals.stop()

	eventually(t, flowsWithin, "the queue is as it was", func() bool { return look() == 1 })
	if queue.Waiters[0] != waiting {
		t.Errorf("the place: got %+v, want %+v", queue.Waiters[0], waiting)
	}
	whole := 0
	for _, a := range renewals.between(began, time.Now()) {
		if strings.Contains(string(a.body), "lease_not_found") {
			t.Errorf("%v after the crash a renewal says: %.300s", a.ended.Sub(killed), a.body)
		}
		if a.ok() && !strings.Contains(string(a.body), `"error"`) {
			whole++
		}
	}
	t.Logf("in %v, %d calls renewed all; they opened %v streams in the %v before the crash", time.Since(began), whole, opened, before)
	if whole < 30 {
		t.Errorf("only %d calls renewed all leases, want half of those of a minute at least", whole)
	}
	all, err := client.Leases(t.Context())
	if err != nil || len(all.Leases) != n+1 {
		t.Errorf("leases in the end: got %d (%v), want %d and that of the waiter", len(all.Leases), err, n)
	}
	if a := api.call(t.Context(), http.MethodDelete, "/v1/locks/crash?lease="+ids[0], ""); !a.ok() {
		t.Fatalf("release: %v", a)
	}
	a := <-waiter
	want := waiting
	want.TTL = ttl
	var got place
	if a.status != http.StatusCreated || json.Unmarshal(a.body, &got) != nil || got != want {
		t.Errorf("the waiter: got %v, want 201 and %+v", a, want)
	}
}

// keepAliveStreams is how many streams of keepalives the members have been asked for.
func keepAliveStreams(t *testing.T, cluster *harness.Cluster) (n float64) {
	t.Helper()
	for _, m := range cluster.Members {
		n += metric(t, m.Endpoint, "grpc_server_started_total", `grpc_method="LeaseKeepAlive"`)
	}
	return n
}
