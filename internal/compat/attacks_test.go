package compat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// target is a gateway with two tenants: t1 attacks, t10 has things.
type target struct {
	*gateway
	etcd *clientv3.Client
	// lease is t10's, and place a key of its lock, as t10 sees it.
	lease, place string
}

// secret is in each value of t10's.
const secret = "of-t10"

func startTarget(t *testing.T) *target {
	t.Helper()
	server := embedetcd.StartForTest(t)
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: []string{"t1", "t10"}}, Namespace: hidden + "{name}/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	}, authz.Rule{
		When: authz.When{Names: []string{"plain"}}, Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	}, authz.Rule{
		When: authz.When{Names: []string{"locker"}}, Grants: []authz.Grant{{Verbs: authz.Lock}},
	}, authz.Rule{
		When: authz.When{Names: []string{"writer"}}, Grants: []authz.Grant{{Verbs: authz.Write | authz.Watch, Prefix: []byte("app/")}},
	})
	x := &target{gateway: startBehind(t, server, gate)}
	_, err := x.epochs.Current(t.Context()) // the first watch would write it
	if err != nil {
		t.Fatal(err)
	}
	if x.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.etcd.Close() })
	var granted struct{ ID string }
	var locked struct{ Key []byte }
	x.must(t, "t10", "/v3/lease/grant", `{"TTL":600}`, &granted)
	x.lease = granted.ID
	x.must(t, "t10", "/v3/lock/lock", `{"name":"`+b64("l")+`","lease":"`+x.lease+`"}`, &locked)
	x.place = string(locked.Key)
	x.must(t, "t10", "/v3/kv/put", `{"key":"`+b64("k")+`","value":"`+b64(secret)+`","lease":"`+x.lease+`"}`, nil)
	x.must(t, "op", "/v3/kv/put", `{"key":"`+b64("app/k")+`","value":"`+b64(secret)+`"}`, nil)
	return x
}

// must has somebody do something that is right.
func (x *target) must(t *testing.T, who, path, body string, into any) {
	t.Helper()
	a := ask(t, x.url, post(path, body, by(who)))
	if a.status != http.StatusOK {
		t.Fatalf("%s: %s %s: %d %s", who, path, body, a.status, a.body)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			t.Fatal(err)
		}
	}
}

// state is all that is in the store but for the attacker's own.
func (x *target) state(t *testing.T) string {
	t.Helper()
	all, err := x.etcd.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, kv := range all.Kvs {
		if !strings.HasPrefix(string(kv.Key), hidden+"t1/") {
			fmt.Fprintf(&b, "%q %q %d\n", kv.Key, kv.Value, kv.ModRevision)
		}
	}
	leases, err := x.etcd.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if fmt.Sprint(int64(l.ID)) == x.lease {
			fmt.Fprintln(&b, "the lease lives")
		}
	}
	return b.String()
}

// attack has somebody try something that must show nothing of others and change nothing of theirs.
func (x *target) attack(t *testing.T, who, path, body string) answer {
	t.Helper()
	before := x.state(t)
	q := post(path, body, by(who))
	if strings.HasSuffix(path, "/watch") { // which may go on: what has happened so far is told with the first two lines
		q.body += `{"progress_request":{}}`
		q.lines = 1
	}
	a := ask(t, x.url, q)
	told := fmt.Sprint(a.body, a.header)
	for _, s := range append(encodings(secret), encodings(hidden)...) {
		if strings.Contains(told, s) && !strings.Contains(body, s) {
			t.Errorf("%s: %s %s: shows %q: %d %s", who, path, body, s, a.status, a.body)
		}
	}
	if after := x.state(t); after != before {
		t.Errorf("%s: %s %s: %d %s; changed others' from\n%s to\n%s", who, path, body, a.status, a.body, before, after)
	}
	return a
}

