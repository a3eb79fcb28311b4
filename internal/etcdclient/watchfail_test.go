package etcdclient_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// failures are the ways in which a stream ends without that being the watch's end.
var failures = map[string]error{
	"EOF":                nil,
	"unavailable":        status.Error(codes.Unavailable, "a proxy's words"),
	"internal":           status.Error(codes.Internal, "a proxy's words"),
	"canceled":           status.Error(codes.Canceled, "a proxy's words"),
	"unknown":            status.Error(codes.Unknown, "a proxy's words"),
	"deadline":           status.Error(codes.DeadlineExceeded, "a proxy's words"),
	"resource exhausted": status.Error(codes.ResourceExhausted, "a proxy's words"),
	"a proxy's refusal":  status.Error(codes.PermissionDenied, "a proxy's words"),
	"no leader":          status.Error(codes.Unavailable, "etcdserver: no leader"),
	"watch canceled":     status.Error(codes.Canceled, "etcdserver: watch canceled"),
	"stopped":            status.Error(codes.Unavailable, "etcdserver: server stopped"),
}

func TestWatchGoesOnElsewhereAtTheNextRevisionAfterEveryFailure(t *testing.T) {
	t.Parallel()
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var starts [2]atomic.Int64
			bothOpen := make(chan struct{})
			play := func(s *script, _ int64) error {
				md, _ := metadata.FromIncomingContext(s.Context())
				if len(md.Get("hasleader")) != 1 {
					t.Error("the stream does not ask for a leader")
				}
				c := s.accept()
				if c.GetStartRevision() == 3 {
					starts[0].Add(1)
					s.events(c.GetWatchId(), false, 3, 5)
					<-bothOpen // the first watch has them connected
					return failure
				}
				starts[1].Store(c.GetStartRevision())
				s.events(c.GetWatchId(), false, 5, 6) // 5 a second time
				return s.idle()
			}
			a, b := scripting(t, &scripted{id: 1}, play), scripting(t, &scripted{id: 2}, play)
			c := ready(t, []string{a.endpoint, b.endpoint})
			r, _ := watch(t, c, keyed("k", 3))
			eventually(t, "there is a connection for watches to each", 10*time.Second, func() bool {
				return gauge(t, c, "etcdrest_etcd_connections", "class", "watch") == 4
			})
			close(bothOpen)
			r.untilReached(6)
			if n := starts[1].Load(); n != 6 || starts[0].Load() != 1 {
				t.Errorf("it went on from revision %d after %d streams from the start; want 6, and 1", n, starts[0].Load())
			}
			if len(r.changes) != 3 || r.created != 2 || len(r.lost) != 1 {
				t.Errorf("%d changes, created %d times, lost %v; want 3, 2, and one loss", len(r.changes), r.created, r.lost)
			}
			if a.watches.Load() != 1 || b.watches.Load() != 1 {
				t.Errorf("the members got %d and %d streams; want one each", a.watches.Load(), b.watches.Load())
			}
		})
	}
}

func TestWatchThatKeepsFailingNeverLoopsHot(t *testing.T) {
	t.Parallel()
	plays := map[string]func(s *script, _ int64) error{}
	for name, failure := range failures {
		plays[name] = func(*script, int64) error { return failure }
	}
	plays["cancelled by the server"] = func(s *script, _ int64) error {
		c := s.accept()
		s.send(&pb.WatchResponse{WatchId: c.GetWatchId(), Canceled: true, CancelReason: "no words that are known"})
		return s.idle()
	}
	plays["refused by the server"] = func(s *script, _ int64) error {
		s.create()
		s.send(&pb.WatchResponse{WatchId: -1, Created: true, Canceled: true, CancelReason: "no words that are known"})
		return s.idle()
	}
	plays["corrupt"] = func(s *script, _ int64) error {
		c := s.accept()
		s.events(c.GetWatchId(), true, 7, 6)
		return s.idle()
	}
	for name, play := range plays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scripting(t, &scripted{}, play)
			c := ready(t, []string{s.endpoint})
			started := time.Now()
			r, _ := watch(t, c, keyed("k", 1))
			r.until("six failures", 30*time.Second, func() bool { return len(r.lost) >= 6 })
			// The pauses are drawn from up to 0.1, 0.2, 0.4, 0.8 and 1.6 s; that they add up to so little is beyond luck.
			if d, n := time.Since(started), s.watches.Load(); d < 60*time.Millisecond || n > 8 {
				t.Errorf("%d streams in %v", n, d)
			}
		})
	}
}

