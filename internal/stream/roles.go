package stream

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// etcd judges a watch when it is created, and never again: who has lost a right goes on watching. So the hub looks whether
// the roles have changed, and then has each feed judged anew.

// lookAtRoles has the feeds judged when the roles have changed since the last look.
func (h *Hub) lookAtRoles(ctx context.Context) {
	if h.watching() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if h.roles.Changed(ctx, h.authRevisions) {
		h.judgeFeeds()
	}
}

// feedsJudgedAtOnce bounds the watches that ask etcd, each on a stream of its own.
const feedsJudgedAtOnce = 64

// judgeFeeds has etcd judge every feed, in the background. One who looks while that goes on is taken along by the next look.
func (h *Hub) judgeFeeds() {
	if h.judgingFeeds.Swap(true) {
		h.roles.Again()
		return
	}
	_, started := h.spawn(func(ctx context.Context) {
		defer h.judgingFeeds.Store(false)
		places := make(chan struct{}, feedsJudgedAtOnce)
		var work sync.WaitGroup
		for _, f := range h.knownToEtcd() {
			places <- struct{}{}
			work.Go(func() {
				defer func() { <-places }()
				f.judge(ctx)
			})
		}
		work.Wait()
	})
	if !started {
		h.judgingFeeds.Store(false)
	}
}

// knownToEtcd gives the feeds whose identity etcd asks for.
func (h *Hub) knownToEtcd() []*feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var feeds []*feed
	for _, f := range h.feeds {
		if f.store.Authenticated() {
			feeds = append(feeds, f)
		}
	}
	return feeds
}

// authRevisions are the ways to ask when the roles changed last: as the gateway itself, and as those whose feeds there are.
func (h *Hub) authRevisions(yield func(func(context.Context) (uint64, error)) bool) {
	if h.store.Authenticated() && !yield(h.store.AuthRevision) {
		return
	}
	for _, f := range h.knownToEtcd() {
		if !yield(f.store.AuthRevision) {
			return
		}
	}
}

// judge begins a watch of the feed's range at a revision that never comes. When that is denied, the feed has no right to go
// on either; nor has it when its user is gone, or its token, a caller's own, does not count any more, since nobody can say then
// what it may see.
func (f *feed) judge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	r := f.request(never)
	r.Alone = true
	told := make(verdict, 1)
	watch := f.store.Watch(r, told)
	defer watch.Stop()
	select {
	case err := <-told:
		if etcdclient.RefusesIdentity(err) {
			f.watch.Stop()
			f.Ended(err)
		}
	case <-ctx.Done():
		f.hub.roles.Again()
	}
}

// never is a revision that no store reaches.
const never = math.MaxInt64 / 2

// verdict is a watch of which only counts whether etcd accepts it.
type verdict chan error

var _ etcdclient.Watcher = verdict(nil)

// Created implements etcdclient.Watcher.
func (v verdict) Created() { v.tell(nil) }

// Changes implements etcdclient.Watcher.
func (verdict) Changes([]etcdclient.Change) {}

// Progress implements etcdclient.Watcher.
func (verdict) Progress(int64) {}

// Lost implements etcdclient.Watcher.
func (verdict) Lost(error) {}

// Ended implements etcdclient.Watcher.
func (v verdict) Ended(err error) { v.tell(err) }

func (v verdict) tell(err error) {
	select {
	case v <- err:
	default: // the first word counts
	}
}
