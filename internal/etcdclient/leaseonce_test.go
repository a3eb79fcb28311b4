package etcdclient_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// renewing is a server that renews, and counts what it is asked.
type renewing struct {
	*scripted

	mu      sync.Mutex
	asked   map[int64]int
	most    int // streams at a time
	streams int
	// answer tells what to say about a lease, for the how-manieth time it is asked on the stream; nil renews it.
	answer func(id int64, n int) (ttl int64, err error)
	gate   chan struct{} // nothing is answered before it is closed; nil is open
}

func newRenewing() *renewing {
	r := &renewing{scripted: &scripted{}, asked: make(map[int64]int)}
	r.onRenew = r.serve
	return r
}

func (r *renewing) serve(stream pb.Lease_LeaseKeepAliveServer) error {
	r.mu.Lock()
	r.streams++
	r.most = max(r.most, r.streams)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.streams--
		r.mu.Unlock()
	}()
	for n := 1; ; n++ {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.asked[request.GetID()]++
		r.mu.Unlock()
		if r.gate != nil {
			select {
			case <-r.gate:
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
		ttl := int64(10)
		if r.answer != nil {
			if ttl, err = r.answer(request.GetID(), n); err != nil {
				return err
			}
		}
		if err := stream.Send(&pb.LeaseKeepAliveResponse{Header: r.header(), ID: request.GetID(), TTL: ttl}); err != nil {
			return err
		}
	}
}

func (r *renewing) counted() (asked, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.asked {
		asked += n
	}
	return asked, r.most
}

// renewAll renews leases 1 to n, all at the same time, and gives the errors.
func renewAll(t testing.TB, c *etcdclient.Client, n int) []error {
	t.Helper()
	faults := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, faults[i] = c.LeaseKeepAliveOnce(within(t, 20*time.Second), int64(i+1)) })
	}
	wg.Wait()
	return faults
}

// TestRenewalsOfManyLeasesShareTwoStreams: there was one for each.
func TestRenewalsOfManyLeasesShareTwoStreams(t *testing.T) {
	t.Parallel()
	const n = 2000
	r := newRenewing()
	serve(t, r.scripted)
	c := ready(t, []string{r.endpoint})
	for range 3 {
		for i, err := range renewAll(t, c, n) {
			if err != nil {
				t.Fatalf("lease %d: %v", i+1, err)
			}
		}
	}
	asked, most := r.counted()
	if asked != 3*n || most > 2 || r.renewals.Load() > 6 {
		t.Errorf("%d renewals on %d streams, %d at a time; want %d renewals, and two streams at a time", asked, r.renewals.Load(), most, 3*n)
	}
	if kept := gauge(t, c, "etcdrest_etcd_leases_kept"); kept != 0 {
		t.Errorf("%v leases are kept, want none: they were renewed once", kept)
	}
	eventually(t, "the streams are closed", 5*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_in_flight", "class", "lease") == 0
	})
}

func TestARenewalOnceTellsWhatEtcdDoes(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	l := grant(t, c, 60)
	o := newOwner(t)
	kept := c.KeepAlive(l.ID, l.TTL, o)
	defer kept.Stop()
	for range 3 { // while it is kept alive, too
		if ttl, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), l.ID); err != nil || ttl != 60 {
			t.Errorf("got %d, %v; want 60 s", ttl, err)
		}
	}
	if _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), 12345); !errors.Is(err, etcdclient.ErrLeaseNotFound) {
		t.Errorf("an unknown lease: got %v", err)
	}
	if _, err := c.LeaseRevoke(within(t, 10*time.Second), l.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), l.ID); !errors.Is(err, etcdclient.ErrLeaseNotFound) {
		t.Errorf("a revoked lease: got %v", err)
	}
	if e := o.untilLost(5 * time.Second); !errors.Is(e, etcdclient.ErrLeaseNotFound) {
		t.Errorf("its keeper is told %v", e)
	}
}

// TestARenewalIsAnsweredByOneThatWasSentAfterIt: the answer to one that was under way says nothing about a later one.
func TestARenewalIsAnsweredByOneThatWasSentAfterIt(t *testing.T) {
	t.Parallel()
	r := newRenewing()
	r.gate = make(chan struct{})
	serve(t, r.scripted)
	c := ready(t, []string{r.endpoint})
	first, later := make(chan error, 1), make(chan error, 5)
	go func() { _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), 1); first <- err }()
	eventually(t, "the first has arrived", 5*time.Second, func() bool { n, _ := r.counted(); return n == 1 })
	for range cap(later) {
		go func() { _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), 1); later <- err }()
	}
	eventually(t, "the others wait", 5*time.Second, func() bool { return etcdclient.WaitingRenewals(c, 1) == 6 })
	close(r.gate)
	for range cap(later) {
		if err := <-later; err != nil {
			t.Error(err)
		}
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	if n, _ := r.counted(); n != 2 {
		t.Errorf("renewed %d times, want twice: all the later ones together", n)
	}
}

func TestACutStreamOfRenewalsIsGoneOnWith(t *testing.T) {
	t.Parallel()
	r := newRenewing()
	cut := 0
	r.answer = func(_ int64, n int) (int64, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n == 50 && cut < 2 { // in the middle of the batch
			cut++
			return 0, status.Error(codes.Unavailable, "gone")
		}
		return 10, nil
	}
	serve(t, r.scripted)
	c := ready(t, []string{r.endpoint})
	for i, err := range renewAll(t, c, 400) {
		if err != nil {
			t.Errorf("lease %d: %v", i+1, err)
		}
	}
	if cut != 2 {
		t.Errorf("%d streams were cut, want 2", cut)
	}
}

func TestARenewalEndsWithItsCallerAndWithTheClient(t *testing.T) {
	t.Parallel()
	r := newRenewing()
	r.gate = make(chan struct{})
	serve(t, r.scripted)
	c := ready(t, []string{r.endpoint})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.LeaseKeepAliveOnce(ctx, 1); done <- err }()
	eventually(t, "it has arrived", 5*time.Second, func() bool { n, _ := r.counted(); return n == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: got %v", err)
	}
	if n := etcdclient.WaitingRenewals(c, 1); n != 0 {
		t.Errorf("%d renewals wait, want none", n)
	}
	go func() { _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), 1); done <- err }()
	eventually(t, "another waits", 5*time.Second, func() bool { return etcdclient.WaitingRenewals(c, 1) == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if e := asError(t, <-done); e.Name != etcdclient.NameClosed {
		t.Errorf("as the client closes: got %+v", e)
	}
	if _, err := c.LeaseKeepAliveOnce(within(t, 10*time.Second), 1); asError(t, err).Name != etcdclient.NameClosed {
		t.Errorf("of a closed client: got %v", err)
	}
}
