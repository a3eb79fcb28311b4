package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func asError(t testing.TB, err error) *etcdclient.Error {
	t.Helper()
	e, ok := errors.AsType[*etcdclient.Error](err)
	if !ok {
		t.Fatalf("got %T %v; want *etcdclient.Error", err, err)
	}
	return e
}

func TestWriteAnsweredCanceledDeadlineOrUnavailableIsSeenExactlyOnce(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Internal, codes.Unknown, codes.Aborted} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			fail := func(context.Context) error { return status.Error(code, "a proxy's words") }
			a, b := serve(t, &scripted{id: 1, onPut: fail}), serve(t, &scripted{id: 2, onPut: fail})
			c := ready(t, []string{a.endpoint, b.endpoint})
			_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
			e := asError(t, err)
			if e.Outcome != problem.Unknown || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %+v; want unknown, and no context error while the caller is there", e)
			}
			if n := a.puts.Load() + b.puts.Load(); n != 1 {
				t.Errorf("the servers saw the put %d times; want once", n)
			}
		})
	}
}

func TestWriteOnACutConnectionIsUnknownAndSeenExactlyOnce(t *testing.T) {
	t.Parallel()
	var s *scripted
	s = &scripted{onPut: func(ctx context.Context) error {
		go s.stop()
		return hang(ctx) // the server stops while it works on the put
	}}
	serve(t, s)
	c := ready(t, []string{s.endpoint})
	_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
	if e := asError(t, err); e.Outcome != problem.Unknown || e.Problem().Code != problem.Unavailable || e.Answered {
		t.Errorf("got %+v; want unavailable, unknown, not answered", e)
	}
	if n := s.puts.Load(); n != 1 {
		t.Errorf("the server saw the put %d times; want once", n)
	}
}

func TestWriteThatNeverLeftIsNotAppliedAndNamesTheConnectionError(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := connect(t, []string{address}, func(c *etcdclient.Config) { c.DialTimeout = 300 * time.Millisecond })

	{ // the dial time-out ends it
		_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k")})
		e := asError(t, err)
		if e.Outcome != problem.NotApplied || e.Problem().Code != problem.Unavailable || e.ConnError == "" || e.Answered {
			t.Errorf("got %+v; want unavailable, not_applied, with the connection error", e)
		}
		if e.Problem().RetryAfter <= 0 {
			t.Error("the problem has no RetryAfter")
		}
	}
	{ // the caller's deadline ends it
		_, err := c.Put(within(t, 50*time.Millisecond), &wire.PutRequest{Key: []byte("k")})
		e := asError(t, err)
		if !errors.Is(err, context.DeadlineExceeded) || e.Outcome != problem.NotApplied || e.ConnError == "" {
			t.Errorf("got %+v; want a deadline error, not_applied, with the connection error", e)
		}
		if code := problem.From(err).Code; code != problem.DeadlineExceeded {
			t.Errorf("problem %s; want deadline_exceeded", code)
		}
	}
	{ // WaitReady
		err := c.WaitReady(within(t, 50*time.Millisecond))
		if e := asError(t, err); !errors.Is(err, context.DeadlineExceeded) || e.ConnError == "" {
			t.Errorf("got %+v; want a deadline error with the connection error", e)
		}
	}
}

func TestContextErrorsOfASentWriteAreUnknown(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	s := serve(t, &scripted{onPut: func(ctx context.Context) error {
		arrived <- struct{}{}
		return hang(ctx)
	}})
	c := ready(t, []string{s.endpoint})
	{ // deadline
		_, err := c.Put(within(t, time.Second), &wire.PutRequest{Key: []byte("k")})
		<-arrived
		if e := asError(t, err); !errors.Is(err, context.DeadlineExceeded) || e.Outcome != problem.Unknown || e.Problem().Code != problem.DeadlineExceeded {
			t.Errorf("got %+v; want deadline_exceeded, unknown", e)
		}
	}
	{ // cancel
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := c.Put(ctx, &wire.PutRequest{Key: []byte("k")})
		if e := asError(t, err); !errors.Is(err, context.Canceled) || e.Outcome != problem.Unknown || e.Problem().Code != problem.ClientGone {
			t.Errorf("got %+v; want canceled, unknown", e)
		}
	}
	{ // canceled before
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		before := s.puts.Load()
		_, err := c.Put(ctx, &wire.PutRequest{Key: []byte("k")})
		if e := asError(t, err); !errors.Is(err, context.Canceled) || e.Outcome != problem.NotApplied {
			t.Errorf("got %+v; want canceled, not_applied", e)
		}
		if s.puts.Load() != before {
			t.Error("the server saw the put")
		}
	}
}