// The corpus of ways out of a namespace (F1, F3, F4): etcd's advisories of 2023 to 2026 among them.
func TestNothingLeadsOutOfANamespace(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	keys := []string{"\x00", "\x01", "k", "\xff", "/", "..", "../t10/k", "0/k", hidden + "t10/k", hidden, "t10/k", hidden + "t1", strings.Repeat("k", 400)}
	ends := []string{"", "\x00", "a", "\x01", "\xff", "\xff\xff", hidden + "t100", hidden + "t11", hidden[:len(hidden)-1] + "0"}
	for _, key := range keys {
		for _, end := range ends {
			rng := fmt.Sprintf(`"key":%q,"range_end":%q`, b64(key), b64(end))
			for _, c := range []struct{ path, body string }{
				{"/v3/kv/range", `{` + rng + `}`},
				{"/v3/kv/range", `{` + rng + `,"count_only":true}`},
				{"/v3/kv/range", `{` + rng + `,"sort_target":"VALUE","sort_order":"DESCEND","limit":1,"min_mod_revision":1}`},
				{"/v3/kv/deleterange", `{` + rng + `,"prev_kv":true}`},
				{"/v3/watch", `{"create_request":{` + rng + `,"start_revision":1,"prev_kv":true}}`},
				{"/v3/kv/txn", nest(3, `{"request_range":{`+rng+`}}`)},
				{"/v3/kv/txn", nest(3, `{"request_delete_range":{`+rng+`,"prev_kv":true}}`)},
				{"/v3/kv/txn", nest(3, fmt.Sprintf(`{"request_put":{"key":%q,"value":"eA==","prev_kv":true}}`, b64(key)))},
			} {
				x.attack(t, "t1", c.path, c.body)
			}
		}
	}
	x.must(t, "t1", "/v3/kv/deleterange", `{"key":"AA==","range_end":"AA=="}`, nil)
	for _, key := range keys { // in a range without keys there is none with a version; in one with others' there would be
		for _, end := range ends {
			a := x.attack(t, "t1", "/v3/kv/txn", fmt.Sprintf(`{"compare":[{"key":%q,"range_end":%q,"target":"VERSION","result":"GREATER","version":"0"}]}`, b64(key), b64(end)))
			if a.status != http.StatusOK || strings.Contains(a.body, "succeeded") {
				t.Errorf("a compare over [%q, %q) of an empty namespace: %d %s", key, end, a.status, a.body)
			}
		}
	}
}

// nest puts an operation into transactions, in both branches.
func nest(depth int, op string) string {
	txn := `{"success":[` + op + `],"failure":[` + op + `]}`
	if depth == 0 {
		return txn
	}
	return nest(depth-1, `{"request_txn":`+txn+`}`)
}

