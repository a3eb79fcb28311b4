package cluster_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// api is a caller of the gateway.
type api struct {
	url    string
	client *http.Client
}

// patience is beyond any deadline that the gateway has; a call that takes longer hangs.
const patience = 45 * time.Second

func newAPI(t *testing.T, url string) *api {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1024}
	t.Cleanup(transport.CloseIdleConnections)
	return &api{url: url, client: &http.Client{Transport: transport, Timeout: patience}}
}

// answer is what came back, and when.
type answer struct {
	method, path string
	begun, ended time.Time

	err    error // there is no answer
	status int
	header http.Header
	body   []byte
}

// call makes one request; each header is given as "Name: value".
func (a *api) call(ctx context.Context, method, path, body string, headers ...string) (out answer) {
	out = answer{method: method, path: path, begun: time.Now()}
	defer func() { out.ended = time.Now() }()
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		out.err = err
		return out
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	reply, err := a.client.Do(r)
	if err != nil {
		out.err = err
		return out
	}
	defer reply.Body.Close()
	out.status, out.header = reply.StatusCode, reply.Header
	out.body, out.err = io.ReadAll(reply.Body)
	return out
}

func (a *api) get(ctx context.Context, path string) answer {
	return a.call(ctx, http.MethodGet, path, "")
}

// create puts a key that must not exist yet.
func (a *api) create(ctx context.Context, key, value, query string) answer {
	return a.call(ctx, http.MethodPut, "/v1/kv/"+key+query, `{"value":"`+value+`"}`, "If-None-Match: *")
}

// put puts a key, whether it exists or not.
func (a *api) put(ctx context.Context, key, value string, headers ...string) answer {
	return a.call(ctx, http.MethodPut, "/v1/kv/"+key+"?timeout=2", `{"value":"`+value+`"}`, headers...)
}

func (a answer) ok() bool { return a.err == nil && a.status/100 == 2 }

func (a answer) took() time.Duration { return a.ended.Sub(a.begun) }

// revision is the store revision that answered, 0 when the answer has none.
func (a answer) revision() int64 {
	n, _ := strconv.ParseInt(a.header.Get("Etcd-Revision"), 10, 64)
	return n
}

// document is the members of all answers that the tests look at.
type document struct {
	Code    string
	Outcome string
	Detail  string
	Current *struct{ Value string }

	Key         string
	Value       string
	ModRevision int64 `json:"mod_revision"`
	Version     int64
	Revision    int64
	KVs         []struct {
		Key, Value string
		Version    int64
	}
	More   bool
	Cursor string
}

func (a answer) document() (d document) {
	if err := json.Unmarshal(a.body, &d); err != nil {
		d.Code = "not JSON: " + err.Error()
	}
	return d
}

// String shows an answer in a failure.
func (a answer) String() string {
	text := a.method + " " + a.path + " (" + a.took().Round(time.Millisecond).String() + "): "
	if a.err != nil {
		return text + a.err.Error()
	}
	return text + strconv.Itoa(a.status) + " " + strings.TrimSpace(string(a.body))
}
