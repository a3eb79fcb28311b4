package fault_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/fault/traffic"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// upgrades are the versions that a cluster goes through, as etcd allows it: one minor version at a time.
var upgrades = []harness.Version{"3.5", "3.6", harness.Newest}

// refusedAtMost is how long no caller's write may be acknowledged while a member is upgraded, on a busy machine.
const refusedAtMost = 5 * time.Second

// TestNothingIsLostInARollingUpgrade: three members go from 3.5 to 3.6 and to 3.7, one after the other, the leader last, while callers
// write and list through two gateways, and a hundred subscribers of every kind watch.
//
//   - No acknowledged write is lost, and no subscriber loses an event, gets one twice or out of order.
//   - No list fails.
//   - Writes are refused for at most five seconds at a time.
//   - What the newest version has is used as soon as it is there, without a restart of the gateways.
func TestNothingIsLostInARollingUpgrade(t *testing.T) { //nolint:paralleltest // it measures
	s := stageOn(t, upgrades[0].StartCluster(t, 3, "--snapshot-count", "500"))
	a, b := startGateway(t, s), startGateway(t, s)
	writers := traffic.Start(t.Context(), traffic.Mix{Folders: folders, Keys: keys, Pace: 20 * time.Millisecond, TTLs: 2},
		s.rest(t, a), s.rest(t, b), s.rest(t, a), s.rest(t, b))
	t.Cleanup(writers.Stop)
	lists := s.list(t, a, b)
	eventually(t, settled, "writers write", func() bool { return s.truth.Head() > 150 })
	for n := range 100 {
		all := transports(n, a, b)
		s.follow(t, &subscribe.Client{
			Name: fmt.Sprintf("%d by %s", n, all[0]), Ask: s.start(n), Transports: all, Whim: s.whim(n),
		})
	}
	for _, v := range upgrades[1:] {
		s.snapshots(t)
		if n := rangeStreams(t, a); n != 0 {
			t.Errorf("before %s: %v calls of what only the newest has", v, n)
		}
		from := time.Now()
		for _, m := range s.leaderLast(t) {
			s.upgrade(t, m, v)
			head := s.truth.Head()
			eventually(t, settled, "writers write", func() bool { return s.truth.Head() > head+50 })
		}
		eventually(t, settled, "the cluster is of version "+string(v), func() bool { return clusterIs(t, a, v) })
		gap := longestRefusal(writers.Writes(), from)
		t.Logf("to %s within %v; no write was acknowledged for at most %v", v, time.Since(from).Round(time.Millisecond), gap)
		if gap > refusedAtMost {
			t.Errorf("to %s: no write was acknowledged for %v, want at most %v", v, gap, refusedAtMost)
		}
	}
	eventually(t, settled, "what the newest has is used", func() bool { return rangeStreams(t, a) > 0 })
	writers.Stop()
	s.verdict(t, writers.Writes())
	made, failed := lists()
	t.Logf("%d lists", made)
	for _, fault := range failed {
		t.Errorf("a list failed: %s", fault)
	}
	if made < 100 {
		t.Error("too few lists to show anything")
	}
}

// leaderLast are the members, in the order of a careful operator.
func (s *stage) leaderLast(t *testing.T) []*harness.Member {
	t.Helper()
	leader := s.leader(t)
	order := slices.DeleteFunc(slices.Clone(s.cluster.Members), func(m *harness.Member) bool { return m == leader })
	return append(order, leader)
}

// snapshots waits until every member, as it runs now, has put its state aside, which one that has been used for a while has: entries of
// 3.5's log that have not been put aside since are more than 3.7 can read.
func (s *stage) snapshots(t *testing.T) {
	t.Helper()
	for _, m := range s.cluster.Members {
		_, err := m.WaitFor(within(t, settled), "that it has a snapshot", func(line string) bool { return strings.Contains(line, `"msg":"saved snapshot`) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// upgrade stops a member in good order and starts it again as the other version.
func (s *stage) upgrade(t *testing.T, m *harness.Member, v harness.Version) {
	t.Helper()
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	m.Become(t, v)
	restart(t, m)
	s.leader(t)
}

// rangeStreams is how often a gateway has called RangeStream, which came with 3.7.
func rangeStreams(t *testing.T, g *harness.Gateway) float64 {
	t.Helper()
	n, err := harness.Metric(within(t, settled), g.Admin, "etcdrest_etcd_calls_total", `method="KV/RangeStream"`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// clusterIs asks the gateway whether all members run that version.
func clusterIs(t *testing.T, g *harness.Gateway, v harness.Version) bool {
	t.Helper()
	status, body, err := read(within(t, settled), http.DefaultClient, g.API+"/version")
	return err == nil && status == http.StatusOK && strings.Contains(body, fmt.Sprintf(`"etcdcluster":"%s.0"`, v))
}

// longestRefusal is the longest time since from between two acknowledged writes.
func longestRefusal(writes []traffic.Write, from time.Time) (longest time.Duration) {
	var acked []time.Time
	for _, w := range writes {
		if w.Told == traffic.Applied && w.Ended.After(from) {
			acked = append(acked, w.Ended)
		}
	}
	slices.SortFunc(acked, time.Time.Compare)
	for i := 1; i < len(acked); i++ {
		longest = max(longest, acked[i].Sub(acked[i-1]))
	}
	return longest
}

// list lists keys through the gateways in turn until the stage is quiet; the function that it gives tells how often, and what failed.
func (s *stage) list(t *testing.T, gateways ...*harness.Gateway) func() (made int, failed []string) {
	t.Helper()
	client := s.rest(t, gateways[0]).Client
	var mu sync.Mutex
	made, failed := 0, []string(nil)
	s.keep(50*time.Millisecond, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settled)
		defer cancel()
		mu.Lock()
		defer mu.Unlock()
		path := []string{"/v1/kv?prefix=p&limit=20", "/v1/kv?prefix=&delimiter=/&limit=3", "/v1/kv/" + traffic.Key(0, 0)}[made%3]
		status, body, err := read(ctx, client, gateways[made%len(gateways)].API+path)
		if made++; err != nil || status != http.StatusOK && status != http.StatusNotFound {
			failed = append(failed, fmt.Sprintf("%s: %d %s %v", path, status, body, err))
		}
	})
	return func() (int, []string) {
		mu.Lock()
		defer mu.Unlock()
		return made, failed
	}
}

func read(ctx context.Context, client *http.Client, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}
