// Package cluster_test puts the built gateway in front of real etcd members and breaks what is behind it: members crash,
// hang and restart, connections are cut, the quorum or the disk quota is lost. What the gateway said meanwhile is then
// held against what etcd has.
package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// startGateway runs a gateway with its defaults in front of a cluster.
func startGateway(t *testing.T, endpoints string) (*harness.Gateway, *api) {
	t.Helper()
	g := harness.StartGateway(t, "serve", "--endpoints", endpoints)
	return g, newAPI(t, g.API)
}

// official is etcd's own client, with the keepalive that etcd's documentation recommends against hanging members.
func official(t *testing.T, c *harness.Cluster) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(c.Endpoints(), ","), DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
		Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // its calls have ended with the test
	return client
}

// leader waits for a leader.
func leader(t *testing.T, c *harness.Cluster) *harness.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// restart starts a member again and waits until it serves.
func restart(t *testing.T, m *harness.Member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := m.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// freeze stops a member where it is.
func freeze(t *testing.T, m *harness.Member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, within time.Duration, what string, yes func() bool) {
	t.Helper()
	over := time.NewTimer(within)
	defer over.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-over.C:
			t.Fatalf("not within %v: %s", within, what)
		case <-t.Context().Done():
			t.Fatalf("the test ended before: %s", what)
		}
	}
}

// pass waits for a fault to have lasted that long, since its length is what is tested.
func pass(t *testing.T, until time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test ended before the fault did")
	}
}

// metric sums the series of a metric, of the gateway or of a member, whose labels contain all of these.
func metric(t *testing.T, url, name string, labels ...string) float64 {
	t.Helper()
	sum, err := harness.Metric(t.Context(), url, name, labels...)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
