package compat_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// last opens a stream over HTTP and gives its last line, when it has ended.
func last(t *testing.T, base string, q request) (line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	response, err := browser.Do(httpRequest(ctx, t, q.method, base+q.path, q.body, q.headers))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line = lines.Text()
	}
	if err := lines.Err(); err != nil {
		t.Errorf("%s: after %q: %v", q.path, line, err)
	}
	return line
}

func TestWhatLastsOnV3EndsWithItsCredentials(t *testing.T) {
	t.Parallel()
	methods := newFading()
	gate, _ := guard(t, methods, authz.Rule{
		When: authz.When{Names: []string{"holder", "observer", "waiter", "candidate"}}, Namespace: "one/", Grants: []authz.Grant{{Verbs: authz.Lock}},
	})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	for _, q := range []request{ // so that the next one waits
		post("/v3/lock/lock", `{"name":"bA=="}`, by("holder")), post("/v3/election/campaign", `{"name":"ZQ==","value":"eA=="}`, by("holder")),
	} {
		if a := ask(t, g.url, q); a.status != 200 {
			t.Fatalf("%s: %d %s", q.path, a.status, a.body)
		}
	}
	for who, q := range map[string]request{
		"watcher":   post("/v3/watch", `{"create_request":{"key":"aw=="}}`),
		"observer":  post("/v3/election/observe", `{"name":"ZQ=="}`),
		"waiter":    post("/v3/lock/lock", `{"name":"bA=="}`),
		"candidate": post("/v3beta/election/campaign", `{"name":"ZQ=="}`),
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			q.headers = []string{by(who)}
			line := last(t, g.url, q)
			if !strings.Contains(line, `code":16`) || !strings.Contains(line, `"message":"etcdserver: invalid auth token"`) {
				t.Errorf("its last line is %s; want that the token does not count any more", line)
			}
			if late := methods.late(who); late < 0 || late > time.Second {
				t.Errorf("it ended %v after its credentials; want within a second", late)
			}
		})
	}
	t.Run("a socket of keepalives", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, g.url, "/v3/lease/keepalive", []string{"Bearer", "keeper"})
		if got := hear(t, conn); !strings.Contains(got, "invalid auth token") {
			t.Errorf("hears %s", got)
		}
		if code := closes(t, conn); code != websocket.StatusPolicyViolation {
			t.Errorf("closes with %d, want 1008", code)
		}
	})
}

func TestADeniedWatchLeavesTheOthersOfItsSocketAlone(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: []string{"r"}}, Grants: []authz.Grant{{Verbs: authz.Watch, Prefix: []byte("app/")}}, Limits: authz.Limits{Watches: 3},
	})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	conn := dial(t, g.url, "/v3/watch", nil, by("r"))
	create := func(key string) string {
		say(t, conn, `{"create_request":{"key":"`+b64(key)+`"}}`)
		return hear(t, conn)
	}
	const denied = `"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = `
	for _, c := range []struct{ key, want string }{
		{"app/1", `"created":true}`},
		{"other", denied + "PermissionDenied"},
		{"app/2", `"created":true}`},
		{"app", denied + "PermissionDenied"},
		{"app/3", `"created":true}`},
		{"app/4", denied + "ResourceExhausted"},
	} {
		if got := create(c.key); !strings.Contains(got, c.want) {
			t.Errorf("a watch of %s: got %s, want %s", c.key, got, c.want)
		}
	}
	say(t, conn, `{"cancel_request":{"watch_id":"1"}}`)
	if got := hear(t, conn); !strings.Contains(got, `"canceled":true`) {
		t.Errorf("cancel: got %s", got)
	}
	if got := create("app/4"); !strings.Contains(got, `"created":true}`) {
		t.Errorf("in the place of a canceled one: got %s", got)
	}
	for _, key := range []string{"other", "app/1"} {
		ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64(key)+`"}`, by("op")))
	}
	if got := hear(t, conn); !strings.Contains(got, b64("app/1")) {
		t.Errorf("hears %s; want app/1", got)
	}
}

