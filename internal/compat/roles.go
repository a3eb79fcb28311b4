package compat

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// etcd judges a watch when it is created, and never again: who has lost a right goes on watching. For watches that share feeds the hub sees
// to that; for those on streams of their own somebody here looks whether etcd's users and roles have changed, and has etcd judge them anew.

// watchmen are those who have such watches. One goroutine looks after them while there are any.
type watchmen struct {
	mu      sync.Mutex
	holders map[holder]struct{}
	looking bool

	roles etcdclient.AuthLook
}

// holder has watches that etcd judged when they began.
type holder interface {
	// whose is a context that shows etcd who has them.
	whose() context.Context
	// holds gives their ranges, and what is to be told when one is refused; that does not block.
	holds(each func(r span, deny func(why *etcdclient.Error)))
}

// lookEvery is how often it is seen whether roles have changed.
const lookEvery = 4 * time.Second

// lookAfter has the watches of a holder looked after until leave.
func (g *Gateway) lookAfter(h holder) (leave func()) {
	m := &g.watchmen
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holders == nil {
		m.holders = make(map[holder]struct{})
	}
	m.holders[h] = struct{}{}
	if !m.looking && g.letIn() {
		m.looking = true
		go func() {
			defer g.sockets.Done()
			for g.stopping.Err() == nil && m.wanted() {
				pause(g.stopping, lookEvery)
				g.look(g.stopping)
			}
		}()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.holders, h)
	}
}

// wanted tells whether there is a holder, for the one who looks.
func (m *watchmen) wanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looking = len(m.holders) > 0
	return m.looking
}

func (m *watchmen) list() []holder {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.holders))
}

// look has those judged whose rights can have changed.
func (g *Gateway) look(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, time.Second)
	changed := g.watchmen.roles.Changed(asking, g.authRevisions)
	cancel()
	if !changed {
		return
	}
	var work sync.WaitGroup
	places := make(chan struct{}, judgedAtOnce)
	for _, v := range viewsOf(g.watchmen.list()) { //nolint:contextcheck // each has his own
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			if !g.judgeView(ctx, v) {
				g.watchmen.roles.Again()
			}
		})
	}
	work.Wait()
}

// authRevisions are the ways to ask when the roles changed last: as each of those who watch.
func (g *Gateway) authRevisions(yield func(func(context.Context) (uint64, error)) bool) {
	for _, v := range viewsOf(g.watchmen.list()) {
		if !yield(func(ctx context.Context) (uint64, error) { return g.authRevision(v.within(ctx)) }) {
			return
		}
	}
}

func (g *Gateway) authRevision(ctx context.Context, done func()) (uint64, error) {
	defer done()
	ctx, etcd := g.beneath(ctx, pb.Auth_AuthStatus_FullMethodName)
	status, err := pb.NewAuthClient(etcd).AuthStatus(ctx, &pb.AuthStatusRequest{})
	if err != nil || !status.GetEnabled() {
		return 0, err
	}
	return status.GetAuthRevision(), nil
}

// beneath gives the way to etcd that a caller's messages go when they have been judged.
func (g *Gateway) beneath(ctx context.Context, method string) (context.Context, grpc.ClientConnInterface) {
	if caller := authz.From(ctx); caller != nil {
		return withoutCredentials(ctx), conn(caller, method)
	}
	return ctx, g.etcd
}
