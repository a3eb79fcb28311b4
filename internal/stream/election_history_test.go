package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// leadership is who leads from a revision on, spelled "key=value token", empty for nobody.
type leadership struct {
	Revision int64
	Leader   string
}

func (m *message) leadership() leadership {
	if m.Leader == nil {
		return leadership{m.Revision, ""}
	}
	return leadership{m.Revision, fmt.Sprintf("%s=%s %d", m.Leader.OwnerKey, m.Leader.Value, m.Leader.FencingToken)}
}

// leaderships is what etcd's own client reads, revision by revision, of who stands longest.
func (g *gateway) leaderships(t testing.TB, name string, from, to int64) (all []leadership) {
	t.Helper()
	var last string
	var lastMod int64
	for r := from - 1; r <= to; r++ {
		answer, err := g.oracle.Get(t.Context(), name+"/", append(clientv3.WithFirstCreate(), clientv3.WithRev(r))...)
		if err != nil {
			t.Fatal(err)
		}
		spelled, mod := "", int64(0)
		for _, kv := range answer.Kvs {
			spelled, mod = fmt.Sprintf("%s=%s %d", kv.Key, kv.Value, kv.CreateRevision), kv.ModRevision
		}
		if r >= from && (spelled != last || mod != lastMod) {
			all = append(all, leadership{r, spelled})
		}
		last, lastMod = spelled, mod
	}
	return all
}

// vie does n random things to candidates of the election, and gives the last revision.
func (g *gateway) vie(t testing.TB, random *rand.Rand, name string, n int, after func(revision int64)) int64 {
	t.Helper()
	ctx, revision := within(t), int64(0)
	key := func() string { return fmt.Sprintf("%s/%x", name, 0x694d9b1f2a3c0000+random.IntN(8)) }
	for i := range n {
		switch random.IntN(8) {
		case 0, 1, 2:
			r, err := g.oracle.Delete(ctx, key())
			if err != nil {
				t.Fatal(err)
			}
			revision = r.Header.Revision
		case 3:
			revision = g.put(t, "elsewhere", "x")
		case 4: // a lease is lost, with its key
			lease, err := g.oracle.Grant(ctx, 60)
			if err != nil {
				t.Fatal(err)
			}
			g.txn(t, clientv3.OpPut(key(), fmt.Sprint("leased ", i), clientv3.WithLease(lease.ID)))
			after(g.present(t))
			if _, err := g.oracle.Revoke(ctx, lease.ID); err != nil {
				t.Fatal(err)
			}
			revision = g.present(t)
		default:
			revision = g.put(t, key(), fmt.Sprint("v", i))
		}
		after(revision)
	}
	return revision
}

// Whoever observes a random history, from its beginning or resumed anywhere, quickly or through catch-ups because the logs
// hold next to nothing, is told exactly what etcd's client reads at each revision.
func TestObserversAgreeWithEveryRevision(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 2000} })
		random := rand.New(rand.NewPCG(seed, 7))
		first := g.revision + 1
		live := g.lines(t, "election=e")
		live.created()
		live.kind("leader")
		last := g.vie(t, random, "e", 120, func(int64) {})
		last = g.txn(t, clientv3.OpPut("e/1", fmt.Sprint("end ", last)), clientv3.OpPut("e/2", "with it"))
		last = g.txn(t, clientv3.OpDelete("e/", clientv3.WithPrefix()), clientv3.OpPut("f", fmt.Sprint("end ", last)))
		truth := g.leaderships(t, "e", first, last)
		check := func(what string, s *subscription, from int64) {
			t.Helper()
			want := truth
			for len(want) > 0 && want[0].Revision < from {
				want = want[1:]
			}
			var got []leadership
			for range want {
				m := s.kind("leader")
				got = append(got, m.leadership())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d: %s (-want +got):\n%.2000s", seed, what, diff)
			}
		}
		check("from the beginning", live, first)
		for range 12 {
			from := first + random.Int64N(last-first+1)
			s := g.lines(t, fmt.Sprintf("election=e&start_revision=%d", from))
			s.created()
			check(fmt.Sprint("from ", from), s, from)
			s.leave()
			var polled []leadership
			for at := from; at <= last; {
				p := g.poll(t, fmt.Sprintf("election=e&wait=0&start_revision=%d", at))
				for _, l := range p.Leaders {
					polled = append(polled, (&message{Revision: l.Revision, Leader: l.Leader}).leadership())
				}
				at = p.NextRevision
			}
			want := truth[len(truth)-len(polled):]
			if diff := cmp.Diff(want, polled); diff != "" || len(truth) > len(want) && truth[len(truth)-len(want)-1].Revision >= from {
				t.Errorf("seed %d: polled from %d (-want +got):\n%.2000s", seed, from, diff)
			}
		}
	}
}

// Step by step, etcd's own Election.Observe tells the same leaders; it is silent when nobody leads.
func TestObserversAgreeWithThePackageConcurrency(t *testing.T) {
	t.Parallel()
	g := start(t)
	session, err := concurrency.NewSession(g.oracle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	theirs := concurrency.NewElection(session, "e").Observe(within(t))
	ours := g.lines(t, "election=e")
	ours.created()
	ours.kind("leader")
	random := rand.New(rand.NewPCG(11, 7))
	told := 0
	last := leadership{}
	g.vie(t, random, "e", 400, func(revision int64) {
		truth := g.leaderships(t, "e", revision, revision)
		if len(truth) == 0 || last == truth[0] {
			return
		}
		last = truth[0]
		m := ours.kind("leader")
		if got := m.leadership(); got != last {
			t.Fatalf("we tell %+v, etcd has %+v", got, last)
		}
		if last.Leader == "" {
			return
		}
		r, ok := <-theirs
		if !ok {
			t.Fatal("the package's Observe has ended")
		}
		kv := r.Kvs[0]
		if got := fmt.Sprintf("%s=%s %d", kv.Key, kv.Value, kv.CreateRevision); got != last.Leader {
			t.Fatalf("the package tells %s, we tell %s", got, last.Leader)
		}
		told++
	})
	if told < 40 {
		t.Errorf("only %d leaders were told", told)
	}
}

// An observer that does not read falls off the log, comes back by a catch-up, and is told everything all the same; where that
// is compacted and it wishes so, it is told to forget what it knows, and who leads.
func TestASlowObserverMissesNoLeader(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 1 << 16, CatchupBytes: 1 << 16} })
	slow, resync := g.lines(t, "election=e"), g.lines(t, "election=e&on_compacted=resync")
	for _, s := range []*subscription{slow, resync} {
		s.created()
		s.kind("leader")
	}
	value := strings.Repeat("x", 64<<10)
	const proclaimed = 100
	first := g.put(t, "e/1", "0 "+value)
	for i := 1; i < proclaimed; i++ {
		g.put(t, "e/1", fmt.Sprint(i, " ", value))
	}
	for i := range proclaimed {
		m := slow.kind("leader")
		if m.Revision != first+int64(i) || !strings.HasPrefix(m.Leader.Value, fmt.Sprint(i, " ")) {
			t.Fatalf("got revision %d %.20s, want %d", m.Revision, m.Leader.Value, first+int64(i))
		}
	}
	last := g.put(t, "e/1", "end")
	g.compact(t, last)
	m := resync.next()
	for m.Type == "leader" && m.Revision < last {
		m = resync.next()
	}
	if m.Type == "reset" {
		m = resync.kind("leader")
	}
	if m.Revision != last || m.Leader.Value != "end" {
		t.Errorf("the last: got %s of revision %d", m.Type, m.Revision)
	}
}
