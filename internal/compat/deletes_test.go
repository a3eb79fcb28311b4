package compat_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// bound is a policy's rule for callers who may have five keys deleted at once, within a namespace.
func bound(name string, verbs authz.Verb) authz.Rule {
	return authz.Rule{
		When: authz.When{Names: []string{name}}, Namespace: "tenants/{name}/", Grants: []authz.Grant{{Verbs: verbs}},
		Limits: authz.Limits{KeysPerRequest: 5},
	}
}

func TestADeletionIsBoundedWhereverItStands(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, bound("five", authz.Read|authz.Write), bound("blind", authz.Write))
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	fill := func(name string, n int) {
		for i := range n {
			if a := ask(t, g.url, post("/v3/kv/put", fmt.Sprintf(`{"key":%q}`, b64(fmt.Sprintf("k%d", i))), by(name))); a.status != http.StatusOK {
				t.Fatalf("put: %d %s", a.status, a.body)
			}
		}
	}
	left := func(want string) {
		t.Helper()
		a := ask(t, g.url, post("/v3/kv/range", `{"key":"`+b64("k")+`","range_end":"`+b64("l")+`","count_only":true}`, by("five")))
		if !strings.Contains(a.body, want) {
			t.Errorf("left are %s; want %s", a.body, want)
		}
	}
	fill("five", 6)
	all := `{"key":"` + b64("k") + `","range_end":"` + b64("l") + `"}`
	op := `{"request_delete_range":` + all + `}`
	halves := `{"request_delete_range":{"key":"` + b64("k0") + `","range_end":"` + b64("k3") + `"}},{"request_delete_range":{"key":"` + b64("k3") + `","range_end":"AA=="}}`
	for path, bodies := range map[string][]string{
		"/v3/kv/deleterange": {all, `{"key":"` + b64("k") + `","range_end":"AA==","prev_kv":true}`},
		"/v3/kv/txn": {
			`{"success":[` + op + `]}`, `{"failure":[` + op + `]}`, `{"success":[` + halves + `]}`,
			`{"success":[{"request_txn":{"failure":[` + op + `]}}]}`,
		},
	} {
		for _, body := range bodies {
			a := ask(t, g.url, post(path, body, by("five")))
			if a.status != http.StatusTooManyRequests || !strings.Contains(a.body, `"message":"6 keys would be deleted, and the caller may delete 5 by one request; nothing was deleted"`) {
				t.Errorf("%s %s: %d %s, want 429 that says how many", path, body, a.status, a.body)
			}
			if a := ask(t, g.url, post(path, body, by("blind"))); a.status != http.StatusForbidden {
				t.Errorf("%s %s by one who may not read: %d %s, want 403", path, body, a.status, a.body)
			}
		}
	}
	left(`"count":"6"`)
	if a := ask(t, g.url, post("/v3/kv/deleterange", `{"key":"`+b64("k0")+`"}`, by("blind"))); a.status != http.StatusOK {
		t.Errorf("a single key by one who may not read: %d %s", a.status, a.body)
	}
	ask(t, g.url, post("/v3/kv/deleterange", `{"key":"`+b64("k0")+`"}`, by("five")))
	if a := ask(t, g.url, post("/v3/kv/deleterange", all, by("five"))); a.status != http.StatusOK || !strings.Contains(a.body, `"deleted":"5"`) {
		t.Errorf("five keys: %d %s", a.status, a.body)
	}
	left(`"revision"`)
}

// A bounded deletion answers as etcd answers one that is not.
func TestABoundedDeletionAnswersLikeEtcd(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, bound("five", authz.Read|authz.Write))
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	plain := start(t, compat.Options{})
	ids := regexp.MustCompile(`"(cluster_id|member_id|raft_term|revision|create_revision|mod_revision)":"\d+",?`)
	for _, step := range []struct{ path, body string }{
		{"/v3/kv/put", `{"key":"` + b64("k1") + `","value":"` + b64("v") + `"}`},
		{"/v3/kv/put", `{"key":"` + b64("k2") + `","value":"` + b64("v") + `"}`},
		{"/v3/kv/deleterange", `{"key":"` + b64("x") + `","range_end":"` + b64("y") + `"}`},
		{"/v3/kv/deleterange", `{"key":"` + b64("k1") + `","range_end":"` + b64("k2") + `","prev_kv":true}`},
		{"/v3/kv/txn", `{"compare":[{"key":"` + b64("k2") + `","target":"VERSION","version":"1"}],"success":[{"request_delete_range":{"key":"` + b64("k") + `","range_end":"` + b64("l") + `","prev_kv":true}},{"request_put":{"key":"` + b64("m") + `"}},{"request_range":{"key":"` + b64("m") + `"}}],"failure":[{"request_range":{"key":"` + b64("m") + `"}}]}`},
		{"/v3/kv/txn", `{"compare":[{"key":"` + b64("k2") + `","target":"VERSION","version":"1"}],"success":[{"request_delete_range":{"key":"` + b64("k") + `","range_end":"` + b64("l") + `"}}],"failure":[{"request_range":{"key":"` + b64("m") + `"}},{"request_txn":{"success":[{"request_delete_range":{"key":"` + b64("m") + `","range_end":"` + b64("n") + `"}}]}}]}`},
		{"/v3/kv/deleterange", `{"key":"` + b64("k") + `","range_end":"` + b64("j") + `"}`},
		{"/v3/kv/deleterange", `{"key":"","range_end":"` + b64("j") + `"}`},
		{"/v3/kv/txn", `{"success":[{"request_put":{"key":"` + b64("k1") + `"}},{"request_delete_range":{"key":"` + b64("k") + `","range_end":"` + b64("l") + `"}}]}`},
	} {
		got, want := ask(t, g.url, post(step.path, step.body, by("five"))), ask(t, plain.url, post(step.path, step.body))
		if got.status != want.status || ids.ReplaceAllString(got.body, "") != ids.ReplaceAllString(want.body, "") {
			t.Errorf("%s %s:\n got %d %s\nwant %d %s", step.path, step.body, got.status, got.body, want.status, want.body)
		}
	}
}

// Whoever writes meanwhile is not deleted uncounted: what is deleted is what was counted, or less.
func TestABoundedDeletionAmongWriters(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, bound("five", authz.Read|authz.Write))
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	deleted := regexp.MustCompile(`"deleted":"(\d+)"`)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					ask(t, g.url, post("/v3/kv/put", fmt.Sprintf(`{"key":%q}`, b64(fmt.Sprintf("k%d/%d", w, i%20))), by("five")))
				}
			}
		})
	}
	conflicts := 0
	for range 60 {
		a := ask(t, g.url, post("/v3/kv/deleterange", `{"key":"`+b64("k")+`","range_end":"`+b64("l")+`"}`, by("five")))
		switch found := deleted.FindStringSubmatch(a.body); {
		case a.status == http.StatusConflict && strings.Contains(a.body, "others kept writing"):
			conflicts++
		case a.status == http.StatusTooManyRequests:
			ask(t, g.url, post("/v3/kv/deleterange", `{"key":"`+b64("k0/1")+`","range_end":"`+b64("k0/10")+`"}`, by("five")))
		case a.status != http.StatusOK:
			t.Errorf("%d %s", a.status, a.body)
		case found != nil && found[1] > "5":
			t.Errorf("%s keys were deleted at once, want five at most", found[1])
		}
	}
	close(stop)
	writers.Wait()
	t.Logf("%d of 60 were refused since others kept writing", conflicts)
}
