package etcdclient_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// gather gives the client's metrics, by name, through a pedantic registry.
func gather(t testing.TB, c *etcdclient.Client) map[string][]*dto.Metric {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	metrics := map[string][]*dto.Metric{}
	for _, f := range families {
		metrics[f.GetName()] = f.GetMetric()
	}
	return metrics
}

// gauge sums a metric's values over the label pairs that match.
func gauge(t testing.TB, c *etcdclient.Client, name string, labels ...string) (sum float64) {
	t.Helper()
	for _, m := range gather(t, c)[name] {
		matches := true
		for i := 0; i+1 < len(labels); i += 2 {
			matches = matches && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
				return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			})
		}
		if matches {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetricsCountEveryCall(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for range 3 {
		put(t, c, "k", "v")
	}
	if _, err := c.Put(within(t, time.Second), &wire.PutRequest{}); err == nil {
		t.Fatal("an empty key was taken")
	}
	s, err := c.RangeStream(within(t, time.Second), &wire.RangeRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if n := gauge(t, c, "etcdrest_etcd_in_flight", "class", "bulk"); n != 1 {
		t.Errorf("in flight with an open stream: %v; want 1", n)
	}
	s.Close()
	s.Close()
	for _, each := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"etcdrest_etcd_calls_total", []string{"method", "KV/Put", "code", "OK"}, 3},
		{"etcdrest_etcd_calls_total", []string{"method", "KV/Put", "code", "InvalidArgument"}, 1},
		{"etcdrest_etcd_calls_total", []string{"method", "KV/RangeStream"}, 1},
		{"etcdrest_etcd_call_duration_seconds", []string{"method", "KV/Put"}, 4},
		{"etcdrest_etcd_attempts_total", []string{"method", "KV/Put"}, 4},
		{"etcdrest_etcd_retries_total", nil, 0},
		{"etcdrest_etcd_in_flight", nil, 0},
		{"etcdrest_etcd_connections", []string{"class", "unary"}, 2},
		{"etcdrest_etcd_members_set_aside", nil, 0},
		{"etcdrest_etcd_leader_known", nil, 1},
	} {
		eventually(t, fmt.Sprintf("%s%v is %v", each.name, each.labels, each.want), 10*time.Second, func() bool {
			return gauge(t, c, each.name, each.labels...) == each.want // the second connection may still be on its way
		})
	}
}

// etcdGauge reads a metric of the etcd servers inside the test process, which share one.
func etcdGauge(t testing.TB, name string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("etcd has no metric %s", name)
	return 0
}