func TestStreamsOfV3AreCounted(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: []string{"one"}}, Grants: []authz.Grant{{Verbs: authz.All}},
		Limits: authz.Limits{Streams: 1, Concurrent: 1, KeysPerRequest: 5, BytesInFlight: 1000},
	})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	conn := dial(t, g.url, "/v3/watch", nil, by("one"))
	say(t, conn, `{"create_request":{"key":"aw=="}}`)
	hear(t, conn)
	watch := post("/v3/watch", `{"create_request":{"key":"aw=="}}`, by("one"))
	if a := ask(t, g.url, watch); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, `"code":8`) || a.header.Get("Retry-After") == "" {
		t.Errorf("a second stream: %d %v %s, want 429", a.status, a.header, a.body)
	}
	put := post("/v3/kv/put", `{"key":"aw==","value":"`+strings.Repeat("A", 2000)+`"}`, by("one"))
	if a := ask(t, g.url, put); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("a large body: %d %v %s, want 429", a.status, a.header, a.body)
	}
	for range 3 { // what was held is given back
		if a := ask(t, g.url, post("/v3/kv/put", `{"key":"aw==","value":"`+strings.Repeat("A", 600)+`"}`, by("one"))); a.status != 200 {
			t.Errorf("a small body: %d %s", a.status, a.body)
		}
	}
	if a := ask(t, g.url, post("/v3/kv/range", `{"key":"aw=="}`, by("one"))); a.status != 200 {
		t.Errorf("a call beside the stream: %d %s; streams are no calls", a.status, a.body)
	}
	for body, status := range map[string]int{
		`{"key":"aw==","range_end":"AA=="}`: 429, `{"key":"aw==","range_end":"AA==","limit":6}`: 429,
		`{"key":"aw==","range_end":"AA==","limit":5}`: 200, `{"key":"aw==","range_end":"AA==","count_only":true}`: 200,
	} {
		if a := ask(t, g.url, post("/v3/kv/range", body, by("one"))); a.status != status {
			t.Errorf("%s: %d %s, want %d", body, a.status, a.body, status)
		}
	}
	_ = conn.CloseNow()
	for began := time.Now(); ; { // its place is free a moment after
		again, _, err := tryDial(t, g.url, "/v3/watch", nil, by("one")) //nolint:bodyclose // a socket has none
		if err == nil {
			_ = again.CloseNow()
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the stream that has ended still counts")
		}
	}
}

