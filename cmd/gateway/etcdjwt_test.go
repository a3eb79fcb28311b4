package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// signing is a gateway before an etcd whose tokens are JWTs. It knows callers by them, and by those of an issuer of its own.
type signing struct {
	*running
	// root is for what an operator does at etcd itself.
	root *clientv3.Client
}

// startSigning runs both; ttl is the life of etcd's tokens.
func startSigning(t *testing.T, ttl time.Duration) signing {
	t.Helper()
	dir, key := t.TempDir(), newKey(t)
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) {
		o.AuthToken = fmt.Sprintf("jwt,priv-key=%s,sign-method=ES256,ttl=%v", key, ttl)
	})
	setUpUsers(t, etcd.Endpoint())
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Username: "root", Password: "rootpw", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	file := writeIn(t, dir, "gateway.yaml", fmt.Sprintf(`
listen: 127.0.0.1:0
admin-listen: 127.0.0.1:0
endpoints: %s
etcd-user: gateway
etcd-password-file: %s
auth:
  - kind: jwt
    issuer: https://id.example
    audience: etcdrest
    keys: {secret: [{kid: one, algorithm: HS256, file: %s}]}
  - kind: etcd
policy:
  - when: {kind: etcd, name: root}
    grants: [{verbs: all}]
  - when: {kind: etcd}
    grants: [{verbs: [read, write, watch, lease]}]
  - when: {kind: jwt, name: carol}
    grants: [{verbs: [read, write, watch]}]
  - when: {kind: jwt, name: dave}
    grants: [{verbs: [read, write]}]
    etcd_user: alice
    etcd_password_file: %s
`, etcd.Endpoint(), writeIn(t, dir, "password", "gatewaypw"), writeIn(t, dir, "secret", doorSecret), writeIn(t, dir, "alices", "alicepw")))
	return signing{start(t, "serve", "--config="+file), root}
}

