package cluster_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestLearner: a learner among the endpoints, which would answer serializable reads gladly.
//
//   - It gets no read and no write, of any kind, not even while the only other member is down.
//   - Once it is promoted it takes its share of the reads.
func TestLearnerIsNeverReadUntilItIsPromoted(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 1)
	learner := cluster.AddLearner(t, "learner")
	client := official(t, cluster)
	gateway, api := startGateway(t, cluster.Members[0].Endpoint+","+learner.Endpoint)
	eventually(t, 10*time.Second, "the gateway is connected to the learner", func() bool {
		return metric(t, gateway.Admin, "etcdrest_etcd_connections", `class="unary"`, learner.Endpoint) == 2
	})
	asked := func() float64 {
		return metric(t, learner.Endpoint, "grpc_server_started_total", `grpc_service="etcdserverpb.KV"`)
	}
	var all history
	create(t, api, &all, "k")
	paths := []string{"/v1/kv/k", "/v1/kv/k?consistency=serializable", "/v1/kv?prefix=k&consistency=serializable", "/v1/export?prefix=k", "/readyz"}
	for range 40 {
		for _, path := range paths {
			if a := api.get(t.Context(), path); !a.ok() {
				t.Fatal(a)
			}
		}
	}
	freeze(t, cluster.Members[0])
	for _, path := range paths[:2] {
		if a := api.get(t.Context(), path+map[bool]string{true: "?timeout=1", false: "&timeout=1"}[path == paths[0]]); a.status/100 != 5 {
			t.Errorf("with nobody but a learner: got %v, want it refused", a)
		}
	}
	cluster.Members[0].Thaw()
	if n := asked(); n != 0 {
		t.Errorf("the learner was asked %v times, want never", n)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	eventually(t, 20*time.Second, "the learner is promoted", func() bool {
		_, err := client.MemberPromote(ctx, learner.ID)
		return err == nil
	})
	eventually(t, 15*time.Second, "the former learner is read", func() bool {
		if a := api.get(ctx, "/v1/kv/k?consistency=serializable"); a.status != http.StatusOK {
			t.Error(a)
		}
		return asked() > 0
	})
}
