package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// shake sends the handshake of a WebSocket and gives its status; the socket is closed at once.
func (g *gateway) shake(t *testing.T, path string, headers ...string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range append([]string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, headers...) {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// TestOriginsOfHandshakes (scorecard E15, E16): what a page may do is decided before the upgrade, whoever calls, and a cookie
// makes nobody known.
func TestOriginsOfHandshakes(t *testing.T) {
	t.Parallel()
	g := startTicketed(t, embedetcd.StartForTest(t), etcdclient.Config{}, "https://good.example", "https://good.example:8443")
	host := strings.TrimPrefix(g.url, "http://")
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{nil, 101},
		{[]string{"Origin: " + g.url}, 101},
		{[]string{"Origin: " + strings.ToUpper(g.url)}, 101},
		{[]string{"Origin: https://" + host}, 101}, // TLS may end before the gateway
		{[]string{"Origin: https://good.example"}, 101},
		{[]string{"Origin: HTTPS://Good.Example"}, 101},
		{[]string{"Origin: https://good.example:8443"}, 101},
		{[]string{"Origin: https://good.example", "Sec-Fetch-Site: cross-site"}, 101},
		{[]string{"Origin: null"}, 403},
		{[]string{"Origin: "}, 101},
		{[]string{"Origin: https://evil.example"}, 403},
		{[]string{"Origin: https://good.example.evil.com"}, 403},
		{[]string{"Origin: https://evilgood.example"}, 403},
		{[]string{"Origin: http://good.example"}, 403},
		{[]string{"Origin: https://good.example:444"}, 403},
		{[]string{"Origin: https://good.example/"}, 403},
		{[]string{"Origin: http://user@" + host}, 403},
		{[]string{"Origin: http://" + host + "/"}, 403},
		{[]string{"Origin: http://" + host + ".evil.com"}, 403},
		{[]string{"Origin: " + g.url, "Origin: https://evil.example"}, 403},
		{[]string{"Origin: https://evil.example", "Cookie: session=x"}, 403},
		{[]string{"Sec-Fetch-Site: cross-site"}, 403},
		{[]string{"Sec-Fetch-Site: same-site"}, 403},
		{[]string{"Sec-Fetch-Site: nonsense"}, 403},
		{[]string{"Host: evil.test", "Origin: http://evil.test"}, 421},
		{[]string{"Host: evil.test", "Origin: https://good.example"}, 421},
		{[]string{"Host: localhost.evil.test"}, 421},
	} {
		for _, path := range []string{"/v1/watch", "/v1/watch?key=k"} {
			headers := append([]string{"Sec-WebSocket-Protocol: etcdrest.v1", "Authorization: Bearer a"}, c.headers...)
			if got := g.shake(t, path, headers...); got != c.want {
				t.Errorf("%s with %q: %d, want %d", path, c.headers, got, c.want)
			}
		}
	}
	if got := g.shake(t, "/v1/watch?key=k", "Cookie: Authorization=Bearer%20a"); got != 401 {
		t.Errorf("a cookie: %d, want 401", got)
	}
}

// TestCORS (E20): exact origins, on errors and streams too; no credentials, no *; Vary always; preflights before
// authentication.
func TestCORS(t *testing.T) {
	t.Parallel()
	const good = "https://good.example"
	g := startTicketed(t, embedetcd.StartForTest(t), etcdclient.Config{}, good)
	check := func(what string, h http.Header, origin string) {
		t.Helper()
		if got := h["Access-Control-Allow-Origin"]; origin == "" && got != nil || origin != "" && !slices.Equal(got, []string{origin}) {
			t.Errorf("%s: Access-Control-Allow-Origin is %q, want %q", what, got, origin)
		}
		if h["Access-Control-Allow-Credentials"] != nil {
			t.Errorf("%s: credentials are allowed", what)
		}
		if !slices.Contains(h["Vary"], "Origin") {
			t.Errorf("%s: Vary is %q", what, h["Vary"])
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
		headers      []string
	}{
		{"GET", "/v1/kv/k", 404, []string{as("a")}},
		{"GET", "/v1/kv/k", 401, nil},
		{"GET", "/v1/kv/k?nonsense=1", 400, []string{as("a")}},
		{"GET", "/v1/cluster", 403, []string{as("a")}},
		{"POST", "/v1/kv/k", 405, []string{as("a")}},
		{"GET", "/v1/nothing", 404, []string{as("a")}},
		{"GET", "/v1/watch?key=k&timeout=1", 200, []string{as("a")}},
		{"GET", "/v1/watch?key=k&timeout=1", 200, []string{as("a"), "Accept: text/event-stream"}},
		{"GET", "/v1/watch?key=k", 401, []string{"Accept: text/event-stream"}},
		{"GET", "/livez", 200, nil},
	} {
		what := c.method + " " + c.path
		check(what, g.do(t, c.method, c.path, "", append(c.headers, "Origin: "+good, "Sec-Fetch-Site: cross-site")...).want(t, c.status).header, good)
		check(what, g.do(t, c.method, c.path, "", c.headers...).header, "")
		for _, evil := range []string{"null", "https://evil.example", good + ".evil.com"} {
			check(what+" of "+evil, g.do(t, c.method, c.path, "", append(c.headers, "Origin: "+evil)...).header, "")
		}
	}
	check("a foreign Host", g.do(t, "GET", "/v1/kv/k", "", "Host: evil.test").header, "")
	check("huge headers", g.do(t, "GET", "/v1/kv/k", "", "X-Large: "+strings.Repeat("x", 97<<10)).header, "")

	preflight := g.do(t, "OPTIONS", "/v1/kv/k", "", "Origin: "+good, "Access-Control-Request-Method: TRACE", "Access-Control-Request-Headers: x-evil").want(t, 204).header
	check("a preflight", preflight, good)
	for header, not := range map[string]string{"Access-Control-Allow-Methods": "TRACE", "Access-Control-Allow-Headers": "x-evil"} {
		if got := preflight.Get(header); got == "" || strings.Contains(strings.ToLower(got), strings.ToLower(not)) || strings.Contains(got, "*") {
			t.Errorf("%s is %q", header, got)
		}
	}
	if preflight.Get("Access-Control-Max-Age") == "" || !strings.Contains(preflight.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("the preflight is answered %v", preflight)
	}
	refused := g.do(t, "OPTIONS", "/v1/kv/k", "", "Origin: https://evil.example", "Access-Control-Request-Method: PUT")
	refused.problem(t, 403, "cross_site")
	check("a foreign preflight", refused.header, "")
}
