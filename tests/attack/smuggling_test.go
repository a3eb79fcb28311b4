package attack_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// ambiguous are requests of which a proxy in front could think that they end elsewhere. In each, SMUGGLED stands for a second
// request, which is a body, or a part of something else, for whoever reads as the proxy does.
//
//nolint:gochecknoglobals // a constant table
var ambiguous = map[string]string{
	"length and chunks":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunks and length":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED",
	"two lengths":                   "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 0\r\nContent-Length: 200\r\n\r\nSMUGGLED",
	"a list of lengths":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 0, 200\r\n\r\nSMUGGLED",
	"a length with a plus":          "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: +0\r\n\r\nSMUGGLED",
	"a negative length":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: -1\r\n\r\nSMUGGLED",
	"a length in hexadecimal":       "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 0x0\r\n\r\nSMUGGLED",
	"a length with a blank":         "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 0 0\r\n\r\nSMUGGLED",
	"a length that is empty":        "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: \r\n\r\nSMUGGLED",
	"a length of 2^64":              "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length: 18446744073709551616\r\n\r\nSMUGGLED",
	"a name with a blank":           "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nContent-Length : 200\r\n\r\nSMUGGLED",
	"a name with a tab":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"a line that is folded":         "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\nSMUGGLED",
	"another coding":                "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: gzip\r\n\r\nSMUGGLED",
	"codings in a row":              "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunked and identity":          "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunked twice":                 "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunked with a letter before":  "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunked behind a control byte": "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunked in quotes":             "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nSMUGGLED",
	"chunks in HTTP/1.0":            "PUT /v1/raw/a HTTP/1.0\r\nHost: localhost\r\nAUTH\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED",
	"a chunk's size with a sign":    "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\nSMUGGLED",
	"a chunk's size with 0x":        "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\nSMUGGLED",
	"a chunk's size that overflows": "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\nSMUGGLED",
	"a chunk's size with a blank":   "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n0 0\r\n\r\nSMUGGLED",
	"a chunk without its end":       "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxSMUGGLED",
	"bare line feeds around chunks": "PUT /v1/raw/a HTTP/1.1\r\nHost: localhost\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\nSMUGGLED",
	"two hosts":                     "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nAUTH\r\n\r\nSMUGGLED",
	"no host":                       "GET /v1/kv/a HTTP/1.1\r\nAUTH\r\n\r\nSMUGGLED",
	"a host with a path":            "GET /v1/kv/a HTTP/1.1\r\nHost: localhost/evil\r\nAUTH\r\n\r\nSMUGGLED",
	"NUL in a header":               "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\nAUTH\r\n\r\nSMUGGLED",
	"CR in a header":                "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\rAUTH\r\n\r\nSMUGGLED",
	"a header without a colon":      "GET /livez HTTP/1.1\r\nHost: localhost\r\nnothing\r\nAUTH\r\n\r\nSMUGGLED",
	"a header without a name":       "GET /livez HTTP/1.1\r\nHost: localhost\r\n: x\r\nAUTH\r\n\r\nSMUGGLED",
	"a blank before the headers":    "GET /livez HTTP/1.1\r\n Host: localhost\r\nAUTH\r\n\r\nSMUGGLED",
	"version 2.0 in text":           "GET /livez HTTP/2.0\r\nHost: localhost\r\nAUTH\r\n\r\nSMUGGLED",
	"version 1.10":                  "GET /livez HTTP/1.10\r\nHost: localhost\r\nAUTH\r\n\r\nSMUGGLED",
	"no version":                    "GET /livez\r\nHost: localhost\r\nAUTH\r\n\r\nSMUGGLED",
	"two blanks in the first line":  "GET  /livez HTTP/1.1\r\nHost: localhost\r\nAUTH\r\n\r\nSMUGGLED",
	"a method with a colon":         "GE:T /livez HTTP/1.1\r\nHost: localhost\r\nAUTH\r\n\r\nSMUGGLED",
}

// TestNothingIsSmuggledPastAProxy is G6: what two readers could take for different requests has one answer at most, mostly a
// refusal, and the connection is closed, so that what comes behind is no request.
func TestNothingIsSmuggledPastAProxy(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	auth := "Authorization: Bearer " + s.issuer.token(op, nil)
	smuggled := "PUT /v1/raw/smuggled HTTP/1.1\r\nHost: localhost\r\n" + auth + "\r\nContent-Length: 1\r\n\r\nx"
	text := func(request string) string {
		return strings.NewReplacer("AUTH", auth, "SMUGGLED", smuggled).Replace(request)
	}
	for name, request := range ambiguous {
		if got := exchange(t, s, text(request)); strings.Count(got, "HTTP/1.") > 1 {
			t.Errorf("%s: got %q; want one answer at most, and the end", name, got)
		}
	}
	s.as(op).do(t, "GET", "/v1/kv/smuggled", "").want(t, "what was smuggled", 404)

	// The same second request behind a good one is a request: the test would see it.
	if got := exchange(t, s, text("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"+strings.Replace(smuggled, "Content-Length", "Connection: close\r\nContent-Length", 1))); strings.Count(got, "HTTP/1.1 ") != 2 {
		t.Errorf("two requests in a row: got %q", got)
	}
	s.as(op).do(t, "GET", "/v1/kv/smuggled", "").want(t, "what was not smuggled", 200)
}

// exchange sends bytes, and gives all that comes back until the connection is closed.
func exchange(t *testing.T, s *site, request string) string {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.gateway.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, request) // it may be closed before the end
	var got bytes.Buffer
	_, err = io.Copy(&got, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.80q: the connection stays open after %q", request, got.String())
	}
	return got.String()
}
