// Package fault_test watches while everything breaks: members crash, hang and restart, leaders move, history is compacted
// away, clients stall and leave. What each subscriber saw is then held against everything that happened.
package fault_test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/harness"
)

var soak = flag.Duration("soak", 0, "how long TestNothingIsLostUnderFaults goes on")

func TestMain(m *testing.M) { harness.Etcds(m, upgrades, "judge") }

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

// within is a context for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, d time.Duration, what string, yes func() bool) {
	t.Helper()
	ctx := within(t, d)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// last lets a fault, or a calm between two, last: its length is what is tested.
func last(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test ended before the fault did")
	}
}
