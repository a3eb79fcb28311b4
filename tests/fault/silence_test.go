package fault_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

// everything is the prefix of all folders, and of the beats.
var everything = history.View{Key: "p", Prefix: true}

// steady are clients that see everything and never leave or stall: by them silence is measured.
func (s *stage) steady(t *testing.T, n int, transports ...subscribe.Transport) (all []*subscribe.Client) {
	t.Helper()
	for i := range n {
		transport := transports[i%len(transports)]
		all = append(all, s.follow(t, &subscribe.Client{
			Name: fmt.Sprintf("steady %d by %s", i, transport), Ask: subscribe.Ask{View: everything},
			Transports: []subscribe.Transport{transport},
		}))
	}
	return all
}

// beat writes at every member by a client of its own, so that something happens as soon as any member can write.
func (s *stage) beat(t *testing.T) {
	t.Helper()
	for i, m := range s.cluster.Members {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() }) // the beat has ended
		n := 0
		s.keep(25*time.Millisecond, func(ctx context.Context) {
			n++
			_, _ = client.Put(ctx, fmt.Sprintf("p/%d", i), fmt.Sprint(n)) // a member that is down or hangs writes nothing
		})
	}
}

// silence is the longest time without an event that any of the clients saw in [from, to], and the median of theirs.
func silence(clients []*subscribe.Client, from, to time.Time) (longest, median time.Duration) {
	var all []time.Duration
	for _, c := range clients {
		last, gap := from, time.Duration(0)
		for _, leg := range c.Stream().Legs {
			for _, m := range leg.Messages {
				if m.Kind == history.Events && m.At.After(from) && m.At.Before(to) {
					gap, last = max(gap, m.At.Sub(last)), m.At
				}
			}
		}
		all = append(all, max(gap, to.Sub(last)))
	}
	slices.Sort(all)
	return all[len(all)-1], all[len(all)/2]
}
