package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// granted grants a lease of a minute through the gateway and gives its id.
func (g *gateway) granted(t testing.TB) string {
	t.Helper()
	return text(g.do(t, "POST", "/v1/leases", `{"ttl":60}`).want(t, 201).json(t)["id"])
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func TestALeaseIsGrantedShownRenewedAndRevoked(t *testing.T) {
	t.Parallel()
	g := start(t)
	created := g.do(t, "POST", "/v1/leases", `{"ttl":60}`).want(t, 201)
	id := text(created.json(t)["id"])
	if got := created.header.Get("Location"); got != "/v1/leases/"+id {
		t.Errorf("Location: got %q, want /v1/leases/%s", got, id)
	}
	g.do(t, "PUT", "/v1/kv/lease/a", `{"value":"x","lease":"`+id+`"}`).want(t, 201)
	g.do(t, "PUT", "/v1/kv/lease%2F%FF", `{"value":"x","lease":"`+id+`"}`).want(t, 201)

	look := g.do(t, "GET", created.header.Get("Location")+"?keys", "").want(t, 200).json(t)
	keys, _ := look["keys"].([]any)
	want := []any{map[string]any{"key": "lease/a"}, map[string]any{"key_base64": "bGVhc2Uv/w=="}}
	byText := func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(keys, byText)
	slices.SortFunc(want, byText)
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if look["granted_ttl"] != num(60) {
		t.Errorf("granted_ttl: got %v, want 60", look["granted_ttl"])
	}
	if plain := g.do(t, "GET", "/v1/leases/"+id, "").want(t, 200).json(t); plain["keys"] != nil {
		t.Errorf("keys that nobody asked for: %v", plain["keys"])
	}
	if list := g.do(t, "GET", "/v1/leases", "").want(t, 200).json(t)["leases"].([]any); !cmp.Equal(list, []any{map[string]any{"id": id}}) {
		t.Errorf("leases: got %v, want %s alone", list, id)
	}
	if kept := g.do(t, "POST", "/v1/leases/"+id+"/keepalive", "").want(t, 200).json(t); kept["ttl"] != num(60) || kept["id"] != id {
		t.Errorf("keepalive: got %v", kept)
	}
	g.do(t, "DELETE", "/v1/leases/"+id, "").want(t, 200)
	g.do(t, "GET", "/v1/kv/lease/a", "").problem(t, 404, "key_not_found")
}

// A lease that nobody has is 404 everywhere, though etcd itself answers some of these calls with a TTL of -1 or 0.
func TestAnUnknownLeaseIs404Everywhere(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, call := range [][3]string{
		{"GET", "/v1/leases/123"},
		{"GET", "/v1/leases/123?keys=true"},
		{"DELETE", "/v1/leases/123"},
		{"POST", "/v1/leases/123/keepalive"},
		{"POST", "/v1/leases/0000000000000123/keepalive", "{}"},
	} {
		g.do(t, call[0], call[1], call[2]).problem(t, 404, "lease_not_found")
	}
	id := g.granted(t)
	results := g.do(t, "POST", "/v1/leases/keepalive", `{"ids":["123","`+id+`"]}`).want(t, 200).json(t)["results"].([]any)
	lost, kept := results[0].(map[string]any), results[1].(map[string]any)
	problem, _ := lost["error"].(map[string]any)
	if lost["id"] != "0000000000000123" || problem["code"] != "lease_not_found" || lost["ttl"] != nil {
		t.Errorf("the unknown one: got %v", lost)
	}
	if kept["id"] != id || kept["ttl"] != num(60) || kept["error"] != nil {
		t.Errorf("the other one: got %v", kept)
	}
}

func TestLeasesAreReadStrictly(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "POST", "/v1/leases", `{"ttl":60,"id":"7B"}`).want(t, 201)
	g.do(t, "POST", "/v1/leases", `{"ttl":60,"id":"7b"}`).problem(t, 409, "already_exists")
	many := `"` + strings.Join(slices.Repeat([]string{"1"}, 10_001), `","`) + `"`
	for _, tt := range []struct{ method, path, body, code string }{
		{"POST", "/v1/leases", `{}`, "invalid_argument"},
		{"POST", "/v1/leases", `{"ttl":0}`, "invalid_argument"},
		{"POST", "/v1/leases", `{"ttl":9000000001}`, "invalid_argument"},
		{"POST", "/v1/leases", `{"ttl":1,"id":"0"}`, "invalid_argument"},
		{"POST", "/v1/leases", `{"ttl":1,"name":"x"}`, "unknown_field"},
		{"POST", "/v1/leases?ttl=1", `{"ttl":1}`, "unknown_parameter"},
		{"GET", "/v1/leases/xyz", "", "invalid_parameter"},
		{"GET", "/v1/leases/0", "", "invalid_parameter"},
		{"GET", "/v1/leases/12345678901234567", "", "invalid_parameter"},
		{"POST", "/v1/leases/7b/keepalive", `{"ttl":1}`, "unknown_field"},
		{"POST", "/v1/leases/keepalive", `{"ids":[]}`, "invalid_argument"},
		{"POST", "/v1/leases/keepalive", `{}`, "invalid_argument"},
		{"POST", "/v1/leases/keepalive", `{"ids":["0"]}`, "invalid_argument"},
		{"POST", "/v1/leases/keepalive", `{"ids":[` + many + `]}`, "invalid_argument"},
	} {
		doc := g.do(t, tt.method, tt.path, tt.body)
		if doc.status != 400 || doc.json(t)["code"] != tt.code {
			t.Errorf("%s %s %.60s: got %d %.200s, want 400 %s", tt.method, tt.path, tt.body, doc.status, doc.body, tt.code)
		}
	}
}

