package compat

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// etcd judges a watch when it is created, and never again: who has lost a right goes on watching. For watches that share feeds the hub sees
// to that; for those on streams of their own somebody here looks whether etcd's users and roles have changed, and has etcd judge them anew.

// watchmen are the streams that have such watches. One goroutine looks after them while there are any.
type watchmen struct {
	mu      sync.Mutex
	streams map[*watchStream]struct{}
	looking bool

	// seen is etcd's authentication revision as it was seen last, 0 while it was not: what etcd lets begin later is judged by that or a newer one.
	seen atomic.Uint64
}

// lookEvery is how often it is seen whether roles have changed.
const lookEvery = 4 * time.Second

// lookAfter has the stream's watches looked after from now on.
func (s *watchStream) lookAfter() {
	s.mu.Lock()
	known := s.leave != nil
	if !known {
		s.leave = func() { s.gateway.watchmen.leave(s) }
	}
	s.mu.Unlock()
	if !known {
		s.gateway.lookAfter(s)
	}
}

func (g *Gateway) lookAfter(s *watchStream) {
	g.watchmen.mu.Lock()
	defer g.watchmen.mu.Unlock()
	if g.watchmen.streams == nil {
		g.watchmen.streams = make(map[*watchStream]struct{})
	}
	g.watchmen.streams[s] = struct{}{}
	if g.watchmen.looking || !g.letIn() {
		return
	}
	g.watchmen.looking = true
	go func() {
		defer g.sockets.Done()
		for g.stopping.Err() == nil && g.watchmen.wanted() {
			pause(g.stopping, lookEvery)
			g.look(g.stopping)
		}
	}()
}

func (m *watchmen) leave(s *watchStream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.streams, s)
}

// wanted tells whether there is a stream, for the one who looks.
func (m *watchmen) wanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looking = len(m.streams) > 0
	return m.looking
}

func (m *watchmen) list() []*watchStream {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*watchStream, 0, len(m.streams))
	for s := range m.streams {
		all = append(all, s)
	}
	return all
}

// look has those judged who were not since the roles changed last.
func (g *Gateway) look(ctx context.Context) {
	streams := g.watchmen.list()
	revision, known := g.authRevision(ctx, streams)
	if !known {
		return
	}
	g.watchmen.seen.Store(revision)
	var work sync.WaitGroup
	places := make(chan struct{}, judgedAtOnce)
	for _, s := range streams {
		if revision != always && s.judgedAt == revision {
			continue
		}
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			if s.judgeWatches() {
				s.judgedAt = revision
			}
		})
	}
	work.Wait()
}

// always stands for the revision of an etcd that does not tell it (3.4).
const always = math.MaxUint64

// authRevision asks when etcd's users and roles changed last. The answer is the cluster's, so one of those who watch is enough who is told.
func (g *Gateway) authRevision(ctx context.Context, streams []*watchStream) (revision uint64, known bool) {
	for _, s := range streams {
		if ctx.Err() != nil {
			break
		}
		asking, cancel := context.WithTimeout(s.ctx, time.Second)
		asking, etcd := g.beneath(asking, pb.Auth_AuthStatus_FullMethodName)
		status, err := pb.NewAuthClient(etcd).AuthStatus(asking, &pb.AuthStatusRequest{}) //nolint:contextcheck // as the one who watches
		cancel()
		switch {
		case err == nil && !status.GetEnabled():
			return 0, true
		case err == nil:
			return status.GetAuthRevision(), true
		case problem.From(err).Code == problem.NotSupported:
			return always, true
		}
	}
	return 0, false
}

// beneath gives the way to etcd that a caller's messages go when they have been judged.
func (g *Gateway) beneath(ctx context.Context, method string) (context.Context, grpc.ClientConnInterface) {
	if caller := authz.From(ctx); caller != nil {
		return withoutCredentials(ctx), conn(caller, method)
	}
	return ctx, g.etcd
}

// judgeWatches has etcd judge the watches on streams of their own. It is false when that could not be found out of each.
func (s *watchStream) judgeWatches() bool {
	s.mu.Lock()
	owns := make([]*watched, 0, len(s.watches))
	for _, w := range s.watches {
		if w.own != nil {
			owns = append(owns, w)
		}
	}
	s.mu.Unlock()
	all := true
	for _, w := range owns {
		denied, err := s.gateway.judgeWatch(s.ctx, w.request)
		if denied != nil {
			s.deny(w, denied)
		}
		all = all && err == nil
	}
	return all
}

// never is a revision that no store reaches.
const never = math.MaxInt64 / 2

// judgeWatch begins a watch of the range at a revision that never comes, and gives why that is denied.
func (g *Gateway) judgeWatch(ctx context.Context, r *pb.WatchCreateRequest) (denied *etcdclient.Error, err error) {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	ctx, etcd := g.beneath(ctx, watchKind.method)
	s, m, err := g.openOver(ctx, etcd, &pb.WatchCreateRequest{Key: r.GetKey(), RangeEnd: r.GetRangeEnd(), StartRevision: never})
	if err != nil {
		return nil, err
	}
	s.cancel()
	if !m.GetCanceled() {
		return nil, nil
	}
	e := etcdclient.FromReason(m.GetCancelReason())
	if code := e.Problem().Code; code == problem.PermissionDenied || code == problem.Unauthenticated {
		return e, nil
	}
	return nil, e
}

// denial is a watch that etcd would not begin any more, and why.
type denial struct {
	watch *watched
	why   *etcdclient.Error
}

// deny has the end of a watch told.
func (s *watchStream) deny(w *watched, why *etcdclient.Error) {
	s.mu.Lock()
	s.denied = append(s.denied, denial{w, why})
	s.mu.Unlock()
	s.nudge()
}

// nextDenied ends a watch that was denied, and gives what is told of it.
func (s *watchStream) nextDenied() *pb.WatchResponse {
	for {
		s.mu.Lock()
		if len(s.denied) == 0 {
			s.mu.Unlock()
			return nil
		}
		d := s.denied[0]
		s.denied = s.denied[1:]
		s.mu.Unlock()
		if s.remove(d.watch) {
			return d.watch.ending(d.why)
		}
	}
}