func TestAChangedPolicyEndsWhatItDoesNotGrant(t *testing.T) {
	t.Parallel()
	gate, made := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	names := []string{"gone", "less", "moved", "same", "op"}
	conns := make(map[string]*websocket.Conn)
	for _, name := range names {
		conns[name] = dial(t, g.url, "/v3/watch", nil, by(name))
		say(t, conns[name], `{"create_request":{"key":"`+b64("k")+`"}}`)
		hear(t, conns[name])
	}
	all := authz.All &^ authz.Admin
	policy, err := authz.NewPolicy([]authz.Rule{
		{When: authz.When{Names: []string{"op"}}, Grants: []authz.Grant{{Verbs: authz.All}}},
		{When: authz.When{Names: []string{"same"}}, Namespace: "tenants/{name}/", Grants: []authz.Grant{{Verbs: all}}},
		{When: authz.When{Names: []string{"less"}}, Namespace: "tenants/{name}/", Grants: []authz.Grant{{Verbs: authz.Read}}},
		{When: authz.When{Names: []string{"moved"}}, Namespace: "other/{name}/", Grants: []authz.Grant{{Verbs: all}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	made().Replace(named{}, policy)
	began := time.Now()
	g.compat.Rejudge()
	for name, want := range map[string]string{
		"gone": `"grpc_code":7,"code":7,"http_code":403,"http_status":"Forbidden","message":"etcdserver: permission denied"`, "less": `"grpc_code":14`, "moved": `"grpc_code":14`,
	} {
		if got := hear(t, conns[name]); !strings.Contains(got, want) {
			t.Errorf("%s hears %s; want %s", name, got, want)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	for _, name := range []string{"same", "op"} {
		ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("k")+`"}`, by(name)))
		if got := hear(t, conns[name]); !strings.Contains(got, `"events"`) {
			t.Errorf("%s hears %s", name, got)
		}
	}
}

// Users of etcd log in at the gateway as they do at etcd, and come back with the token as their clients send it.
func TestUsersOfEtcdLogInOnV3(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	enable(t, etcd.Endpoint())
	behind := func(methods authz.Methods) *gateway {
		return startWith(t, etcd, compat.Options{}, setup{gate: usersOfEtcd(t, methods)},
			func(c *etcdclient.Config) { c.Username, c.Password = "root", "toor" })
	}
	g := behind(authn.New(authn.NewEtcd()))
	for user, status := range map[string]int{"root": 200, "user": 403} {
		password := map[string]string{"root": "toor", "user": "pass"}[user]
		for _, path := range []string{"/v3/auth/authenticate", "/v3beta/auth/authenticate", "/v3alpha/auth/authenticate"} {
			token := tokenOf(t, ask(t, g.url, post(path, fmt.Sprintf(`{"name":%q,"password":%q}`, user, password))).body)
			for _, h := range []string{"Authorization: ", "authorization: Bearer ", "AUTHORIZATION: bearer ", "Authorization: BEARER "} {
				if a := ask(t, g.url, post("/v3/kv/range", `{"key":"aw=="}`, h+token)); a.status != status {
					t.Errorf("%s by %s%s…: got %d %s, want %d", user, h, token[:4], a.status, a.body, status)
				}
			}
			conn := dial(t, g.url, "/v3/watch", []string{"Bearer", token})
			say(t, conn, `{"create_request":{"key":"aw=="}}`)
			if got := hear(t, conn); strings.Contains(got, "permission denied") != (status == 403) {
				t.Errorf("%s watches: %s", user, got)
			}
		}
	}
	for _, q := range []request{
		post("/v3/kv/range", `{"key":"aw=="}`), post("/v3/kv/range", `{"key":"aw=="}`, "Authorization: bogus.1"),
		post("/v3/kv/range", `{"key":"aw=="}`, "Grpc-Metadata-Token: bogus.1"), post("/v3/auth/user/list", `{}`),
	} {
		if a := ask(t, g.url, q); a.status != 401 || !strings.Contains(a.body, `"message":"etcdserver: invalid auth token"`) || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s with %v: got %d %v %s, want 401", q.path, q.headers, a.status, a.header, a.body)
		}
	}
	if a := ask(t, g.url, post("/v3/auth/authenticate", `{"name":"root","password":"wrong"}`)); a.status == 200 {
		t.Errorf("a wrong password: %s", a.body)
	}
	// Nor does a token in metadata make somebody else of a caller.
	root := tokenOf(t, ask(t, g.url, post("/v3/auth/authenticate", `{"name":"root","password":"toor"}`)).body)
	user := tokenOf(t, ask(t, g.url, post("/v3/auth/authenticate", `{"name":"user","password":"pass"}`)).body)
	if a := ask(t, g.url, post("/v3/kv/range", `{"key":"aw=="}`, "Authorization: "+user, "Grpc-Metadata-Token: "+root)); a.status != 403 {
		t.Errorf("a second token in metadata: got %d %s, want 403", a.status, a.body)
	}
	tokens := behind(named{}) // which takes no users of etcd
	if a := ask(t, tokens.url, post("/v3/auth/authenticate", `{"name":"root","password":"toor"}`)); a.status != 401 {
		t.Errorf("a login where no users of etcd are taken: got %d %s, want 401", a.status, a.body)
	}
}

func TestATicketOpensASocketOfV3(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	a := ask(t, g.url, post("/v1/auth/tickets", `{"path":"/v3/watch"}`, by("t1")))
	var bought struct{ Ticket string }
	if err := json.Unmarshal([]byte(a.body), &bought); err != nil || a.status != http.StatusCreated {
		t.Fatalf("a ticket: %d %s", a.status, a.body)
	}
	conn := dial(t, g.url, "/v3/watch?ticket="+bought.Ticket, nil)
	say(t, conn, `{"create_request":{"key":"AA==","range_end":"AA=="}}`)
	if got := hear(t, conn); !strings.Contains(got, `"created":true}`) {
		t.Errorf("hears %s", got)
	}
	ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("theirs")+`"}`, by("t2")))
	ask(t, g.url, post("/v3/kv/put", `{"key":"`+b64("own")+`"}`, by("t1")))
	if got := hear(t, conn); !strings.Contains(got, b64("own")) {
		t.Errorf("hears %s; want t1's key", got)
	}
	if _, response, err := tryDial(t, g.url, "/v3/watch?ticket="+bought.Ticket, nil); err == nil || response.StatusCode != http.StatusUnauthorized { //nolint:bodyclose // a refusal's is read
		t.Errorf("the same ticket once more: %v, %v; want 401", response, err)
	}
}

func TestNamesThatMakeNoNamespaceAreNotLetIn(t *testing.T) {
	t.Parallel()
	gate, _ := guard(t, named{})
	g := startBehind(t, embedetcd.StartForTest(t), gate)
	for name, status := range map[string]int{
		strings.Repeat("n", 129): 403, strings.Repeat("n", 128): 200, "t1/": 200, "t1%2f": 200, "..": 200, "t1\xff\xff": 200,
	} {
		a := ask(t, g.url, post("/v3/kv/put", `{"key":"aw=="}`, "Authorization: Bearer "+name))
		if a.status != status {
			t.Errorf("%q: got %d %s, want %d", name, a.status, a.body, status)
		}
	}
}

// TestOneCallerLeavesRoomForOthersOnV3: an eighth of the streams that there may be.
func TestOneCallerLeavesRoomForOthersOnV3(t *testing.T) {
	t.Parallel()
	const room, most = 16, 14
	gate, _ := guard(t, named{})
	g := startWith(t, embedetcd.StartForTest(t), compat.Options{MaxStreams: room}, setup{gate: gate})
	for range most {
		conn := dial(t, g.url, "/v3/watch", nil, by("greedy"))
		say(t, conn, `{"create_request":{"key":"aw=="}}`)
		hear(t, conn)
	}
	watch := `{"create_request":{"key":"aw=="}}`
	if a := ask(t, g.url, post("/v3/watch", watch, by("greedy"))); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("one stream too many: %d %v %s, want 429", a.status, a.header, a.body)
	}
	conn := dial(t, g.url, "/v3/watch", nil, by("other"))
	say(t, conn, watch)
	if got := hear(t, conn); !strings.Contains(got, `"created":true`) {
		t.Errorf("another: got %s", got)
	}
}