func TestWatchWithoutAnyMemberTellsAndGoesOnWhenOneComes(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	s.stop()
	c := connect(t, []string{s.endpoint}, func(c *etcdclient.Config) { c.DialTimeout = 100 * time.Millisecond })
	r, _ := watch(t, c, keyed("k", 1))
	r.until("two failures", 20*time.Second, func() bool { return len(r.lost) >= 2 })
	if e := asError(t, r.lost[0]); e.Problem().Code != problem.Unavailable {
		t.Errorf("lost with %+v; want unavailable", e)
	}
	s.onWatch = func(stream pb.Watch_WatchServer) error {
		p := &script{Watch_WatchServer: stream, server: s}
		p.accept()
		return p.idle()
	}
	s.start(t)
	r.untilCreated(1)
}

func TestWatchRevisionThatSpansFragmentsIsJoined(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		c := s.accept()
		if !c.GetFragment() {
			t.Error("fragments were not asked for")
		}
		s.events(c.GetWatchId(), true, 5, 6, 6)
		s.events(c.GetWatchId(), true, 6)
		s.progress(9) // of no worth while a revision is open
		s.events(c.GetWatchId(), true, 6, 7)
		<-more
		s.events(c.GetWatchId(), false, 7)
		s.progress(9)
		return s.idle()
	})
	c := ready(t, []string{s.endpoint})
	r, _ := watch(t, c, keyed("k", 5))
	r.untilReached(6)
	if n := r.get(func() int { return len(r.changes) }); n != 2 {
		t.Errorf("%d revisions came while the third was open; want 2", n)
	}
	close(more)
	r.until("progress", 5*time.Second, func() bool { return len(r.progress) > 0 })
	got := ""
	for _, change := range r.changes {
		got += fmt.Sprint(change.Revision, "x", len(change.Events), " ")
	}
	if got != "5x1 6x4 7x2 " || fmt.Sprint(r.progress) != "[9]" {
		t.Errorf("got %sand progress %v; want 5x1 6x4 7x2 and 9", got, r.progress)
	}
}

func TestWatchRevisionThatIsCutByAFailureArrivesOnce(t *testing.T) {
	t.Parallel()
	s := scripting(t, &scripted{}, func(s *script, n int64) error {
		c := s.accept()
		if n == 1 {
			s.events(c.GetWatchId(), true, 5, 5)
			return status.Error(codes.Unavailable, "gone")
		}
		s.events(c.GetWatchId(), false, 5, 5, 5)
		return s.idle()
	})
	c := ready(t, []string{s.endpoint})
	r, _ := watch(t, c, keyed("k", 5))
	r.untilReached(5)
	if len(r.changes) != 1 || len(r.changes[0].Events) != 3 {
		t.Errorf("got %+v; want one change of three events", r.changes)
	}
}

func TestWatchProgressCountsOnlyForWatchesCreatedBefore(t *testing.T) {
	t.Parallel()
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		s.accept()
		second := s.create()
		s.progress(50) // overtakes the second's creation
		s.send(&pb.WatchResponse{WatchId: second.GetWatchId(), Created: true})
		s.progress(60)
		s.progress(55)
		return s.idle()
	})
	c := ready(t, []string{s.endpoint}, oneWatchConn)
	a, _ := watch(t, c, keyed("a", 10))
	a.untilCreated(1)
	b, _ := watch(t, c, keyed("b", 10))
	b.until("progress", 5*time.Second, func() bool { return len(b.progress) > 0 })
	a.until("progress", 5*time.Second, func() bool { return len(a.progress) > 1 })
	if got := fmt.Sprint(a.progress, b.progress); got != "[50 60] [60]" {
		t.Errorf("progress %s; want [50 60] [60]: what came before is not certified, and none goes back", got)
	}
}

// oneWatchConn has all watches share.
func oneWatchConn(c *etcdclient.Config) { c.WatchConns = 1 }

func TestWatchProgressIsAskedForSparinglyAndAgainWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	asked := make(chan time.Time, 100)
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		for n := 0; ; {
			r, err := s.Recv()
			switch {
			case err != nil:
				return err
			case r.GetCreateRequest() != nil:
				s.send(&pb.WatchResponse{WatchId: r.GetCreateRequest().GetWatchId(), Created: true})
			case r.GetProgressRequest() != nil:
				asked <- time.Now()
				if n++; n != 1 { // the first is not answered
					s.progress(10)
				}
			}
		}
	})
	c := ready(t, []string{s.endpoint}, oneWatchConn)
	a, one := watch(t, c, keyed("a", 5))
	b, two := watch(t, c, keyed("b", 5))
	a.untilCreated(1)
	b.untilCreated(1)
	for range 1000 {
		one.RequestProgress()
		two.RequestProgress()
	}
	first, second := <-asked, <-asked
	if d := second.Sub(first); d < 900*time.Millisecond || d > 5*time.Second {
		t.Errorf("asked again after %v; want a second", d)
	}
	b.until("progress", 5*time.Second, func() bool { return len(b.progress) > 0 })
	for range 3 {
		before := a.get(func() int { return len(a.progress) })
		one.RequestProgress()
		a.until("progress", 5*time.Second, func() bool { return len(a.progress) > before })
		next := <-asked
		if d := next.Sub(second); d < 90*time.Millisecond {
			t.Errorf("asked again %v after an answer; want at least 100 ms", d)
		}
		second = next
	}
}

