package contract_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/contract"
)

// recorder takes a checker's verdicts in place of the test.
type recorder struct {
	testing.TB

	mu     sync.Mutex
	faults []string
}

// Helper does nothing: the faults are looked at, not shown.
func (r *recorder) Helper() {}

// Errorf keeps the fault.
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// exchange is one request and the answer that a server gives.
type exchange struct {
	method, target, body string
	sent                 http.Header
	status               int
	header               string
	answer               string
}

type serve func(*http.Request) (*http.Response, error)

// RoundTrip answers.
func (s serve) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

// faults runs the exchange through a checker and reads the answer to its end.
func faults(t *testing.T, e exchange) []string {
	t.Helper()
	r := &recorder{TB: t}
	base := serve(func(request *http.Request) (*http.Response, error) {
		header := http.Header{"X-Request-Id": {"r1"}, "Server-Timing": {"total;dur=0.1"}, "Content-Type": {"application/json"}}
		for line := range strings.Lines(e.header) {
			name, value, _ := strings.Cut(line, ":")
			header.Del(name)
			if value = strings.TrimSpace(value); value != "" {
				header.Set(name, value)
			}
		}
		return &http.Response{StatusCode: e.status, Header: header, Body: io.NopCloser(strings.NewReader(e.answer)), Request: request}, nil
	})
	client := http.Client{Transport: contract.New(r).Transport(base)}
	request, err := http.NewRequestWithContext(t.Context(), e.method, "http://gateway"+e.target, strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, e.sent)
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return r.faults
}

const (
	kv       = `{"key":"a/b","value":"1","create_revision":2,"mod_revision":3,"version":2}` + "\n"
	kvHeader = "Etcd-Revision: 9\nEtag: \"3\""
)

func problemText(code, title string, status int, rest string) string {
	return fmt.Sprintf(`{"type":"/problems/%s","title":%q,"status":%d,"code":%q,"detail":"d","retryable":false,"request_id":"r1"%s}`+"\n",
		code, title, status, code, rest)
}

const problemHeader = "Content-Type: application/problem+json"

var (
	notFound = problemText("key_not_found", "The key does not exist", 404, "")
	refused  = problemText("precondition_failed", "The condition does not hold", 412, `,"outcome":"not_applied","current":null`)
)

