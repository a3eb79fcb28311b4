package etcdclient_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// owner is a Keeper that waits for the loss of its lease.
type owner struct {
	t    testing.TB
	once sync.Once
	lost chan error // capacity 1
}

func newOwner(t testing.TB) *owner {
	t.Helper()
	return &owner{t: t, lost: make(chan error, 1)}
}

func (o *owner) Lost(err error) {
	first := false
	o.once.Do(func() { first = true })
	if !first {
		o.t.Errorf("told twice: %v", err)
		return
	}
	o.lost <- err
}

// untilLost gives the error that the owner is told.
func (o *owner) untilLost(d time.Duration) *etcdclient.Error {
	o.t.Helper()
	select {
	case err := <-o.lost:
		return asError(o.t, err)
	case <-time.After(d):
		o.t.Fatalf("not told within %v", d)
		return nil
	}
}

// grant makes a lease.
func grant(t testing.TB, c *etcdclient.Client, ttl int64) etcdclient.Lease {
	t.Helper()
	l, err := c.LeaseGrant(within(t, 10*time.Second), ttl, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAThousandLeasesAreKeptAliveOnTwoStreams(t *testing.T) {
	t.Parallel()
	const n, ttl = 1000, 6
	c, _ := embedded(t)
	var kept []*etcdclient.KeepAlive
	var owners []*owner
	var ids []int64
	for range n {
		l, o := grant(t, c, ttl), newOwner(t)
		ids, owners = append(ids, l.ID), append(owners, o)
		kept = append(kept, c.KeepAlive(l.ID, l.TTL, o))
	}
	started := time.Now()
	if got := gauge(t, c, "etcdrest_etcd_leases_kept"); got != n {
		t.Errorf("%v leases kept, want %d", got, n)
	}
	eventually(t, "longer than the leases would live by themselves", 4*ttl*time.Second, func() bool {
		if got := gauge(t, c, "etcdrest_etcd_in_flight", "class", "lease"); got > 2 {
			t.Fatalf("%v streams, want two at most", got)
		}
		return time.Since(started) > 2*ttl*time.Second
	})
	left, _, err := c.Leases(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != n {
		t.Errorf("%d of %d leases are left", len(left), n)
	}
	for i, o := range owners {
		select {
		case err := <-o.lost:
			t.Errorf("lease %d: %v", i, err)
		default:
		}
	}
	for _, k := range kept {
		k.Stop()
		k.Stop()
	}
	if got := gauge(t, c, "etcdrest_etcd_leases_kept"); got != 0 {
		t.Errorf("%v leases kept after they were stopped", got)
	}
	eventually(t, "the streams are closed", 5*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_in_flight", "class", "lease") == 0
	})
	if _, err := c.LeaseTimeToLive(within(t, 5*time.Second), ids[0], false); err != nil {
		t.Errorf("stopping revoked the lease: %v", err)
	}
}

func TestALeaseThatIsRevokedElsewhereIsToldWithinAThirdOfItsTime(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	other, revoked := newOwner(t), newOwner(t)
	c.KeepAlive(grant(t, c, 3).ID, 3, other)
	l := grant(t, c, 3)
	second := newOwner(t)
	c.KeepAlive(l.ID, l.TTL, revoked)
	c.Namespace([]byte("ns/")).KeepAlive(l.ID, l.TTL, second)
	eventually(t, "it is renewed", 5*time.Second, func() bool {
		s, err := c.LeaseTimeToLive(within(t, 5*time.Second), l.ID, false)
		return err == nil && s.TTL > 0
	})
	if _, err := c.LeaseRevoke(within(t, 5*time.Second), l.ID); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	for _, o := range []*owner{revoked, second} {
		if e := o.untilLost(5 * time.Second); !errors.Is(e, etcdclient.ErrLeaseNotFound) {
			t.Errorf("told %+v; want that there is no such lease", e)
		}
	}
	if d := time.Since(since); d > 1500*time.Millisecond {
		t.Errorf("told after %v; want a third of 3 s, and a little", d)
	}
	if n := gauge(t, c, "etcdrest_etcd_leases_kept"); n != 1 {
		t.Errorf("%v leases kept, want the other one", n)
	}
	unknown := newOwner(t)
	c.KeepAlive(12345, 60, unknown)
	if e := unknown.untilLost(5 * time.Second); !errors.Is(e, etcdclient.ErrLeaseNotFound) {
		t.Errorf("a lease that never was: told %+v", e)
	}
}

func TestCloseTellsTheOwnersOfLeasesAndRevokesNothing(t *testing.T) {
	t.Parallel()
	c, s := embedded(t)
	closing := connect(t, []string{s.Endpoint()})
	var owners []*owner
	l := grant(t, c, 30)
	for range 10 {
		o := newOwner(t)
		owners = append(owners, o)
		closing.KeepAlive(l.ID, l.TTL, o)
		closing.KeepAlive(grant(t, c, 30).ID, 30, newOwner(t)).Stop()
	}
	if err := closing.Close(); err != nil {
		t.Fatal(err)
	}
	late := newOwner(t)
	closing.KeepAlive(l.ID, l.TTL, late)
	for _, o := range append(owners, late) {
		if e := o.untilLost(5 * time.Second); e.Name != etcdclient.NameClosed {
			t.Errorf("told %+v; want that the client is closed", e)
		}
	}
	if _, err := c.LeaseTimeToLive(within(t, 5*time.Second), l.ID, false); err != nil {
		t.Errorf("closing revoked the lease: %v", err)
	}
	if n := gauge(t, closing, "etcdrest_etcd_leases_kept"); n != 0 {
		t.Errorf("%v leases kept after Close", n)
	}
}

func TestLeasesLeaveAMemberThatDoesNotAnswerWithinAThirdOfTheirTime(t *testing.T) {
	t.Parallel()
	c, s := embedded(t)
	ice := freezer(t, s.Endpoint())
	both := ready(t, []string{ice.endpoint, s.Endpoint()})
	const ttl = 6
	var owners []*owner
	var ids []int64
	for range 50 {
		l, o := grant(t, c, ttl), newOwner(t)
		ids, owners = append(ids, l.ID), append(owners, o)
		both.KeepAlive(l.ID, l.TTL, o)
	}
	eventually(t, "the connections for leases are open", 5*time.Second, func() bool {
		return gauge(t, both, "etcdrest_etcd_connections", "class", "lease") == 2
	})
	ice.freeze()
	frozen := time.Now()
	eventually(t, "longer than the leases would live by themselves", 4*ttl*time.Second, func() bool {
		return time.Since(frozen) > 2*ttl*time.Second
	})
	for i, o := range owners {
		select {
		case err := <-o.lost:
			t.Errorf("lease %d was lost: %v", i, err)
		default:
		}
		if _, err := c.LeaseTimeToLive(within(t, 5*time.Second), ids[i], false); err != nil {
			t.Errorf("lease %d: %v", i, err)
		}
	}
}

func TestAStreamThatIsSilentForAThirdOfTheTimeIsReplaced(t *testing.T) {
	t.Parallel()
	s := &scripted{}
	opened := make(chan time.Time, 100)
	s.onRenew = func(stream pb.Lease_LeaseKeepAliveServer) error {
		opened <- time.Now()
		if s.renewals.Load() == 1 { // alive, to the health service as well, but it answers no renewal
			return hang(stream.Context())
		}
		for {
			r, err := stream.Recv()
			if err != nil {
				return err
			}
			if err := stream.Send(&pb.LeaseKeepAliveResponse{Header: s.header(), ID: r.GetID(), TTL: 3}); err != nil {
				return err
			}
		}
	}
	serve(t, s)
	c := ready(t, []string{s.endpoint})
	c.KeepAlive(2, 3, newOwner(t))
	first, second := <-opened, <-opened
	if d := second.Sub(first); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("replaced after %v; want a second", d)
	}
}

func TestALeaseThatEtcdRefusesToRenewIsTheOneThatIsLost(t *testing.T) {
	t.Parallel()
	s := &scripted{}
	s.onRenew = func(stream pb.Lease_LeaseKeepAliveServer) error {
		for {
			r, err := stream.Recv()
			switch {
			case err != nil:
				return err
			case r.GetID() == 20:
				return status.Error(codes.PermissionDenied, "etcdserver: permission denied")
			}
			if err := stream.Send(&pb.LeaseKeepAliveResponse{Header: s.header(), ID: r.GetID(), TTL: 3}); err != nil {
				return err
			}
		}
	}
	serve(t, s)
	c := ready(t, []string{s.endpoint})
	var others []*owner
	denied := newOwner(t)
	for id := int64(2); id < 100; id += 2 { // on one stream
		o := newOwner(t)
		if id == 20 {
			o = denied
		} else {
			others = append(others, o)
		}
		c.KeepAlive(id, 3, o)
	}
	if e := denied.untilLost(10 * time.Second); e.Name != "PermissionDenied" {
		t.Errorf("told %+v", e)
	}
	if n := gauge(t, c, "etcdrest_etcd_leases_kept"); int(n) != len(others) {
		t.Errorf("%v leases kept, want %d", n, len(others))
	}
}

func TestKeepAliveStreamsThatFailAreOpenedAgainSparingly(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.OK, codes.Unavailable, codes.Unknown, codes.Internal, codes.Canceled} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := serve(t, &scripted{onRenew: func(pb.Lease_LeaseKeepAliveServer) error { return status.Error(code, "a proxy's words") }})
			c := ready(t, []string{s.endpoint})
			started := time.Now()
			c.KeepAlive(2, 60, newOwner(t))
			eventually(t, "seven streams", 20*time.Second, func() bool { return s.renewals.Load() >= 7 })
			if d := time.Since(started); d < 60*time.Millisecond {
				t.Errorf("seven streams in %v", d)
			}
		})
	}
}

func TestKeepAlivesComeAndGoConcurrently(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t)
	way := freezer(t, s.Endpoint())
	c := ready(t, []string{way.endpoint, s.Endpoint()})
	l := grant(t, c, 60)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				k := c.KeepAlive(l.ID, l.TTL, newOwner(t))
				wg.Go(k.Stop)
				wg.Go(k.Stop)
			}
		})
	}
	wg.Go(way.cut)
	wg.Wait()
	if n := gauge(t, c, "etcdrest_etcd_leases_kept"); n != 0 {
		t.Errorf("%v leases kept, want none", n)
	}
}
