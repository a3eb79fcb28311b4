package etcdclient_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// quick finds out soon that a member is silent.
func quick(c *etcdclient.Config) {
	c.HealthInterval, c.HealthTimeout = 50*time.Millisecond, 200*time.Millisecond
}

// TestEveryReadOfALostMemberMovesHoweverManyThereAre: the budget for repeats, twenty at once, is for members that fail, not
// for one that is gone, or else all but twenty reads under way would fail although another member can answer them.
func TestEveryReadOfALostMemberMovesHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"silent", "connection lost"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			bad := serve(t, &scripted{id: 1, onRange: hang})
			lost := make(chan struct{})
			good := &scripted{id: 2, onRange: func(ctx context.Context) error { // so that they share the reads until then
				select {
				case <-lost:
				case <-ctx.Done():
				}
				return nil
			}}
			good.leader.Store(1)
			serve(t, good)
			ice := freezer(t, bad.endpoint)
			c := ready(t, []string{ice.endpoint, good.endpoint}, quick, apart)
			connected(t, c)
			const calls = 200
			var (
				work   sync.WaitGroup
				failed atomic.Int64
			)
			for range calls {
				work.Go(func() {
					if _, err := c.Range(within(t, 30*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
						failed.Add(1)
						t.Log(err)
					}
				})
			}
			eventually(t, "many reads are under way at the one that will be lost", 20*time.Second, func() bool {
				return bad.ranges.Load() > calls/3 && bad.ranges.Load()+good.ranges.Load() >= calls
			})
			close(lost)
			if how == "silent" {
				ice.freeze()
			} else {
				bad.stop()
			}
			work.Wait()
			if n := failed.Load(); n > 0 {
				t.Errorf("%d of %d reads failed; want them moved", n, calls)
			}
		})
	}
}

// TestMemberWithoutALeaderIsAskedBeforeASilentOne: both are set aside and nobody else is there, but only one of them hangs.
func TestMemberWithoutALeaderIsAskedBeforeASilentOne(t *testing.T) {
	t.Parallel()
	silent := serve(t, &scripted{id: 1})
	var leaderless atomic.Bool
	alive := &scripted{id: 2, onStatus: func(context.Context) error {
		if leaderless.Load() {
			return status.Error(codes.Unavailable, "etcdserver: no leader")
		}
		return nil
	}}
	alive.onPut = alive.onStatus
	alive.leader.Store(2)
	serve(t, alive)
	ice := freezer(t, silent.endpoint)
	c := ready(t, []string{ice.endpoint, alive.endpoint}, quick)
	connected(t, c)
	local := func() {
		started := time.Now()
		if _, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
			t.Fatalf("after %v: %v", time.Since(started), err)
		}
	}
	ice.freeze()
	eventually(t, "the silent member is set aside", 10*time.Second, func() bool {
		local()
		return gauge(t, c, "etcdrest_etcd_members_set_aside") == 1
	})
	leaderless.Store(true)
	_, err := c.Put(within(t, time.Second), &wire.PutRequest{Key: []byte("k")})
	if e := asError(t, err); e.Name != "NoLeader" && e.Name != etcdclient.NameDeadlineExceeded {
		t.Errorf("got %+v; want that there is no leader", e)
	}
	eventually(t, "both members are set aside", 10*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_members_set_aside") == 2
	})
	before := silent.ranges.Load()
	for range 50 {
		started := time.Now()
		local()
		if d := time.Since(started); d > time.Second {
			t.Fatalf("a read took %v; want the answer of the member that answers", d)
		}
	}
	if n := silent.ranges.Load(); n != before {
		t.Errorf("the silent member was asked %d times", n-before)
	}
}