// Leases, locks and elections of others (F4 to F6).
func TestLeasesAndPlacesOfOthersCannotBeUsed(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	lease := fmt.Sprintf(`"%s"`, x.lease)
	put := fmt.Sprintf(`{"request_put":{"key":"aw==","lease":%s}}`, lease)
	leader := func(key string) string {
		return fmt.Sprintf(`{"leader":{"name":%q,"key":%q,"rev":"3","lease":"0"},"value":"eA=="}`, b64("l"), b64(key))
	}
	foreign := hidden + "t10/" + x.place
	for _, who := range []string{"t1", "plain"} {
		for _, c := range []struct {
			path, body string
			status     int
			part       string
		}{
			{"/v3/kv/put", `{"key":"aw==","lease":` + lease + `}`, 404, "requested lease not found"},
			{"/v3/kv/put", `{"key":"aw==","lease":` + lease + `,"ignore_value":true}`, 404, "requested lease not found"},
			{"/v3/kv/txn", nest(0, put), 404, "requested lease not found"},
			{"/v3/kv/txn", nest(3, put), 404, "requested lease not found"},
			{"/v3/lease/revoke", `{"ID":` + lease + `}`, 404, "requested lease not found"},
			{"/v3/kv/lease/revoke", `{"ID":` + lease + `}`, 404, "requested lease not found"},
			{"/v3beta/lease/revoke", `{"ID":` + lease + `}`, 404, "requested lease not found"},
			{"/v3alpha/kv/lease/revoke", `{"ID":` + lease + `}`, 404, "requested lease not found"},
			{"/v3/lease/timetolive", `{"ID":` + lease + `,"keys":true}`, 200, `"-1"`},
			{"/v3/kv/lease/timetolive", `{"ID":` + lease + `,"keys":true}`, 200, `"-1"`},
			{"/v3/lease/keepalive", `{"ID":` + lease + `}`, 200, x.lease},
			{"/v3/lease/leases", `{}`, 200, "header"},
			{"/v3/kv/lease/leases", `{}`, 200, "header"},
			{"/v3/lease/grant", `{"TTL":"60","ID":` + lease + `}`, 403, "permission denied"},
			{"/v3/lease/grant", `{"TTL":"60","ID":"4711"}`, 403, "permission denied"},
			{"/v3/lock/lock", `{"name":"bQ==","lease":` + lease + `}`, 500, "requested lease not found"},
			{"/v3/election/campaign", `{"name":"bQ==","lease":` + lease + `}`, 500, "requested lease not found"},
			{"/v3/election/proclaim", `{"leader":{"name":"bA==","key":"bC8x","rev":"3","lease":` + lease + `}}`, 500, "requested lease not found"},
			{"/v3/election/resign", `{"leader":{"name":"bA==","key":"bC8x","rev":"3","lease":` + lease + `}}`, 200, "header"},
			{"/v3/election/leader", `{"name":"bA=="}`, 500, "no leader"},
			{"/v3/lock/unlock", `{"key":""}`, 500, "key is not provided"},
			{"/v3/election/resign", leader(""), 500, "key is not provided"},
			{"/v3/election/proclaim", leader(""), 500, "key is not provided"},
		} {
			a := x.attack(t, who, c.path, c.body)
			if a.status != c.status || !strings.Contains(a.body, c.part) || strings.Contains(a.body, `"leases"`) || strings.Contains(a.body, `"keys"`) {
				t.Errorf("%s: %s %s: got %d %s, want %d %s", who, c.path, c.body, a.status, a.body, c.status, c.part)
			}
		}
	}
	for _, key := range []string{foreign, x.place, "../t10/" + x.place, "0/" + x.place} { // t1's are its own, whatever they look like
		x.attack(t, "t1", "/v3/lock/unlock", fmt.Sprintf(`{"key":%q}`, b64(key)))
		x.attack(t, "t1", "/v3/election/proclaim", leader(key))
		x.attack(t, "t1", "/v3/election/resign", leader(key))
	}
	for _, key := range []string{"app/k", "\x00etcdrest/epoch", "\x00etcdrest/7b"} { // data is no place of a lock
		for path, body := range map[string]string{"/v3/lock/unlock": fmt.Sprintf(`{"key":%q}`, b64(key)), "/v3/election/proclaim": leader(key), "/v3/election/resign": leader(key)} {
			if a := x.attack(t, "locker", path, body); a.status != http.StatusForbidden {
				t.Errorf("%s with the key %q by one who may only lock: got %d %s, want 403", path, key, a.status, a.body)
			}
		}
	}
}

// Nobody keeps a lease of somebody else alive.
func TestLeasesOfOthersAreNotKeptAlive(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	id, err := strconv.ParseInt(x.lease, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	left := func() int64 {
		t.Helper()
		status, err := x.etcd.TimeToLive(t.Context(), clientv3.LeaseID(id))
		if err != nil {
			t.Fatal(err)
		}
		return status.TTL
	}
	for began := time.Now(); left() > 598; {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the lease does not age")
		}
	}
	leader := `{"leader":{"name":"bA==","key":"` + b64(x.place) + `","rev":"3","lease":"` + x.lease + `"}}`
	for _, c := range []struct{ path, body string }{
		{"/v3/election/resign", leader},
		{"/v3/election/proclaim", leader},
		{"/v3/lease/keepalive", `{"ID":"` + x.lease + `"}`},
		{"/v3/lock/lock", `{"name":"bA==","lease":"` + x.lease + `"}`},
		{"/v3/election/campaign", `{"name":"bA==","lease":"` + x.lease + `"}`},
	} {
		for _, who := range []string{"t1", "plain", "locker"} {
			x.attack(t, who, c.path, c.body)
			if ttl := left(); ttl > 598 {
				t.Fatalf("%s: %s %s: the lease has %d s", who, c.path, c.body, ttl)
			}
		}
	}
}

// Behind a gate, a request without a caller is not served even when no door has refused it.
func TestWithoutADoorNobodyIsServed(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	bare := httptest.NewServer(g.compat)
	defer bare.Close()
	for _, path := range []string{"/v3/kv/range", "/v3/maintenance/snapshot", "/v3/lease/keepalive", "/v3/auth/user/list"} {
		if a := ask(t, bare.URL, post(path, `{"key":"aw=="}`)); a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s, want 401", path, a.status, a.body)
		}
	}
	watch := post("/v3/watch", `{"create_request":{"key":"aw=="}}`)
	if a := ask(t, bare.URL, watch); a.status != http.StatusUnauthorized {
		t.Errorf("watch: got %d %s, want 401", a.status, a.body)
	}
}

