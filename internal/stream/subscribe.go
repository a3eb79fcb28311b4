package stream

import (
	"context"
	"errors"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// stepTimeout bounds each question that is put to etcd for a subscription.
const stepTimeout = 10 * time.Second

// subscribe begins a watch on behalf of somebody who may. When it returns without an error the start is known to be right: a linearizable read has told
// where the store is, the start is not compacted, and etcd has accepted a watch, or an open feed has what is needed.
// Nothing of the watch is kept when it fails.
func (h *Hub) subscribe(ctx context.Context, who access, r *Request, requestID string, wake func(*Cursor)) (*Cursor, error) {
	who, err := who.to(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	leave, err := h.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c := h.newCursor(who, r, requestID, wake)
	if who.caller != nil {
		if err := who.caller.Usage().OpenWatch(); err != nil {
			return nil, err
		}
		c.usage = who.caller.Usage()
	}
	if c.epoch, err = h.checkEpoch(ctx, r.Epoch); err != nil {
		c.close(0)
		return nil, err
	}
	for try := 1; ; try++ {
		if c.began, err = c.header(ctx); err == nil {
			c.present = c.began.Revision
			err = h.place(ctx, c, c.present)
		}
		if err == nil {
			break
		}
		// Who asks for the present is not concerned by a compaction between two of our own steps.
		if r.Revision != 0 || !isGone(err) || try == mostJoins {
			c.close(0)
			return nil, err
		}
	}
	h.register(c)
	c.opened.Store(true)
	return c, nil
}

// place puts the cursor where the request wants it. present is the store's revision.
func (h *Hub) place(ctx context.Context, c *Cursor, present int64) error {
	r := c.request
	start := r.Revision
	if start == 0 {
		start = present + 1
	}
	if start > present+1 {
		return problem.New(problem.FutureRevision, "the store has not reached revision %d yet", start-1).
			With("revision", present).AtParameter("start_revision")
	}
	err := h.join(ctx, c, start, present)
	if err == nil && r.form.election {
		err = c.recall(ctx, start-1)
	}
	lost := err != nil && r.Resync && isGone(err)
	if err != nil && !lost {
		return err
	}
	begun := true
	switch {
	case lost:
		c.first = append(c.first, message{createdAt(present, c.epoch), 0})
		begun = c.begin(0, problem.From(err).Code)
	case r.Snapshot:
		c.first = append(c.first, message{createdAt(present, c.epoch), 0})
		begun = c.begin(present, "")
	case r.form.election && r.Revision == 0: // who asks for the present does not know the leader
		c.first = append(c.first, message{createdAt(present, c.epoch), 0}, c.elected(present))
	default:
		c.first = append(c.first, message{createdAt(start-1, c.epoch), start - 1})
	}
	if !begun {
		return h.drained()
	}
	return nil
}

// isGone tells whether the history that was asked for cannot be had.
func isGone(err error) bool {
	code := problem.From(err).Code
	return code == problem.Compacted || code == problem.TooFarBehind
}

// checkEpoch refuses a revision of another history of the store.
func (h *Hub) checkEpoch(ctx context.Context, wanted string) (string, error) {
	epoch, err := h.epoch.Current(ctx)
	if err != nil {
		return "", err
	}
	if wanted != "" && wanted != epoch {
		return "", epochChanged()
	}
	return epoch, nil
}

func epochChanged() *problem.Error {
	return problem.New(problem.EpochChanged, "the store's history was replaced since that revision was seen").
		WithHint("read the present state with snapshot=true, and follow from there")
}

// revision asks where the store is.
func (c *Cursor) revision(ctx context.Context) (int64, error) {
	header, err := c.header(ctx)
	return header.Revision, err
}

// header asks where the store is by a key of the range, which needs no right beyond that to watch.
func (c *Cursor) header(ctx context.Context) (wire.Header, error) {
	return c.hub.header(ctx, c.who().store, c.request.Start)
}

// header asks where the store is, by a linearizable read of a key.
func (h *Hub) header(ctx context.Context, store Store, key []byte) (wire.Header, error) {
	floor := h.epoch.Highest()
	answer, err := store.Range(ctx, &wire.RangeRequest{Key: key, CountOnly: true})
	if err != nil {
		return wire.Header{}, err
	}
	defer answer.Free()
	h.epoch.Observe(floor, answer.Header)
	return answer.Header, nil
}

// mostJoins is how often a feed that ends just then is tried again.
const mostJoins = 3

// join puts the cursor into a feed at the revision start, and finds out before whether etcd still has it.
func (h *Hub) join(ctx context.Context, c *Cursor, start, present int64) error {
	from, err := h.feedStart(ctx, c, start, present)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		f, fresh := h.feedFor(c, from)
		if f == nil {
			return h.drained()
		}
		err := h.enter(ctx, f, c, start, present)
		f.left()
		if err == nil {
			return nil
		}
		if fresh || try == mostJoins || f.isOpen() {
			return err
		}
	}
}

// feedStart is where a feed begins that is opened for the cursor: at the present, and a catch-up leads there. Where etcd certifies no
// progress nobody could tell when a catch-up is over, so that the feed begins where its first cursor does.
func (h *Hub) feedStart(ctx context.Context, c *Cursor, start, present int64) (int64, error) {
	if start > present || !h.store.WatchFaults().Uncertified {
		return present + 1, nil
	}
	return start, c.reachable(ctx, start, present)
}

// enter puts the cursor into the feed once that is open and has, or can get, the start.
func (h *Hub) enter(ctx context.Context, f *feed, c *Cursor, start, present int64) error {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	covered, err := f.covers(start)
	if err != nil {
		return err
	}
	if !covered {
		if err := c.reachable(ctx, start, present); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone { // a cursor that is added now would never be taken out
		return context.Canceled
	}
	if err := f.add(c, start); err != nil {
		return err
	}
	c.feed = f
	return nil
}

// rejoin puts a cursor at the present and gives the revision before it.
func (h *Hub) rejoin(ctx context.Context, c *Cursor) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	c.detach()
	present, err := c.revision(ctx)
	if err != nil {
		return 0, err
	}
	return present, h.join(ctx, c, present+1, present)
}

// detach takes the cursor out of its feed.
func (c *Cursor) detach() {
	c.mu.Lock()
	old := c.feed
	c.feed = nil
	c.mu.Unlock()
	if old != nil {
		old.remove(c, c.hub.options.Linger)
	}
}

// move takes the cursor out of a feed that cannot serve it any more, and puts it into another one at its place; false when
// the hub is closed.
func (c *Cursor) move(next int64) bool {
	c.detach()
	_, started := c.hub.spawn(func(ctx context.Context) {
		if err := c.hub.joinAgain(ctx, c, next); err != nil && ctx.Err() == nil {
			c.stop(problem.From(err))
		}
		c.nudge()
	})
	return started
}

func (h *Hub) joinAgain(ctx context.Context, c *Cursor, next int64) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	present, err := c.revision(ctx)
	if err != nil {
		return err
	}
	return h.join(ctx, c, next, max(present, next-1))
}