// TestAConnectionThatHangsIsLeftForAnotherToTheSameMember: the member answers, by another way, so that it is not its silence alone
// that keeps calls away from the connection, to a proxy that is stuck, say.
func TestAConnectionThatHangsIsLeftForAnotherToTheSameMember(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	ice := freezer(t, s.endpoint)
	c := ready(t, []string{ice.endpoint, s.endpoint}, quick, apart)
	connected(t, c)
	ice.freeze()
	eventually(t, "the hanging connection is noticed", 20*time.Second, func() bool {
		_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
		return err != nil && asError(t, err).Name == etcdclient.NameMemberSilent
	})
	eventually(t, "the member is back", 20*time.Second, func() bool { return gauge(t, c, "etcdrest_etcd_members_set_aside") == 0 })
	for range 100 {
		put(t, c, "k", "v")
	}
	ice.thaw()
	eventually(t, "the connection is used again", 20*time.Second, func() bool {
		var work sync.WaitGroup
		for range 20 {
			work.Go(func() { put(t, c, "k", "v") })
		}
		most := 0.
		for range 20 {
			most = max(most, gauge(t, c, "etcdrest_etcd_in_flight", "endpoint", ice.endpoint, "class", "unary"))
		}
		work.Wait()
		return most > 0
	})
}

// TestPromotedLearnerIsUsedFromThenOn: nothing but a question to the learner tells of its promotion.
func TestPromotedLearnerIsUsedFromThenOn(t *testing.T) {
	t.Parallel()
	learner := &scripted{id: 1}
	learner.learner.Store(true)
	learner.leader.Store(2)
	serve(t, learner)
	voter := serve(t, &scripted{id: 2})
	c := ready(t, []string{learner.endpoint, voter.endpoint}, quick)
	connected(t, c)
	local := func() {
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
			t.Fatal(err)
		}
	}
	local()
	learner.learner.Store(false)
	eventually(t, "the former learner is read", 10*time.Second, func() bool {
		local()
		return learner.ranges.Load() > 0
	})
}

// TestAMemberIsAskedAboutItself: a learner too, which gets no other work; and one that cannot be reached fails at once.
func TestAMemberIsAskedAboutItself(t *testing.T) {
	t.Parallel()
	learner := &scripted{id: 1}
	learner.learner.Store(true)
	learner.leader.Store(2)
	serve(t, learner)
	voter := serve(t, &scripted{id: 2})
	gone := serve(t, &scripted{id: 3})
	c := ready(t, []string{learner.endpoint, voter.endpoint, gone.endpoint}, quick)
	eventually(t, "all members are connected", 10*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_connections", "class", "unary") == 6
	})
	for id, endpoint := range map[uint64]string{1: learner.endpoint, 2: "http://another.name:2379"} {
		s, err := c.StatusOf(within(t, 5*time.Second), etcdclient.Member{ID: id, Name: "m", ClientURLs: []string{endpoint}})
		if err != nil || s.Header.MemberID != id || s.Learner != (id == 1) {
			t.Errorf("member %d: got %+v, %v", id, s, err)
		}
	}
	for range 20 {
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
			t.Fatal(err)
		}
	}
	if n := learner.ranges.Load(); n != 0 {
		t.Errorf("the learner was read %d times, want never", n)
	}

	_, err := c.StatusOf(t.Context(), etcdclient.Member{ID: 9, Name: "m", ClientURLs: []string{"http://another.name:2379"}})
	if e := asError(t, err); e.Name != etcdclient.NameNoEndpoint {
		t.Errorf("a member that no endpoint leads to: got %+v", e)
	}
	_, err = c.StatusOf(t.Context(), etcdclient.Member{ID: 2, ClientURLs: []string{learner.endpoint}})
	if err != nil {
		t.Errorf("a member that names another's address, and is known by its own: got %v", err)
	}
	gone.stop()
	down := etcdclient.Member{ID: 3, Name: "m", ClientURLs: []string{gone.endpoint}}
	eventually(t, "a member that is down fails at once", 10*time.Second, func() bool {
		ctx := within(t, 5*time.Second)
		started := time.Now()
		_, err := c.StatusOf(ctx, down)
		e := asError(t, err)
		return e.Name == etcdclient.NameNotConnected && time.Since(started) < 500*time.Millisecond
	})
}
