package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlp is a collector of OpenTelemetry that keeps what it is sent.
type otlp struct {
	url string

	mu    sync.Mutex
	spans []*tracepb.Span
	raw   strings.Builder // every request as it came
}

func newOTLP(t *testing.T) *otlp {
	t.Helper()
	o := new(otlp)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s of %s: %v", r.URL, r.Header.Get("Content-Type"), err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.raw.WriteString(request.String())
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				o.spans = append(o.spans, scope.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// named gives the spans of the name.
func (o *otlp) named(name string) (found []*tracepb.Span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

func attributeOf(s *tracepb.Span, name string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == name {
			if n := a.GetValue().GetIntValue(); n != 0 {
				return string(rune('0' + n%10))
			}
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

const getSpan, rangeSpan = "GET /v1/kv/*", "etcdserverpb.KV/Range"

func TestTracesGoFromTheCallerToEtcd(t *testing.T) {
	t.Parallel()
	o := newOTLP(t)
	g := startWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + o.url}, "dev", "--data-dir="+t.TempDir())
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	put(t, g, "app/secret-name", 3)
	call(t, nil, http.MethodGet, g.api+"/v1/kv/app/secret-name?ignored=secret-query", "", "Traceparent", "00-"+trace+"-"+parent+"-01")
	call(t, nil, http.MethodGet, g.api+"/v1/kv/app/secret-name", "", "Traceparent", "00-"+trace+"-"+parent+"-01")
	call(t, nil, http.MethodGet, g.api+"/v1/kv/app/unwanted", "", "Traceparent", "00-11111111111111111111111111111111-"+parent+"-00")
	call(t, nil, http.MethodGet, g.api+"/v1/kv/app/absent", "", "Traceparent", "nonsense")
	in := follow(t, g.api+"/v1/watch?key=k&timeout=1", "Accept", "text/event-stream", "Traceparent", "00-22222222222222222222222222222222-"+parent+"-01")
	for in.Scan() { // until its time is over
	}
	socket, _, err := websocket.Dial(t.Context(), g.api+"/v1/watch?key=k", &websocket.DialOptions{ //nolint:bodyclose // a socket has none
		HTTPHeader: http.Header{"Traceparent": {"00-33333333333333333333333333333333-" + parent + "-01"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.Close(websocket.StatusNormalClosure, "")
	if err := g.stop(); err != nil { // what is left is sent
		t.Fatal(err)
	}

	gets := o.named(getSpan)
	if len(gets) != 3 {
		t.Fatalf("spans of GET: got %d, want those of three requests, and none of the one that is not sampled", len(gets))
	}
	read := gets[1]
	if hex.EncodeToString(read.GetTraceId()) != trace || hex.EncodeToString(read.GetParentSpanId()) != parent ||
		read.GetKind() != tracepb.Span_SPAN_KIND_SERVER || attributeOf(read, "http.route") != "/v1/kv/*" || attributeOf(read, "etcdrest.operation") != "getKey" {
		t.Errorf("the span of a GET: got %v, want a child of the caller's", read)
	}
	if absent := gets[2]; len(absent.GetParentSpanId()) != 0 || attributeOf(absent, "error.type") != "key_not_found" || absent.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the span without a parent: got %v, want a trace of its own, and 404 no error of the server's", absent)
	}
	var below *tracepb.Span
	for _, s := range o.named(rangeSpan) {
		if string(s.GetParentSpanId()) == string(read.GetSpanId()) {
			below = s
		}
	}
	if below == nil || below.GetKind() != tracepb.Span_SPAN_KIND_CLIENT || !strings.HasPrefix(attributeOf(below, "server.address"), "http://") ||
		len(attributeOf(below, "etcdrest.member")) != 16 || attributeOf(below, "etcdrest.attempt") != "1" {
		t.Errorf("the call of etcd: got %v, want a child of the request's", below)
	}
	if puts := o.named("PUT /v1/raw/*"); len(puts) != 1 {
		t.Errorf("spans of PUT: got %v", puts)
	}
	watches := o.named("GET /v1/watch")
	if len(watches) != 2 || attributeOf(watches[0], "etcdrest.transport") != "sse" || attributeOf(watches[1], "etcdrest.transport") != "websocket" {
		t.Fatalf("spans of watches: got %v, want those over SSE and over a WebSocket", watches)
	}
	for i, id := range []string{"2", "3"} {
		if got := hex.EncodeToString(watches[i].GetTraceId()); got != strings.Repeat(id, 32) {
			t.Errorf("trace of the watch: got %s, want the caller's", got)
		}
	}
	for _, secret := range []string{"secret-name", "secret-query", "xxx"} {
		if strings.Contains(o.raw.String(), secret) {
			t.Errorf("the spans hold %q", secret)
		}
	}
}

// Reads that travel together are one call of etcd, which belongs to none of them: it is linked with all.
func TestASharedCallIsLinkedWithItsCallers(t *testing.T) {
	t.Parallel()
	o := newOTLP(t)
	g := dev(t, "--otlp-endpoint="+o.url)
	put(t, g, "k", 1)
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 40 {
				if a, err := try(t, client, http.MethodGet, g.api+"/v1/kv/k", ""); err != nil || a.status != http.StatusOK {
					t.Errorf("got %d, %v", a.status, err)
				}
			}
		})
	}
	callers.Wait()
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	requests := make(map[string]*tracepb.Span)
	for _, s := range o.named(getSpan) {
		requests[string(s.GetSpanId())] = s
	}
	if len(requests) != 640 {
		t.Errorf("spans of requests: got %d, want 640", len(requests))
	}
	linked, alone := 0, 0
	for _, s := range append(o.named(rangeSpan), o.named("etcdserverpb.KV/Txn")...) {
		if len(s.GetLinks()) == 0 {
			if requests[string(s.GetParentSpanId())] != nil {
				alone++
			}
			continue
		}
		if len(s.GetParentSpanId()) != 0 || len(s.GetLinks()) < 2 {
			t.Fatalf("a shared call: got %v, want no parent and the links of its callers", s)
		}
		for _, link := range s.GetLinks() {
			caller := requests[string(link.GetSpanId())]
			if caller == nil {
				t.Fatalf("a shared call is linked with no request: %v", s)
			}
			if len(caller.GetLinks()) != 1 || string(caller.GetLinks()[0].GetSpanId()) != string(s.GetSpanId()) {
				t.Fatalf("the caller is not linked with the shared call: %v", caller)
			}
			linked++
		}
	}
	t.Logf("%d requests shared calls, %d had one of their own", linked, alone)
	if linked == 0 || linked+alone != len(requests) {
		t.Errorf("%d requests shared calls and %d had one of their own, of %d", linked, alone, len(requests))
	}
}
