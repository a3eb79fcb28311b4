package handlers_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// named takes everybody for who he says he is, so that these tests are about what callers may do. How callers are known is
// tested where it is done.
type named struct{}

func (named) Authenticate(_ context.Context, c authn.Credentials) (*authn.Principal, error) {
	name, ok := strings.CutPrefix(c.Authorization, "Bearer ")
	if !ok {
		return nil, problem.New(problem.Unauthenticated, "say who you are")
	}
	return &authn.Principal{Kind: authn.KindJWT, Name: name, Claims: map[string]any{"org": name}, Digest: sha256.Sum256([]byte(name))}, nil
}

func (named) Still(*authn.Principal) error { return nil }

func (named) Kinds() []authn.Kind { return []authn.Kind{authn.KindJWT, authn.KindEtcd} }

func (named) Challenges() []string { return []string{`Basic realm="etcd"`, "Bearer"} }

// startGuarded runs a gateway whose callers the policy judges. Who is named op is an operator.
func startGuarded(t *testing.T, rules ...authz.Rule) *gateway {
	t.Helper()
	return startGuardedBy(t, func(*handlers.Options) {}, rules...)
}

// startGuardedBy is startGuarded with other options.
func startGuardedBy(t *testing.T, adjust func(*handlers.Options), rules ...authz.Rule) *gateway {
	t.Helper()
	policy, err := authz.NewPolicy(append([]authz.Rule{{
		When: authz.When{Names: []string{"op"}}, Grants: []authz.Grant{{Verbs: authz.All}},
	}}, rules...))
	if err != nil {
		t.Fatal(err)
	}
	etcd := embedetcd.StartForTest(t)
	client, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return startOn(t, etcd, func(o *handlers.Options) { o.Gate = authz.NewGate(client, named{}, policy) }, adjust)
}

// tenant grants everything but admin in a namespace of the caller's own.
func tenant() authz.Rule {
	return authz.Rule{
		When: authz.When{Names: []string{"a", "b", "a/b"}}, Namespace: "tenants/{claims.org}/",
		Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	}
}

func as(name string) string { return "Authorization: Bearer " + name }