// setUpUsers turns authentication on, with alice who may use app/, the gateway which may use everything, and root.
func setUpUsers(t *testing.T, endpoint string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, all := t.Context(), clientv3.PermissionType(clientv3.PermReadWrite)
	for _, step := range []func() error{
		func() error { _, err := c.RoleAdd(ctx, "app"); return err },
		func() error { _, err := c.RoleGrantPermission(ctx, "app", "app/", "app0", all); return err },
		func() error { _, err := c.RoleAdd(ctx, "everything"); return err },
		func() error { _, err := c.RoleGrantPermission(ctx, "everything", "\x00", "\x00", all); return err },
		func() error { _, err := c.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "gateway", "gatewaypw"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "gateway", "everything"); return err },
		func() error { _, err := c.UserAdd(ctx, "alice", "alicepw"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "alice", "app"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// login gives a token of alice's, by one of the two ways.
func (s signing) login(t *testing.T, path string) string {
	t.Helper()
	a := call(t, nil, http.MethodPost, s.api+path, `{"name":"alice","password":"alicepw"}`)
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: got %d %s", path, a.status, a.body)
	}
	if strings.Count(got.Token, ".") != 2 || decode(t, got.Token).claims["username"] != "alice" {
		t.Fatalf("%s: got %q, want a JWT of etcd's for alice", path, got.Token)
	}
	return got.Token
}

// followV3 begins a watch of /v3 of all under app/, and gives its lines once it is created.
func (s signing) followV3(t *testing.T, authorization, options string) *bufio.Scanner {
	t.Helper()
	create := `{"create_request":{"key":"YXBwLw==","range_end":"YXBwMA=="` + options + `}}`
	r, err := http.NewRequestWithContext(bounded(t), http.MethodPost, s.api+"/v3/watch", strings.NewReader(create))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	in := bufio.NewScanner(answer.Body)
	if !scanTo(in, `"created":true`) || strings.Contains(in.Text(), "canceled") {
		t.Fatalf("watch of /v3: got %q", in.Text())
	}
	return in
}

const (
	nativeLogin = "/v1/auth/login"
	v3Login     = "/v3/auth/authenticate"
	rangeAppK   = `{"key":"YXBwL2s="}`
)

func TestJWTsOfEtcdAreTakenInEveryForm(t *testing.T) {
	t.Parallel()
	g := startSigning(t, 5*time.Minute)
	if _, err := g.root.Put(t.Context(), "app/k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{nativeLogin, v3Login} {
		token := g.login(t, way)
		for _, form := range []string{token, "Bearer " + token, "bearer " + token, "BEARER " + token} {
			name := strings.Replace(form, token, "TOKEN", 1)
			if a := ask(t, http.MethodGet, g.api+"/v1/raw/app/k", "", form); a.status != http.StatusOK || a.body != "v" {
				t.Errorf("%s: got %d %s, want 200 v", name, a.status, a.body)
			}
			if a := ask(t, http.MethodGet, g.api+"/v1/raw/other", "", form); a.status != http.StatusForbidden {
				t.Errorf("%s, a key of others: got %d %s, want 403 of etcd's roles", name, a.status, a.body)
			}
			if a := ask(t, http.MethodPost, g.api+"/v3/kv/range", rangeAppK, form); a.status != http.StatusOK || !strings.Contains(a.body, `"count":"1"`) {
				t.Errorf("%s, /v3: got %d %s, want 200", name, a.status, a.body)
			}
			in := follow(t, g.api+"/v1/watch?prefix=app/", "Authorization", form)
			v3 := g.followV3(t, form, "")
			if _, err := g.root.Put(t.Context(), "app/k", "v"); err != nil {
				t.Fatal(err)
			}
			if !scanTo(in, `"type":"events"`) {
				t.Errorf("%s: the watch ended with %q, want the change", name, in.Text())
			}
			if !scanTo(v3, `"events":[`) {
				t.Errorf("%s: the watch of /v3 ended with %q, want the change", name, v3.Text())
			}
		}
	}
}

// Which of the two kinds a JWT is, is told by its iss, and neither passes for the other.
func TestJWTsOfEtcdAndOfAnIssuerAreToldApart(t *testing.T) {
	t.Parallel()
	g := startSigning(t, 5*time.Minute)
	etcds, issuers := g.login(t, nativeLogin), bearer(t, jwt.MapClaims{"sub": "carol"})
	type document = map[string]any
	whoami := func(authorization string) (answer, document) {
		a := ask(t, http.MethodGet, g.api+"/v1/auth/whoami", "", authorization)
		var d document
		if err := json.Unmarshal([]byte(a.body), &d); err != nil {
			t.Fatalf("%q: %v", a.body, err)
		}
		return a, d
	}
	if a, d := whoami(issuers); a.status != http.StatusOK || d["kind"] != "jwt" || d["name"] != "carol" {
		t.Errorf("the issuer's: got %d %s, want carol by jwt", a.status, a.body)
	}
	if a, d := whoami("Bearer " + etcds); a.status != http.StatusOK || d["kind"] != "etcd" {
		t.Errorf("etcd's: got %d %s, want somebody by etcd", a.status, a.body)
	}
	parts := strings.Split(etcds, ".")
	claims := decode(t, etcds).claims
	with := func(name, value string) string {
		claims[name] = value
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString(text) + "." + parts[2]
	}
	for name, authorization := range map[string]string{
		"the issuer's without Bearer, so for etcd":    strings.TrimPrefix(issuers, "Bearer "),
		"the issuer's, of another issuer":             bearer(t, jwt.MapClaims{"sub": "carol", "iss": "https://other.example"}),
		"the issuer's, without an issuer":             bearer(t, jwt.MapClaims{"sub": "carol", "iss": nil}),
		"the issuer's, with etcd's claims":            bearer(t, jwt.MapClaims{"username": "root", "revision": 1000, "iss": nil}),
		"etcd's, for another user":                    "Bearer " + with("username", "root"),
		"etcd's, for another user, without Bearer":    with("username", "root"),
		"etcd's, with an issuer that is none of ours": "Bearer " + with("iss", "https://etcd.example"),
		"etcd's, with the issuer":                     "Bearer " + with("iss", "https://id.example"),
		"etcd's, without its signature":               "Bearer " + parts[0] + "." + parts[1] + ".",
	} {
		if a, _ := whoami(authorization); a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s, want 401", name, a.status, a.body)
		}
	}
}

// A JWT of etcd's names the revision of its users and roles: every change of those ends all of them.
func TestAChangeOfRolesEndsJWTsOfEtcd(t *testing.T) {
	t.Parallel()
	g := startSigning(t, 5*time.Minute)
	token, carol := "Bearer "+g.login(t, nativeLogin), bearer(t, jwt.MapClaims{"sub": "carol"})
	watch := follow(t, g.api+"/v1/watch?prefix=app/", "Authorization", token)
	sse := follow(t, g.api+"/v1/watch?prefix=app/k", "Authorization", token, "Accept", "text/event-stream")
	carols := follow(t, g.api+"/v1/watch?prefix=app/", "Authorization", carol)
	v3, v3Own := g.followV3(t, token, ""), g.followV3(t, token, `,"fragment":true`)
	if a := ask(t, http.MethodPut, g.api+"/v1/raw/app/k", "v", token); a.status != http.StatusCreated {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for name, in := range map[string]func() bool{
		"ndjson": func() bool { return scanTo(watch, `"type":"events"`) }, "sse": func() bool { return scanTo(sse, `"type":"events"`) },
		"carol's": func() bool { return scanTo(carols, `"type":"events"`) }, "/v3": func() bool { return scanTo(v3, `"events":[`) },
	} {
		if !in() {
			t.Fatalf("%s: no change came", name)
		}
	}
	before := metric(t, g.running, `etcdrest_etcd_token_refreshes_total{result="ok"}`)
	if _, err := g.root.UserRevokeRole(t.Context(), "alice", "app"); err != nil {
		t.Fatal(err)
	}

	var calls sync.WaitGroup
	for range 50 { // the gateway's own token is renewed, once for everybody
		calls.Go(func() {
			if a, err := try(t, nil, http.MethodPut, g.api+"/v1/raw/app/k", "v2", "Authorization", carol); err != nil || a.status != http.StatusOK {
				t.Errorf("carol: got %d %s, %v; want 200", a.status, a.body, err)
			}
		})
	}
	calls.Wait()
	if n := metric(t, g.running, `etcdrest_etcd_token_refreshes_total{result="ok"}`); n != before+1 {
		t.Errorf("the gateway has authenticated %v times after the change, want once", n-before)
	}
	if !scanTo(carols, `"type":"events"`) {
		t.Errorf("carol's watch: got %q", carols.Text())
	}

	for _, path := range []string{"/v1/raw/app/k", "/v1/kv?prefix=app/", "/v1/export?prefix=app/", "/v1/watch/poll?key=app/k&wait=1", "/v1/watch?key=app/k"} {
		a := ask(t, http.MethodGet, g.api+path, "", token)
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"code":"auth_expired"`) || !strings.Contains(a.body, "log in again") {
			t.Errorf("%s with a token of before: got %d %s, want 401 that says to log in again", path, a.status, a.body)
		}
	}
	a := ask(t, http.MethodPut, g.api+"/v1/raw/app/k", "v3", token)
	if a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"outcome":"not_applied"`) || !strings.Contains(a.body, "log in again") {
		t.Errorf("a write with a token of before: got %d %s, want 401 not_applied", a.status, a.body)
	}
	if a := ask(t, http.MethodPost, g.api+"/v3/kv/range", rangeAppK, token); !strings.Contains(a.body, "etcdserver: revision of auth store is old") {
		t.Errorf("/v3 with a token of before: got %d %s, want etcd's own words", a.status, a.body)
	}
	const create = `{"create_request":{"key":"YXBwL2s="}}`
	if a := ask(t, http.MethodPost, g.api+"/v3/watch", create, token); !strings.Contains(a.body, `"canceled":true`) || !strings.Contains(a.body, "revision of auth store is old") {
		t.Errorf("a watch of /v3 with a token of before: got %d %s, want it canceled in etcd's words", a.status, a.body)
	}
	// A watch that nobody judges any more, of a caller who has lost the right, does not go on.
	for name, in := range map[string]func() bool{
		"ndjson":          func() bool { return scanTo(watch, `"code":"auth_expired"`) },
		"sse":             func() bool { return scanTo(sse, `"code":"auth_expired"`) },
		"/v3":             func() bool { return scanTo(v3, "invalid auth token") },
		"/v3, of its own": func() bool { return scanTo(v3Own, "invalid auth token") },
	} {
		if !in() {
			t.Errorf("%s: the watch goes on, or ended otherwise: %q %q %q %q", name, watch.Text(), sse.Text(), v3.Text(), v3Own.Text())
		}
	}
	if a := ask(t, http.MethodGet, g.api+"/v1/raw/app/k", "", g.login(t, nativeLogin)); a.status != http.StatusForbidden {
		t.Errorf("with a new token: got %d %s, want 403 of etcd's roles", a.status, a.body)
	}
}

func TestJWTsOfEtcdExpire(t *testing.T) {
	t.Parallel()
	g := startSigning(t, 2*time.Second)
	carol := bearer(t, jwt.MapClaims{"sub": "carol"})
	if a := ask(t, http.MethodPut, g.api+"/v1/raw/app/k", "v", carol); a.status != http.StatusCreated {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	token := "Bearer " + g.login(t, v3Login)
	began, before := time.Now(), metric(t, g.running, `etcdrest_etcd_token_refreshes_total{result="ok"}`)
	waitUntil(t, "alice's token has expired", func() bool {
		a := ask(t, http.MethodGet, g.api+"/v1/raw/app/k", "", token)
		if a.status != http.StatusOK && !strings.Contains(a.body, `"code":"auth_expired"`) {
			t.Fatalf("got %d %s, want 200 or 401 auth_expired", a.status, a.body)
		}
		return a.status == http.StatusUnauthorized
	})
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if a, err := try(t, nil, http.MethodGet, g.api+"/v1/raw/app/k", "", "Authorization", carol); err != nil || a.status != http.StatusOK {
				t.Errorf("by the gateway's own token: got %d %s, %v; want 200", a.status, a.body, err)
			}
		})
	}
	calls.Wait()
	n := metric(t, g.running, `etcdrest_etcd_token_refreshes_total{result="ok"}`) - before
	if most := time.Since(began).Seconds() + 1; n < 1 || n > most { // a token of two seconds lives for one at least
		t.Errorf("the gateway has authenticated %v times, want at least once and at most %.1f times", n, most)
	}
	watch := follow(t, g.api+"/v1/watch?prefix=app/", "Authorization", carol)
	waitUntil(t, "a watch outlives the token that it began with, and others begin", func() bool {
		if a := ask(t, http.MethodPut, g.api+"/v1/raw/app/k", "v", carol); a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		follow(t, fmt.Sprintf("%s/v1/watch?prefix=app/%d", g.api, time.Now().UnixNano()), "Authorization", carol)
		if !scanTo(watch, `"type":"events"`) {
			t.Fatalf("the watch ended: %q", watch.Text())
		}
		return metric(t, g.running, `etcdrest_etcd_token_refreshes_total{result="ok"}`)-before > n+1
	})
}

