package compat_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// named takes everybody for who he says he is: these tests are about what callers may do.
type named struct{}

func (named) Authenticate(_ context.Context, c authn.Credentials) (*authn.Principal, error) {
	name, ok := strings.CutPrefix(c.Authorization, "Bearer ")
	if !ok {
		return nil, problem.New(problem.Unauthenticated, "say who you are")
	}
	return &authn.Principal{Kind: authn.KindJWT, Name: name, Digest: sha256.Sum256([]byte(name))}, nil
}

func (named) Still(*authn.Principal) error { return nil }

func (named) Kinds() []authn.Kind  { return []authn.Kind{authn.KindJWT} }
func (named) Challenges() []string { return []string{"Bearer"} }

// fading is named for credentials that expire soon after they were first shown; those of op and of holder do not.
type fading struct {
	named

	mu   sync.Mutex
	ends map[string]time.Time
}

const fadesIn = 2 * time.Second

func newFading() *fading { return &fading{ends: make(map[string]time.Time)} }

func (f *fading) Authenticate(ctx context.Context, c authn.Credentials) (*authn.Principal, error) {
	p, err := f.named.Authenticate(ctx, c)
	if err == nil && p.Name != "op" && p.Name != "holder" {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.ends[p.Name].IsZero() {
			f.ends[p.Name] = time.Now().Add(fadesIn)
		}
		p.Expires = f.ends[p.Name]
	}
	return p, err
}

// late is how long after the end of somebody's credentials it is.
func (f *fading) late(name string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.ends[name])
}

// guard makes a gate for these rules; op may do everything, others have a namespace of their own.
func guard(t *testing.T, methods authz.Methods, rules ...authz.Rule) (func(*etcdclient.Client) *authz.Gate, func() *authz.Gate) {
	t.Helper()
	policy, err := authz.NewPolicy(append(rules,
		authz.Rule{When: authz.When{Names: []string{"op"}}, Grants: []authz.Grant{{Verbs: authz.All}}},
		authz.Rule{Namespace: "tenants/{name}/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}}},
	))
	if err != nil {
		t.Fatal(err)
	}
	var made *authz.Gate
	return func(c *etcdclient.Client) *authz.Gate {
		made = authz.NewGate(c, methods, policy)
		return made
	}, func() *authz.Gate { return made }
}

// usersOfEtcd makes a gate for users of etcd, who may do everything that etcd lets them.
func usersOfEtcd(t *testing.T, methods authz.Methods) func(*etcdclient.Client) *authz.Gate {
	t.Helper()
	policy, err := authz.NewPolicy([]authz.Rule{{When: authz.When{Kind: authn.KindEtcd}, Grants: []authz.Grant{{Verbs: authz.All}}}})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *etcdclient.Client) *authz.Gate { return authz.NewGate(c, methods, policy) }
}

func by(name string) string { return "Authorization: Bearer " + name }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestTenantsOfV3SeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	for _, who := range []string{"t1", "t10", "t1/"} {
		if a := ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("k")+`","value":"`+b64("secret of "+who)+`"}`, by(who))); a.status != 200 {
			t.Fatalf("%s puts: %d %s", who, a.status, a.body)
		}
	}
	ends := []string{"", b64("\x00"), b64("\xff"), b64("zz"), b64("a"), b64("tenants0")}
	for _, key := range []string{b64("\x00"), b64("k"), b64("\xff"), b64("tenants/t10/"), b64("tenants/")} {
		for _, end := range ends {
			a := ask(t, g.url, post("/v3/kv/range", `{"key":"`+key+`","range_end":"`+end+`"}`, by("t1")))
			if strings.Contains(a.body, b64("secret of t10")) || strings.Contains(a.body, b64("secret of t1/")) || strings.Contains(a.body, b64("tenants")[:8]) {
				t.Errorf("range %s to %s shows %s", key, end, a.body)
			}
			a = ask(t, g.url, post("/v3/kv/txn", `{"compare":[{"target":"VERSION","key":"`+key+`","range_end":"`+end+`","version":"9"}],"failure":[{"request_txn":{"success":[{"request_range":{"key":"`+
				key+`","range_end":"`+end+`"}}]}}]}`, by("t1")))
			if a.status != 200 || strings.Contains(a.body, b64("secret of t10")) || strings.Contains(a.body, b64("tenants")[:8]) {
				t.Errorf("a nested range %s to %s: %d %s", key, end, a.status, a.body)
			}
		}
	}
	if a := ask(t, g.url, post("/v3/kv/deleterange", `{"key":"AA==","range_end":"AA=="}`, by("t1"))); !strings.Contains(a.body, `"deleted":"1"`) {
		t.Errorf("t1 deletes everything: %s; want its one key", a.body)
	}
	if a := ask(t, g.url, post("/v3/kv/range", `{"key":"`+b64("tenants/")+`","range_end":"`+b64("tenants0")+`","count_only":true}`, by("op"))); !strings.Contains(a.body, `"count":"2"`) {
		t.Errorf("afterwards there are %s; want the two of the others", a.body)
	}
	if a := ask(t, g.url, post("/v3/kv/range", `{"key":"`+b64("k")+`"}`)); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" || !strings.Contains(a.body, `"code":16`) {
		t.Errorf("nobody: %d %s", a.status, a.body)
	}
}