func TestAnswersOfTheContractPass(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]exchange{
		"key":            {"GET", "/v1/kv/a/b?key_encoding=text", "", nil, 200, kvHeader, kv},
		"escaped key":    {"GET", "/v1/kv/a%2Fb", "", nil, 200, kvHeader, kv},
		"leading slash":  {"GET", "/v1/kv//a/../b", "", nil, 200, kvHeader, kv},
		"null in JSON":   {"GET", "/v1/kv/a?encoding=json", "", nil, 200, kvHeader, strings.Replace(kv, `"value":"1"`, `"value_json":null`, 1)},
		"value in JSON":  {"GET", "/v1/kv/a?encoding=json", "", nil, 200, kvHeader, strings.Replace(kv, `"value":"1"`, `"value_json":{"key":1,"key_base64":2}`, 1)},
		"unchanged":      {"GET", "/v1/kv/a", "", nil, 304, kvHeader, ""},
		"absent":         {"GET", "/v1/kv/a", "", nil, 404, problemHeader, notFound},
		"head":           {"HEAD", "/v1/kv/a", "", nil, 404, problemHeader, ""},
		"head of a list": {"HEAD", "/v1/kv", "", nil, 200, "Etcd-Revision: 9", ""},
		"created":        {"PUT", "/v1/kv/a", `{"value":"1","ttl":null}`, nil, 201, kvHeader, `{"key":"a","create_revision":3,"mod_revision":3,"version":1,"created":true}` + "\n"},
		"refused":        {"PUT", "/v1/kv/a", `{"value":"1"}`, nil, 412, problemHeader + "\nEtcd-Revision: 9", refused},
		"raw":            {"GET", "/v1/raw/a", "", nil, 200, kvHeader + "\nContent-Type: application/octet-stream\nEtcd-Key: a\nEtcd-Create-Revision: 1\nEtcd-Mod-Revision: 3\nEtcd-Version: 2", "\x00{"},
		"several keys":   {"GET", "/v1/kv?key=a&key=b&count_only", "", nil, 200, "Etcd-Revision: 9", `{"revision":9,"kvs":[],"more":false,"count":0,"missing":[{"key":"a"},{"key_base64":"/w=="}]}` + "\n"},
		"options":        {"OPTIONS", "/v1/kv/a", "", nil, 204, "Allow: GET\nContent-Type: ", ""},
		"no route":       {"GET", "/v9", "", nil, 404, problemHeader, problemText("route_not_found", "There is nothing at this path", 404, "")},
		"no method":      {"POST", "/v1/kv", "", nil, 405, problemHeader + "\nAllow: GET", problemText("method_not_allowed", "The path does not take this method", 405, "")},
		"any JSON":       {"GET", "/openapi.json", "", nil, 200, "", `{"key":1,"key_base64":null}` + "\n"},
		"page":           {"GET", "/problems/conflict", "", nil, 200, "Content-Type: text/html; charset=utf-8", "<p>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := faults(t, e); len(got) > 0 {
				t.Errorf("faults: got %s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestAnswersOutsideTheContractFail(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		exchange

		want string
	}{
		"no request id":        {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader + "\nX-Request-Id: ", kv}, "X-Request-Id is missing"},
		"no revision":          {exchange{"GET", "/v1/kv/a", "", nil, 200, "Etag: \"3\"", kv}, "Etcd-Revision is missing"},
		"bad revision":         {exchange{"GET", "/v1/kv/a", "", nil, 200, "Etcd-Revision: 0", kv}, "Etcd-Revision"},
		"undescribed header":   {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader + "\nEtcd-Key: a", kv}, "Etcd-Key is not described"},
		"undescribed status":   {exchange{"GET", "/v1/kv/a", "", nil, 202, kvHeader, kv}, "no such status"},
		"undescribed member":   {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader, strings.Replace(kv, `"value"`, `"val":1,"value"`, 1)}, "val"},
		"missing member":       {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader, `{"key":"a","value":"1","create_revision":2,"mod_revision":3}` + "\n"}, "version"},
		"wrong type":           {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader, strings.Replace(kv, `"version":2`, `"version":"2"`, 1)}, "version"},
		"two forms":            {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader, strings.Replace(kv, `"value"`, `"value_base64":"MQ==","value"`, 1)}, "more than one of"},
		"no newline":           {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader, strings.TrimSpace(kv)}, "newline"},
		"wrong media type":     {exchange{"GET", "/v1/kv/a", "", nil, 200, kvHeader + "\nContent-Type: text/plain", kv}, "text/plain"},
		"error as text":        {exchange{"GET", "/v1/kv/a", "", nil, 404, "Content-Type: text/plain", "404"}, "media type"},
		"unlisted code":        {exchange{"GET", "/v1/kv/a", "", nil, 422, problemHeader, problemText("truncated", "The upload has no end line", 422, "")}, "not listed"},
		"unknown code":         {exchange{"GET", "/v1/kv/a", "", nil, 404, problemHeader, problemText("gone", "x", 404, "")}, "not in the table"},
		"wrong status":         {exchange{"GET", "/v1/kv/a", "", nil, 400, problemHeader, notFound}, "has the status 404"},
		"wrong title":          {exchange{"GET", "/v1/kv/a", "", nil, 404, problemHeader, problemText("key_not_found", "x", 404, "")}, "title"},
		"unknown extension":    {exchange{"GET", "/v1/kv/a", "", nil, 404, problemHeader, problemText("key_not_found", "The key does not exist", 404, `,"x":1`)}, "x"},
		"another request id":   {exchange{"GET", "/v1/kv/a", "", nil, 404, problemHeader + "\nX-Request-Id: r2", notFound}, "request_id"},
		"read with outcome":    {exchange{"GET", "/v1/kv/a", "", nil, 404, problemHeader, problemText("key_not_found", "The key does not exist", 404, `,"outcome":"not_applied"`)}, "no write"},
		"write without":        {exchange{"DELETE", "/v1/kv/a", "", nil, 400, problemHeader, problemText("invalid_parameter", "A parameter has a value that cannot be used", 400, "")}, "no outcome"},
		"412 without revision": {exchange{"PUT", "/v1/kv/a", `{"value":"1"}`, nil, 412, problemHeader, refused}, "Etcd-Revision is missing"},
		"405 without Allow":    {exchange{"POST", "/v1/txn", "", nil, 405, problemHeader, problemText("method_not_allowed", "The path does not take this method", 405, "")}, "not listed"},
		"unknown operation":    {exchange{"POST", "/v1/kv/a", "", nil, 200, "", "{}\n"}, "no such operation"},
		"unknown parameter":    {exchange{"GET", "/v1/kv/a?colour=red", "", nil, 200, kvHeader, kv}, "colour"},
		"parameter's bound":    {exchange{"GET", "/v1/kv/a?timeout=301", "", nil, 200, kvHeader, kv}, "timeout"},
		"parameter's word":     {exchange{"GET", "/v1/kv/a?encoding=hex", "", nil, 200, kvHeader, kv}, "encoding"},
		"request's member":     {exchange{"PUT", "/v1/kv/a", `{"valeu":"1"}`, nil, 201, kvHeader, `{"key":"a","create_revision":3,"mod_revision":3,"version":1,"created":true}` + "\n"}, "valeu"},
		"OPTIONS without":      {exchange{"OPTIONS", "/v1/kv/a", "", nil, 204, "", ""}, "Allow is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(faults(t, tt.exchange), "\n")
			if !strings.Contains(got, tt.want) {
				t.Errorf("faults: got %q, want one about %q", got, tt.want)
			}
		})
	}
}