func TestWhoIsNotKnownIsTold(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, tenant())
	for _, path := range []string{"/v1/kv/k", "/v1/kv", "/v1/cluster", "/v1/leases", "/v1/locks/l", "/v1/export", "/v1/gateway"} {
		a := g.do(t, "GET", path, "")
		a.problem(t, 401, "unauthenticated")
		if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="etcd", Bearer` {
			t.Errorf("GET %s: challenges %q; want both", path, got)
		}
		g.do(t, "GET", path, "", as("stranger")).problem(t, 403, "permission_denied")
	}
	a := g.do(t, "GET", "/v1/kv/k", "", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin")
	if got := a.header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("a page's script is sent %q; want no Basic", got)
	}
	for _, path := range []string{"/health", "/livez", "/readyz", "/version", "/openapi.yaml", "/problems"} {
		g.do(t, "GET", path, "").want(t, 200)
	}
}

func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, tenant())
	for _, who := range []string{"a", "b", "a/b"} {
		g.do(t, "PUT", "/v1/kv/k", `{"value":"of `+who+`"}`, as(who)).want(t, 201)
	}
	for _, who := range []string{"a", "b", "a/b"} {
		if got := g.do(t, "GET", "/v1/kv/k", "", as(who)).want(t, 200).json(t)["value"]; got != "of "+who {
			t.Errorf("%s reads %v", who, got)
		}
		doc := g.do(t, "GET", "/v1/kv?count=true", "", as(who)).want(t, 200).json(t)
		if kvs, _ := doc["kvs"].([]any); len(kvs) != 1 || doc["count"] != num(1) {
			t.Errorf("%s lists %v; want one key", who, doc)
		}
	}
	if got := g.do(t, "DELETE", "/v1/kv?from=%01&all=true", "", as("a")).want(t, 200).json(t)["deleted"]; got != num(1) {
		t.Errorf("a deleted %v keys; want its own", got)
	}
	g.do(t, "GET", "/v1/kv/k", "", as("b")).want(t, 200)
	g.do(t, "GET", "/v1/kv/tenants%2Fa%252Fb%2Fk", "", as("op")).want(t, 200)
	g.do(t, "GET", "/v1/kv/k?state=true", "", as("a")).problem(t, 403, "permission_denied")
	g.do(t, "PUT", "/v1/kv/%00etcdrest%2Fx", `{"value":""}`, as("a")).problem(t, 403, "reserved")
	absent := g.do(t, "GET", "/v1/kv/absent", "", as("a"))
	absent.problem(t, 404, "key_not_found")
	if strings.Contains(string(absent.body), "tenants") {
		t.Errorf("an error shows the namespace: %s", absent.body)
	}
}

func TestWhatHasNoNamespaceNeedsAdmin(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, tenant())
	for _, call := range [][3]string{
		{"POST", "/v1/maintenance/compact", `{"revision":1}`},
		{"POST", "/v1/maintenance/defragment", "{}"},
		{"POST", "/v1/maintenance/downgrade", `{"action":"cancel"}`},
		{"POST", "/v1/maintenance/epoch", ""},
		{"GET", "/v1/maintenance/hash", ""},
		{"GET", "/v1/maintenance/snapshot", ""},
		{"GET", "/v1/cluster", ""},
		{"GET", "/v1/cluster/alarms", ""},
		{"DELETE", "/v1/cluster/alarms", ""},
		{"POST", "/v1/cluster/members", `{"peer_urls":["http://127.0.0.1:1"]}`},
		{"POST", "/v1/cluster/leader", `{"member":"1"}`},
		{"GET", "/v1/users", ""},
		{"POST", "/v1/users", `{"name":"u","password":"p"}`},
		{"GET", "/v1/roles", ""},
		{"POST", "/v1/auth/enable", ""},
		{"GET", "/v1/gateway", ""},
		{"GET", "/v1/gateway/streams", ""},
		{"GET", "/v1/history/k?lives=all", ""},
	} {
		g.do(t, call[0], call[1], call[2], as("a")).problem(t, 403, "permission_denied")
	}
	g.do(t, "GET", "/v1/cluster", "", as("op")).want(t, 200)
	g.do(t, "GET", "/v1/users", "", as("op")).want(t, 200)
}

// TestLeasesAreNotForetold: who may choose his own name could choose one of 2^40 whose leases would be another's, if the ids were made
// from what everybody knows.
func TestLeasesAreNotForetold(t *testing.T) {
	t.Parallel()
	const namespace = "tenants/a/"
	foretold := sha256.Sum256([]byte("namespace\x00" + namespace))
	keyless := hmac.New(sha256.New, nil)
	keyless.Write([]byte("namespace\x00" + namespace))
	var tags []string
	for range 2 {
		g := startGuarded(t, tenant())
		first, _ := g.do(t, "POST", "/v1/leases", `{"ttl":60}`, as("a")).want(t, 201).json(t)["id"].(string)
		second, _ := g.do(t, "POST", "/v1/leases", `{"ttl":60}`, as("a")).want(t, 201).json(t)["id"].(string)
		tag := func(id string) string {
			n, err := strconv.ParseInt(id, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%010x", n>>23)
		}
		if tag(first) != tag(second) || first == second {
			t.Errorf("leases of one namespace: got %s and %s; want two with one tag", first, second)
		}
		tags = append(tags, tag(first))
	}
	if sum := fmt.Sprintf("%x", foretold[:5]); tags[0] == tags[1] || tags[0] == sum || tags[0] == fmt.Sprintf("%x", keyless.Sum(nil)[:5]) {
		t.Errorf("two clusters have the tags %v for one namespace; want two that nobody can compute, such as %s", tags, sum)
	}
}

func TestLeasesBelongToTheirNamespace(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, tenant())
	id, _ := g.do(t, "POST", "/v1/leases", `{"ttl":60}`, as("a")).want(t, 201).json(t)["id"].(string)
	g.do(t, "POST", "/v1/leases", `{"ttl":60,"id":"7"}`, as("a")).problem(t, 403, "permission_denied")
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1","lease":"`+id+`"}`, as("a")).want(t, 201)

	g.do(t, "GET", "/v1/leases/"+id, "", as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "DELETE", "/v1/leases/"+id, "", as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/leases/"+id+"/keepalive", "", as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1","lease":"`+id+`"}`, as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/txn", `{"then":[{"txn":{"then":[{"put":{"key":"k","value":"1","lease":"`+id+`"}}]}}]}`, as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/locks/l", `{"lease":"`+id+`"}`, as("b")).problem(t, 404, "lease_not_found")
	if doc := g.do(t, "GET", "/v1/leases", "", as("b")).want(t, 200).json(t); len(doc["leases"].([]any)) != 0 {
		t.Errorf("b lists %v", doc)
	}
	doc := g.do(t, "GET", "/v1/leases/"+id+"?keys=true", "", as("a")).want(t, 200).json(t)
	if keys, _ := doc["keys"].([]any); len(keys) != 1 {
		t.Errorf("the keys of a's lease: %v", doc)
	}
	if doc := g.do(t, "GET", "/v1/leases", "", as("op")).want(t, 200).json(t); len(doc["leases"].([]any)) != 1 {
		t.Errorf("the operator lists %v; want a's", doc)
	}
	g.do(t, "DELETE", "/v1/leases/"+id, "", as("a")).want(t, 200)
}

func TestWritingWithoutReadingShowsNothing(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, authz.Rule{
		When: authz.When{Names: []string{"w"}}, Grants: []authz.Grant{{Verbs: authz.Write, Prefix: []byte("in/")}},
	})
	g.do(t, "PUT", "/v1/kv/in/old", `{"value":"secret"}`, as("op")).want(t, 201)

	for _, key := range []string{"in/new", "in/old"} {
		doc := g.do(t, "PUT", "/v1/kv/"+key, `{"value":"1","ttl":60}`, as("w")).want(t, 200).json(t)
		if _, told := doc["created"]; told || doc["version"] != nil || doc["ttl"] == nil {
			t.Errorf("%s: got %v, which tells whether there was a key", key, doc)
		}
	}
	first := g.do(t, "PUT", "/v1/kv/in/once", `{"value":"1"}`, as("w"), "Idempotency-Key: k1").want(t, 200)
	if again := g.do(t, "PUT", "/v1/kv/in/once", `{"value":"1"}`, as("w"), "Idempotency-Key: k1").want(t, 200); string(again.body) != string(first.body) {
		t.Errorf("the repeat answers %s; want %s", again.body, first.body)
	}
	g.do(t, "PUT", "/v1/kv/in/once", `{"value":"1"}`, as("op"), "Idempotency-Key: k1").want(t, 200)
	for _, call := range [][4]string{
		{"PUT", "/v1/kv/in/old?prev_kv=true", `{"value":"1"}`, ""},
		{"PUT", "/v1/kv/in/old?dry_run=true", `{"value":"1"}`, ""},
		{"PUT", "/v1/kv/in/old", `{"value":"1"}`, `If-Match: "1"`},
		{"PUT", "/v1/kv/in/old", `{"value":"1"}`, "If-None-Match: *"},
		{"DELETE", "/v1/kv/in/old", "", `If-Match: "1"`},
		{"DELETE", "/v1/kv?prefix=in/&max_deleted=5", "", ""},
		{"DELETE", "/v1/kv?prefix=in/&dry_run=true", "", ""},
		{"POST", "/v1/txn", `{"if":[{"key":"in/old","value":"secret"}],"then":[{"put":{"key":"in/old","value":"1"}}]}`, ""},
		{"POST", "/v1/txn", `{"then":[{"delete":{"key":"in/old","prev_kv":true}}]}`, ""},
		{"GET", "/v1/kv/in/old", "", ""},
		{"GET", "/v1/kv?prefix=in/", "", ""},
		{"GET", "/v1/kv?prefix=in/&count_only=true", "", ""},
		{"GET", "/v1/history/in/old", "", ""},
		{"GET", "/v1/search?prefix=in/&contains=s", "", ""},
		{"GET", "/v1/export?prefix=in/", "", ""},
		{"PUT", "/v1/kv/out", `{"value":"1"}`, ""},
		{"DELETE", "/v1/kv?from=in/&to=out", "", ""},
		{"DELETE", "/v1/kv?from=in/&all=true", "", ""},
		{"POST", "/v1/locks/in%2Fl", `{"ttl":5}`, ""},
		{"POST", "/v1/leases", `{"ttl":5}`, ""},
	} {
		g.do(t, call[0], call[1], call[2], as("w"), call[3]).problem(t, 403, "permission_denied")
	}
	g.do(t, "PATCH", "/v1/kv/in/old", `{"a":1}`, as("w"), "Content-Type: application/merge-patch+json").problem(t, 403, "permission_denied")
	g.do(t, "DELETE", "/v1/kv/in/old", "", as("w")).want(t, 200)
	g.do(t, "DELETE", "/v1/kv?prefix=in/", "", as("w")).want(t, 200)
}

func TestLockingIsAVerbOfItsOwn(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, authz.Rule{
		When: authz.When{Names: []string{"l"}}, Grants: []authz.Grant{{Verbs: authz.Lock, Prefix: []byte("locks/")}, {Verbs: authz.Read | authz.Write, Prefix: []byte("data/")}},
	})
	doc := g.do(t, "POST", "/v1/locks/locks%2Fone", `{"ttl":60}`, as("l")).want(t, 201).json(t)
	g.do(t, "POST", "/v1/locks/other", `{"ttl":60}`, as("l")).problem(t, 403, "permission_denied")
	g.do(t, "GET", "/v1/locks/locks%2Fone", "", as("l")).want(t, 200)
	g.do(t, "GET", "/v1/kv?prefix=locks/", "", as("l")).problem(t, 403, "permission_denied")
	lock := "if_lock=" + doc["owner_key"].(string) + "&fencing_token=" + fmt.Sprint(doc["fencing_token"])
	g.do(t, "PUT", "/v1/kv/data/x?"+lock, `{"value":"1"}`, as("l")).want(t, 201)
	g.do(t, "DELETE", "/v1/locks/locks%2Fone?lease="+doc["lease"].(string), "", as("l")).want(t, 200)
	g.do(t, "PUT", "/v1/kv/data/x?"+lock, `{"value":"2"}`, as("l")).problem(t, 409, "lock_lost")
}

func TestACallerIsToldWhoHeIs(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, authz.Rule{
		When: authz.When{Names: []string{"r"}}, Namespace: "of/{name}/",
		Grants: []authz.Grant{{Verbs: authz.Read | authz.Watch, Prefix: []byte("app/")}, {Verbs: authz.Lock, Prefix: []byte{0xff}}},
		Limits: authz.Limits{RequestsPerSecond: 100, Streams: 5},
	})
	a := g.do(t, "GET", "/v1/auth/whoami", "", as("r")).want(t, 200)
	want := `{"kind":"jwt","name":"r","namespaced":true,"grants":[{"verbs":["read","watch"],"prefix":"app/"},{"verbs":["lock"],"prefix_base64":"/w=="}],` +
		`"limits":{"requests_per_second":100,"streams":5},"left":{"requests":99,"streams":5}}` + "\n"
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	g.do(t, "GET", "/v1/auth/whoami", "").problem(t, 401, "unauthenticated")
	g.do(t, "GET", "/v1/auth/whoami", "", as("r"), as("op")).problem(t, 401, "unauthenticated")
	if a := g.do(t, "GET", "/v1/auth/methods", "").want(t, 200); string(a.body) != `{"methods":[{"kind":"jwt"},{"kind":"etcd"}],"idempotency":true,"tickets":true}`+"\n" {
		t.Errorf("methods: got %s", a.body)
	}

	open := start(t)
	if a := open.do(t, "GET", "/v1/auth/whoami", "").want(t, 200); !strings.Contains(string(a.body), `"kind":"none"`) {
		t.Errorf("where nobody is asked: got %s", a.body)
	}
	if a := open.do(t, "GET", "/v1/auth/methods", "").want(t, 200); !strings.Contains(string(a.body), `[{"kind":"none"}]`) {
		t.Errorf("where nobody is asked: got %s", a.body)
	}
}

// until sends a GET until it is answered with the status.
func (g *gateway) until(t *testing.T, status int, path string, headers ...string) *answer {
	t.Helper()
	for began := time.Now(); ; {
		a := g.do(t, "GET", path, "", headers...)
		if a.status == status {
			return a
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("GET %s: got %d for 20 s, want %d", path, a.status, status)
		}
	}
}

// admitted sends a GET until it is not refused for want of room, which the test's other requests may take.
func (g *gateway) admitted(t *testing.T, path string, headers ...string) *answer {
	t.Helper()
	for {
		if a := g.do(t, "GET", path, "", headers...); a.status != 429 && a.status != 503 {
			return a
		}
	}
}

func TestLimitsOfACaller(t *testing.T) {
	t.Parallel()
	g := startGuarded(
		t,
		authz.Rule{When: authz.When{Names: []string{"rate"}}, Grants: []authz.Grant{{Verbs: authz.All}}, Limits: authz.Limits{RequestsPerSecond: 0.1, Burst: 3}},
		authz.Rule{When: authz.When{Names: []string{"one"}}, Grants: []authz.Grant{{Verbs: authz.All}}, Limits: authz.Limits{Concurrent: 1}},
		authz.Rule{When: authz.When{Names: []string{"keys"}}, Grants: []authz.Grant{{Verbs: authz.All}}, Limits: authz.Limits{KeysPerRequest: 5}},
		authz.Rule{When: authz.When{Names: []string{"bytes"}}, Grants: []authz.Grant{{Verbs: authz.All}}, Limits: authz.Limits{BytesInFlight: 1000}},
	)
	for i := range 3 {
		a := g.do(t, "GET", "/v1/kv?limit=1", "", as("rate")).want(t, 200)
		if got, want := a.header.Get("RateLimit"), fmt.Sprintf(`"requests";r=%d;`, 2-i); !strings.HasPrefix(got, want) {
			t.Errorf("request %d: RateLimit %q; want %s…", i, got, want)
		}
	}
	a := g.do(t, "GET", "/v1/kv?limit=1", "", as("rate"))
	a.problem(t, 429, "rate_limited")
	if a.header.Get("Retry-After") == "" || a.header.Get("RateLimit-Policy") != `"requests";q=3` {
		t.Errorf("a refusal's headers: %v", a.header)
	}
	g.do(t, "GET", "/v1/kv?limit=1", "", as("op")).want(t, 200)

	waits := make(chan *answer)
	go func() { waits <- g.admitted(t, "/v1/kv/w?wait=30&after=0", as("one")) }()
	g.until(t, 429, "/v1/kv?limit=1", as("one")) // the wait is under way
	g.do(t, "PUT", "/v1/kv/w", `{"value":"1"}`, as("op")).want(t, 201)
	(<-waits).want(t, 200)
	g.until(t, 200, "/v1/kv?limit=1", as("one")) // the answer is out a moment before the call has ended

	for i := range 8 {
		g.do(t, "PUT", fmt.Sprintf("/v1/kv/k%d", i), `{"value":"1"}`, as("op")).want(t, 201)
	}
	doc := g.do(t, "GET", "/v1/kv?prefix=k&limit=100", "", as("keys")).want(t, 200).json(t)
	if kvs, _ := doc["kvs"].([]any); len(kvs) != 5 || doc["more"] != true {
		t.Errorf("a list: %v; want five keys and a cursor", doc)
	}
	g.do(t, "GET", "/v1/kv?prefix=k&order_by=value", "", as("keys")).problem(t, 413, "result_too_large")
	lines := g.do(t, "GET", "/v1/export?prefix=k", "", as("keys")).lines(t)
	if last := lines[len(lines)-1]; len(lines) != 6 || last["type"] != "error" {
		t.Errorf("an export: %v; want five keys and an error", lines)
	}
	g.do(t, "DELETE", "/v1/kv?prefix=k", "", as("keys")).problem(t, 412, "too_many_deletes")
	g.do(t, "DELETE", "/v1/kv?prefix=k&max_deleted=100", "", as("keys")).problem(t, 412, "too_many_deletes")
	g.do(t, "DELETE", "/v1/kv?prefix=k&dry_run=true", "", as("keys")).problem(t, 412, "too_many_deletes")
	for _, body := range []string{
		`{"then":[{"delete":{"prefix":"k"}}]}`, `{"else":[{"delete":{"prefix":"k"}}]}`, `{"then":[{"delete":{"prefix":"k"}},{"put":{"key":"other","value":"1"}}]}`,
		`{"then":[{"delete":{"from":"k0","to":"k4"}},{"delete":{"from":"k4","to":"k8"}}]}`, `{"then":[{"txn":{"else":[{"delete":{"prefix":"k"}}]}}]}`,
	} {
		p := g.do(t, "POST", "/v1/txn", body, as("keys")).problem(t, 412, "too_many_deletes")
		if p["outcome"] != "not_applied" {
			t.Errorf("%s: %v; want it not applied", body, p)
		}
	}
	if n := fmt.Sprint(g.do(t, "GET", "/v1/kv?prefix=k&count=true", "", as("op")).want(t, 200).json(t)["count"]); n != "8" {
		t.Errorf("%s keys are left of eight", n)
	}
	const few = `{"if":[{"key":"k0","version":1}],"then":[{"delete":{"from":"k0","to":"k2"}},{"put":{"key":"other","value":"1"}},{"get":{"key":"other"}}],"else":[{"get":{"key":"k0"}}]}`
	for i, want := range []string{`"results":[{"delete":{"deleted":2}},{"put":{}},{"get":{"kvs":[{"key":"other"`, `"results":[{"get":{"kvs":[],`} {
		if a := g.do(t, "POST", "/v1/txn", few, as("keys")).want(t, 200); !strings.Contains(string(a.body), want) {
			t.Errorf("few keys, round %d: %s; want %s", i, a.body, want)
		}
	}
	if n := fmt.Sprint(g.do(t, "DELETE", "/v1/kv?from=k2&to=k4", "", as("keys")).want(t, 200).json(t)["deleted"]); n != "2" {
		t.Errorf("%s keys were deleted, want two", n)
	}
	g.do(t, "POST", "/v1/txn", `{"then":[{"get":{"prefix":"k","limit":9}}]}`, as("keys")).problem(t, 413, "result_too_large")
	g.do(t, "POST", "/v1/txn", `{"then":[{"get":{"prefix":"k","limit":5}}]}`, as("keys")).want(t, 200)

	g.do(t, "PUT", "/v1/kv/b", `{"value":"`+strings.Repeat("x", 2000)+`"}`, as("bytes")).problem(t, 429, "rate_limited")
	for range 5 {
		g.do(t, "PUT", "/v1/kv/b", `{"value":"`+strings.Repeat("x", 500)+`"}`, as("bytes"))
	}
	g.do(t, "PUT", "/v1/kv/b", `{"value":"`+strings.Repeat("x", 500)+`"}`, as("bytes")).want(t, 200)
}

// TestOneCallerLeavesRoomForOthers: without any limits of his own, one who takes all that he can get leaves an eighth of the gateway's to
// others, who are not refused.
func TestOneCallerLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	const room = 16
	g := startGuardedBy(t, func(o *handlers.Options) { o.MaxRequests = room }, authz.Rule{Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}}})
	ctx, leave := context.WithCancel(t.Context())
	var greedy sync.WaitGroup
	defer greedy.Wait()
	defer leave()
	for range 2 * room {
		greedy.Go(func() { g.takeAPlace(ctx) })
	}
	a := g.until(t, 429, "/v1/kv/k", as("greedy"))
	a.problem(t, 429, "rate_limited")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	for _, name := range []string{"b", "c", "d"} { // who can meet the greedy ones at the door
		g.until(t, 404, "/v1/kv/"+name, as(name))
	}
	leave()
	g.until(t, 404, "/v1/kv/absent", as("greedy"))
}

// takeAPlace waits for a key as greedy does: again and again, until ctx ends.
func (g *gateway) takeAPlace(ctx context.Context) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/v1/kv/w?wait=60&after=0", http.NoBody)
		if err != nil {
			return
		}
		r.Header.Set("Authorization", "Bearer greedy")
		if a, err := g.http.Do(r); err == nil {
			_ = a.Body.Close()
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func TestAFullGatewayRefusesAtOnce(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.MaxRequests, o.MaxBytes = 2, 1000 })
	waits := make(chan *answer, 2)
	for range 2 {
		go func() { waits <- g.admitted(t, "/v1/kv/w?wait=30&after=0") }()
	}
	a := g.until(t, 503, "/v1/kv/x")
	a.problem(t, 503, "overloaded")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	g.do(t, "GET", "/livez", "").want(t, 200)
	if _, err := g.oracle.Put(t.Context(), "w", ""); err != nil {
		t.Fatal(err)
	}
	(<-waits).want(t, 200)
	(<-waits).want(t, 200)
	g.do(t, "PUT", "/v1/kv/x", `{"value":"`+strings.Repeat("x", 2000)+`"}`).problem(t, 503, "overloaded")
	g.do(t, "PUT", "/v1/kv/x", `{"value":"1"}`).want(t, 201)
}