// A lease that etcd makes for a lock is the caller's, as one that he asked for.
func TestALockWithoutALeaseGivesOneOfTheCallers(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	for _, c := range []struct{ path, body string }{
		{"/v3/lock/lock", `{"name":"bQ=="}`}, {"/v3/election/campaign", `{"name":"ZQ==","value":"eA=="}`},
	} {
		before := ask(t, x.url, post("/v3/lease/leases", `{}`, by("t1"))).body
		x.must(t, "t1", c.path, c.body, nil)
		var now struct{ Leases []struct{ ID string } }
		x.must(t, "t1", "/v3/lease/leases", `{}`, &now)
		if n := strings.Count(before, `"ID"`); len(now.Leases) != n+1 {
			t.Errorf("%s: there are %d leases of the caller's; there were %d", c.path, len(now.Leases), n)
		}
		for _, l := range now.Leases {
			x.must(t, "t1", "/v3/lease/revoke", `{"ID":"`+l.ID+`"}`, nil)
		}
	}
	if a := ask(t, x.url, post("/v3/kv/range", `{"key":"AA==","range_end":"AA==","count_only":true}`, by("t1"))); strings.Contains(a.body, `"count"`) {
		t.Errorf("the places are left: %s", a.body)
	}
	x.must(t, "t1", "/v3/election/resign", `{"leader":{"name":"ZQ==","key":"ZS8x","rev":"3"}}`, nil)
	if leases, err := x.etcd.Leases(t.Context()); err != nil || len(leases.Leases) != 1 {
		t.Errorf("a resignation leaves leases: %v, %v; want t10's alone", leases, err)
	}
}

// What belongs to nobody (F7), for a tenant with a namespace, and for one with everything but admin.
func TestWhatIsAboutTheClusterIsForAdmin(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	for _, who := range []string{"t1", "plain", "writer"} {
		for _, path := range []string{
			"kv/compaction", "maintenance/alarm", "maintenance/defragment", "maintenance/downgrade", "maintenance/hash", "maintenance/hashkv", "maintenance/snapshot",
			"maintenance/status", "maintenance/transfer-leadership", "cluster/member/add", "cluster/member/list", "cluster/member/promote", "cluster/member/remove",
			"cluster/member/update", "auth/authenticate", "auth/disable", "auth/enable", "auth/status", "auth/role/add", "auth/role/delete", "auth/role/get", "auth/role/grant",
			"auth/role/list", "auth/role/revoke", "auth/user/add", "auth/user/changepw", "auth/user/delete", "auth/user/get", "auth/user/grant", "auth/user/list", "auth/user/revoke",
		} {
			for _, version := range []string{"/v3/", "/v3beta/", "/v3alpha/"} {
				a := x.attack(t, who, version+path, `{}`)
				want := `{"error":"etcdserver: permission denied","code":7,"message":"etcdserver: permission denied"}`
				if path == "maintenance/snapshot" { // a stream
					want = `permission denied`
				}
				if a.status != http.StatusForbidden || !strings.Contains(strings.TrimSpace(a.body), want) {
					t.Errorf("%s: %s%s: got %d %s, want 403 %s", who, version, path, a.status, a.body, want)
				}
			}
		}
	}
	for _, path := range []string{"/v3/cluster/member/list", "/v3/maintenance/alarm", "/v3/maintenance/status", "/v3/kv/compaction", "/v3/auth/user/list"} {
		x.must(t, "op", path, `{}`, nil)
	}
	for _, path := range []string{"/v3/cluster/member/list", "/v3/maintenance/alarm", "/v3/lease/leases", "/v3/lease/grant", "/v3/kv/range", "/v3/watch", "/v3/auth/authenticate"} {
		a := ask(t, x.url, post(path, `{}`))
		var doc struct {
			Error, Message string
			Code           int
		}
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 401 || doc.Code != 16 || doc.Message != "etcdserver: invalid auth token" ||
			a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("nobody: %s: got %d %v %s, want 401", path, a.status, a.header, a.body)
		}
	}
}

