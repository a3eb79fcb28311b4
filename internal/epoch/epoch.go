// Package epoch knows the name of the store's history, in which revisions mean something: a restore from a backup keeps the
// cluster's id and lets revisions begin again, so a cursor or a bookmark from before would silently name other states. The
// epoch changes then, on every gateway.
package epoch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Keeper knows the epoch.
//
// It is the cluster's id, a dot, and 64 random bits that are kept in etcd (state). It is looked at again when an
// answer gives cause for doubt, when the term has changed, and every few seconds, since another gateway may have begun a
// new one; always by a call that needs it, never by a goroutine. It is safe for concurrent use.
type Keeper struct {
	store Store

	// What answers have shown so far.
	revision atomic.Uint64
	cluster  atomic.Uint64
	term     atomic.Uint64
	// doubt is raised by an answer that is older than one that came before it was asked for.
	doubt atomic.Bool

	// checking has room for one: who puts its token in may look at the state.
	checking chan struct{}

	mu    sync.Mutex
	known view
}

// view is the outcome of the last look.
type view struct {
	// text is the epoch, id its random part; id is empty when the state cannot be kept.
	text, id string
	cluster  uint64
	term     uint64
	at       position
	// revision is the store's when it was looked at.
	revision int64
	// due is when to look again whatever happens, and refresh when to bring the state up to date.
	due, refresh time.Time
}

const (
	epochKey = "\x00etcdrest/epoch"
	// interval is how often the state is looked at, refreshInterval how often it is brought up to date, and retryPause how
	// soon a look that failed is repeated.
	interval        = 5 * time.Second
	refreshInterval = 10 * time.Minute
	retryPause      = time.Second
)

// Store is what the keeper asks of etcd; *etcdclient.Client satisfies it.
type Store interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
	Endpoints() []string
	Status(ctx context.Context, endpoint string) (etcdclient.MemberStatus, error)
}

// New makes a keeper, which asks nothing before it is asked.
func New(store Store) *Keeper {
	return &Keeper{store: store, checking: make(chan struct{}, 1)}
}

// Observe takes the header of a linearizable answer, and the highest revision seen before it was asked for: such an answer
// is at least that new, though answers can overtake one another.
func (k *Keeper) Observe(floor int64, h wire.Header) {
	if h.ClusterID == 0 { // the headers inside a transaction's results have only the revision
		return
	}
	if k.cluster.Load() != h.ClusterID {
		k.cluster.Store(h.ClusterID)
	}
	if h.Revision < floor {
		k.doubt.Store(true)
	}
	raise(&k.term, h.RaftTerm)
	raise(&k.revision, uint64(h.Revision)) //nolint:gosec // revisions are positive
}

// raise sets a to n when that is more.
func raise(a *atomic.Uint64, n uint64) {
	for at := a.Load(); n > at && !a.CompareAndSwap(at, n); {
		at = a.Load()
	}
}

// Highest is the highest revision seen so far.
func (k *Keeper) Highest() int64 { return int64(k.revision.Load()) } //nolint:gosec // see observe

// Current gives the epoch. It costs nothing unless there is a reason to look at the state. When etcd cannot be asked the
// last epoch is given, unless the reason was doubt.
func (k *Keeper) Current(ctx context.Context) (string, error) {
	known, state := k.cached()
	if state == sure {
		return known.text, nil
	}
	if state == due {
		select {
		case k.checking <- struct{}{}:
		default: // somebody is looking, and there is no reason to wait for it
			return known.text, nil
		}
	} else {
		select {
		case k.checking <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	defer func() { <-k.checking }()
	if known, state = k.cached(); state == sure { // somebody else has looked meanwhile
		return known.text, nil
	}
	doubted := k.doubt.Swap(false)
	next, err := k.look(ctx, known, false)
	switch {
	case err != nil && state == due:
		known.due = time.Now().Add(retryPause)
		k.keep(known)
		return known.text, nil
	case err != nil:
		if doubted {
			k.doubt.Store(true)
		}
		return "", err
	}
	k.keep(next)
	return next.text, nil
}

// Renew begins a new epoch, and tells the revision at which it was written.
func (k *Keeper) Renew(ctx context.Context) (epoch string, revision int64, err error) {
	select {
	case k.checking <- struct{}{}:
	case <-ctx.Done():
		return "", 0, ctx.Err()
	}
	defer func() { <-k.checking }()
	known, _ := k.cached()
	next, err := k.look(ctx, known, true)
	if err != nil {
		return "", 0, err
	}
	k.keep(next)
	return next.text, next.revision, nil
}

// surety is how far what is known can be relied on.
type surety uint8

const (
	// unsure: it must be looked at before it is used.
	unsure surety = iota
	// due: it is time for a look, and nothing speaks against what is known.
	due
	sure
)

// cached gives what is known and how far it can be relied on.
func (k *Keeper) cached() (known view, _ surety) {
	k.mu.Lock()
	known = k.known
	k.mu.Unlock()
	switch {
	case known.text == "", k.doubt.Load(), k.term.Load() != known.term, k.cluster.Load() != known.cluster:
		return known, unsure
	case time.Now().After(known.due):
		return known, due
	}
	return known, sure
}

func (k *Keeper) keep(known view) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = known
}

// errContended means that others kept writing the state.
func errContended() error {
	return problem.New(problem.Conflict, "other gateways kept writing the epoch; try again").WithOutcome(problem.NotApplied)
}
