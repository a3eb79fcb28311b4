package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

// accessLine is a line of the access log.
type accessLine struct {
	Time, Msg, Principal, Remote, Protocol, Method, Route, Operation, Code, Transport string
	RequestID                                                                         string `json:"request_id"`
	KeyPrefix                                                                         string `json:"key_prefix"`
	Status                                                                            int
	Messages                                                                          int64
	BytesIn                                                                           int64   `json:"bytes_in"`
	BytesOut                                                                          int64   `json:"bytes_out"`
	Duration                                                                          float64 `json:"duration_ms"`
	Etcd                                                                              float64 `json:"etcd_ms"`
}

// accessLines waits until the log has n lines, and reads them.
func accessLines(t *testing.T, file string, n int) (all []accessLine) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("%d lines in the access log", n), func() bool {
		content, err := os.ReadFile(file)
		return err == nil && strings.Count(string(content), "\n") >= n
	})
	for _, text := range fileLines(t, file) {
		var line accessLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the line holds what is not printable: %q", text)
		}
		all = append(all, line)
	}
	if len(all) != n {
		t.Fatalf("got %d lines, want %d: %+v", len(all), n, all)
	}
	return all
}

func TestTheAccessLogHasALineForEachRequest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access")
	g := dev(t, "--access-log="+file)
	call(t, nil, http.MethodPut, g.api+"/v1/kv/app/name", `{"value":"`+secretValue+`"}`, "X-Request-Id", "mine")
	got := call(t, nil, http.MethodGet, g.api+"/v1/kv/app/name?ticket=TICKET", "")
	call(t, nil, http.MethodGet, g.api+"/v1/kv?prefix=app/", "")
	call(t, nil, http.MethodGet, g.api+"/v1/kv/whole-key", "")
	call(t, nil, http.MethodPost, g.api+"/v3/kv/range", `{"key":"YQ=="}`)
	call(t, nil, http.MethodGet, g.api+"/nowhere/at/all", "")
	lines := accessLines(t, file, 6)

	put := lines[0]
	if put.RequestID != "mine" || put.Method != http.MethodPut || put.Route != "/v1/kv/*" || put.Operation != "putKey" || put.Status != 201 ||
		put.KeyPrefix != "app/" || put.BytesIn != int64(len(secretValue)+12) || put.BytesOut == 0 || put.Duration <= 0 || put.Etcd <= 0 ||
		put.Etcd > put.Duration || put.Remote == "" || put.Protocol != "HTTP/1.1" || put.Msg != "request" || put.Time == "" {
		t.Errorf("a PUT: got %+v", put)
	}
	if l := lines[1]; l.Code != "unknown_parameter" || l.Status != 400 || l.BytesOut != int64(len(got.body)) {
		t.Errorf("a refused GET: got %+v", l)
	}
	if l := lines[2]; l.Operation != "listKeys" || l.KeyPrefix != "app/" || l.Etcd <= 0 {
		t.Errorf("a list: got %+v", l)
	}
	if l := lines[3]; l.KeyPrefix != "" || l.Code != "key_not_found" {
		t.Errorf("a key without parts: got %+v, want none of it", l)
	}
	if l := lines[4]; l.Operation != "v3" || l.Status != 200 || l.Etcd <= 0 {
		t.Errorf("a call of /v3: got %+v", l)
	}
	if l := lines[5]; l.Route != "" || l.Operation != "route_not_found" || l.Status != 404 {
		t.Errorf("a path that is nowhere: got %+v", l)
	}
	content := strings.Join(fileLines(t, file), "\n")
	for _, secret := range []string{secretValue, "TICKET", "whole-key", "nowhere"} {
		if strings.Contains(content, secret) {
			t.Errorf("the log holds %q: %s", secret, content)
		}
	}
}

func TestAStreamHasALineAtEachEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access")
	g := dev(t, "--access-log="+file)
	in := follow(t, g.api+"/v1/watch?prefix=app/&timeout=1", "X-Request-Id", "lines")
	for in.Scan() { // until its time is over
	}
	lines := accessLines(t, file, 2)
	if l := lines[0]; l.Msg != "stream" || l.Transport != "ndjson" || l.RequestID != "lines" || l.KeyPrefix != "app/" || l.Status != 200 {
		t.Errorf("the beginning: got %+v", l)
	}
	if l := lines[1]; l.Msg != "stream ended" || l.Messages < 2 || l.BytesOut == 0 || l.Duration < 900 {
		t.Errorf("the end: got %+v, want created and end counted", l)
	}

	socket := followSocket(t, g) // created
	put(t, g, "k", 5)            // one more line
	if _, _, err := socket.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	lines = accessLines(t, file, 5)
	if l := lines[2]; l.Msg != "stream" || l.Transport != "websocket" || l.Status != 101 {
		t.Errorf("the beginning of a socket: got %+v", l)
	}
	if l := lines[4]; l.Msg != "stream ended" || l.Transport != "websocket" || l.Messages != 2 || l.BytesOut == 0 {
		t.Errorf("the end of a socket: got %+v, want 2 messages", l)
	}

	v3, _, err := websocket.Dial(t.Context(), strings.Replace(g.api, "http", "ws", 1)+"/v3/watch", nil) //nolint:bodyclose // a socket has none
	if err != nil {
		t.Fatal(err)
	}
	if err := v3.Write(t.Context(), websocket.MessageText, []byte(`{"create_request":{"key":"aw=="}}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v3.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = v3.Close(websocket.StatusNormalClosure, "") // either side may be first
	lines = accessLines(t, file, 7)
	if l := lines[6]; l.Msg != "stream ended" || l.Transport != "websocket" || l.Operation != "v3" || l.Messages < 1 || l.Status != 101 {
		t.Errorf("a socket of /v3: got %+v", l)
	}
}

// TestNothingThatACallerSendsBreaksTheAccessLog is raw bytes on the socket: escapes, line breaks, separators, huge headers.
func TestNothingThatACallerSendsBreaksTheAccessLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access")
	g := dev(t, "--access-log="+file)
	paths := []string{
		"/v1/kv/a%0d%0aX-Injected:%20yes/b", "/v1/kv/%1b[31mred%1b[0m/b", "/v1/kv/%e2%80%a8sep%e2%80%a9/b", "/v1/kv/%c2%9b31m/b",
		"/v1/kv/%ff%fe/b", "/v1/kv/%22,%22status%22:999,%22x%22:%22/b", "/v1/kv/%e2%80%ae/evil/b", "/v1/kv/%7f%00/b", "/v1/kv/" + strings.Repeat("long", 2000) + "/b",
		"/v1/kv?prefix=%0a%1b/", "/v1/watch/poll?key=%0d%0a/&wait=0",
	}
	sent := 0
	send := func(request string) {
		c := dial(t, strings.TrimPrefix(g.api, "http://"))
		if _, err := c.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%.80q: %v", request, err)
		}
		_ = resp.Body.Close()
		if resp.Header.Get("X-Injected") != "" {
			t.Errorf("%.80q split the answer's headers", request)
		}
		if resp.Header.Get("X-Request-Id") != "" { // else it never came to be a request
			sent++
		}
	}
	for _, path := range paths {
		send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	}
	for _, header := range []string{
		"X-Request-Id: a\x1b[31m", "X-Request-Id: " + strings.Repeat("x", 4096), "X-Request-Id: \xe2\x80\xa8", "User-Agent: \x1b]0;title\x07",
		"X-Huge: " + strings.Repeat("h", 60<<10), "Traceparent: 00-\x1b", "X-Forwarded-For: \"}\x1b",
	} {
		send("GET /v1/kv/a/b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + header + "\r\n\r\n")
	}
	send(strings.Repeat("M", 3000) + " /v1/kv/a/b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if sent < len(paths) {
		t.Errorf("only %d requests came through", sent)
	}
	for _, l := range accessLines(t, file, sent) {
		if l.Status == 999 || len(l.KeyPrefix) > 160 || len(l.Method) > 20 || len(l.RequestID) > 128 {
			t.Errorf("got %+v", l)
		}
	}
	if got := accessLines(t, file, sent)[1].KeyPrefix; got != `\x1b[31mred\x1b[0m/` {
		t.Errorf("escapes in a key: got %q, want them spelled out", got)
	}
}

func TestThePrincipalIsInTheLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	access, audit := filepath.Join(dir, "access"), filepath.Join(dir, "audit")
	file := doorFile(t, dir, "  - when: {kind: jwt, name: alice}\n    grants: [{verbs: [read, write, watch], prefix: \"\"}]\n    namespace: tenants/a/\n")
	g := start(t, "dev", "--config="+file, "--access-log="+access, "--audit-log="+audit)
	alice := bearer(t, jwt.MapClaims{"sub": "alice"})
	ask(t, http.MethodPut, g.api+"/v1/kv/app/k", `{"value":"v"}`, alice)
	ask(t, http.MethodPut, g.api+"/v1/kv/app/k", `{"value":"v"}`, "")
	lines := accessLines(t, access, 2)
	if lines[0].Principal != "alice" || lines[0].KeyPrefix != "app/" || lines[1].Principal != "" || lines[1].Code != "unauthenticated" {
		t.Errorf("access log: got %+v", lines)
	}
	all := auditLines(t, audit)
	if len(all) == 3 && all[0].Principal == "" && all[0].Ops[0].Key == "\x00etcdrest/leases" { // the gateway's own, with the first caller
		all = all[1:]
	}
	if len(all) != 2 || all[0].Principal != "alice" || all[0].Ops[0].Key != "tenants/a/app/k" || all[1].Error != "unauthenticated" || all[1].Outcome != "not_applied" {
		t.Errorf("audit log: got %+v, want alice's write of etcd's own key, and that somebody was refused", all)
	}

	socket, _, err := websocket.Dial(t.Context(), g.api+"/v1/watch?key=app/k", &websocket.DialOptions{Subprotocols: []string{"etcdrest.v1"}}) //nolint:bodyclose // a socket has none
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"op":"auth","token":"`+strings.TrimPrefix(alice, "Bearer ")+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, m, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(m), "authenticated") {
		t.Fatalf("got %q, %v", m, err)
	}
	_ = socket.Close(websocket.StatusNormalClosure, "") // either side may be first
	lines = accessLines(t, access, 4)
	if lines[2].Principal != "" || lines[3].Principal != "alice" || lines[3].Msg != "stream ended" {
		t.Errorf("a socket that says who it is in its first message: got %+v, want alice at its end", lines[2:])
	}
}

func TestLogsAreOpenedAgainAtSIGHUP(t *testing.T) { //nolint:paralleltest // SIGHUP is for the whole process
	dir := t.TempDir()
	access, audit := filepath.Join(dir, "access"), filepath.Join(dir, "audit")
	g := dev(t, "--access-log="+access, "--audit-log="+audit)
	put(t, g, "before", 1)
	accessLines(t, access, 1)
	for _, file := range []string{access, audit} {
		if err := os.Rename(file, file+".1"); err != nil {
			t.Fatal(err)
		}
	}
	put(t, g, "between", 1) // into the files that were moved away
	accessLines(t, access+".1", 2)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.log.waitFor(t, "logs were opened again")
	put(t, g, "after", 1)
	accessLines(t, access, 1)
	if n := len(auditLines(t, audit)); n != 1 {
		t.Errorf("the new audit log has %d lines, want 1", n)
	}
	if n := len(auditLines(t, audit+".1")); n != 2 {
		t.Errorf("the former audit log has %d lines, want 2", n)
	}
}

// TestCallersMakeNoSeries is ten thousand requests for paths, methods, hosts and users that are never the same.
func TestCallersMakeNoSeries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := doorFile(t, dir, "  - when: {kind: jwt}\n    namespace: tenants/{name}/\n    grants: [{verbs: [read, write], prefix: \"\"}]\n")
	g := start(t, "dev", "--config="+file, "--access-log="+filepath.Join(dir, "access"), "--audit-log="+filepath.Join(dir, "audit"))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	series := func() int {
		return len(regexp.MustCompile(`(?m)^[a-z]`).FindAllString(get200(t, g.admin+"/metrics"), -1))
	}
	letters := func(n int) string { // a method has no digits
		return "M" + strings.NewReplacer("0", "A", "1", "B", "2", "C", "3", "D", "4", "E", "5", "F", "6", "G", "7", "H", "8", "I", "9", "J").Replace(strconv.Itoa(n))
	}
	visit := func(from, to int) {
		for n := from; n < to; n++ {
			name := strconv.Itoa(n)
			who := bearer(t, jwt.MapClaims{"sub": "user" + name})
			switch n % 5 {
			case 0:
				call(t, client, http.MethodPut, g.api+"/v1/kv/"+name+"/k", `{"value":"v"}`, "Authorization", who)
			case 1:
				call(t, client, letters(n), g.api+"/v1/kv/"+name, "", "Authorization", who)
			case 2:
				call(t, client, http.MethodGet, g.api+"/none/"+name, "", "Authorization", who)
			case 3:
				call(t, client, http.MethodGet, g.api+"/v1/kv/"+name, "", "Host", "h"+name+".example")
			case 4:
				call(t, client, http.MethodPost, g.api+"/v3/"+name, "{}", "Authorization", who)
			}
		}
	}
	visit(0, 10)
	before := series()
	visit(10, 10_010)
	if after := series(); after > before+50 {
		t.Errorf("series: got %d after ten thousand requests, want at most 50 more than %d", after, before)
	} else {
		t.Logf("series: %d before, %d after", before, after)
	}
}