func TestReadIsRepeatedOnAnotherMember(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unavailable, codes.Canceled, codes.DeadlineExceeded} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			bad := serve(t, &scripted{id: 1, onRange: func(context.Context) error { return status.Error(code, "a proxy's words") }})
			good := serve(t, &scripted{id: 2})
			bad.leader.Store(1)
			good.leader.Store(1) // so that the first choice is the bad one
			c := ready(t, []string{bad.endpoint, good.endpoint})
			eventually(t, "the bad member is asked, once it is connected", 20*time.Second, func() bool {
				if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
					t.Fatalf("got %v; want the good member's answer", err)
				}
				return bad.ranges.Load() > 0
			})
		})
	}
}

func TestReadOnlyTransactionIsRepeatedAndOneThatWritesIsNot(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	c := ready(t, []string{s.endpoint}) // it has no Txn, so that every attempt is refused the same way
	read := wire.Op{Range: &wire.RangeRequest{Key: []byte("k")}}
	write := wire.Op{Put: &wire.PutRequest{Key: []byte("k")}}
	for _, each := range []struct {
		name string
		txn  *wire.TxnRequest
		want problem.Outcome
	}{
		{"reads", &wire.TxnRequest{Then: []wire.Op{read}, Else: []wire.Op{{Txn: &wire.TxnRequest{Then: []wire.Op{read}}}}}, ""},
		{"writes", &wire.TxnRequest{Then: []wire.Op{read}, Else: []wire.Op{{Txn: &wire.TxnRequest{Then: []wire.Op{write}}}}}, problem.NotApplied},
	} {
		_, err := c.Txn(within(t, 5*time.Second), each.txn)
		if e := asError(t, err); e.Outcome != each.want || e.Problem().Code != problem.NotSupported {
			t.Errorf("%s: got %+v; want not_supported with the outcome %q", each.name, e, each.want)
		}
	}
}

func TestRetryBudgetKeepsAnOutageFromBeingAmplified(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{onRange: func(context.Context) error { return status.Error(codes.Unavailable, "down") }})
	c := ready(t, []string{s.endpoint})
	const calls = 150
	for range calls {
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")}); err == nil {
			t.Fatal("the read succeeded")
		}
	}
	if n := s.ranges.Load(); n > calls+calls/10+21 || n <= calls {
		t.Errorf("%d calls made %d attempts; want more than %[1]d and at most a tenth more (and the first 20)", calls, n)
	}
}

// connected waits until the small-call connections to two members can take work.
func connected(t testing.TB, c *etcdclient.Client) {
	t.Helper()
	eventually(t, "all members are connected", 10*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_connections", "class", "unary") == 4
	})
}

func TestReadsLeaveAMemberThatHangsWhileItsHealthServiceAnswers(t *testing.T) {
	t.Parallel()
	bad := serve(t, &scripted{id: 1, onRange: hang})
	good := &scripted{id: 2}
	good.leader.Store(1)
	serve(t, good)
	c := ready(t, []string{bad.endpoint, good.endpoint})
	connected(t, c)
	started := time.Now()
	if _, err := c.Range(within(t, 4*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
		t.Fatalf("after %v: %v; want the other member's answer within the caller's time", time.Since(started), err)
	}
	if bad.ranges.Load() != 1 || good.ranges.Load() != 1 {
		t.Errorf("asked %d and %d times; want each once", bad.ranges.Load(), good.ranges.Load())
	}
}

func TestFrozenMemberIsSetAsideAndItsReadsAndStreamsMove(t *testing.T) {
	t.Parallel()
	a := serve(t, &scripted{id: 1, onRenew: func(s pb.Lease_LeaseKeepAliveServer) error { return hang(s.Context()) }})
	other := &scripted{id: 2, onRenew: a.onRenew}
	other.leader.Store(1)
	serve(t, other)
	ice := freezer(t, a.endpoint)
	c := ready(t, []string{ice.endpoint, other.endpoint}, func(c *etcdclient.Config) {
		c.HealthInterval, c.HealthTimeout = 50*time.Millisecond, 200*time.Millisecond
	})
	connected(t, c)

	if _, err := pb.NewLeaseClient(c).LeaseKeepAlive(within(t, 20*time.Second)); err != nil { // has the connections opened
		t.Fatal(err)
	}
	eventually(t, "the lease connections are open", 5*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_connections", "class", "lease") == 2
	})
	before := a.renewals.Load()
	stream, err := pb.NewLeaseClient(c).LeaseKeepAlive(within(t, 20*time.Second)) // leans to the leader, which is a
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream has reached the leader", 5*time.Second, func() bool { return a.renewals.Load() > before })
	ice.freeze()

	started := time.Now()
	for range 10 {
		if _, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
			t.Fatalf("after %v: %v", time.Since(started), err)
		}
	}
	if d := time.Since(started); d > 4*time.Second {
		t.Errorf("ten reads took %v; want them moved within 4 s", d)
	}
	_, err = stream.Recv()
	if e := asError(t, err); e.Name != etcdclient.NameMemberSilent || !e.Retryable || errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %+v; want MemberSilent", e)
	}
	eventually(t, "the member is set aside", 5*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_members_set_aside") == 1
	})
	ice.thaw()
	eventually(t, "the member is back", 10*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_members_set_aside") == 0
	})
}