// One call renews 2,000 leases, each for its whole time. That none is lost over longer than that time, and over a crash of
// the leader, is shown with real members (tests/cluster).
func TestOneCallRenewsTwoThousandLeases(t *testing.T) {
	t.Parallel()
	const n, granters = 2000, 50
	g := start(t)
	ids := make([]string, n)
	var granting sync.WaitGroup
	for first := range granters {
		granting.Go(func() {
			for i := first; i < n; i += granters {
				lease, err := g.oracle.Grant(t.Context(), 120)
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = fmt.Sprintf("%016x", int64(lease.ID))
			}
		})
	}
	granting.Wait()
	began := time.Now()
	results := g.do(t, "POST", "/v1/leases/keepalive", `{"ids":["`+strings.Join(ids, `","`)+`"]}`).want(t, 200).json(t)["results"].([]any)
	t.Logf("%d renewals took %v", n, time.Since(began))
	if len(results) != n {
		t.Fatalf("results: got %d, want %d", len(results), n)
	}
	for i, r := range results {
		if renewal := r.(map[string]any); renewal["id"] != ids[i] || renewal["ttl"] != num(120) {
			t.Fatalf("result %d: got %v, want %s renewed", i, renewal, ids[i])
		}
	}
}

// unreachable is a store whose renewals fail after etcd may have done them.
type unreachable struct{ *etcdclient.Client }

func (unreachable) LeaseKeepAliveOnce(context.Context, int64) (int64, error) {
	return 0, errors.New("the way to etcd is broken")
}

func TestARenewalThatFailsIsNotALostLease(t *testing.T) {
	t.Parallel()
	g := start(t)
	broken := g.through(t, unreachable{g.store})
	results := broken.do(t, "POST", "/v1/leases/keepalive", `{"ids":["7b"]}`).want(t, 200).json(t)["results"].([]any)
	problem, _ := results[0].(map[string]any)["error"].(map[string]any)
	if problem["code"] != "internal" || problem["status"] != num(500) {
		t.Errorf("got %v, want internal", results)
	}
}
