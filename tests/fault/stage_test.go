package fault_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/fault/traffic"
	"github.com/etcdrest/etcdrest/tests/fault/truth"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// What writers write and subscribers watch.
const (
	folders = 6
	keys    = 8
)

// stage is a cluster, the truth about it, and who watches.
type stage struct {
	cluster *harness.Cluster
	client  *clientv3.Client
	truth   *truth.Recorder

	calm      atomic.Bool // no client leaves or stalls any more
	noise     sync.WaitGroup
	hush      context.CancelFunc // ends the noise
	noisy     context.Context    //nolint:containedctx // a test's, cut short
	compacted bool
	mu        sync.Mutex
	clients   []*subscribe.Client
	work      sync.WaitGroup
}

// newStage has a cluster of n members; args are those of every member.
func newStage(t *testing.T, n int, args ...string) *stage {
	t.Helper()
	return stageOn(t, harness.StartCluster(t, n, args...))
}

// stageOn has a cluster that the test has started.
func stageOn(t *testing.T, cluster *harness.Cluster) *stage {
	t.Helper()
	s := &stage{cluster: cluster}
	s.client = official(t, s.cluster)
	var endpoints []string
	for _, m := range s.cluster.Members {
		endpoints = append(endpoints, m.Endpoint)
	}
	var err error
	if s.truth, err = truth.Record(context.WithoutCancel(t.Context()), endpoints...); err != nil {
		t.Fatal(err)
	}
	s.noisy, s.hush = context.WithCancel(t.Context())
	t.Cleanup(s.quiet)
	t.Cleanup(s.truth.Close)
	t.Cleanup(s.work.Wait) // the clients end with the test's context
	return s
}

// follow has a client run until the test ends.
func (s *stage) follow(t *testing.T, c *subscribe.Client) *subscribe.Client {
	t.Helper()
	s.mu.Lock()
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	ctx := t.Context()
	s.work.Go(func() { c.Run(ctx) })
	return c
}

// views are all the ways to look at a folder.
func views(n int) history.View {
	folder := traffic.Folder(n % folders)
	switch n / folders % 6 {
	case 0, 1:
		return history.View{Key: folder, Prefix: true}
	case 2:
		return history.View{Key: folder, Prefix: true, PrevKV: true}
	case 3:
		return history.View{Key: folder, Prefix: true, KeysOnly: true}
	case 4:
		return history.View{Key: traffic.Key(n%folders, n%keys)}
	default:
		return history.View{Key: folder + "2", To: folder + "6", Only: []history.Type{"", history.Put, history.Delete}[n%3]}
	}
}

// start is where the nth client begins: at the next revision, in the past, or with a snapshot.
func (s *stage) start(n int) subscribe.Ask {
	ask := subscribe.Ask{View: views(n)}
	head := s.truth.Head()
	switch n % 4 {
	case 0:
	case 1:
		ask.Snapshot = true
	case 2:
		ask.Start = max(2, head-rand.Int64N(100))
		if n%20 == 2 { // compacted by then, or all there is
			ask.Start = 2
		}
	default:
		ask.Start = head + 1 // the members may be ahead of what we know, so this too may be the past
	}
	return ask
}

// whim makes the nth client leave, crash or stall now and then.
func (s *stage) whim(n int) func(int) subscribe.Whim {
	random := rand.New(rand.NewPCG(uint64(n), 2))
	return func(int) subscribe.Whim {
		if s.calm.Load() {
			return subscribe.Whim{}
		}
		switch random.IntN(200) {
		case 0:
			return subscribe.Whim{Leave: true}
		case 1:
			return subscribe.Whim{Leave: true, Abruptly: true}
		case 2:
			return subscribe.Whim{Pause: time.Duration(random.IntN(1500)) * time.Millisecond}
		default:
			return subscribe.Whim{}
		}
	}
}

// keep does something again and again until the stage is quiet.
func (s *stage) keep(every time.Duration, do func(ctx context.Context)) {
	s.noise.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				ctx, cancel := context.WithTimeout(context.WithoutCancel(s.noisy), time.Second)
				do(ctx)
				cancel()
			case <-s.noisy.Done():
				return
			}
		}
	})
}

// quiet ends all that is kept up, and what is under way.
func (s *stage) quiet() {
	s.hush()
	s.noise.Wait()
	s.calm.Store(true)
}

// fence writes every key once and deletes it, so that every view has something to see after all else, and waits until every
// client has seen it. It gives everything that happened.
func (s *stage) fence(t *testing.T) *history.Log {
	t.Helper()
	s.quiet()
	ctx := within(t, truth.Patience)
	var puts, deletes []clientv3.Op
	for n := range folders {
		for k := range keys {
			puts = append(puts, clientv3.OpPut(traffic.Key(n, k), "fence"))
			deletes = append(deletes, clientv3.OpDelete(traffic.Key(n, k)))
		}
	}
	var head int64
	for _, ops := range [][]clientv3.Op{puts, deletes} {
		answer, err := s.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		head = answer.Header.Revision
	}
	log, err := s.truth.Log(ctx, head)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.clients {
		end := head
		for len(c.Ask.View.Of(log.At(end))) == 0 {
			end--
		}
		eventually(t, truth.Patience, fmt.Sprintf("%s sees revision %d, its last", c.Name, end), func() bool {
			if err := c.Failed(); err != nil {
				t.Fatal(err)
			}
			return c.Position() >= end
		})
	}
	return log
}

// verdict ends the run and judges every stream, by both judges. It gives everything that happened.
func (s *stage) verdict(t *testing.T, writes []traffic.Write) *history.Log {
	t.Helper()
	log := s.fence(t)
	var streams []history.Stream
	var events, legs int
	for _, c := range s.clients {
		stream := c.Stream()
		streams = append(streams, stream)
		for _, fault := range history.Check(log, stream, c.Position()) {
			t.Error(fault)
		}
		legs += len(stream.Legs)
		for _, leg := range stream.Legs {
			events += len(leg.Messages)
		}
	}
	for _, fault := range traffic.Check(log, writes) {
		t.Error(fault)
	}
	if err := history.Judge(within(t, time.Minute), harness.Command(t, "judge"), log, streams); err != nil {
		t.Error(err)
	}
	if !s.compacted {
		if err := s.truth.Reread(within(t, truth.Patience), log); err != nil {
			t.Error(err)
		}
	}
	ends := map[string]int{}
	for _, stream := range streams {
		for _, leg := range stream.Legs {
			end, _, _ := strings.Cut(leg.End, ":")
			ends[end]++
		}
	}
	t.Logf("connections ended: %v", ends)
	t.Logf("%d revisions, %d clients, %d connections, %d messages; writes: %v", log.Head(), len(streams), legs, events, traffic.Count(writes))
	return log
}

func startGateway(t *testing.T, s *stage, args ...string) *harness.Gateway {
	t.Helper()
	return harness.StartGateway(t, append([]string{"serve", "--endpoints", s.cluster.Endpoints()}, args...)...)
}

// rest is a way to write through a gateway.
func (s *stage) rest(t *testing.T, g *harness.Gateway) traffic.REST {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return traffic.REST{URL: g.API, Client: &http.Client{Transport: transport}}
}
