package attack_test

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

// TestTokensInOtherPlacesOpenNothing: a good token counts in the one header that is for it, and in the subprotocols of a WebSocket.
// Elsewhere it would be sent by a browser for another's page, or written into logs.
func TestTokensInOtherPlacesOpenNothing(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	token := s.issuer.token(op, nil)
	basic := base64.StdEncoding.EncodeToString([]byte("op:" + token))
	for _, row := range [][]string{
		{"GET", "/v1/kv/k?token=" + token},
		{"GET", "/v1/kv/k?access_token=" + token},
		{"GET", "/v1/kv/k?authorization=Bearer%20" + token},
		{"GET", "/v1/kv/k?ticket=" + token},
		{"GET", "/v1/watch?prefix=k&ticket=" + token},
		{"GET", "/v1/kv/k", "Sec-WebSocket-Protocol: etcdrest.v1, bearer." + raw64(token)},
		{"GET", "/v1/watch?prefix=k&wait=0", "Sec-WebSocket-Protocol: etcdrest.v1, bearer." + raw64(token)},
		{"POST", "/v3/kv/range", "Sec-WebSocket-Protocol: Bearer, " + token},
		{"POST", "/v3/kv/range", "Sec-WebSocket-Protocol: Bearer, " + token, "Upgrade: websocket", "Connection: Upgrade"},
		{"GET", "/v3/kv/range", "Sec-WebSocket-Protocol: Bearer, " + token},
		{"POST", "/v3/kv/range?token=" + token},
		{"POST", "/v3/kv/range", "Cookie: Authorization=Bearer " + token},
		{"POST", "/v3/kv/range", "Cookie: token=" + token},
		{"GET", "/v1/kv/k", "Proxy-Authorization: Bearer " + token},
		{"GET", "/v1/kv/k", "X-Authorization: Bearer " + token},
		{"GET", "/v1/kv/k", "X-Auth-Token: " + token},
		{"GET", "/v1/kv/k", "Authorization: Basic " + basic},
		{"GET", "/v1/kv/k", "Authorization: Bearer  " + token + " x"},
		{"GET", "/v1/kv/k", "Authorization: Bearer," + token},
		{"GET", "/v1/kv/k", "Authorization: Bearer\t" + token[:20]},
	} {
		body := ""
		if row[0] == "POST" {
			body = `{"key":"aw=="}`
		}
		a := ask(t, s.gateway.API, row[0], row[1], body, row[2:]...)
		if a.status != 401 {
			t.Errorf("%.90q: got %d %.300s; want 401", row, a.status, a.body)
		}
	}
}

// TestBodiesWithoutEndAreCut is G8: what never ends, or says that it is larger than anything can be, is refused before it is taken in.
func TestBodiesWithoutEndAreCut(t *testing.T) { //nolint:paralleltest // it measures memory
	s := startSite(t)
	auth := "Authorization: Bearer " + s.issuer.token(op, nil)
	before := s.resident(t)
	piece := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
	for _, row := range []struct {
		line, kind string
		begin      string
	}{
		{"PUT /v1/raw/endless", "application/octet-stream", ""},
		{"PUT /v1/kv/endless", "application/json", `{"value":"`},
		{"POST /v1/txn", "application/json", `{"then":[`},
		{"POST /v1/import", "application/x-ndjson", `{"type":"kv","key":"k","value":"`},
		{"POST /v3/kv/put", "application/json", `{"key":"`},
		{"POST /v3/watch", "application/json", `{"create_request":{"key":"`},
		{"PATCH /v1/kv/endless", "application/merge-patch+json", `{"a":"`},
		{"POST /nowhere", "application/json", ""},
	} {
		head := row.line + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + row.kind + "\r\n" + auth + "\r\n"
		begin := ""
		if row.begin != "" {
			begin = strconv.FormatInt(int64(len(row.begin)), 16) + "\r\n" + row.begin + "\r\n"
		}
		got := exchange(t, s, head+"Transfer-Encoding: chunked\r\n\r\n"+begin+strings.Repeat(piece, 1024)) // 64 MiB
		if got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.Contains(got, "request_too_large") {
			t.Errorf("%s: got %.200q; want 413, or the end", row.line, got)
		}
		if strings.Contains(row.line, "import") { // which may be as long as it likes, line by line
			continue
		}
		for _, length := range []string{"2147483648", "9223372036854775807"} {
			if got := exchange(t, s, head+"Content-Length: "+length+"\r\n\r\n"+row.begin+piece); got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.Contains(got, "request_too_large") {
				t.Errorf("%s with Content-Length %s: got %.200q; want 413, or the end", row.line, length, got)
			}
		}
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip", "x"} {
		s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"1"}`, "Content-Encoding: "+coding).want(t, coding, 415)
	}
	if grown := s.resident(t) - before; grown > 128<<20 {
		t.Errorf("the gateway has grown by %d MiB", grown>>20)
	} else {
		t.Logf("the gateway has grown by %d MiB", grown>>20)
	}
}
