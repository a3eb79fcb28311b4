// Package telemetry is what the gateway tells about itself: metrics and logs.
package telemetry

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts requests. Make it with NewHTTP and register it; it is safe for concurrent use.
//
// Its labels come from closed sets: the patterns of the routing table, the methods of HTTP and the classes of status
// (RFC 9110). Nothing that a caller chooses becomes a label, so the number of series is bounded.
type HTTP struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	inFlight prometheus.GaugeFunc

	underWay atomic.Int64
	series   sync.Map // seriesKey -> series: looking a label up costs more than counting
}

type seriesKey struct {
	route, method string
	class         int
}

type series struct {
	requests, bytes prometheus.Counter
	timed           sync.Once // makes latency: routes that are never timed have no histogram
	latency         prometheus.Observer
}

// NewHTTP makes the metrics of HTTP requests.
func NewHTTP() *HTTP {
	const subsystem = "http"
	h := &HTTP{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_total",
			Help: "Requests answered, by route, method and class of status.",
		}, []string{"route", "method", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_duration_seconds",
			Help:    "Time from the head of a request to the end of its answer, by route and method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "response_bytes_total",
			Help: "Bytes of answers' bodies, by route and method.",
		}, []string{"route", "method"}),
	}
	h.inFlight = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "requests_in_flight",
		Help: "Requests that are being served now.",
	}, func() float64 { return float64(h.underWay.Load()) })
	return h
}

const namespace = "etcdrest"

// Observe takes one finished request. The route is the pattern of the routing table, empty when none matched. A time of 0
// says nothing, as that of a watch which lasted for hours, and is left out.
func (h *HTTP) Observe(route, method string, status int, d time.Duration, bytes int64) {
	key := seriesKey{route: route, method: knownMethod(method), class: status / 100}
	if key.route == "" {
		key.route = "none"
	}
	found, ok := h.series.Load(key)
	if !ok {
		found, _ = h.series.LoadOrStore(key, h.open(key))
	}
	s := found.(*series) //nolint:errcheck,forcetypeassert // the map holds nothing else
	s.requests.Inc()
	s.bytes.Add(float64(bytes))
	if d > 0 {
		s.timed.Do(func() { s.latency = h.latency.WithLabelValues(key.route, key.method) })
		s.latency.Observe(d.Seconds())
	}
}

func (h *HTTP) open(k seriesKey) *series {
	class := "other"
	if k.class >= 1 && k.class <= 5 {
		class = strconv.Itoa(k.class) + "xx"
	}
	return &series{
		requests: h.requests.WithLabelValues(k.route, k.method, class),
		bytes:    h.bytes.WithLabelValues(k.route, k.method),
	}
}

// InFlight counts the requests that next is serving.
func (h *HTTP) InFlight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.underWay.Add(1)
		defer h.underWay.Add(-1)
		next.ServeHTTP(w, r)
	})
}

// Describe is prometheus.Collector's.
func (h *HTTP) Describe(out chan<- *prometheus.Desc) {
	for _, c := range h.collectors() {
		c.Describe(out)
	}
}

// Collect is prometheus.Collector's.
func (h *HTTP) Collect(out chan<- prometheus.Metric) {
	for _, c := range h.collectors() {
		c.Collect(out)
	}
}

func (h *HTTP) collectors() []prometheus.Collector {
	return []prometheus.Collector{h.requests, h.latency, h.bytes, h.inFlight}
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}