func TestWatchProgressOfAnOldEtcdIsNotTrusted(t *testing.T) {
	t.Parallel()
	for version, trusted := range map[string]bool{
		"3.4.30": false, "3.4.31": true, "3.5.0": false, "3.5.12": false, "3.5.13": true, "3.5.13-rc.0": true, "3.6.0": true, "4.0.0": true,
		"3.3.27": false, "unknown": false,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := scripting(t, &scripted{says: version}, func(s *script, _ int64) error {
				c := s.accept()
				s.progress(7)
				s.events(c.GetWatchId(), false, 8)
				return s.idle()
			})
			c := ready(t, []string{s.endpoint})
			r, _ := watch(t, c, keyed("k", 5))
			r.untilReached(8)
			if (len(r.progress) > 0) != trusted {
				t.Errorf("progress %v; want it %v", r.progress, trusted)
			}
			if trusted {
				return
			}
			_, err := c.Log(within(t, 10*time.Second), []byte("k"), 5, 7, func(wire.Event) {})
			if code := asError(t, err).Problem().Code; code != problem.NotSupported {
				t.Errorf("its log: got %v, want not_supported", code)
			}
		})
	}
}

func TestWatchOfAServerThatChoosesItsOwnIds(t *testing.T) {
	t.Parallel()
	canceled := make(chan int64, 10)
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		for n := int64(1000); ; {
			r, err := s.Recv()
			switch {
			case err != nil:
				return err
			case r.GetCreateRequest() != nil:
				n++
				s.send(&pb.WatchResponse{WatchId: n, Created: true})
				s.events(n, false, n)
			case r.GetCancelRequest() != nil:
				canceled <- r.GetCancelRequest().GetWatchId()
			}
		}
	})
	c := ready(t, []string{s.endpoint}, oneWatchConn)
	a, first := watch(t, c, keyed("a", 1))
	a.untilReached(1001)
	b, _ := watch(t, c, keyed("b", 1))
	b.untilReached(1002)
	first.Stop()
	first.Stop()
	last, third := watch(t, c, keyed("c", 1))
	last.untilReached(1003)
	third.Stop()
	for _, want := range []int64{1001, 1003} { // each once
		select {
		case id := <-canceled:
			if id != want {
				t.Errorf("watch %d was cancelled; want %d", id, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("watch %d was not cancelled", want)
		}
	}
}

func TestWatchRefusedInTheMiddleOfOthersIsTheOneRefused(t *testing.T) {
	t.Parallel()
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		for {
			c := s.create()
			if c == nil {
				return nil
			}
			if string(c.GetKey()) == "no" {
				s.send(&pb.WatchResponse{WatchId: -1, Created: true, Canceled: true, CancelReason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied"})
			} else {
				s.send(&pb.WatchResponse{WatchId: c.GetWatchId(), Created: true})
			}
		}
	})
	c := ready(t, []string{s.endpoint}, oneWatchConn)
	for range 20 {
		a, _ := watch(t, c, keyed("yes", 1))
		b, _ := watch(t, c, keyed("no", 1))
		d, _ := watch(t, c, keyed("yes", 1))
		if e := b.untilEnded(); e.Name != "PermissionDenied" {
			t.Errorf("got %+v", e)
		}
		a.untilCreated(1)
		d.untilCreated(1)
	}
}

func TestWatchAnswerWithAForeignKeyEndsTheWatch(t *testing.T) {
	t.Parallel()
	s := scripting(t, &scripted{}, func(s *script, _ int64) error {
		c := s.accept()
		s.events(c.GetWatchId(), false, 5)
		return s.idle()
	})
	c := ready(t, []string{s.endpoint})
	r, _ := watch(t, c.Namespace([]byte("ns/")), keyed("k", 5))
	if e := r.untilEnded(); e.Name != etcdclient.NameOutsideNamespace || len(r.changes) > 0 {
		t.Errorf("got %+v after %d changes", e, len(r.changes))
	}
}

func TestWatchWithAnExpiredTokenIsAskedForAgainOnANewStream(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", "etcdserver: invalid auth token",
		"rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			var g guard
			g.issue()
			s := &scripted{onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) { return g.issue(), nil }}
			scripting(t, s, func(s *script, _ int64) error {
				for {
					c := s.create()
					switch {
					case c == nil:
						return nil
					case g.check(s.Context()) != nil:
						s.send(&pb.WatchResponse{WatchId: -1, Created: true, Canceled: true, CancelReason: reason})
					default:
						s.send(&pb.WatchResponse{WatchId: c.GetWatchId(), Created: true})
					}
				}
			})
			c := ready(t, []string{s.endpoint}, user("u", "p"), oneWatchConn)
			old, _ := watch(t, c, keyed("k", 1))
			old.untilCreated(1)
			g.valid.Store("another") // the stream's token is worth nothing from now on
			var recorders []*recorder
			for range 40 {
				r, _ := watch(t, c, keyed("k", 1))
				recorders = append(recorders, r)
			}
			for _, r := range recorders {
				r.untilCreated(1)
			}
			if n := s.authns.Load(); n != 2 {
				t.Errorf("%d authentications; want the first and one renewal", n)
			}
			if n := s.watches.Load(); n != 2 || len(old.lost) > 0 {
				t.Errorf("%d streams, and the old watch was lost %v; want 2, and the old one untouched", n, old.lost)
			}
		})
	}
}

