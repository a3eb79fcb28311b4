package stream

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// etcd judges a watch when it is created, and never again: who has lost a right goes on watching. So the hub looks whether
// the roles have changed, and then has each feed judged anew.

// lookAtRoles has the feeds judged when the roles have changed since the last look.
func (h *Hub) lookAtRoles(ctx context.Context) {
	if h.watching() == 0 {
		return
	}
	feeds := h.knownToEtcd()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	revision, err := h.askRevision(ctx, feeds)
	if e := problem.From(err); e != nil {
		if e.Code == problem.NotSupported { // etcd 3.4 does not tell whether they have changed
			h.judge(feeds)
		}
		return // the watches have their own way of finding out that etcd is gone
	}
	if h.authRevision.Swap(revision) != revision {
		h.judge(feeds)
	}
}

// judge has etcd judge every feed's range.
func (h *Hub) judge(feeds []*feed) {
	for _, f := range feeds {
		h.spawn(f.judge)
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

// askRevision asks when the roles changed last. The answer is the cluster's, so one identity that is told is enough.
func (h *Hub) askRevision(ctx context.Context, feeds []*feed) (revision uint64, err error) {
	err = errNobody
	if h.store.Authenticated() {
		revision, err = h.store.AuthRevision(ctx)
	}
	for _, f := range feeds {
		if err == nil || ctx.Err() != nil || problem.From(err).Code == problem.NotSupported {
			break
		}
		revision, err = f.store.AuthRevision(ctx)
	}
	return revision, err
}

var errNobody = errors.New("etcd asks no identity of the gateway's")

// judge begins a watch of the feed's range at a revision that never comes. When that is denied, the feed has no right to go
// on either; nor has it when its token, a caller's own, does not count any more, since nobody can say then what it may see.
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
		if e := problem.From(err); e != nil && slices.Contains(lastWords, e.Code) {
			f.watch.Stop()
			f.Ended(err)
		}
	case <-ctx.Done():
	}
}

// lastWords are the verdicts that end a feed.
var lastWords = []problem.Code{problem.PermissionDenied, problem.Unauthenticated, problem.AuthExpired}

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