// Three users of etcd can be behind a request; who is told to grant something must know to which.
func TestWhatIsLackingIsSaidOfTheUserWhoLacksIt(t *testing.T) {
	t.Parallel()
	g := startSigning(t, 5*time.Minute)
	for authorization, want := range map[string]string{
		"Basic " + base64.StdEncoding.EncodeToString([]byte("alice:alicepw")): "the caller's own etcd user may not write the state",
		"Bearer " + g.login(t, nativeLogin):                                   "the caller's own etcd user may not write the state",
		bearer(t, jwt.MapClaims{"sub": "dave"}):                               "the etcd user that the policy gives the caller may not write the state",
	} {
		a := call(t, nil, http.MethodPut, g.api+"/v1/kv/app/k", `{"value":"v"}`, "Authorization", authorization, "Idempotency-Key", "k")
		if a.status != http.StatusNotImplemented || !strings.Contains(a.body, want) {
			t.Errorf("got %d %s, want 501: %s", a.status, a.body, want)
		}
	}
	if _, err := g.root.RoleRevokePermission(t.Context(), "everything", "\x00", "\x00"); err != nil {
		t.Fatal(err)
	}
	a := call(t, nil, http.MethodPut, g.api+"/v1/kv/app/k", `{"value":"v"}`, "Authorization", bearer(t, jwt.MapClaims{"sub": "carol"}), "Idempotency-Key", "k")
	if a.status != http.StatusNotImplemented || !strings.Contains(a.body, "the gateway's etcd user may not write the state") {
		t.Errorf("got %d %s, want 501 that names the gateway's user", a.status, a.body)
	}
}