func TestLeasesLocksAndElectionsOfV3BelongToTheirTenant(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	do := func(who, path, body string) answer { t.Helper(); return ask(t, g.url, post(path, body, by(who))) }
	var lease struct{ ID string }
	if err := json.Unmarshal([]byte(do("t1", "/v3/lease/grant", `{"TTL":60}`).body), &lease); err != nil || lease.ID == "" {
		t.Fatalf("grant: %v", err)
	}
	id := `"` + lease.ID + `"`
	for _, c := range []struct{ path, body, want string }{
		{"/v3/lease/grant", `{"TTL":60,"ID":7}`, `"code":7`},
		{"/v3/lease/revoke", `{"ID":` + id + `}`, `requested lease not found`},
		{"/v3/kv/lease/revoke", `{"ID":` + id + `}`, `requested lease not found`},
		{"/v3/lease/timetolive", `{"ID":` + id + `,"keys":true}`, `"TTL":"-1"`},
		{"/v3/lease/leases", `{}`, `"header":{`},
		{"/v3/lease/keepalive", `{"ID":` + id + `}`, `"ID":` + id + `}`},
		{"/v3/kv/put", `{"key":"aw==","lease":` + id + `}`, `requested lease not found`},
		{"/v3/kv/txn", `{"failure":[{"request_txn":{"success":[{"request_put":{"key":"aw==","lease":` + id + `}}]}}]}`, `requested lease not found`},
		{"/v3/lock/lock", `{"name":"bA==","lease":` + id + `}`, `requested lease not found`},
		{"/v3/election/campaign", `{"name":"bA==","lease":` + id + `}`, `requested lease not found`},
	} {
		a := do("t2", c.path, c.body)
		a.body = strings.ReplaceAll(a.body, ", ", ",") // protojson puts spaces there in some builds
		if !strings.Contains(a.body, c.want) || strings.Contains(a.body, `"leases":[`) {
			t.Errorf("%s %s of t1's lease by t2: %d %s; want %s", c.path, c.body, a.status, a.body, c.want)
		}
	}
	if a := do("t1", "/v3/lease/leases", `{}`); !strings.Contains(a.body, id) {
		t.Errorf("t1 lists %s", a.body)
	}
	a := do("t1", "/v3/lock/lock", `{"name":"`+b64("l")+`","lease":`+id+`}`)
	var held struct{ Key []byte }
	if err := json.Unmarshal([]byte(a.body), &held); err != nil || !strings.HasPrefix(string(held.Key), "l/") {
		t.Fatalf("t1 locks: %v %s", err, a.body)
	}
	do("t2", "/v3/lock/unlock", `{"key":"`+b64("tenants/t1/"+string(held.Key))+`"}`)
	do("t2", "/v3/lock/unlock", `{"key":"`+b64("../t1/"+string(held.Key))+`"}`)
	if a = do("t1", "/v3/kv/range", `{"key":"`+b64(string(held.Key))+`","count_only":true}`); !strings.Contains(a.body, `"count":"1"`) {
		t.Errorf("t1's lock after t2's attempts: %s", a.body)
	}
	a = do("t1", "/v3/election/campaign", `{"name":"`+b64("e")+`","lease":`+id+`,"value":"dg=="}`)
	if strings.Contains(a.body, b64("tenants")[:8]) || !strings.Contains(a.body, `"name":"`+b64("e")+`"`) {
		t.Errorf("t1 campaigns: %s", a.body)
	}
	if a := do("t1", "/v3/election/leader", `{"name":"`+b64("e")+`"}`); a.status != 200 || strings.Contains(a.body, b64("tenants")[:8]) {
		t.Errorf("t1's leader: %s", a.body)
	}
	if a := do("t2", "/v3/election/leader", `{"name":"`+b64("e")+`"}`); a.status == 200 {
		t.Errorf("t2 sees %s", a.body)
	}
	var won struct{ Leader json.RawMessage }
	if err := json.Unmarshal([]byte(do("t1", "/v3/election/campaign", `{"name":"`+b64("e")+`","lease":`+id+`,"value":"dg=="}`).body), &won); err != nil {
		t.Fatal(err)
	}
	if a := do("t1", "/v3/election/proclaim", `{"leader":`+string(won.Leader)+`,"value":"dzI="}`); a.status != 200 {
		t.Errorf("t1 proclaims: %d %s", a.status, a.body)
	}
	do("t2", "/v3/election/resign", `{"leader":`+string(won.Leader)+`}`) // etcd says yes to one who does not lead
	if a := do("t1", "/v3/election/leader", `{"name":"`+b64("e")+`"}`); a.status != 200 {
		t.Errorf("t2 resigned for t1: %d %s", a.status, a.body)
	}
	if a := do("t1", "/v3/election/resign", `{"leader":`+string(won.Leader)+`}`); a.status != 200 {
		t.Errorf("t1 resigns: %d %s", a.status, a.body)
	}
	if a := do("t1", "/v3/lock/unlock", `{"key":"`+b64(string(held.Key))+`"}`); a.status != 200 {
		t.Errorf("t1 unlocks: %d %s", a.status, a.body)
	}
}

