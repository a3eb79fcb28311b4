package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestFullDatabase: the members' quota is 16 MiB, and it is written full.
//
//   - Puts are refused as 507 no_space with the outcome unknown, since etcd checks the quota once more after applying.
//   - Reads, lists and deletes go on; the gateway stays ready, and /health names the alarm.
//   - After compaction, defragmentation and disarming writes succeed again.
//   - Outcomes were true.
func TestFullDatabaseRefusesPutsAsNoSpaceServesReadsAndRecovers(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 3, "--quota-backend-bytes", fmt.Sprint(16<<20))
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	var all history
	first := create(t, api, &all, "full/first")
	filler := strings.Repeat("x", 256<<10)
	full := answer{}
	for n := range 200 {
		key := fmt.Sprintf("full/%d", n)
		if a := api.create(t.Context(), key, key+filler, ""); all.wrote(key, key+filler, a) != acknowledged {
			full = a
			break
		}
	}
	refused := func(a answer) {
		t.Helper()
		if d := a.document(); a.status != http.StatusInsufficientStorage || d.Code != "no_space" || d.Outcome != unknown {
			t.Errorf("got %v, want 507 no_space with the outcome unknown", a)
		}
	}
	refused(full)
	for n := range 5 {
		key := fmt.Sprintf("full/after/%d", n)
		a := api.create(t.Context(), key, key, "")
		all.wrote(key, key, a)
		refused(a)
	}
	refused(api.call(t.Context(), http.MethodPost, "/v1/txn", `{"then":[{"put":{"key":"txn","value":"v"}}]}`))
	for _, path := range []string{
		"/v1/kv/" + first, "/v1/kv/" + first + "?consistency=serializable", "/v1/kv?prefix=full/&keys_only=true", "/v1/raw/full/0", "/readyz",
	} {
		if a := api.get(t.Context(), path); !a.ok() {
			t.Errorf("with a full database: got %v, want 200", a)
		}
	}
	if a := api.get(t.Context(), "/health"); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "NOSPACE") {
		t.Errorf("got %v, want 503 and NOSPACE", a)
	}
	if a := api.call(t.Context(), http.MethodDelete, "/v1/kv/"+first, ""); !a.ok() || !strings.Contains(string(a.body), `"deleted":1`) {
		t.Errorf("got %v, want the key deleted", a)
	}
	all.forget(first)

	all.check(t, readBack(t, client, "full/"))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if a := api.call(ctx, http.MethodDelete, "/v1/kv?prefix=full/", ""); !a.ok() {
		t.Fatal(a)
	}
	now, err := client.Get(ctx, "full/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster.Members {
		if _, err := client.Defragment(ctx, m.Endpoint); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil { // every alarm of every member
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "writes succeed again", func() bool {
		return api.put(ctx, "full/again", "v").ok()
	})
	if a := api.get(ctx, "/health"); !a.ok() {
		t.Errorf("got %v, want health", a)
	}
}