func TestStreamsAreCheckedLineByLine(t *testing.T) {
	t.Parallel()
	const header = "Content-Type: application/x-ndjson\nEtcd-Revision: 9"
	const line = `{"type":"kv","key":"a","value":"1","create_revision":2,"mod_revision":3,"version":2}` + "\n"
	const end = `{"type":"end","count":1,"revision":9}` + "\n"
	stopped := `{"type":"error","error":` + strings.TrimSpace(problemText("compacted", "The revision has been compacted", 410, "")) + "}\n"
	for name, tt := range map[string]struct{ body, want string }{
		"whole":        {line + end, ""},
		"empty":        {end, ""},
		"failed":       {line + stopped, ""},
		"cut":          {line, "must be end or error"},
		"more":         {line + end + line, "follows the last line"},
		"unknown type": {`{"type":"row"}` + "\n" + end, "row"},
		"bad line":     {strings.Replace(line, `"version":2`, `"version":-1`, 1) + end, "line 1"},
		"not JSON":     {line + "oops\n" + end, "line 2 is not JSON"},
		"no newline":   {line + strings.TrimSpace(end), "no newline"},
		"bad problem":  {line + strings.ReplaceAll(stopped, "compacted", "compact"), "not in the table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(faults(t, exchange{"GET", "/v1/export?prefix=", "", nil, 200, header, tt.body}), "\n")
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("faults: got %q, want one about %q", got, tt.want)
			}
		})
	}
}

// A stream that never ends must come through piece by piece, and bad lines must be reported while it runs.
func TestEndlessStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	reader, writer := io.Pipe()
	base := serve(func(request *http.Request) (*http.Response, error) {
		header := http.Header{"X-Request-Id": {"r1"}, "Server-Timing": {"total;dur=1"}, "Etcd-Revision": {"9"}, "Content-Type": {"application/x-ndjson"}}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: reader, Request: request}, nil
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway/v1/export", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := contract.New(r).Transport(base).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	const line = `{"type":"kv"}` + "\n"
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(writer, line)
		sent <- err
	}()
	got := make([]byte, len(line))
	if _, err := io.ReadFull(answer.Body, got); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(line, string(got)); diff != "" {
		t.Errorf("first line (-want +got):\n%s", diff)
	}
	if len(r.faults) == 0 {
		t.Error("the line lacks members, and no fault was reported before the stream's end")
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOperationsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, op := range contract.New(t).Operations() {
		if op.ID == "" || seen[op.ID] {
			t.Errorf("%s %s: the operationId %q is empty or used twice", op.Method, op.Path, op.ID)
		}
		seen[op.ID] = true
	}
	for _, id := range []string{"getKey", "headRaw", "deleteKeys", "txn", "exportKeys", "getIndex"} {
		if !seen[id] {
			t.Errorf("the operation %s is missing", id)
		}
	}
}
