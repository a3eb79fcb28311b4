package attack_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

const listed = "https://app.example"

// TestPagesOfOthersAreRefused is E15, E16 and E20: Origin and Host as a browser would send them for a hostile page, on plain
// requests, preflights and the handshakes of streams.
func TestPagesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	s := startSite(t, "--allowed-origins", listed, "--allowed-hosts", "etcd.example")
	host := strings.TrimPrefix(s.gateway.API, "http://")
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	token := "Authorization: Bearer " + s.issuer.token(op, nil)
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	socket := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	for _, row := range []struct {
		host, origin string
		status       int
	}{
		{host, "", 200},
		{host, "http://" + host, 200},
		{host, listed, 200},
		{host, strings.ToUpper(listed), 200},
		{"etcd.example", "", 200},
		{"ETCD.example.", "http://ETCD.example.", 200},
		{"etcd.example:" + port, "http://etcd.example:" + port, 200},
		{"localhost:" + port, "http://localhost:" + port, 200},
		{"[::1]:" + port, "", 200},

		{host, "null", 403},
		{host, "https://evil.example", 403},
		{host, "https://app.example.evil.example", 403},
		{host, "https://evilapp.example", 403},
		{host, "http://app.example", 403},
		{host, "https://app.example:444", 403},
		{host, "https://app.example/", 403},
		{host, "https://app.example@evil.example", 403},
		{host, "https://evil.example/https://app.example", 403},
		{host, "http://127.0.0.1:1", 403},
		{host, "http://localhost:" + port, 403},
		{host, "file://", 403},
		{host, "chrome-extension://abcdef", 403},
		{host, "https://app.example, https://evil.example", 403},
		{host, "*", 403},

		{"evil.example", "http://evil.example", 421},
		{"evil.example:" + port, "http://evil.example:" + port, 421},
		{"evil.example", "", 421},
		{"127.0.0.1.evil.example", "http://127.0.0.1.evil.example", 421},
		{"etcd.example.evil.example", "", 421},
		{"evil-etcd.example", "", 421},
		{"localhost.evil.example", "", 421},
		{"0x7f.1", "http://0x7f.1", 421},
		{"2130706433", "http://2130706433", 421},
	} {
		for _, kind := range []struct {
			name, method, path string
			headers            []string
		}{
			{"a read", "GET", "/v1/kv/k", []string{token}},
			{"a write", "PUT", "/v1/kv/k", []string{token}},
			{"a write without credentials", "PUT", "/v1/kv/k", nil},
			{"a WebSocket", "GET", "/v1/watch?prefix=k", socket},
			{"a WebSocket with a cookie", "GET", "/v1/watch?prefix=k", append([]string{"Cookie: session=1"}, socket...)},
			{"server-sent events", "GET", "/v1/watch?prefix=k", []string{"Accept: text/event-stream"}},
			{"etcd's own API", "POST", "/v3/kv/range", []string{token}},
			{"a preflight", "OPTIONS", "/v1/kv/k", []string{"Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"}},
		} {
			headers := append(slices.Clone(kind.headers), "Host: "+row.host)
			if row.origin != "" {
				headers = append(headers, "Origin: "+row.origin)
			}
			body := map[string]string{"PUT": `{"value":"1"}`, "POST": `{"key":"aw=="}`}[kind.method]
			a := ask(t, s.gateway.API, kind.method, kind.path, body, headers...)
			what := fmt.Sprintf("%s, Host %s, Origin %s", kind.name, row.host, row.origin)
			judge(t, what, row.origin, row.status, kind.method == "OPTIONS", slices.Contains(kind.headers, token), a)
		}
	}
}

// judge holds an answer against what the Host and the Origin of its request allow.
func judge(t *testing.T, what, origin string, status int, preflight, known bool, a answer) {
	t.Helper()
	refused := a.status == 403 || a.status == 421
	switch {
	case status == 421 && preflight: // it says nothing that the page could read, whatever its status
	case status != 200 && a.status != status:
		t.Errorf("%s: got %d %s; want %d", what, a.status, a.body, status)
	case status == 200 && (refused || known && a.status != 200 && !preflight):
		t.Errorf("%s: got %d %s", what, a.status, a.body)
	}
	allowed := a.header.Get("Access-Control-Allow-Origin")
	wanted := ""
	if strings.EqualFold(origin, listed) {
		wanted = origin
	}
	if allowed != wanted {
		t.Errorf("%s: Access-Control-Allow-Origin is %q; want %q", what, allowed, wanted)
	}
	if a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s: credentials are allowed: %v", what, a.header)
	}
	if status != 421 && !slices.Contains(a.header.Values("Vary"), "Origin") {
		t.Errorf("%s: no Vary: Origin in %v", what, a.header)
	}
}

// TestFetchMetadataDecidesWhereThereIsNoOrigin: a GET by another site's page has no Origin, but says where it comes from.
func TestFetchMetadataDecidesWhereThereIsNoOrigin(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	for site, status := range map[string]int{"": 200, "same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403, "nonsense": 403} {
		s.as(op).do(t, "GET", "/v1/kv", "", "Sec-Fetch-Site: "+site).want(t, "Sec-Fetch-Site: "+site, status)
	}
	a := ask(t, s.gateway.API, "GET", "/v1/kv", "", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")
	if a.status != 401 || strings.Contains(a.header.Get("WWW-Authenticate"), "Basic") {
		t.Errorf("a script without credentials: got %d %v; want 401 that asks no password of the user", a.status, a.header)
	}
}