// The caller of a write that has reached a member which then falls silent learns that when the silence is noticed, long
// before its own time has run out, and the write is not sent again.
func TestWriteAtAFrozenMemberIsUnknownSoonAndSeenExactlyOnce(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 2} {
		t.Run(fmt.Sprintf("of %d", members), func(t *testing.T) {
			t.Parallel()
			a := serve(t, &scripted{id: 1, onPut: hang})
			other := &scripted{id: 2}
			other.leader.Store(1)
			serve(t, other)
			ice := freezer(t, a.endpoint)
			c := ready(t, []string{ice.endpoint, other.endpoint}[:members], func(c *etcdclient.Config) {
				c.HealthInterval, c.HealthTimeout = 50*time.Millisecond, 200*time.Millisecond
			})
			eventually(t, "all members are connected", 10*time.Second, func() bool {
				return gauge(t, c, "etcdrest_etcd_connections", "class", "unary") == float64(2*members)
			})
			ctx, answered := within(t, 20*time.Second), make(chan error, 1)
			go func() {
				_, err := c.Put(ctx, &wire.PutRequest{Key: []byte("k")})
				answered <- err
			}()
			eventually(t, "the put has reached the leader", 5*time.Second, func() bool { return a.puts.Load() == 1 })
			ice.freeze()
			defer ice.thaw()
			frozen := time.Now()
			e := asError(t, <-answered)
			if e.Name != etcdclient.NameMemberSilent || e.Outcome != problem.Unknown || e.Problem().Code != problem.Unavailable {
				t.Errorf("got %+v; want MemberSilent, unavailable, unknown", e)
			}
			if d := time.Since(frozen); d > 5*time.Second {
				t.Errorf("the answer came after %v; want it when the member is set aside", d)
			}
			if n := a.puts.Load() + other.puts.Load(); n != 1 {
				t.Errorf("the servers saw the put %d times; want once", n)
			}
		})
	}
}

func TestRefusingMemberIsSetAsideAndProbedBack(t *testing.T) {
	t.Parallel()
	var noLeader atomic.Bool
	refuse := func(context.Context) error {
		if noLeader.Load() {
			return status.Error(codes.Unavailable, "etcdserver: no leader")
		}
		return nil
	}
	a := serve(t, &scripted{id: 1, onPut: refuse, onStatus: refuse})
	b := serve(t, &scripted{id: 2})
	b.leader.Store(1)
	c := ready(t, []string{a.endpoint, b.endpoint})
	eventually(t, "puts reach the leader", 5*time.Second, func() bool {
		put(t, c, "k", "v")
		return a.puts.Load() > 0 && b.statuses.Load() > 1
	})
	noLeader.Store(true)
	for range 20 {
		put(t, c, "k", "v") // refused by a, which proves that it was not applied, and repeated at b
	}
	if n := gauge(t, c, "etcdrest_etcd_members_set_aside"); n != 1 {
		t.Errorf("members set aside: %v; want 1", n)
	}
	seen := a.puts.Load()
	for range 20 {
		put(t, c, "k", "v")
	}
	if n := a.puts.Load(); n != seen {
		t.Errorf("the member that was set aside got %d more puts", n-seen)
	}
	noLeader.Store(false)
	eventually(t, "the member is back", 5*time.Second, func() bool {
		put(t, c, "k", "v")
		return a.puts.Load() > seen
	})
}

func TestLearnerIsUsedForNothing(t *testing.T) {
	t.Parallel()
	learner := &scripted{id: 1}
	learner.learner.Store(true)
	learner.leader.Store(2)
	serve(t, learner)
	voter := serve(t, &scripted{id: 2})
	c := ready(t, []string{learner.endpoint, voter.endpoint})
	for range 50 {
		put(t, c, "k", "v")
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
			t.Fatal(err)
		}
	}
	if learner.puts.Load()+learner.ranges.Load() != 0 {
		t.Error("the learner was asked")
	}
}

