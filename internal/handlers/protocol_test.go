package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestMethodsComeFromTheRoutingTable(t *testing.T) {
	t.Parallel()
	g := start(t)
	for path, allow := range map[string]string{
		"/v1/kv/a/b": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
		"/v1/raw/a":  "DELETE, GET, HEAD, OPTIONS, PUT",
		"/v1/kv":     "DELETE, GET, HEAD, OPTIONS",
		"/v1/txn":    "OPTIONS, POST",
		"/version":   "GET, HEAD, OPTIONS",
	} {
		a := g.do(t, "TRACE", path, "")
		a.problem(t, 405, "method_not_allowed")
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", path, got, allow)
		}
		o := g.do(t, "OPTIONS", path, "").want(t, 204)
		if got := o.header.Get("Allow"); got != allow {
			t.Errorf("OPTIONS %s: Allow %q, want %q", path, got, allow)
		}
	}
}

func TestUnknownPathsNameTheNearestOne(t *testing.T) {
	t.Parallel()
	g := start(t)
	for path, near := range map[string]string{"/v1/tnx": "/v1/txn", "/v1/kvs": "/v1/kv", "/v1/export/": "/v1/export", "/v1/import/x": "/v1/import"} {
		doc := g.do(t, "GET", path, "").problem(t, 404, "route_not_found")
		if hint, _ := doc["hint"].(string); !strings.Contains(hint, near) {
			t.Errorf("%s: hint %q, want %s named", path, hint, near)
		}
	}
	for _, path := range []string{"/v1%2Fkv/a", "/v1/k%76/a", "/nothing/at/all"} {
		g.do(t, "GET", path, "").problem(t, 404, "route_not_found")
	}
}

func TestQueriesAreReadStrictly(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	for query, want := range map[string]struct{ code, parameter string }{
		"revison=1":                     {"unknown_parameter", "revison"},
		"revision=1&revision=2":         {"invalid_parameter", "revision"},
		"revision=":                     {"invalid_parameter", "revision"},
		"revision":                      {"invalid_parameter", "revision"},
		"revision=+1":                   {"invalid_parameter", "revision"},
		"revision=%2B1":                 {"invalid_parameter", "revision"},
		"revision=1e3":                  {"invalid_parameter", "revision"},
		"revision=99999999999999999999": {"invalid_parameter", "revision"},
		"revision=0":                    {"invalid_parameter", "revision"},
		"encoding=%zz":                  {"invalid_parameter", "encoding"},
		"encoding=hex":                  {"invalid_parameter", "encoding"},
		"=1":                            {"invalid_parameter", ""},
		"timeout=301":                   {"invalid_parameter", "timeout"},
		"timeout=0":                     {"invalid_parameter", "timeout"},
		"key_encoding=hex":              {"invalid_parameter", "key_encoding"},
		"consistency=strong":            {"invalid_parameter", "consistency"},
		"encoding=base64;revision=1":    {"invalid_parameter", "encoding"},
	} {
		doc := g.do(t, "GET", "/v1/kv/k?"+query, "").problem(t, 400, want.code)
		faults, _ := doc["errors"].([]any)
		first, _ := faults[0].(map[string]any)
		if name, _ := first["parameter"].(string); name != want.parameter {
			t.Errorf("?%s: fault at %v, want %q", query, first, want.parameter)
		}
	}
	doc := g.do(t, "GET", "/v1/kv/k?revison=1&encoding=hex&timeout=x", "").problem(t, 400, "invalid_parameter")
	if faults, _ := doc["errors"].([]any); len(faults) != 3 {
		t.Errorf("three faults at once: got %v", doc["errors"])
	}
	if detail := g.do(t, "GET", "/v1/kv/k?revison=1", "").json(t)["detail"].(string); !strings.Contains(detail, "revision") {
		t.Errorf("a typo: got %q, want the nearest name in it", detail)
	}
	g.do(t, "GET", "/v1/kv/k?&consistency=serializable&&timeout=5&", "").want(t, 200)
	g.do(t, "GET", "/v1/kv/YQ==?key_encoding=base64url", "").problem(t, 400, "invalid_parameter")
	g.do(t, "GET", "/v1/kv/YR?key_encoding=base64url", "").problem(t, 400, "invalid_parameter")
}

