package ticket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// linger is how long after its last connection a stream's ticket is good for, in seconds: the life of its lease, which is
// kept alive while it is connected.
const linger = 300

// streamState is of a ticket that an EventSource has used. It can come back to the same URL, which is all it can do when its
// connection is lost.
type streamState struct {
	// URL is the hash of where it may come back to.
	URL []byte `json:"url"`
	// Held says that there is a connection; Until is when the ticket ends without one.
	Held  bool      `json:"held"`
	Until time.Time `json:"until"`
}

// Hold is a stream ticket in use by one connection. Release it once the connection is gone.
type Hold struct {
	Principal *authn.Principal

	keeper *Keeper
	found  *found
	kept   *etcdclient.KeepAlive
	// ctx ends with the hold: because of ErrTaken, when another connection has taken the ticket.
	ctx    context.Context //nolint:containedctx // the life of the connection, which ends sooner than its request when it is lost
	cancel context.CancelCauseFunc
	work   sync.WaitGroup
}

// Stream takes a ticket for an EventSource, which can use it again for the same URL: one connection at a time. One that comes
// back takes the place of its former connection, of which it may be the first to know that it is dead; any other is told to
// try again (rate_limited) as long as there is one.
func (k *Keeper) Stream(ctx context.Context, text string, use Use) (*Hold, error) {
	f, err := k.find(ctx, text, use)
	if err != nil {
		return nil, err
	}
	lease := f.lease
	switch s := f.record.Stream; {
	case s == nil:
		granted, err := k.store.LeaseGrant(ctx, linger, 0)
		if err != nil {
			return nil, unkept(err)
		}
		lease = granted.ID
	case !bytes.Equal(s.URL, use.url()), !s.Held && !k.now().Before(s.Until):
		return nil, refused()
	case s.Held && !use.Resumes:
		return nil, problem.New(problem.RateLimited, "the ticket is in use by another connection").WithRetryAfter(time.Second)
	}
	f.record.Stream = &streamState{URL: use.url(), Held: true}
	won, err := k.put(ctx, f, lease)
	if err != nil {
		return nil, err
	}
	if won == 0 {
		return nil, refused()
	}
	f.modRevision, f.lease = won, lease
	h := &Hold{Principal: &f.claim.Principal, keeper: k, found: f}
	h.kept = k.store.KeepAlive(lease, linger, unconcerned{})
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.work.Go(func() { h.guard(h.ctx) })
	return h, nil
}

func (k *Keeper) put(ctx context.Context, f *found, lease int64) (int64, error) {
	value, err := json.Marshal(&f.record)
	if err != nil {
		return 0, err
	}
	return k.write(ctx, f, wire.Op{Put: &wire.PutRequest{Key: f.key, Value: value, Lease: lease}})
}

// ErrTaken is why a hold is over whose ticket another connection has taken.
var ErrTaken = errors.New("another connection has taken the ticket")

// Context is the request's, which ends as well when the hold is over.
func (h *Hold) Context() context.Context { return h.ctx }

// guard finds out, from whichever gateway, that the record is another connection's.
func (h *Hold) guard(ctx context.Context) {
	for from := h.found.modRevision + 1; ; {
		if h.keeper.store.Changed(ctx, h.found.key, nil, from) == nil {
			h.cancel(ErrTaken)
			return
		}
		again := time.NewTimer(time.Second) // the watch failed; it may be that its start is compacted
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
		answer, err := h.keeper.store.Range(ctx, &wire.RangeRequest{Key: h.found.key})
		if err != nil {
			continue
		}
		kv, there := answer.KVs.First()
		mine := there && kv.ModRevision == h.found.modRevision
		from = answer.Header.Revision + 1
		answer.Free()
		if !mine {
			h.cancel(ErrTaken)
			return
		}
	}
}

// releaseTime bounds what is said to etcd at the end of a connection.
const releaseTime = 5 * time.Second

// Release lets the ticket be used for a next connection, for five minutes. It waits for what the hold has started.
func (h *Hold) Release(ctx context.Context) {
	h.cancel(nil)
	h.work.Wait()
	h.kept.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	h.found.record.Stream.Held, h.found.record.Stream.Until = false, h.keeper.now().Add(linger*time.Second)
	if won, err := h.keeper.put(ctx, h.found, h.found.lease); err != nil || won == 0 {
		return // another connection has it; or nobody is told, and the lease ends it
	}
	_, _ = h.keeper.store.LeaseKeepAliveOnce(ctx, h.found.lease) // without it the ticket ends sooner
}

// unconcerned lets a lease be kept alive. That it is gone shows by its record.
type unconcerned struct{}

// Lost implements etcdclient.Keeper.
func (unconcerned) Lost(error) {}

// decode reads a claim; the numbers of a token's claims stay as they were.
func decode(text []byte, c *claim) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(c)
}
