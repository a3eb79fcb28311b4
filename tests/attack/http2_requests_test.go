package attack_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/etcdrest/etcdrest/tests/frames"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestRequestsOfHTTP2AreReadStrictly: what HTTP/1.1 cannot say, or says in another place, opens nothing: each of these would read a key
// of the operator's, or be let in, if it were taken for what it looks like.
func TestRequestsOfHTTP2AreReadStrictly(t *testing.T) {
	t.Parallel()
	cert, key := harness.Certificate(t)
	s := startSite(t, "--tls-cert="+cert, "--tls-key="+key)
	s.as(op).do(t, "PUT", "/v1/kv/k", `{"value":"`+secretValue+`"}`).want(t, "put", 201)
	auth := "authorization: Bearer " + s.issuer.token(op, nil)
	host := strings.TrimPrefix(s.gateway.API, "https://")
	request := func(path string, more ...string) []string {
		return append([]string{":method: GET", ":scheme: https", ":authority: " + host, ":path: " + path}, more...)
	}
	const reset = "reset PROTOCOL_ERROR"
	for name, row := range map[string]struct {
		headers []string
		want    string
	}{
		"as it should be":              {request("/v1/kv/k", auth), "200"},
		"Host instead of :authority":   {[]string{":method: GET", ":scheme: https", ":path: /v1/kv/k", "host: " + host, auth}, "200"},
		"nobody":                       {request("/v1/kv/k"), "401"},
		"credentials twice":            {request("/v1/kv/k", auth, auth), "401"},
		"credentials as a pseudo-name": {request("/v1/kv/k", ":"+auth), reset},
		"credentials in capitals":      {request("/v1/kv/k", "A"+auth[1:]), reset},
		"no authority":                 {[]string{":method: GET", ":scheme: https", ":path: /v1/kv/k", auth}, "421"},
		"another Host":                 {[]string{":method: GET", ":scheme: https", ":path: /v1/kv/k", "host: evil.example", auth}, "421"},
		"another authority":            {[]string{":method: GET", ":scheme: https", ":authority: evil.example", ":path: /v1/kv/k", "host: " + host, auth}, "421"},
		"a user in the authority":      {[]string{":method: GET", ":scheme: https", ":authority: evil@" + host, ":path: /v1/kv/k", auth}, reset},
		"a path without its slash":     {request("v1/kv/k", auth), reset},
		"two slashes":                  {request("//v1/kv/k", auth), "404"},
		"no path":                      {request("", auth), reset},
		"all paths":                    {request("*", auth), "404"},
		"a version behind the path":    {request("/v1/kv/k HTTP/1.1", auth), "404"},
		"two paths":                    {request("/v1/kv/k", ":path: /v1/kv/x", auth), reset},
		"two methods":                  {request("/v1/kv/k", ":method: PUT", auth), reset},
		"a status":                     {request("/v1/kv/k", ":status: 200", auth), reset},
		"a late pseudo-header":         {append([]string{auth}, request("/v1/kv/k")...), reset},
		"a tunnel":                     {[]string{":method: CONNECT", ":authority: " + host, auth}, "405"},
		"a tunnel of WebSockets":       {[]string{":method: CONNECT", ":scheme: https", ":authority: " + host, ":path: /v1/watch", ":protocol: websocket", auth}, reset},
		"an upgrade":                   {request("/v1/watch?key=k", auth, "connection: upgrade", "upgrade: websocket"), "400"},
		"chunks":                       {request("/v1/kv/k", auth, "transfer-encoding: chunked"), "400"},
		"te":                           {request("/v1/kv/k", auth, "te: chunked"), "400"},
		"a line break in a value":      {request("/v1/kv/k", "x: a\r\n"+auth), reset},
		"a line break in a name":       {request("/v1/kv/k", "x\r\n"+auth), reset},
		"NUL in a value":               {request("/v1/kv/k", auth, "x: a\x00b"), reset},
	} {
		if got := askHTTP2(t, s, row.headers); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: got %s; want %s", name, got, row.want)
		}
	}
}

// TestTrailersAreNoHeaders: what comes behind a body is not what the request was let in by.
func TestTrailersAreNoHeaders(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	auth := "Authorization: Bearer " + s.issuer.token(op, nil)
	chunked := "PUT /v1/raw/k HTTP/1.1\r\nHost: localhost\r\n%sTransfer-Encoding: chunked\r\nTrailer: Authorization, If-None-Match\r\n\r\n1\r\nx\r\n0\r\n%s\r\n"
	if got := exchange(t, s, fmt.Sprintf(chunked, "", auth+"\r\n")); !strings.HasPrefix(got, "HTTP/1.1 40") {
		t.Errorf("credentials behind the body: got %q", got)
	}
	s.as(op).do(t, "GET", "/v1/kv/k", "").want(t, "a key that nobody put", 404)
	good := fmt.Sprintf(chunked, auth+"\r\n", "If-None-Match: *\r\nContent-Length: 99\r\n")
	exchange(t, s, good)
	if got := exchange(t, s, good); !strings.HasPrefix(got, "HTTP/1.1 200") { // there is a key by now
		t.Errorf("a condition behind the body: got %q; want that it is none", got)
	}
}

// askHTTP2 sends headers as they are and gives the status with the body, or how the stream or the connection was ended.
func askHTTP2(t *testing.T, s *site, headers []string) string {
	t.Helper()
	p, err := frames.Dial(t.Context(), s.gateway.API)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Conn.Close()
	_ = p.Conn.SetDeadline(time.Now().Add(20 * time.Second)) // fails only on a closed connection
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	id, err := p.OpenWith(p.Encode(headers), true)
	if err != nil {
		t.Fatal(err)
	}
	status, body := "", ""
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return status + "closed " + err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
		case *http2.DataFrame:
			body += string(f.Data())
		case *http2.RSTStreamFrame:
			return status + "reset " + f.ErrCode.String()
		case *http2.GoAwayFrame:
			return status + "goaway " + f.ErrCode.String()
		}
		if f.Header().StreamID == id && f.Header().Flags.Has(http2.FlagDataEndStream) {
			return status + " " + body
		}
	}
}