func TestWatchesOfV3StayInTheirNamespaceAndEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	methods := newFading()
	gate, _ := guard(t, methods, authz.Rule{
		When: authz.When{Names: []string{"r"}}, Grants: []authz.Grant{{Verbs: authz.Watch, Prefix: []byte("app/")}},
	})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	for _, body := range []string{
		`{"create_request":{"key":"AA==","range_end":"AA=="}}`, `{"create_request":{"key":"` + b64("app/") + `","range_end":"AA=="}}`,
		`{"create_request":{}}`, `{"create_request":{"key":"` + b64("app/x") + `","prev_kv":true}}`, `{"create_request":{"key":"` + b64("b") + `"}}`,
	} {
		a := ask(t, g.url, post("/v3/watch", body, by("r")))
		if want := `"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = PermissionDenied desc = etcdserver: permission denied"`; !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s, want a watch that is denied", body, a.status, a.body)
		}
	}
	conn := dial(t, g.url, "/v3/watch", []string{"Bearer", "t1"})
	say(t, conn, `{"create_request":{"key":"AA==","range_end":"AA=="}}`)
	if got := hear(t, conn); !strings.Contains(got, `"created":true`) {
		t.Fatalf("the watch: %s", got)
	}
	ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("k")+`"}`, by("t2")))
	ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("own")+`"}`, by("t1")))
	if got := hear(t, conn); !strings.Contains(got, `"key":"`+b64("own")+`"`) {
		t.Errorf("t1 hears %s; want its own key", got)
	}
	if got := hear(t, conn); !strings.Contains(got, "etcdserver: invalid auth token") {
		t.Errorf("at the end of the credentials: %s", got)
	}
	if late := methods.late("t1"); late < 0 || late > time.Second {
		t.Errorf("it ended %v after the credentials; want within a second", late)
	}
	if code := closes(t, conn); code == websocket.StatusNormalClosure {
		t.Errorf("it closed with %d", code)
	}
}