func TestLeaderIsPreferredForWritesAndLinearizableReads(t *testing.T) {
	t.Parallel()
	leader, follower := serve(t, &scripted{id: 1}), &scripted{id: 2}
	follower.leader.Store(1)
	serve(t, follower)
	c := ready(t, []string{leader.endpoint, follower.endpoint})
	connected(t, c)
	for range 50 {
		put(t, c, "k", "v")
	}
	if n := follower.puts.Load(); n != 0 {
		t.Errorf("the follower got %d of 50 puts of an idle client; want none", n)
	}
	for range 200 {
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
			t.Fatal(err)
		}
	}
	if l, f := leader.ranges.Load(), follower.ranges.Load(); l == 0 || f == 0 {
		t.Errorf("200 serializable reads: %d and %d; want them spread", l, f)
	}
}

func TestServerThatRestartsIsFoundAgainSoon(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	c := ready(t, []string{s.endpoint})
	put(t, c, "k", "v")
	s.stop()
	eventually(t, "the connections are lost", 10*time.Second, func() bool { return gauge(t, c, "etcdrest_etcd_connections") == 0 })
	_, err := c.Put(within(t, 100*time.Millisecond), &wire.PutRequest{Key: []byte("k")})
	if err == nil {
		t.Fatal("a put to a stopped server succeeded")
	}
	s.start(t)
	started := time.Now()
	put(t, c, "k", "v") // waits for the connection
	if d := time.Since(started); d > 3*time.Second {
		t.Errorf("found again after %v; want at most 3 s", d)
	}
}

func TestFailoverIsInvisibleToReadsAndToWritesNotYetSent(t *testing.T) {
	t.Parallel()
	a, b := serve(t, &scripted{id: 1}), &scripted{id: 2}
	b.leader.Store(1)
	serve(t, b)
	c := ready(t, []string{a.endpoint, b.endpoint})
	connected(t, c)
	put(t, c, "k", "v")
	a.stop()
	for range 20 {
		if _, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
			t.Fatalf("a read after the leader died: %v", err)
		}
	}
	put(t, c, "k", "v")
}

func TestLeaseKeepAliveOnceIsRepeatedWithBackoff(t *testing.T) {
	t.Parallel()
	s := &scripted{onRenew: func(pb.Lease_LeaseKeepAliveServer) error { return status.Error(codes.Unavailable, "down") }}
	serve(t, s)
	c := ready(t, []string{s.endpoint})
	_, err := c.LeaseKeepAliveOnce(within(t, 5*time.Second), 1)
	if e := asError(t, err); e.Code != codes.Unavailable {
		t.Errorf("got %+v; want unavailable", e)
	}
	if n := s.renewals.Load(); n != 4 {
		t.Errorf("%d streams; want 4 attempts", n)
	}
}

func TestEndpointOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	_, s := embedded(t)
	release := make(chan struct{})
	foreign := serve(t, &scripted{id: 9, onStatus: func(ctx context.Context) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	}})
	c := ready(t, []string{s.Endpoint(), foreign.endpoint})
	close(release) // the foreign one answers second
	eventually(t, "the foreign endpoint was asked again", 5*time.Second, func() bool { return foreign.statuses.Load() > 2 })
	for range 20 {
		put(t, c, "k", "v")
	}
	if n := foreign.puts.Load(); n != 0 {
		t.Errorf("the endpoint of another cluster got %d puts; want none", n)
	}
}

func TestASlowMemberIsGivenNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serve(t, &scripted{onPut: func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	c := ready(t, []string{s.endpoint}, func(c *etcdclient.Config) { c.MaxCalls = 10 })
	put := func() error {
		_, err := c.Put(within(t, 20*time.Second), &wire.PutRequest{Key: []byte("k")})
		return err
	}
	var waiting sync.WaitGroup
	for range 10 {
		waiting.Go(func() {
			if err := put(); err != nil {
				t.Errorf("a put within the bound: %v", err)
			}
		})
	}
	eventually(t, "the server works on all of them", 10*time.Second, func() bool { return s.puts.Load() == 10 })
	for range 5 {
		began := time.Now()
		e := asError(t, put())
		if e.Name != etcdclient.NameBusy || e.Outcome != problem.NotApplied || e.Problem().Code != problem.Overloaded || e.Problem().RetryAfter == 0 {
			t.Errorf("a put beyond the bound: %+v; want Busy, not applied, with a time to come back", e)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it was refused after %v; want at once", took)
		}
	}
	close(release)
	waiting.Wait()
	if err := put(); err != nil {
		t.Errorf("after the member is quick again: %v", err)
	}
	if n := s.puts.Load(); n != 11 {
		t.Errorf("the server saw %d puts; want 11", n)
	}
}
