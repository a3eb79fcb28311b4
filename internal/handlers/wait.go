package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// maxLookBack is how many revisions a wait looks back for a change of an absent key. Finding it costs etcd a scan of that
// much of its log, so from further back the present state is the answer.
const maxLookBack = 100_000

// waitForChange answers as soon as the key has changed after a revision: with the key as it is then, or with nothing when
// it is gone. When the time is over without a change, c.status says 304. The revision noted is the next `after`: no
// change up to it has been missed.
func (c *call) waitForChange(key []byte, read singleRead) (*wire.RangeResponse, error) {
	now, err := c.read(&wire.RangeRequest{Key: key}, read.consistency)
	if err != nil {
		return nil, err
	}
	from, changed, err := c.changedSince(key, now, read.after)
	if err != nil || changed {
		return now, err
	}
	now.Free()
	at := c.revision

	ctx, cancel := context.WithTimeout(c.ctx(), time.Duration(read.wait)*time.Second)
	defer cancel()
	stop := context.AfterFunc(c.api.stopping, cancel)
	defer stop()
	err = c.store.Changed(ctx, key, nil, from)
	switch {
	case err == nil, problem.From(err).Code == problem.Compacted: // gone from the log: look at what there is
		return c.read(&wire.RangeRequest{Key: key}, consistency{})
	case c.api.draining.Load():
		return nil, problem.New(problem.Draining, "the gateway is stopping; ask again").WithRetryAfter(time.Second)
	case !errors.Is(err, context.DeadlineExceeded) || c.r.Context().Err() != nil:
		return nil, err
	}
	return c.unchanged(key, from, at)
}

// changedSince tells whether the key has changed after the revision given, from the answer that shows it now. If not,
// from is the revision to watch from.
func (c *call) changedSince(key []byte, now *wire.RangeResponse, after int64) (from int64, changed bool, err error) {
	revision := now.Header.Revision
	switch {
	case after < 0:
		return revision + 1, false, nil
	case after > revision:
		return 0, false, problem.New(problem.FutureRevision, "the store has not reached revision %d yet", after).
			With("revision", revision).AtParameter("after")
	case after == revision:
		return revision + 1, false, nil
	}
	if kv, exists := now.KVs.First(); exists {
		return revision + 1, kv.ModRevision > after, nil
	}
	if revision-after > maxLookBack {
		return 0, true, nil
	}
	// Absent now. If it was there at `after`, it has changed; if not, it may have come and gone, which the log tells.
	past, err := c.store.Range(c.ctx(), &wire.RangeRequest{Key: key, Revision: max(after, 1), CountOnly: true})
	if err != nil {
		return 0, true, ignoreCompacted(err)
	}
	defer past.Free()
	return after + 1, past.Count > 0, nil
}

func ignoreCompacted(err error) error {
	if err != nil && problem.From(err).Code == problem.Compacted {
		return nil
	}
	return err
}

// unchanged ends a wait whose time is over. A last read finds a change that the watch has not delivered yet. For a key
// that exists, its mod revision proves that nothing happened up to that read; for an absent one only the watch could, so
// the revision to go on from stays where it began.
func (c *call) unchanged(key []byte, from, at int64) (*wire.RangeResponse, error) {
	last, err := c.read(&wire.RangeRequest{Key: key}, consistency{})
	if err != nil {
		return nil, err
	}
	kv, exists := last.KVs.First()
	if exists && kv.ModRevision >= from {
		return last, nil
	}
	c.status = http.StatusNotModified
	if !exists {
		c.revision = at
	}
	return last, nil
}
