package fault_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/fault/traffic"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// transports are those of the nth client: one kind, at these gateways in turn.
func transports(n int, gateways ...*harness.Gateway) (all []subscribe.Transport) {
	source := subscribe.NewSSE(subscribe.Gateway{})
	for _, g := range gateways {
		at := subscribe.Gateway{URL: g.API, Heartbeat: 1 + n%3}
		switch n % 5 {
		case 0:
			all = append(all, subscribe.WebSocket{Gateway: at})
		case 1:
			all = append(all, subscribe.NDJSON{Gateway: at})
		case 2:
			all = append(all, source.At(at))
		case 3:
			all = append(all, subscribe.WebSocket{Gateway: at, ByMessage: true})
		default:
			all = append(all, subscribe.Poll{Gateway: at, Wait: 5})
		}
	}
	return all
}

// kinds are one transport of each kind.
func kinds(g *harness.Gateway) (all []subscribe.Transport) {
	for n := range 5 {
		all = append(all, transports(n, g)...)
	}
	return all
}

// TestNothingIsLostUnderFaults: three hundred subscribers of every kind, over all four transports and two gateways, while
// members crash, hang, restart, hand over the lead and compact. With -soak it goes on that long.
func TestNothingIsLostUnderFaults(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 3)
	a, b := startGateway(t, s), startGateway(t, s)
	writers := traffic.Start(t.Context(), traffic.Mix{Folders: folders, Keys: keys, Pace: 20 * time.Millisecond, Leases: s.client, TTLs: 2},
		traffic.Etcd{Client: s.client}, s.rest(t, a), s.rest(t, b))
	t.Cleanup(writers.Stop)
	eventually(t, settled, "writers write", func() bool { return s.truth.Head() > 150 })
	joined := 0
	join := func(n int) {
		for range n {
			all := transports(joined, a, b)
			s.follow(t, &subscribe.Client{
				Name: fmt.Sprintf("%d by %s", joined, all[0]), Ask: s.start(joined), Transports: all, Whim: s.whim(joined),
			})
			joined++
		}
	}
	join(100)
	for begun := time.Now(); ; {
		s.trouble(t, func() {
			if joined < 300 {
				join(50)
			}
		})
		if time.Since(begun) > *soak {
			break
		}
	}
	writers.Stop()
	s.verdict(t, writers.Writes())
}