// A caller of whom it cannot be found out what he may do, since etcd does not take the user that the policy gives him, stays; the next
// policy is held against the others all the same.
func TestWhoCannotBeJudgedHoldsUpNobody(t *testing.T) {
	t.Parallel()
	plain, _ := guarded(t, 300)
	rule := func(name, password string) authz.Rule {
		r := authz.Rule{When: authz.When{Names: []string{name}}, Grants: []authz.Grant{{Verbs: authz.Watch}}}
		if password != "" {
			r.EtcdUser, r.EtcdPassword = "app", password
		}
		return r
	}
	policyOf := func(rules ...authz.Rule) *authz.Policy {
		p, err := authz.NewPolicy(rules)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var gate *authz.Gate
	g := startWith(t, plain.etcd, compat.Options{}, setup{gate: func(c *etcdclient.Client) *authz.Gate {
		gate = authz.NewGate(c, named{}, policyOf(rule("stuck", "app"), rule("first", ""), rule("second", "")))
		return gate
	}}, func(c *etcdclient.Config) { c.Username, c.Password = "app", "app" })
	conns := make(map[string]*websocket.Conn)
	for _, name := range []string{"stuck", "first", "second"} {
		conns[name] = dial(t, g.url, "/v3/watch", nil, by(name))
		say(t, conns[name], createRequest("p/", "p0", ""))
		if m := hear(t, conns[name]); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
			t.Fatalf("%s: got %s", name, m)
		}
	}
	for _, step := range []struct {
		out  string
		stay []authz.Rule
	}{
		{"first", []authz.Rule{rule("stuck", "wrong"), rule("second", "")}},
		{"second", []authz.Rule{rule("stuck", "wrong")}},
	} {
		gate.Replace(named{}, policyOf(step.stay...))
		g.compat.Rejudge()
		if m := hear(t, conns[step.out]); !strings.Contains(m, "permission denied") {
			t.Errorf("%s hears %s, want that he is let out", step.out, m)
		}
	}
	if a := ask(t, plain.url, post("/v3/kv/put", `{"key":"`+b64("p/1")+`"}`)); a.status != http.StatusOK {
		t.Fatalf("a put: got %d %s", a.status, a.body)
	}
	if m := hear(t, conns["stuck"]); !strings.Contains(m, `"events"`) {
		t.Errorf("who cannot be judged hears %s", m)
	}
}
