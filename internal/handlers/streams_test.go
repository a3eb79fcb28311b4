package handlers_test

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// observed notes what the metrics are told.
type observed struct {
	mu   sync.Mutex
	seen []string
}

func (o *observed) Observe(route, method string, status int, d time.Duration, _ int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, fmt.Sprintf("%s %s %d timed=%t", method, route, status, d > 0))
}

func (o *observed) has(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.seen, line)
}

// watching runs a gateway that serves watches.
func watching(t *testing.T, adjust ...func(*handlers.Options)) *gateway {
	t.Helper()
	etcd := embedetcd.StartForTest(t)
	client, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	epochs := epoch.New(client)
	hub := stream.New(client, epochs, stream.Options{})
	t.Cleanup(func() {
		hub.Close()
		_ = client.Close()
	})
	return startOn(t, etcd, append(adjust, func(o *handlers.Options) { o.Watches, o.Epoch = hub, epochs })...)
}

func TestStreamsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	seen := &observed{}
	g := watching(t, func(o *handlers.Options) { o.Observer = seen })
	if doc := g.do(t, "GET", "/v1/gateway/streams", "").want(t, 200).json(t); len(doc["streams"].([]any)) != 0 {
		t.Errorf("before anybody watches: got %v, want no streams", doc)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/v1/watch?prefix=app/&stream=ndjson", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", "mine")
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := bufio.NewScanner(answer.Body)
	if !in.Scan() || !strings.Contains(in.Text(), `"created"`) {
		t.Fatalf("first line: got %q, want created", in.Text())
	}

	list := g.do(t, "GET", "/v1/gateway/streams", "").want(t, 200).json(t)["streams"].([]any)
	if len(list) != 1 {
		t.Fatalf("streams: got %v, want one", list)
	}
	of := list[0].(map[string]any)
	its := of["watches"].([]any)[0].(map[string]any)
	if of["transport"] != "ndjson" || of["request_id"] != "mine" || its["key"] != "app/" || its["end"] != "app0" || its["state"] != "live" {
		t.Errorf("the stream: got %v, want that of the request mine, over ndjson, which watches app/", of)
	}
	id := of["id"].(string)
	if one := g.do(t, "GET", "/v1/gateway/streams/"+id, "").want(t, 200).json(t); one["id"] != id {
		t.Errorf("stream %s: got %v", id, one)
	}
	doing := g.do(t, "GET", "/v1/gateway", "").want(t, 200).json(t)["watching"].(map[string]any)
	if doing["streams"] != num(1) || doing["watches"] != num(1) || doing["feeds"] != num(1) {
		t.Errorf("the gateway: got %v, want one stream, one watch and one feed", doing)
	}

	if a := g.do(t, "DELETE", "/v1/gateway/streams/"+id, "").want(t, 204); len(a.body) != 0 {
		t.Errorf("the answer to DELETE: got %q, want none", a.body)
	}
	if !in.Scan() || !strings.Contains(in.Text(), `"code":"draining"`) || in.Scan() {
		t.Errorf("the end of the stream: got %q, want one line: draining", in.Text())
	}
	for !seen.has("GET /v1/watch 200 timed=false") {
		if t.Context().Err() != nil {
			t.Fatalf("the metrics were told %v, want the watch without a time", seen.seen)
		}
	}
	if !seen.has("GET /v1/gateway 200 timed=true") {
		t.Errorf("the metrics were told %v, want other calls with their time", seen.seen)
	}
	g.do(t, "GET", "/v1/gateway/streams/"+id, "").problem(t, 404, "stream_not_found")
	for _, unknown := range []string{id, "0", "-1", "x", "18446744073709551616"} {
		g.do(t, "DELETE", "/v1/gateway/streams/"+unknown, "").problem(t, 404, "stream_not_found")
	}
	g.do(t, "DELETE", "/v1/gateway/streams", "").problem(t, 405, "method_not_allowed")
	g.do(t, "GET", "/v1/gateway/streams?prefix=x", "").problem(t, 400, "unknown_parameter")
	g.do(t, "DELETE", "/v1/gateway/streams/"+id, "", "Sec-Fetch-Site: cross-site").problem(t, 403, "cross_site")
}

// How long a caller waits is its own choice, and says nothing about the gateway.
func TestAWaitIsNotTimed(t *testing.T) {
	t.Parallel()
	seen := &observed{}
	g := watching(t, func(o *handlers.Options) { o.Observer = seen })
	g.do(t, "GET", "/v1/kv/k?wait=1", "").want(t, 304)
	g.do(t, "GET", "/v1/kv/k", "").want(t, 404)
	g.do(t, "GET", "/v1/watch/poll?key=k&wait=1", "").want(t, 200)
	for _, want := range []string{"GET /v1/kv/* 304 timed=false", "GET /v1/kv/* 404 timed=true", "GET /v1/watch/poll 200 timed=false"} {
		for !seen.has(want) { // it is told behind the answer
			if t.Context().Err() != nil {
				t.Fatalf("got %v, want %s", seen.seen, want)
			}
		}
	}
}

func TestAGatewayWithoutWatchesSaysSo(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, path := range []string{"/v1/gateway", "/v1/gateway/streams", "/v1/gateway/streams/1"} {
		g.do(t, "GET", path, "").problem(t, 501, "not_supported")
	}
}
