package etcdclient

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// supervise admits the connection when its member answers, checks it while it is in use and probes it while its member is
// set aside, until ctx ends.
func (c *conn) supervise(ctx context.Context) {
	timer := time.NewTimer(c.pool.config.HealthInterval)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-timer.C:
		}
		wait := c.pool.config.HealthInterval
		if c.inspect(ctx) {
			failures = 0
		} else {
			failures++
			wait = min(wait, probeBase<<min(failures-1, 8))
		}
		timer.Reset(wait)
	}
}

// inspect does what the connection's state calls for; false means that it should be done again sooner.
func (c *conn) inspect(ctx context.Context) bool {
	if c.cc.GetState() != connectivity.Ready {
		return true // follow wakes the supervisor when that changes
	}
	m := c.member.Load()
	switch {
	case !c.up.Load():
		return c.admit(ctx)
	case m.aside.Load():
		if m.probeDue(time.Now()) {
			c.reprobe(ctx, m)
		}
		return !m.aside.Load()
	case c.silent.Load(): // its member has answered by another connection
		if alive, _ := c.checkOnce(ctx); alive {
			c.silent.Store(false)
			c.pool.changed()
		}
		return !c.silent.Load()
	case m.learner.Load(): // it may have been promoted, of which no answer tells
		if m.probeDue(time.Now()) {
			c.status(ctx)
		}
		return true
	case c.stranger.Load() && c.pool.shown.Load() != nil:
		c.status(ctx)
		return true
	case c.stale.Swap(false):
		c.status(ctx)
		return true
	case c.used.Swap(false) || c.inFlight.Load() > 0:
		c.check(ctx, m)
	}
	return true
}

// admit asks the member who it is; its answer, whatever it says, opens the connection for work.
func (c *conn) admit(ctx context.Context) bool {
	c.stale.Store(false)
	reason := c.status(ctx)
	if reason != "" {
		if ctx.Err() == nil {
			c.down(reason)
			c.pool.changed()
		}
		return false
	}
	c.silent.Store(false)
	c.up.Store(true)
	if c.cc.GetState() != connectivity.Ready { // follow may have looked before
		c.down("")
		return true
	}
	c.pool.changed()
	return true
}

// status asks the member for its status and learns from it. It gives the reason why there was no answer.
func (c *conn) status(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, c.pool.config.HealthTimeout)
	defer cancel()
	a := new(attempt)
	s, err := c.askStatus(context.WithValue(ctx, attemptKey{}, a))
	if err != nil {
		if !a.replied.Load() {
			return "connected, but the member does not answer: " + status.Convert(err).Message()
		}
		if e := fromStatus(methodStatus, err, true, true, 0); e.follow == followAside {
			c.pool.setAside(c.member.Load(), c, e.Name)
		}
		return "" // something in front of etcd may not pass this call on; the connection works
	}
	return c.learn(s)
}

// askStatus asks for the status, by the pool's token if it has one: with authentication on, etcd tells no stranger since 3.4.42, 3.5.28
// and 3.6.9.
func (c *conn) askStatus(ctx context.Context) (*pb.StatusResponse, error) {
	shown := c.pool.shown.Load()
	if shown != nil {
		ctx = shown.outgoing(ctx)
	}
	s, err := pb.NewMaintenanceClient(c.cc).Status(ctx, &pb.StatusRequest{})
	refused := err != nil && fromStatus(methodStatus, err, true, true, 0).follow == followRenew
	c.stranger.Store(refused)
	if refused && shown != nil {
		c.pool.shown.CompareAndSwap(shown, nil)
	}
	return s, err
}

// learn takes in a member's status.
func (c *conn) learn(s *pb.StatusResponse) string {
	h := wire.Header{
		ClusterID: s.GetHeader().GetClusterId(), MemberID: s.GetHeader().GetMemberId(),
		Revision: s.GetHeader().GetRevision(), RaftTerm: s.GetRaftTerm(),
	}
	if !c.pool.sameCluster(h.ClusterID, c) {
		return "the endpoint leads to another cluster (" + strconv.FormatUint(h.ClusterID, 16) + ") than the others"
	}
	m := c.pool.memberOf(h.MemberID)
	if h.MemberID == 0 {
		m = c.member.Load()
	}
	m.runs(s.GetVersion())
	if m.learner.Swap(s.GetIsLearner()) && !s.GetIsLearner() {
		c.pool.changed()
	}
	c.member.Store(m)
	switch {
	case s.GetLeader() == 0 && h.MemberID != 0:
		c.pool.setAside(m, c, "NoLeader")
	default:
		c.pool.learnLeader(s.GetLeader(), h.RaftTerm)
	}
	return ""
}

// reprobe puts a member that was set aside back to work when it has a leader and says that it serves.
func (c *conn) reprobe(ctx context.Context, m *member) {
	ctx, cancel := context.WithTimeout(ctx, c.pool.config.HealthTimeout)
	defer cancel()
	a := new(attempt)
	s, err := c.askStatus(context.WithValue(ctx, attemptKey{}, a))
	if err != nil && !a.replied.Load() && c.cc.GetState() == connectivity.Ready && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.pool.silenced(m, c) // whatever it was set aside for
	}
	if err != nil && (!a.replied.Load() || fromStatus(methodStatus, err, true, true, 0).follow == followAside) {
		return
	}
	if err == nil && (s.GetLeader() == 0 && s.GetHeader().GetMemberId() != 0 || c.learn(s) != "") {
		return
	}
	if alive, serving := c.healthy(ctx); !alive || !serving {
		return
	}
	c.silent.Store(false)
	if m.recover() {
		c.pool.log.LogAttrs(ctx, slog.LevelInfo, "etcd member is back", slog.String("endpoint", c.endpoint.name))
		c.pool.changed()
		c.pool.each(func(other *conn) {
			if other.silent.Load() {
				other.wake()
			}
		})
	}
}

// check asks a connection in use for a sign of life. Two misses in a row move the member's work.
func (c *conn) check(ctx context.Context, m *member) {
	for range 2 {
		alive, serving := c.checkOnce(ctx)
		switch {
		case alive && !serving:
			c.pool.setAside(m, c, "NotServing")
			return
		case alive || ctx.Err() != nil || c.cc.GetState() != connectivity.Ready:
			return
		}
	}
	c.pool.setAside(m, c, NameMemberSilent)
	c.pool.silenced(m, c)
}

func (c *conn) checkOnce(ctx context.Context) (alive, serving bool) {
	ctx, cancel := context.WithTimeout(ctx, c.pool.config.HealthTimeout)
	defer cancel()
	return c.healthy(ctx)
}

// healthy asks gRPC's health service. A server that does not have it is alive all the same.
func (c *conn) healthy(ctx context.Context) (alive, serving bool) {
	a := new(attempt)
	r, err := healthpb.NewHealthClient(c.cc).Check(context.WithValue(ctx, attemptKey{}, a), &healthpb.HealthCheckRequest{})
	if err != nil {
		return a.replied.Load(), status.Code(err) != codes.Unavailable
	}
	return true, r.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING
}