func TestWatchWhoseTokensAreAllRefusedEnds(t *testing.T) {
	t.Parallel()
	s := &scripted{onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) { return "token", nil }}
	scripting(t, s, func(s *script, _ int64) error {
		for s.create() != nil {
			s.send(&pb.WatchResponse{WatchId: -1, Created: true, Canceled: true, CancelReason: "etcdserver: invalid auth token"})
		}
		return nil
	})
	for name, adjust := range map[string]func(*etcdclient.Config){
		"password": user("u", "p"), "fixed": func(c *etcdclient.Config) { c.Token = "fixed" },
	} {
		c := ready(t, []string{s.endpoint}, adjust)
		r, _ := watch(t, c, keyed("k", 1))
		if e := r.untilEnded(); e.Problem().Code != problem.AuthExpired {
			t.Errorf("%s: got %+v; want auth_expired", name, e)
		}
	}
	if n := s.authns.Load(); n != 6 {
		t.Errorf("%d authentications; want the first and five renewals", n)
	}
}

func TestWatchEndsWhenEtcdRefusesThePassword(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{onAuthn: func(context.Context, *pb.AuthenticateRequest) (string, error) {
		return "", status.Error(codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
	}})
	c := ready(t, []string{s.endpoint}, user("u", "p"))
	r, _ := watch(t, c, keyed("k", 1))
	if e := r.untilEnded(); e.Problem().Code != problem.Unauthenticated {
		t.Errorf("got %+v; want unauthenticated", e)
	}
}

func TestWatchesLeaveAFrozenMemberWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	play := func(s *script, _ int64) error {
		for c := s.accept(); c != nil; {
			c = s.accept()
		}
		return nil
	}
	a, b := scripting(t, &scripted{id: 1}, play), scripting(t, &scripted{id: 2}, play)
	ice := freezer(t, a.endpoint)
	c := ready(t, []string{ice.endpoint, b.endpoint})
	connected(t, c)
	var recorders []*recorder
	for i := range 40 {
		request := keyed("k", 1)
		request.Alone = i%4 == 0
		r, _ := watch(t, c, request)
		r.untilCreated(1)
		recorders = append(recorders, r)
	}
	if a.watches.Load() == 0 || b.watches.Load() == 0 {
		t.Fatalf("streams: %d and %d; want some on each member", a.watches.Load(), b.watches.Load())
	}
	ice.freeze()
	frozen := time.Now()
	moved := 0
	lost := func(r *recorder) bool { return r.get(func() int { return len(r.lost) }) > 0 }
	eventually(t, "the watches have left the frozen member", 10*time.Second, func() bool {
		return slices.ContainsFunc(recorders, lost) && gauge(t, c, "etcdrest_etcd_members_set_aside") == 1 && gauge(t, c, "etcdrest_etcd_in_flight", "class", "watch", "endpoint", ice.endpoint) == 0
	})
	for _, r := range recorders {
		if lost(r) {
			moved++
			r.untilCreated(2)
		}
	}
	if d := time.Since(frozen); d > 5*time.Second || moved == 0 {
		t.Errorf("%d watches moved after %v; want some, within 5 s", moved, d)
	}
	if n := gauge(t, c, "etcdrest_etcd_watch_resumes_total", "reason", "member_silent"); n == 0 {
		t.Error("no resume was counted for silence")
	}
}
