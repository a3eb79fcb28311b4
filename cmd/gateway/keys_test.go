package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

// TestAKeyThatIsNotConfiguredAnyMoreEndsItsStreams: SIGHUP reads the file again, which lists one of two keys.
func TestAKeyThatIsNotConfiguredAnyMoreEndsItsStreams(t *testing.T) { //nolint:paralleltest // SIGHUP is for the whole process
	dir := t.TempDir()
	key := func(kid string) string {
		return fmt.Sprintf("{kid: %s, algorithm: HS256, file: %s}", kid, writeIn(t, dir, kid, doorSecret+kid))
	}
	g := start(t, "dev", "--config="+keysFile(t, dir, "secret: ["+key("old")+", "+key("new")+"]"))
	signed := func(kid string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://id.example", "aud": "etcdrest", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = kid
		text, err := token.SignedString([]byte(doorSecret + kid))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	endsWithItsKey(t, g, signed("old"), signed("new"), func() {
		keysFile(t, dir, "secret: ["+key("new")+"]")
		hangUp(t)
	})
}

// TestAKeyThatItsIssuerDropsEndsItsStreams when the keys are fetched the next time, as at SIGHUP.
func TestAKeyThatItsIssuerDropsEndsItsStreams(t *testing.T) { //nolint:paralleltest // as above
	dir := t.TempDir()
	older, newer := newKey(t), newKey(t)
	var published atomic.Value
	publish := func(files ...string) {
		var all struct {
			Keys []json.RawMessage `json:"keys"`
		}
		for _, file := range files {
			one := all
			one.Keys = nil
			if err := json.Unmarshal([]byte(mustRead(t, file+".jwks.json")), &one); err != nil {
				t.Fatal(err)
			}
			all.Keys = append(all.Keys, one.Keys...)
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		published.Store(text)
	}
	publish(older, newer)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(published.Load().([]byte)) // it holds nothing else
	}))
	defer issuer.Close()
	g := start(t, "dev", "--config="+keysFile(t, dir, "jwks_url: "+issuer.URL+", algorithms: [ES256]"))
	endsWithItsKey(t, g, printToken(t, older), printToken(t, newer), func() {
		publish(newer)
		hangUp(t)
	})
}

// keysFile is a configuration of an issuer with these keys.
func keysFile(t *testing.T, dir, keys string) string {
	t.Helper()
	return writeIn(t, dir, "gateway.yaml", fmt.Sprintf(`
data-dir: %s
auth:
  - kind: jwt
    issuer: https://id.example
    audience: etcdrest
    keys: {%s}
policy:
  - when: {name: alice}
    namespace: "{name}/"
    grants: [{verbs: [read, write, watch]}]
`, filepath.Join(dir, "data"), keys))
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// endsWithItsKey has the key of the old token taken back: streams of every kind that were begun with it end, but for one that was renewed
// with the new token, and those of the new one go on. They all are the same caller's, and share a watch of etcd.
func endsWithItsKey(t *testing.T, g *running, older, newer string, takeBack func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	awaitKey(ctx, t, g, older)
	lines := func(method, path, body, token string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(ctx, method, g.api+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		in := bufio.NewScanner(answer.Body)
		if !scanTo(in, `"created"`) {
			t.Fatalf("%s: got %d %q, %v", path, answer.StatusCode, in.Text(), in.Err())
		}
		return in
	}
	socket := func() *websocket.Conn {
		c, _, err := websocket.Dial(ctx, g.api+"/v1/watch?key=k", &websocket.DialOptions{ //nolint:bodyclose // the socket has it
			Subprotocols: []string{"etcdrest.v1", "bearer." + base64.RawURLEncoding.EncodeToString([]byte(older))},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		hears(ctx, t, c, `"created"`)
		return c
	}
	const v1, v3, create = "/v1/watch?key=k", "/v3/watch", `{"create_request":{"key":"aw=="}}`
	oldV1, oldV3 := lines(http.MethodGet, v1, "", older), lines(http.MethodPost, v3, create, older)
	newV1, newV3 := lines(http.MethodGet, v1, "", newer), lines(http.MethodPost, v3, create, newer)
	ended, renewed := socket(), socket()
	if err := renewed.Write(ctx, websocket.MessageText, []byte(`{"op":"auth","token":"`+newer+`"}`)); err != nil {
		t.Fatal(err)
	}
	hears(ctx, t, renewed, `"authenticated"`)

	began := time.Now()
	takeBack()
	if !scanTo(oldV1, "auth_expired") {
		t.Errorf("the native watch ends with %q, %v; want auth_expired", oldV1.Text(), oldV1.Err())
	}
	if took := time.Since(began); took > generous*promised {
		t.Errorf("that took %v, want %v", took, promised)
	}
	if !scanTo(oldV3, "etcdserver: invalid auth token") {
		t.Errorf("the one of /v3 ends with %q, %v; want that its token does not count", oldV3.Text(), oldV3.Err())
	}
	hears(ctx, t, ended, "auth_expired")
	if a := ask(t, http.MethodPut, g.api+"/v1/kv/k", `{"value":"old"}`, "Bearer "+older); a.status != http.StatusUnauthorized {
		t.Errorf("a request with the old key: got %d %s, want 401", a.status, a.body)
	}
	if a := ask(t, http.MethodPut, g.api+"/v1/kv/k", `{"value":"new"}`, "Bearer "+newer); a.status != http.StatusCreated {
		t.Errorf("a request with the new key: got %d %s, want 201", a.status, a.body)
	}
	if !scanTo(newV1, `"new"`) || !scanTo(newV3, `"value":"bmV3"`) {
		t.Errorf("the watches of the new key: got %q and %q", newV1.Text(), newV3.Text())
	}
	hears(ctx, t, renewed, `"new"`)
}

// awaitKey waits until the gateway has fetched the keys that the token is checked with.
func awaitKey(ctx context.Context, t *testing.T, g *running, token string) {
	t.Helper()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for ask(t, http.MethodGet, g.api+"/v1/auth/whoami", "", "Bearer "+token).status != http.StatusOK {
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatal("the gateway never has the keys")
		}
	}
}

// hears reads the messages of a socket up to one that has the text in it.
func hears(ctx context.Context, t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	for {
		_, message, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("a socket ends with %v, want %s", err, text)
		}
		if strings.Contains(string(message), text) {
			return
		}
	}
}