func TestEveryAnswerIsTraceable(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, path := range []string{"/v1/kv/absent", "/v1/kv?prefix=", "/nothing", "/livez", "/version"} {
		a := g.do(t, "GET", path, "", "X-Request-Id: my-id-1")
		if a.header.Get("X-Request-Id") != "my-id-1" || !strings.HasPrefix(a.header.Get("Server-Timing"), "total;dur=") {
			t.Errorf("%s: got %v", path, a.header)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
	}
	for _, bad := range []string{"", "two words", strings.Repeat("x", 129)} {
		id := g.do(t, "GET", "/livez", "", "X-Request-Id: "+bad).header.Get("X-Request-Id")
		if len(id) != 16 {
			t.Errorf("for %q: got id %q, want 16 hex digits", bad, id)
		}
	}
	doc := g.do(t, "GET", "/v1/kv/absent", "", "X-Request-Id: my-id-2").problem(t, 404, "key_not_found")
	if doc["request_id"] != "my-id-2" || doc["type"] != "/problems/key_not_found" {
		t.Errorf("problem: got %v", doc)
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) {
		o.AllowedHosts, o.PublicURL = []string{"etcd.internal"}, "https://gate.example/etcd"
	})
	for _, host := range []string{"evil.test", "evil.test:8379", "localhost.evil.test"} {
		g.do(t, "GET", "/v1/kv/k", "", "Host: "+host).problem(t, 421, "misdirected_host")
		g.do(t, "GET", "/livez", "", "Host: "+host).want(t, 200)
	}
	for _, host := range []string{"localhost:1", "127.0.0.1", "[::1]:80", "10.1.2.3", "ETCD.internal:99", "gate.example", "localhost."} {
		g.do(t, "GET", "/v1/kv/k", "", "Host: "+host).problem(t, 404, "key_not_found")
	}
	doc := g.do(t, "GET", "/v1/kv/k", "").problem(t, 404, "key_not_found")
	if doc["type"] != "https://gate.example/etcd/problems/key_not_found" {
		t.Errorf("type behind a public URL: got %v", doc["type"])
	}
}

func TestOtherSitesPagesAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.AllowedOrigins = []string{"https://app.example"} })
	refused := [][]string{
		{"Origin: https://evil.test"},
		{"Origin: null"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site", "Origin: https://other.example"},
		{"Origin: https://app.example.evil.test", "Sec-Fetch-Site: cross-site"},
		{"Origin: http://app.example"},
	}
	for _, headers := range refused {
		a := g.do(t, "PUT", "/v1/kv/k", `{"value":"x"}`, headers...)
		a.problem(t, 403, "cross_site")
		if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") == "" {
			t.Errorf("%v: got %v", headers, a.header)
		}
		g.do(t, "GET", "/v1/kv/k", "", headers...).problem(t, 403, "cross_site")
		g.do(t, "OPTIONS", "/v1/kv/k", "", headers...).problem(t, 403, "cross_site")
	}
	for _, headers := range [][]string{{}, {"Origin: " + g.url}, {"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"}} {
		g.do(t, "GET", "/v1/kv/k", "", headers...).problem(t, 404, "key_not_found")
	}
	listed := g.do(t, "GET", "/v1/kv/k", "", "Origin: https://app.example", "Sec-Fetch-Site: cross-site")
	listed.problem(t, 404, "key_not_found")
	if listed.header.Get("Access-Control-Allow-Origin") != "https://app.example" ||
		!strings.Contains(listed.header.Get("Access-Control-Expose-Headers"), "Etcd-Revision") {
		t.Errorf("CORS on an error: got %v", listed.header)
	}
	preflight := g.do(t, "OPTIONS", "/v1/kv/k", "", "Origin: https://app.example", "Access-Control-Request-Method: PUT").want(t, 204)
	if m := preflight.header.Get("Access-Control-Allow-Methods"); !strings.Contains(m, "PATCH") {
		t.Errorf("preflight: got %v", preflight.header)
	}
	if !slices.Contains(preflight.header["Vary"], "Origin") {
		t.Errorf("preflight: Vary is %v", preflight.header["Vary"])
	}
}

func TestOptionsFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := handlers.New(nil, handlers.Options{
		PublicURL: "ftp://x", AllowedHosts: []string{"http://x", "*"}, AllowedOrigins: []string{"app.example", "https://a/b"},
	})
	if err == nil {
		t.Fatal("bad options were taken")
	}
	for _, part := range []string{"ftp://x", `"http://x"`, `"*"`, "app.example", "https://a/b"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}

// A call that etcd does not answer in time ends with its deadline, and says for a write that nobody knows.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.etcd.Close()
	started := time.Now()
	read := g.do(t, "GET", "/v1/kv/k?timeout=1", "")
	if read.status != 504 && read.status != 503 {
		t.Errorf("a read without etcd: got %d %s", read.status, read.body)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("timeout=1 took %v", took)
	}
	write := g.do(t, "PUT", "/v1/kv/k?timeout=1", `{"value":"2"}`)
	if outcome := write.json(t)["outcome"]; write.status < 500 || outcome != "not_applied" && outcome != "unknown" {
		t.Errorf("a write without etcd: got %d %s", write.status, write.body)
	}
	ready := g.do(t, "GET", "/readyz", "")
	if ready.status != 503 && ready.status != 504 {
		t.Errorf("readyz without etcd: got %d", ready.status)
	}
	g.do(t, "GET", "/livez", "").want(t, 200)
}

