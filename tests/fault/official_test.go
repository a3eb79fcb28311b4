package fault_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/fault/traffic"
)

// TestTheHarnessHoldsForEtcdsOwnClient runs the whole harness without a gateway: what etcd promises its own client must
// pass, under every fault, or the harness is wrong.
func TestTheHarnessHoldsForEtcdsOwnClient(t *testing.T) { //nolint:paralleltest // it measures
	s := newStage(t, 3)
	writers := traffic.Start(t.Context(), traffic.Mix{Folders: folders, Keys: keys, Pace: 20 * time.Millisecond, Leases: s.client, TTLs: 2},
		traffic.Etcd{Client: s.client}, traffic.Etcd{Client: official(t, s.cluster)},
		s.rest(t, startGateway(t, s)), s.rest(t, startGateway(t, s)))
	t.Cleanup(writers.Stop)
	eventually(t, settled, "writers write", func() bool { return s.truth.Head() > 150 })
	transports := []subscribe.Transport{subscribe.Etcd{Client: s.client}, subscribe.Etcd{Client: official(t, s.cluster)}}
	joined := 0
	join := func() {
		for range 20 {
			n := joined
			s.follow(t, &subscribe.Client{
				Name: fmt.Sprintf("%d by %s", n, transports[n%2]), Ask: s.start(n), Transports: transports[n%2:], Whim: s.whim(n),
			})
			joined++
		}
	}
	join()
	s.trouble(t, join)
	writers.Stop()
	log := s.verdict(t, writers.Writes())
	for _, c := range s.clients {
		doubt(t, log, c.Stream(), c.Position())
	}
}

// doubt takes a message out of the middle of a connection, and wants that noticed.
func doubt(t *testing.T, log *history.Log, stream history.Stream, until int64) {
	t.Helper()
	longest := slices.MaxFunc(stream.Legs, func(a, b history.Leg) int { return len(a.Messages) - len(b.Messages) })
	i := len(longest.Messages) / 2
	if longest.Messages[i].Kind != history.Events {
		return
	}
	for n := range stream.Legs {
		if len(stream.Legs[n].Messages) == len(longest.Messages) {
			stream.Legs[n].Messages = slices.Delete(slices.Clone(longest.Messages), i, i+1)
			break
		}
	}
	if len(history.Check(log, stream, until)) == 0 {
		t.Errorf("%s without its revision %d passes for whole", stream.Name, longest.Messages[i].Revision)
	}
}
