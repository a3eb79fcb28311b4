package fault_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

// TestASlowConsumerHurtsOnlyItself: two hundred subscribers of one range, where 256 KiB are written 20 times a second. One
// stops reading for a while, longer than the logs hold.
//
//   - The others' latency stays what it was.
//   - The gateway's memory grows by no more than its logs and what is under way.
//   - The slow one then goes on where it was, and misses nothing.
func TestASlowConsumerHurtsOnlyItself(t *testing.T) { //nolint:paralleltest // it measures
	const (
		behind  = 60      // revisions, 15 MiB
		logSize = 8 << 20 // of which one range has a quarter
	)
	s := newStage(t, 1)
	g := startGateway(t, s, fmt.Sprint("--watch-log-bytes=", logSize))
	view := history.View{Key: "p/", Prefix: true, KeysOnly: true} // the others' forms are small: the machine is, too
	var others []*subscribe.Client
	for n := range 199 {
		others = append(others, s.follow(t, &subscribe.Client{
			Name: fmt.Sprint(n), Ask: subscribe.Ask{View: view}, Transports: transports(n, g),
		}))
	}
	var once sync.Once // a machine so slow that the gateway gives it up sees it come back
	stalled, enough := make(chan struct{}), make(chan struct{})
	slow := s.follow(t, &subscribe.Client{
		Name: "slow", Ask: subscribe.Ask{View: history.View{Key: "p/", Prefix: true}},
		Transports: []subscribe.Transport{subscribe.WebSocket{Gateway: subscribe.Gateway{URL: g.API, ReadBuffer: 64 << 10}}},
		Whim: func(n int) subscribe.Whim {
			if n == 20 {
				once.Do(func() { close(stalled) })
				<-enough
			}
			return subscribe.Whim{}
		},
	})
	for _, c := range append(others, slow) {
		eventually(t, settled, "all watch", func() bool { return c.Position() > 0 })
	}
	value := strings.Repeat("x", 256<<10)
	s.keep(50*time.Millisecond, func(ctx context.Context) {
		_, _ = s.client.Put(ctx, fmt.Sprintf("p/%d", time.Now().UnixNano()), value) // what fails is not in the log
	})
	begun := time.Now()
	<-stalled
	before, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	from, most, head := time.Now(), before.RSS, s.truth.Head()
	eventually(t, settled, "the slow one is far behind", func() bool {
		now, err := g.Usage()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, now.RSS)
		return s.truth.Head() > head+behind
	})
	until := time.Now()
	close(enough)
	s.quiet()
	eventually(t, settled, "the slow one has caught up", func() bool { return slow.Position() >= s.truth.Head() })
	calm, stalling := latency(others, begun, from), latency(others, from, until)
	t.Logf("p99 of the others: %v before, %v while one stalls; memory: %d MiB before, at most %d MiB",
		calm, stalling, before.RSS>>20, most>>20)
	if stalling > 2*calm+50*time.Millisecond {
		t.Errorf("the others' p99 grew from %v to %v", calm, stalling)
	}
	if grown := most - before.RSS; grown > 4*logSize {
		t.Errorf("the gateway grew by %d MiB", grown>>20)
	}
	s.verdict(t, nil)
}

// latency is the 99th percentile of the time from the writer to its subscribers, by the time in the key.
func latency(clients []*subscribe.Client, from, to time.Time) time.Duration {
	var all []time.Duration
	for _, c := range clients {
		for _, leg := range c.Stream().Legs {
			for _, m := range leg.Messages {
				if len(m.Events) == 0 || m.At.Before(from) || m.At.After(to) {
					continue
				}
				if sent, err := strconv.ParseInt(strings.TrimPrefix(m.Events[0].Key, "p/"), 10, 64); err == nil {
					all = append(all, m.At.Sub(time.Unix(0, sent)))
				}
			}
		}
	}
	if len(all) == 0 {
		return time.Hour
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