// A panic becomes a 500 with a request id, and the log has the cause.
func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	api, err := handlers.New(panickyStore{}, handlers.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/kv/k", nil))
	(&answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}).problem(t, 500, "internal")
	id := w.Header().Get("X-Request-Id")
	if text := log.String(); !strings.Contains(text, "the store broke") || !strings.Contains(text, id) {
		t.Errorf("log: got %s, want the cause and the request id %s", text, id)
	}
	if strings.Contains(w.Body.String(), "the store broke") {
		t.Errorf("the answer shows the cause: %s", w.Body)
	}
}

// panickyStore stands for a fault of the gateway's own.
type panickyStore struct{ handlers.Backend }

func (panickyStore) Range(context.Context, *wire.RangeRequest) (*wire.RangeResponse, error) {
	panic("the store broke")
}

func TestLargeListsAreCompressedAndSingleKeysAreNot(t *testing.T) {
	t.Parallel()
	g := start(t)
	value := strings.Repeat("x", 20_000)
	g.do(t, "PUT", "/v1/raw/k", value).want(t, 201)
	list := g.do(t, "GET", "/v1/kv?prefix=k", "", "Accept-Encoding: br;q=0.5, gzip").want(t, 200)
	if list.header.Get("Content-Encoding") != "gzip" || len(list.body) > 5000 || !slices.Contains(list.header["Vary"], "Accept-Encoding") {
		t.Errorf("a large list: got %v and %d bytes", list.header, len(list.body))
	}
	for _, refused := range []string{"gzip;q=0", "identity", ""} {
		if a := g.do(t, "GET", "/v1/kv?prefix=k", "", "Accept-Encoding: "+refused).want(t, 200); a.header.Get("Content-Encoding") != "" {
			t.Errorf("Accept-Encoding %q: got %v", refused, a.header)
		}
	}
	for _, path := range []string{"/v1/kv/k", "/v1/raw/k"} {
		if a := g.do(t, "GET", path, "", "Accept-Encoding: gzip").want(t, 200); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed: %v", path, a.header)
		}
	}
}

var _ http.Handler = (*handlers.API)(nil)

// A body that never arrives takes no longer than the call's own time.
func TestASlowBodyEndsWithTheCallsTime(t *testing.T) {
	t.Parallel()
	g := start(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PUT /v1/kv/k?timeout=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc := (&answer{status: response.StatusCode, header: response.Header, body: body}).problem(t, 504, "deadline_exceeded")
	if doc["outcome"] != "not_applied" {
		t.Errorf("outcome: got %v, want not_applied", doc["outcome"])
	}
}

// observer takes the statuses of finished requests.
type observer chan int

func (o observer) Observe(_, _ string, status int, _ time.Duration, _ int64) { o <- status }

// A caller that goes away ends its call at once, upstream too, and shows as 499 in what operators see.
func TestACallerThatGoesAwayEndsItsCall(t *testing.T) {
	t.Parallel()
	seen := make(observer, 1)
	g := start(t, func(o *handlers.Options) { o.Observer = seen })
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/v1/kv/k?wait=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if response, err := g.http.Do(r); err == nil {
			_ = response.Body.Close()
			t.Error("the call was answered")
		}
	}()
	time.AfterFunc(300*time.Millisecond, leave)
	<-gone
	select {
	case status := <-seen:
		if status != 499 {
			t.Errorf("status: got %d, want 499", status)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call went on without its caller")
	}
}

// Waiting calls end when the gateway drains, so that they do not hold it up.
func TestDrainingEndsCallsThatWait(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	api, err := handlers.New(store, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, api.Drain)
	w := httptest.NewRecorder()
	started := time.Now()
	api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/kv/k?wait=60", nil))
	a := &answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	a.problem(t, 503, "draining")
	if a.header.Get("Retry-After") == "" || time.Since(started) > 10*time.Second {
		t.Errorf("after %v: got %v", time.Since(started), a.header)
	}
	w = httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/readyz", nil))
	if w.Code != 503 {
		t.Errorf("readyz of a draining gateway: got %d, want 503", w.Code)
	}
}

func TestHugeHeadersAreAProblemLikeAnyOther(t *testing.T) {
	t.Parallel()
	g := start(t)
	doc := g.do(t, "GET", "/v1/kv/k", "", "X-Large: "+strings.Repeat("x", 97<<10)).problem(t, 431, "header_too_large")
	if doc["limit"] != num(96<<10) {
		t.Errorf("limit: got %v", doc["limit"])
	}
	g.do(t, "GET", "/v1/kv/"+strings.Repeat("k", 90<<10), "").problem(t, 404, "key_not_found")
}
