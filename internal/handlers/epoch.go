package handlers

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// epochKeeper knows the epoch: the name of the store's history, in which revisions mean something. A restore from a backup
// keeps the cluster's id and lets revisions begin again, so a cursor or a bookmark from before would silently name other
// states; the epoch changes then, on every gateway.
//
// It is the cluster's id, a dot, and 64 random bits that are kept in etcd (epochState). It is looked at again when an
// answer gives cause for doubt, when the term has changed, and every few seconds, since another gateway may have begun a
// new one; always by a call that needs it, never by a goroutine. It is safe for concurrent use.
type epochKeeper struct {
	backend Backend

	// What answers have shown so far.
	revision atomic.Uint64
	cluster  atomic.Uint64
	term     atomic.Uint64
	// doubt is raised by an answer that is older than one that came before it was asked for.
	doubt atomic.Bool

	// checking has room for one: who puts its token in may look at the state.
	checking chan struct{}

	mu    sync.Mutex
	known epochKnown
}

// epochKnown is the outcome of the last look.
type epochKnown struct {
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
	epochKey = statePrefix + "epoch"
	// epochInterval is how often the state is looked at, epochRefresh how often it is brought up to date, and epochRetry how
	// soon a look that failed is repeated.
	epochInterval = 5 * time.Second
	epochRefresh  = 10 * time.Minute
	epochRetry    = time.Second
)

func newEpochKeeper(backend Backend) *epochKeeper {
	return &epochKeeper{backend: backend, checking: make(chan struct{}, 1)}
}

// observe takes the header of a linearizable answer, and the highest revision seen before it was asked for: such an answer
// is at least that new, though answers can overtake one another.
func (k *epochKeeper) observe(floor int64, h wire.Header) {
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

// highest is the highest revision seen so far.
func (k *epochKeeper) highest() int64 { return int64(k.revision.Load()) } //nolint:gosec // see observe

// current gives the epoch. It costs nothing unless there is a reason to look at the state. When etcd cannot be asked the
// last epoch is given, unless the reason was doubt.
func (k *epochKeeper) current(ctx context.Context) (string, error) {
	known, state := k.cached()
	if state == epochSure {
		return known.text, nil
	}
	if state == epochDue {
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
	if known, state = k.cached(); state == epochSure { // somebody else has looked meanwhile
		return known.text, nil
	}
	doubted := k.doubt.Swap(false)
	next, err := k.look(ctx, known, false)
	switch {
	case err != nil && state == epochDue:
		known.due = time.Now().Add(epochRetry)
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

// renew begins a new epoch, and tells the revision at which it was written.
func (k *epochKeeper) renew(ctx context.Context) (epoch string, revision int64, err error) {
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

// epochSurety is how far what is known can be relied on.
type epochSurety uint8

const (
	// epochUnsure: it must be looked at before it is used.
	epochUnsure epochSurety = iota
	// epochDue: it is time for a look, and nothing speaks against what is known.
	epochDue
	epochSure
)

// cached gives what is known and how far it can be relied on.
func (k *epochKeeper) cached() (known epochKnown, _ epochSurety) {
	k.mu.Lock()
	known = k.known
	k.mu.Unlock()
	switch {
	case known.text == "", k.doubt.Load(), k.term.Load() != known.term, k.cluster.Load() != known.cluster:
		return known, epochUnsure
	case time.Now().After(known.due):
		return known, epochDue
	}
	return known, epochSure
}

func (k *epochKeeper) keep(known epochKnown) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = known
}

// renewEpoch answers POST /v1/maintenance/epoch, the last step of a restore's runbook.
func (a *API) renewEpoch(c *call) error {
	if err := c.query.done(); err != nil {
		return err
	}
	if c.r.ContentLength != 0 {
		if err := c.decode(); err != nil {
			return err
		}
	}
	epoch, revision, err := a.epoch.renew(c.ctx())
	if err != nil {
		return err
	}
	c.revision = revision
	c.openObject()
	c.textMember("epoch", epoch)
	c.intMember("revision", revision)
	c.closeObject()
	return nil
}

// observed is a store whose answers the keeper sees.
type observed struct {
	Store
	epoch *epochKeeper
}

// Range is Store.Range.
func (o observed) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	floor := o.epoch.highest()
	answer, err := o.Store.Range(ctx, r)
	if err == nil && !r.Serializable {
		o.epoch.observe(floor, answer.Header)
	}
	return answer, err
}

// Txn is Store.Txn.
func (o observed) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	floor := o.epoch.highest()
	answer, err := o.Store.Txn(ctx, r)
	if err == nil && !mayBeStale(r) {
		o.epoch.observe(floor, answer.Header)
	}
	return answer, err
}

// mayBeStale tells whether etcd may answer the transaction without asking a quorum. It errs towards yes.
func mayBeStale(r *wire.TxnRequest) bool {
	for _, branch := range [][]wire.Op{r.Then, r.Else} {
		for i := range branch {
			if branch[i].Range == nil || !branch[i].Range.Serializable {
				return false
			}
		}
	}
	return true
}

// errEpochContended means that others kept writing the state.
func errEpochContended() error {
	return problem.New(problem.Conflict, "other gateways kept writing the epoch; try again").WithOutcome(problem.NotApplied)
}
