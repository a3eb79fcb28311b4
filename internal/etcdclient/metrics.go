package etcdclient

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// metrics counts what the client does. Its labels come from closed sets: methods, codes, endpoints, classes, reasons. The
// gauges are read from the pool's state when they are collected, so they cannot drift from it.
type metrics struct {
	pool      *pool
	calls     *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	attempts  *prometheus.CounterVec
	retries   *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	grouped   prometheus.Counter
	resumes   *prometheus.CounterVec

	connections, inFlight, aside, leader, watches, watchStreams, leases *prometheus.Desc
}

var _ prometheus.Collector = (*Client)(nil)

func newMetrics(p *pool) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "etcdrest", Subsystem: "etcd", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("etcdrest_etcd_"+name, help, labels, nil)
	}
	return &metrics{
		pool:  p,
		calls: counter("calls_total", "Calls to etcd by method and by the code they ended with; streams count when they end.", "method", "code"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "etcdrest", Subsystem: "etcd", Name: "call_duration_seconds",
			Help:    "Time that unary calls to etcd took, repeats included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method"}),
		attempts:  counter("attempts_total", "Attempts that calls to etcd needed.", "method"),
		retries:   counter("retries_total", "Attempts that were repeats, by reason.", "method", "reason"),
		refreshes: counter("token_refreshes_total", "Authentications with etcd, by result.", "result"),
		grouped: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "etcdrest", Subsystem: "etcd", Name: "coalesced_reads_total", Help: "Reads of single keys, and of the same range, that travelled with others.",
		}),

		resumes: counter("watch_resumes_total", "Interruptions of watch streams, by reason; their watches go on elsewhere.", "reason"),

		connections:  gauge("connections", "Connections that can take calls.", "endpoint", "class"),
		inFlight:     gauge("in_flight", "Calls and streams under way.", "endpoint", "class"),
		aside:        gauge("members_set_aside", "Members that get no work until they recover."),
		leader:       gauge("leader_known", "Whether the leader is known."),
		watches:      gauge("watches", "Watches."),
		watchStreams: gauge("watch_streams", "Open streams that carry the watches."),
		leases:       gauge("leases_kept", "Leases that are kept alive."),
	}
}

// finished counts a call that ended with code; d is 0 for streams, whose length says nothing.
func (m *metrics) finished(k *method, attempts int, d time.Duration, code codes.Code) {
	m.calls.WithLabelValues(k.name, code.String()).Inc()
	m.attempts.WithLabelValues(k.name).Add(float64(attempts))
	if d > 0 {
		m.latency.WithLabelValues(k.name).Observe(d.Seconds())
	}
}

func (m *metrics) retried(k *method, reason string) { m.retries.WithLabelValues(k.name, reason).Inc() }

func (m *metrics) refreshed(ok bool) {
	result := "ok"
	if !ok {
		result = "error"
	}
	m.refreshes.WithLabelValues(result).Inc()
}

func (m *metrics) resumed(e *Error) { m.resumes.WithLabelValues(resumeReason(e)).Inc() }

// Describe implements prometheus.Collector.
func (c *Client) Describe(out chan<- *prometheus.Desc) {
	m := c.metrics
	for _, v := range m.counters() {
		v.Describe(out)
	}
	for _, d := range []*prometheus.Desc{m.connections, m.inFlight, m.aside, m.leader, m.watches, m.watchStreams, m.leases} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Client) Collect(out chan<- prometheus.Metric) {
	m := c.metrics
	for _, v := range m.counters() {
		v.Collect(out)
	}
	type place struct{ endpoint, class string }
	connections, inFlight := map[place]int64{}, map[place]int64{}
	aside := map[*member]bool{}
	m.pool.each(func(n *conn) {
		at := place{n.endpoint.name, n.class.String()}
		connections[at] += 0
		if n.up.Load() {
			connections[at]++
		}
		inFlight[at] += n.inFlight.Load()
		if who := n.member.Load(); who.aside.Load() {
			aside[who] = true
		}
	})
	for at, n := range connections {
		out <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(n), at.endpoint, at.class)
		out <- prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(inFlight[at]), at.endpoint, at.class)
	}
	out <- prometheus.MustNewConstMetric(m.aside, prometheus.GaugeValue, float64(len(aside)))
	known := 0.0
	if m.pool.leader.Load() != 0 {
		known = 1
	}
	out <- prometheus.MustNewConstMetric(m.leader, prometheus.GaugeValue, known)
	watches, streams := c.watches.counts()
	leases := c.keepAlives.count()
	c.views.each(func(v *Client) {
		w, s := v.watches.counts()
		watches, streams, leases = watches+w, streams+s, leases+v.keepAlives.count()
	})
	out <- prometheus.MustNewConstMetric(m.watches, prometheus.GaugeValue, float64(watches))
	out <- prometheus.MustNewConstMetric(m.watchStreams, prometheus.GaugeValue, float64(streams))
	out <- prometheus.MustNewConstMetric(m.leases, prometheus.GaugeValue, float64(leases))
}

func (m *metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.latency, m.attempts, m.retries, m.refreshes, m.grouped, m.resumes}
}
