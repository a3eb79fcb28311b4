package fault_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/loopback"

	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/fault/traffic"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestGatewaysMayCrash: of two gateways, each is killed (SIGKILL) and started again under load. Half of 300 clients know only
// the one, and wait for it; the others go on at the other, by the same revision or event id. Nobody loses anything.
func TestGatewaysMayCrash(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 3)
	var listen [2]string
	var gateways [2]*harness.Gateway
	for i := range gateways {
		var err error
		if listen[i], err = loopback.LastingAddress(t.Context()); err != nil {
			t.Fatal(err)
		}
		gateways[i] = startGateway(t, s, "--listen", listen[i])
	}
	writers := traffic.Start(t.Context(), traffic.Mix{Folders: folders, Keys: keys, Pace: 10 * time.Millisecond, Leases: s.client},
		traffic.Etcd{Client: s.client})
	t.Cleanup(writers.Stop)
	eventually(t, settled, "writers write", func() bool { return s.truth.Head() > 150 })
	for n := range 300 {
		all := transports(n, gateways[:]...)
		if n%2 == 0 {
			all = all[n/2%2:][:1]
		}
		s.follow(t, &subscribe.Client{Name: fmt.Sprintf("%d by %s", n, all[0]), Ask: s.start(n), Transports: all})
	}
	for round := range 4 {
		last(t, time.Second)
		i := round % 2
		gateways[i].Signal(syscall.SIGKILL)
		if _, err := gateways[i].Wait(within(t, settled)); err != nil {
			t.Fatal(err)
		}
		last(t, time.Second/2)
		gateways[i] = startGateway(t, s, "--listen", listen[i])
	}
	last(t, time.Second)
	writers.Stop()
	s.verdict(t, writers.Writes())
	for _, c := range s.clients {
		if strings.Contains(c.Name, "poll") || len(c.Stream().Legs) > 1 {
			continue
		}
		t.Errorf("%s was never cut, so this shows nothing", c.Name)
	}
}