// reachable refuses a start that is compacted, or so far back that it would cost etcd too much.
func (c *Cursor) reachable(ctx context.Context, start, present int64) error {
	if most := c.hub.options.MaxCatchupRevisions; present-start >= most {
		return tooFarBehind(most)
	}
	first := start // that must be there
	if c.hub.store.WatchFaults().CompactedStarts {
		first = max(start-1, 1) // the one before: the start itself may have been compacted in part
	}
	answer, err := c.who().store.Range(ctx, &wire.RangeRequest{Key: c.request.Start, Revision: first, CountOnly: true})
	if err == nil {
		answer.Free()
		return nil
	}
	if problem.From(err).Code == problem.Compacted {
		return c.compacted(ctx, start, err)
	}
	return err
}

// compacted adds the revision of the compaction, which etcd tells only to a watch.
func (c *Cursor) compacted(ctx context.Context, start int64, cause error) error {
	told := make(verdict, 2) // accepted, and then refused
	watch := c.who().store.Watch(etcdclient.WatchRequest{Key: c.request.Start, Revision: start, Alone: true}, told)
	defer watch.Stop()
	for {
		select {
		case err := <-told:
			if err == nil { // accepted: a compacted start is refused after that
				continue
			}
			if problem.From(err).Code == problem.Compacted {
				return err
			}
		case <-ctx.Done():
		}
		return cause
	}
}

// admit waits until the subscription may ask etcd: after a gateway or a member was lost everybody comes back at once.
func (h *Hub) admit(ctx context.Context) (leave func(), err error) {
	select {
	case h.admission <- struct{}{}:
		return func() { <-h.admission }, nil
	case <-h.draining:
		return nil, h.drained()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, problem.New(problem.Overloaded, "too many watches begin at once").WithRetryAfter(comeBack())
		}
		return nil, ctx.Err()
	}
}
