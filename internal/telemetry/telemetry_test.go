package telemetry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/etcdrest/etcdrest/internal/telemetry"
)

func TestRequestsAreCountedByRouteMethodAndClass(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHTTP()
	h.Observe("/v1/kv/{key}", http.MethodGet, http.StatusOK, 3*time.Millisecond, 100)
	h.Observe("/v1/kv/{key}", http.MethodGet, http.StatusNotModified, time.Millisecond, 0)
	h.Observe("/v1/kv/{key}", http.MethodGet, http.StatusNotFound, time.Millisecond, 50)
	h.Observe("/v1/kv/{key}", http.MethodGet, 499, time.Millisecond, 0)
	h.Observe("", http.MethodGet, http.StatusNotFound, time.Millisecond, 7)
	h.Observe("/v1/kv", http.MethodGet, 0, time.Millisecond, 0)

	want := `
# HELP etcdrest_http_requests_total Requests answered, by route, method and class of status.
# TYPE etcdrest_http_requests_total counter
etcdrest_http_requests_total{method="GET",route="/v1/kv",status="other"} 1
etcdrest_http_requests_total{method="GET",route="/v1/kv/{key}",status="2xx"} 1
etcdrest_http_requests_total{method="GET",route="/v1/kv/{key}",status="3xx"} 1
etcdrest_http_requests_total{method="GET",route="/v1/kv/{key}",status="4xx"} 2
etcdrest_http_requests_total{method="GET",route="none",status="4xx"} 1
# HELP etcdrest_http_response_bytes_total Bytes of answers' bodies, by route and method.
# TYPE etcdrest_http_response_bytes_total counter
etcdrest_http_response_bytes_total{method="GET",route="/v1/kv"} 0
etcdrest_http_response_bytes_total{method="GET",route="/v1/kv/{key}"} 150
etcdrest_http_response_bytes_total{method="GET",route="none"} 7
`
	if err := testutil.CollectAndCompare(h, strings.NewReader(want),
		"etcdrest_http_requests_total", "etcdrest_http_response_bytes_total"); err != nil {
		t.Error(err)
	}
}

func TestMethodsOfCallersMakeNoSeries(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHTTP()
	for i := range 10_000 {
		h.Observe("/v1/kv", fmt.Sprintf("M%d", i), http.StatusMethodNotAllowed, time.Millisecond, 0)
	}
	if got := testutil.CollectAndCount(h, "etcdrest_http_requests_total"); got != 1 {
		t.Errorf("series after 10,000 invented methods: got %d, want 1", got)
	}
}

func TestLintOfTheMetrics(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHTTP()
	h.Observe("/v1/kv", http.MethodGet, http.StatusOK, time.Millisecond, 1)
	problems, err := testutil.CollectAndLint(h)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v; want no problems", problems, err)
	}
	if err := prometheus.NewPedanticRegistry().Register(h); err != nil {
		t.Error(err)
	}
}

func TestInFlightCountsWhatIsBeingServed(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHTTP()
	gauge := func(want int) {
		t.Helper()
		text := fmt.Sprintf("# HELP etcdrest_http_requests_in_flight Requests that are being served now.\n"+
			"# TYPE etcdrest_http_requests_in_flight gauge\netcdrest_http_requests_in_flight %d\n", want)
		if err := testutil.CollectAndCompare(h, strings.NewReader(text), "etcdrest_http_requests_in_flight"); err != nil {
			t.Error(err)
		}
	}
	handler := h.InFlight(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { gauge(1) }))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	gauge(0)
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, level, want string }{
		{"xml", "info", "use text or json"},
		{"text", "loud", "use debug, info, warn or error"},
	} {
		if _, err := telemetry.NewLogger(&bytes.Buffer{}, c.format, c.level); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("format %s, level %s: got %v, want %q", c.format, c.level, err, c.want)
		}
	}
}

func TestWhatIsNotTimedHasNoHistogram(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHTTP()
	h.Observe("/v1/watch", http.MethodGet, http.StatusSwitchingProtocols, 0, 0)
	h.Observe("/v1/kv/*", http.MethodGet, http.StatusNotModified, 0, 0)
	if got := testutil.CollectAndCount(h, "etcdrest_http_request_duration_seconds"); got != 0 {
		t.Errorf("histograms of what is not timed: got %d, want none", got)
	}
	h.Observe("/v1/kv/*", http.MethodGet, http.StatusNotModified, time.Millisecond, 0)
	want := `
# HELP etcdrest_http_requests_total Requests answered, by route, method and class of status.
# TYPE etcdrest_http_requests_total counter
etcdrest_http_requests_total{method="GET",route="/v1/kv/*",status="3xx"} 2
etcdrest_http_requests_total{method="GET",route="/v1/watch",status="1xx"} 1
`
	if err := testutil.CollectAndCompare(h, strings.NewReader(want), "etcdrest_http_requests_total"); err != nil {
		t.Error(err)
	}
	if got := testutil.CollectAndCount(h, "etcdrest_http_request_duration_seconds"); got != 1 {
		t.Errorf("histograms: got %d, want that of the route which was timed once", got)
	}
}
