package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

// secrets hands out words that must not be seen again, and looks for them.
type secrets struct{ all []string }

// make gives a word; whoever sends it in another form adds that form.
func (s *secrets) make(kind string) string {
	word := fmt.Sprintf("MARKED-%s-%d", kind, len(s.all))
	s.add(word)
	s.add(base64.StdEncoding.EncodeToString([]byte(word)))
	return word
}

func (s *secrets) add(word string) string {
	s.all = append(s.all, word)
	return word
}

func (s *secrets) lookIn(t *testing.T, where, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty", where)
	}
	for _, word := range s.all {
		if at := strings.Index(text, strings.TrimRight(word, "=")); at >= 0 {
			t.Errorf("%s holds %s: …%s…", where, word, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// TestNoSecretIsToldAnywhere sends marked tokens, passwords, values and tickets in every way there is, with every log on and at
// debug, and looks for the marks in all that the gateway tells.
func TestNoSecretIsToldAnywhere(t *testing.T) {
	t.Parallel()
	dir, s, o := t.TempDir(), new(secrets), newOTLP(t)
	access, audit := filepath.Join(dir, "access"), filepath.Join(dir, "audit")
	file := doorFile(t, dir, "  - when: {kind: jwt}\n    grants: [{verbs: all}]\n")
	s.add(doorSecret)
	g := start(t, "dev", "--config="+file, "--log-level=debug", "--access-log="+access, "--audit-log="+audit, "--otlp-endpoint="+o.url)
	good := bearer(t, jwt.MapClaims{"sub": "alice", "note": s.make("claim")})
	token := strings.TrimPrefix(good, "Bearer ")
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 40 { // the header is everybody's
			s.add(part)
		}
	}
	send := func(method, path, body string, headers ...string) answer {
		t.Helper()
		return call(t, nil, method, g.api+path, body, append([]string{"Authorization", good}, headers...)...)
	}
	worked := func(a answer) {
		t.Helper()
		if a.status >= 300 {
			t.Errorf("got %d %s, want a request that works", a.status, a.body)
		}
	}
	basic := func(name, password string) string {
		return "Basic " + s.add(base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
	}

	// values
	worked(send("PUT", "/v1/kv/app/a", `{"value":"`+s.make("value")+`"}`))
	worked(send("PUT", "/v1/kv/app/j", `{"value_json":{"x":"`+s.make("json")+`"}}`))
	worked(send("PATCH", "/v1/kv/app/j", `{"x":"`+s.make("patch")+`"}`, "Content-Type", "application/merge-patch+json"))
	worked(send("PUT", "/v1/raw/app/r", s.make("raw")))
	worked(send("PUT", "/v1/kv/app/i", `{"value":"`+s.make("idempotent")+`"}`, "Idempotency-Key", "k1"))
	worked(send("POST", "/v1/txn", `{"if":[{"key":"app/a","value":"`+s.make("compare")+`"}],"else":[{"put":{"key":"app/t","value":"`+s.make("txn")+`"}}]}`))
	worked(send("POST", "/v1/import", `{"type":"kv","key":"app/m","value":"`+s.make("import")+`"}`+"\n"+`{"type":"end","count":1,"revision":9}`+"\n", "Content-Type", "application/x-ndjson"))
	worked(send("POST", "/v1/elections/vote", `{"ttl":60,"value":"`+s.make("candidate")+`"}`))
	worked(send("POST", "/v3/kv/put", `{"key":"YXBwL3Y=","value":"`+base64.StdEncoding.EncodeToString([]byte(s.make("v3")))+`"}`))
	worked(send("GET", "/v1/kv/app/a", ""))
	worked(send("GET", "/v1/kv?prefix=app/", ""))
	send("PUT", "/v1/kv/app/bad", `{"value":"`+s.make("invalid")+`",}`)
	send("PUT", "/v1/kv/app/bad", `{"`+s.make("member")+`":1}`)
	send("POST", "/v3/kv/put", `{"key":"`+s.make("v3invalid")+`"}`)
	send("PUT", "/v1/kv/app/a", `{"value":"`+s.make("refused")+`"}`, "If-Match", `"1"`)

	// passwords
	worked(send("POST", "/v1/users", `{"name":"eve","password":"`+s.make("password")+`"}`))
	worked(send("PUT", "/v1/users/eve/password", `{"password":"`+s.make("password")+`"}`))
	send("POST", "/v1/auth/login", `{"name":"eve","password":"`+s.make("password")+`"}`)
	worked(send("POST", "/v3/auth/user/add", `{"name":"bob","password":"`+s.make("password")+`"}`))
	send("POST", "/v3/auth/user/changepw", `{"name":"bob","password":"`+s.make("password")+`"}`)
	send("POST", "/v3/auth/authenticate", `{"name":"bob","password":"`+s.make("password")+`"}`)

	// credentials that are not good
	for _, header := range []string{"Bearer " + s.make("bearer"), basic("eve", s.make("basic")), s.make("rawtoken"), "Digest " + s.make("digest")} {
		call(t, nil, "GET", g.api+"/v1/kv/app/a", "", "Authorization", header)
		call(t, nil, "POST", g.api+"/v3/kv/range", `{"key":"YQ=="}`, "Authorization", header)
	}
	forged := token[:strings.LastIndexByte(token, '.')+1] + s.add(base64.RawURLEncoding.EncodeToString([]byte(s.make("signature"))))
	call(t, nil, "GET", g.api+"/v1/kv/app/a", "", "Authorization", "Bearer "+forged)
	send("GET", "/v1/kv/app/a", "", "Cookie", "session="+s.make("cookie"), "Token", s.make("token"), "Grpc-Metadata-Token", s.make("metadata"),
		"Proxy-Authorization", s.make("proxy"), "X-Api-Key", s.make("apikey"))

	// tickets in queries, subprotocols, first messages
	for _, path := range []string{"/v1/watch?key=k&ticket=", "/v1/kv/app/a?ticket=", "/v1/watch?access_token=", "/v3/watch?token=", "/nowhere?ticket=", "/v1/watch/poll?key=k&wait=0&ticket="} {
		send("GET", path+s.make("ticket"), "")
	}
	ticket := func(path string) string {
		t.Helper()
		var issued struct{ Ticket string }
		a := send("POST", "/v1/auth/tickets", `{"path":"`+path+`"}`)
		if err := json.Unmarshal([]byte(a.body), &issued); err != nil || issued.Ticket == "" {
			t.Fatalf("no ticket: %d %s", a.status, a.body)
		}
		s.add(issued.Ticket[strings.LastIndexByte(issued.Ticket, '.')+1:])
		return issued.Ticket
	}
	used := ticket("/v1/kv/app/a")
	for range 2 {
		call(t, nil, "GET", g.api+"/v1/kv/app/a?ticket="+used, "")
	}
	dialWith := func(path string, header http.Header, protocols ...string) *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(t.Context(), g.api+path, &websocket.DialOptions{HTTPHeader: header, Subprotocols: protocols}) //nolint:bodyclose // a socket has none
		if err != nil {
			return nil
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		return c
	}
	dialWith("/v1/watch?key=k", nil, "etcdrest.v1", "bearer."+s.make("subprotocol"))
	dialWith("/v1/watch?key=k", nil, "etcdrest.v1", "bearer."+token)
	dialWith("/v3/watch", nil, "Bearer", s.make("subprotocol"))
	if c := dialWith("/v1/watch", http.Header{"Authorization": {good}}, "etcdrest.v1"); c == nil {
		t.Error("a WebSocket with a good token is refused")
	} else {
		for _, m := range []string{`{"op":"auth","token":"` + s.make("message") + `"}`, `{"type":"auth","token":"` + s.make("message") + `"}`, s.make("garbage")} {
			_ = c.Write(t.Context(), websocket.MessageText, []byte(m))
		}
		_, _, _ = c.Read(t.Context())
		_ = c.Close(websocket.StatusNormalClosure, "")
	}

	for _, path := range []string{"/metrics", "/debug/config", "/debug/streams", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		s.lookIn(t, path, get200(t, g.admin+path))
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	s.lookIn(t, "the log", g.log.String())
	s.lookIn(t, "the access log", strings.Join(fileLines(t, access), "\n"))
	s.lookIn(t, "the audit log", strings.Join(fileLines(t, audit), "\n"))
	s.lookIn(t, "the traces", o.raw.String())
	if n := len(fileLines(t, access)); n < 40 {
		t.Errorf("the access log has %d lines, want all requests", n)
	}
}