// Keys that begin with NUL hold the gateway's own state: only admin comes to them, and in a namespace they are keys as others.
func TestReservedKeysOfV3(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	if _, err := x.etcd.Put(t.Context(), "\x00etcdrest/s", secret); err != nil {
		t.Fatal(err)
	}
	key, all := b64("\x00etcdrest/s"), `"key":"AA==","range_end":"AA=="`
	for _, c := range []struct{ path, body string }{
		{"/v3/kv/range", `{"key":"` + key + `"}`},
		{"/v3/kv/range", `{` + all + `}`},
		{"/v3/kv/range", `{` + all + `,"count_only":true}`},
		{"/v3/kv/put", `{"key":"` + key + `"}`},
		{"/v3/kv/deleterange", `{` + all + `}`},
		{"/v3/kv/txn", nest(2, `{"request_put":{"key":"`+key+`"}}`)},
		{"/v3/kv/txn", `{"compare":[{"key":"` + key + `","target":"VERSION"}]}`},
		{"/v3/lock/lock", `{"name":"` + key + `"}`},
		{"/v3/lock/unlock", `{"key":"` + key + `"}`},
		{"/v3/election/observe", `{"name":"` + key + `"}`},
	} {
		if a := x.attack(t, "plain", c.path, c.body); a.status != http.StatusForbidden {
			t.Errorf("%s %s without admin: got %d %s, want 403", c.path, c.body, a.status, a.body)
		}
	}
	for _, create := range []string{`{}`, `{` + all + `}`, `{"key":"` + key + `"}`} {
		if a := x.attack(t, "plain", "/v3/watch", `{"create_request":`+create+`}`); !strings.Contains(a.body, "etcdserver: permission denied") {
			t.Errorf("watch %s without admin: got %s", create, a.body)
		}
	}
	x.must(t, "t1", "/v3/kv/put", `{"key":"`+key+`","value":"eA=="}`, nil)
	if a := ask(t, x.url, post("/v3/kv/range", `{`+all+`}`, by("t1"))); strings.Count(a.body, `"mod_revision"`) != 1 || !strings.Contains(a.body, key) {
		t.Errorf("in a namespace: got %s, want the tenant's key alone", a.body)
	}
	if a := ask(t, x.url, post("/v3/kv/range", `{"key":"`+key+`"}`, by("op"))); !strings.Contains(a.body, b64(secret)) {
		t.Errorf("the operator: got %s", a.body)
	}
}

// Who may write and not read learns nothing of what is there.
func TestWritingOnV3ShowsNothing(t *testing.T) {
	t.Parallel()
	x := startTarget(t)
	key := `"key":"` + b64("app/k") + `"`
	for _, c := range []struct{ path, body string }{
		{"/v3/kv/range", `{` + key + `}`},
		{"/v3/kv/range", `{` + key + `,"keys_only":true}`},
		{"/v3/kv/put", `{` + key + `,"prev_kv":true}`},
		{"/v3/kv/put", `{` + key + `,"ignore_value":true}`},
		{"/v3/kv/put", `{` + key + `,"ignore_lease":true}`},
		{"/v3/kv/deleterange", `{` + key + `,"prev_kv":true}`},
		{"/v3/kv/deleterange", `{` + key + `,"range_end":"AA=="}`},
		{"/v3/kv/txn", nest(2, `{"request_put":{`+key+`,"prev_kv":true}}`)},
		{"/v3/kv/txn", `{"compare":[{` + key + `,"target":"VALUE","value":"eA=="}],"success":[{"request_put":{` + key + `}}]}`},
		{"/v3/kv/txn", `{"compare":[{` + key + `,"target":"VERSION"}],"success":[{"request_put":{` + key + `}}]}`},
		{"/v3/lock/lock", `{"name":"` + b64("app/l") + `"}`},
		{"/v3/lease/grant", `{"TTL":9}`},
		{"/v3/lease/keepalive", `{"ID":"9"}`},
	} {
		if a := x.attack(t, "writer", c.path, c.body); a.status != http.StatusForbidden || !strings.Contains(a.body, `"code":7`) {
			t.Errorf("%s %s: got %d %s, want 403", c.path, c.body, a.status, a.body)
		}
	}
	x.must(t, "writer", "/v3/kv/put", `{`+key+`,"value":"eA=="}`, nil)
	x.must(t, "writer", "/v3/kv/deleterange", `{`+key+`}`, nil)
}
