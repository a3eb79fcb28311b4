package attack_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// nasty are bytes that break lines, colours and parsers.
//
//nolint:gochecknoglobals // a constant table
var nasty = []string{
	"%0d%0aSet-Cookie:%20evil=1", "%0aINFO%20forged", "%00", "%1b[31mred", "%1b]0;title%07", "%e2%80%a8forged", "%e2%80%a9", "%c2%85", "%7f", "%ef%bb%bf", "%e2%80%ae", "%ff%fe",
	"${jndi:ldap://127.0.0.1/x}", "%22%7d%7b%22msg%22:%22forged%22", "%3cscript%3e", "{{7*7}}", "%25s%25n", strings.Repeat("a", 4000),
}

// TestNothingThatIsSentBreaksLogsOrAnswers is E19: bytes that break lines, in paths, queries, headers and bodies, as they
// come over the wire. Each line of the log stays one JSON object without control characters, and holds no token and no value.
func TestNothingThatIsSentBreaksLogsOrAnswers(t *testing.T) {
	t.Parallel()
	access, audit := filepath.Join(t.TempDir(), "access.log"), filepath.Join(t.TempDir(), "audit.log")
	s := startSite(t, "--log-level", "debug", "--access-log", access, "--audit-log", audit)
	token := s.issuer.token(op, nil)
	bad := forge("ES256", s.issuer.attacker, `{"alg":"ES256","kid":"`+"k\u2028\u001b[31m"+`"}`, toJSON(claimsOf("forged\u2028", nil)))
	sent := 0
	for _, text := range nasty {
		plain := decoded(text)
		for _, authorization := range []string{"Bearer " + token, "Bearer " + bad, "Basic " + plain, plain} {
			for _, lines := range [][]string{
				{"GET /v1/kv/" + text + " HTTP/1.1"},
				{"GET /" + text + " HTTP/1.1"},
				{"GET /v1/kv?" + text + "=" + text + "&token=" + token + " HTTP/1.1"},
				{"GET /v3/" + text + " HTTP/1.1"},
				{"PUT /v1/kv/" + text + "?ttl=" + text + " HTTP/1.1"},
				{"GET /v1/kv/k HTTP/1.1", "X-Request-Id: " + plain, "Origin: " + plain, "Accept: " + plain, "If-Match: " + plain, "Idempotency-Key: " + plain},
				{"GET /v1/kv/k HTTP/1.1", "X-Forwarded-For: " + plain, "User-Agent: " + plain, "Referer: " + plain, "Traceparent: " + plain, "Last-Event-ID: " + plain},
				{"GET /v1/watch?prefix=k HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + plain, "Sec-WebSocket-Protocol: bearer." + token + plain},
				{"GET /v1/kv/k HTTP/1.1", "Host: " + plain},
			} {
				head := append(slices.Clone(lines), "Authorization: "+authorization, "Content-Length: 0", "Connection: close")
				if !strings.Contains(strings.Join(lines, "\n"), "Host: ") {
					head = append(head, "Host: localhost")
				}
				checkAnswer(t, text, raw(t, s, strings.Join(head, "\r\n")+"\r\n\r\n"))
				sent++
			}
		}
	}
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"`+secretValue+`"}`).want(t, "put", 201)
	s.as(op).do(t, "POST", "/v1/users", `{"name":"u","password":"`+secretValue+`"}`).want(t, "user", 201)
	s.as(op).do(t, "POST", "/v1/auth/login", `{"name":"u","password":"`+secretValue+`"}`)
	if err := s.gateway.Stop(); err != nil { // so that the log is whole
		t.Fatal(err)
	}
	signature := token[strings.LastIndexByte(token, '.')+1:]
	hidden := []string{signature, bad[strings.LastIndexByte(bad, '.')+1:], "eyJ", secretValue}
	checkLog(t, s.gateway.Output(), hidden)
	// What net/http itself refuses is no request.
	if n := checkLog(t, content(t, access), hidden); n < sent/2 {
		t.Errorf("the access log has %d lines about %d requests", n, sent)
	}
	if n := checkLog(t, content(t, audit), hidden); n < 3 {
		t.Errorf("the audit log has %d lines; want one for each write", n)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decoded is the text without percent signs, as a header would hold it. A line break would end the header, and the rest be
// another header of the caller's own; that is his to send.
func decoded(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		var c byte
		if n, _ := fmt.Sscanf(text[i:], "%%%02x", &c); n == 1 {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// raw sends bytes and reads one answer; nil when the server only hangs up.
func raw(t *testing.T, s *site, request string) *answer {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.gateway.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		return nil
	}
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil
	}
	defer got.Body.Close()
	if got.StatusCode == http.StatusSwitchingProtocols {
		t.Errorf("%q: the connection was upgraded", request)
		return nil
	}
	body, _ := io.ReadAll(got.Body)
	return &answer{status: got.StatusCode, header: got.Header, body: string(body)}
}

func checkAnswer(t *testing.T, text string, a *answer) {
	t.Helper()
	if a == nil {
		return
	}
	if a.status >= 500 && a.status != 501 {
		t.Errorf("%q: got %d %s", text, a.status, a.body)
	}
	for name, values := range a.header {
		if name == "Set-Cookie" || strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl) {
			t.Errorf("%q: the answer has the header %s: %q", text, name, values)
		}
	}
	if kind := a.header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") && strings.Contains(a.body, "<script>") {
		t.Errorf("%q: the answer is a page that holds it", text)
	}
	if strings.Contains(a.header.Get("Content-Type"), "json") && strings.ContainsFunc(strings.TrimRight(a.body, "\n"), unbound) {
		t.Errorf("%q: the answer's body has bytes that a line could break at: %q", text, a.body)
	}
}

// unbound are characters that must not stand in JSON as they are.
func unbound(r rune) bool { return r < ' ' && r != '\n' }

// checkLog demands a JSON object in each line, and of each nothing that lines or terminals break at, and counts them.
func checkLog(t *testing.T, log string, hidden []string) (entries int) {
	t.Helper()
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "API ") || strings.HasPrefix(line, "admin ") {
			continue // the words of welcome
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["time"] == nil {
			t.Errorf("a line of a log is no entry: %q", line)
			continue
		}
		entries++
		if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
			t.Errorf("a line of a log holds what breaks lines or terminals: %q", line)
		}
		if entry["msg"] == "forged" || entry["msg"] == "panic in a handler" {
			t.Errorf("the log says %s", line)
		}
	}
	for _, text := range hidden {
		if at := strings.Index(log, text); at >= 0 {
			t.Errorf("a log holds %q: %q", text, log[max(0, at-200):min(len(log), at+200)])
		}
	}
	return entries
}
