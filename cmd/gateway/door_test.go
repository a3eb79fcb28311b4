package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// writeIn writes a file into a folder of the test and gives its path.
func writeIn(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const doorSecret = "a secret of the test's own, of 32 bytes and some"

// bearer signs a token for the doors of these tests.
func bearer(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iss": "https://id.example", "aud": "etcdrest", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, all)
	token.Header["kid"] = "one"
	signed, err := token.SignedString([]byte(doorSecret))
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + signed
}

// doorFile is a configuration that knows callers by their JWT.
func doorFile(t *testing.T, dir, policy string) string {
	t.Helper()
	secret := writeIn(t, dir, "secret", doorSecret)
	return writeIn(t, dir, "gateway.yaml", fmt.Sprintf(`
listen: 127.0.0.1:0
admin-listen: 127.0.0.1:0
data-dir: %s
auth:
  - kind: jwt
    issuer: https://id.example
    audience: etcdrest
    keys: {secret: [{kid: one, algorithm: HS256, file: %s}]}
policy:
%s`, filepath.Join(dir, "data"), secret, policy))
}

func ask(t *testing.T, method, url, body, authorization string) answer {
	t.Helper()
	if authorization == "" {
		return call(t, nil, method, url, body)
	}
	return call(t, nil, method, url, body, "Authorization", authorization)
}

func TestCallersAreKnownByTheirTokensAndGetWhatThePolicySays(t *testing.T) { //nolint:paralleltest // SIGHUP is for the whole process
	dir := t.TempDir()
	file := doorFile(t, dir, `
  - when: {kind: jwt, claims: {roles: editor}}
    namespace: tenants/{claims.org}/
    grants: [{verbs: [read, write, watch], prefix: ""}]
  - when: {kind: jwt, name: root}
    grants: [{verbs: all}]
`)
	g := start(t, "dev", "--config="+file)
	alice := bearer(t, jwt.MapClaims{"sub": "alice", "org": "acme", "roles": []string{"editor", "viewer"}})
	root := bearer(t, jwt.MapClaims{"sub": "root"})
	for _, c := range []struct {
		method, path, body, who string
		status                  int
	}{
		{"GET", "/v1/kv/k", "", "", 401},
		{"GET", "/v1/kv/k", "", "Bearer x.y.z", 401},
		{"GET", "/v1/kv/k", "", bearer(t, jwt.MapClaims{"sub": "alice", "aud": "other"}), 401},
		{"GET", "/v1/kv/k", "", bearer(t, jwt.MapClaims{"sub": "nobody"}), 403},
		{"GET", "/v1/kv/k", "", bearer(t, jwt.MapClaims{"sub": "bob", "roles": "editor"}), 403}, // no org
		{"PUT", "/v1/kv/k", `{"value":"v"}`, alice, 201},
		{"GET", "/v1/kv/k", "", alice, 200},
		{"GET", "/v1/cluster", "", alice, 403},
		{"GET", "/v1/kv/tenants/acme/k", "", root, 200},
		{"GET", "/v1/cluster", "", root, 200},
		{"GET", "/readyz", "", "", 200},
		{"POST", "/v3/kv/range", `{"key":"aw=="}`, "", 401},
		{"POST", "/v3/kv/range", `{"key":"aw=="}`, alice, 200},
		{"POST", "/v3/cluster/member/list", "{}", alice, 403},
		{"POST", "/v3/cluster/member/list", "{}", root, 200},
	} {
		if a := ask(t, c.method, g.api+c.path, c.body, c.who); a.status != c.status {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, a.status, a.body, c.status)
		}
	}

	hangup := func(wait string) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.log.waitFor(t, wait)
	}
	doorFile(t, dir, "  - when: {kind: wizard}\n")
	hangup("the former rules stay")
	if a := ask(t, "GET", g.api+"/v1/kv/k", "", alice); a.status != 200 {
		t.Errorf("after a file that cannot be used: got %d %s", a.status, a.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.api+"/v3/watch", strings.NewReader(`{"create_request":{"key":"aw=="}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", alice)
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	watch := bufio.NewScanner(stream.Body)
	if !scanTo(watch, `"created":true}`) {
		t.Fatalf("watch: got %q", watch.Text())
	}
	doorFile(t, dir, "  - when: {kind: jwt, name: root}\n    grants: [{verbs: all}]\n")
	hangup("auth and policy were read again")
	if !scanTo(watch, "etcdserver: permission denied") {
		t.Errorf("the watch that is not granted any more ends with %q", watch.Text())
	}
	if a := ask(t, "GET", g.api+"/v1/kv/k", "", alice); a.status != 403 {
		t.Errorf("after the policy has changed: got %d %s, want 403", a.status, a.body)
	}
}

// TestAKeyThatIsTakenBackEndsItsStreams: within two seconds of the file, without a signal.
func TestAKeyThatIsTakenBackEndsItsStreams(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, "dev", "--config="+doorFile(t, dir, "  - when: {kind: jwt}\n    grants: [{verbs: all}]\n"))
	alice := bearer(t, jwt.MapClaims{"sub": "alice"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.api+"/v1/watch?prefix=k&heartbeat=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", alice)
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	watch := bufio.NewScanner(stream.Body)
	if !scanTo(watch, `"created"`) || !scanTo(watch, `"progress"`) {
		t.Fatalf("watch: got %q", watch.Text())
	}
	writeIn(t, dir, "secret", "another secret of the test's own, of 32 bytes and some")
	if !scanTo(watch, "auth_expired") {
		t.Errorf("the watch ends with %q, %v; want auth_expired", watch.Text(), watch.Err())
	}
	if a := ask(t, "GET", g.api+"/v1/kv/k", "", alice); a.status != 401 {
		t.Errorf("a request: got %d %s, want 401", a.status, a.body)
	}
}
