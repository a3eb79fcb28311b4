package stream

import (
	"context"
	"sync"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// snapshot reads the state of a cursor's range at one revision, a chunk ahead of its reader, while the cursor stands at the
// next revision already: so no change between the two is missed, and none is told twice.
type snapshot struct {
	cursor *Cursor
	cancel context.CancelFunc
	taken  chan struct{} // capacity 1: the chunk has been taken
	// reset is why the subscriber is told to forget what it has.
	reset problem.Code
	// ballot is the state of an election.
	ballot ballot

	mu    sync.Mutex
	ready bool
	chunk message
}

// chunkBytes is about how much of a snapshot travels in one message.
const chunkBytes = 64 << 10

// take gives the next chunk, if it is there.
func (s *snapshot) take() (message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return message{}, false
	}
	s.ready = false
	s.taken <- struct{}{}
	return s.chunk, true
}

// offer puts a message in place once the one before has been taken.
func (s *snapshot) offer(ctx context.Context, tail []byte) error {
	if err := s.idle(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.ready, s.chunk = true, message{tail: tail}
	s.mu.Unlock()
	s.cursor.nudge()
	return nil
}

// idle waits until nothing is left to be taken. Whoever has waited has the place, and must fill it or be the last.
func (s *snapshot) idle(ctx context.Context) error {
	select {
	case <-s.taken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin starts a snapshot of the cursor's range. With revision 0 the cursor is put into a feed first, and the subscriber is
// told to forget what it has, because of reset. False means that the cursor or the hub is closed.
func (c *Cursor) begin(revision int64, reset problem.Code) bool {
	s := &snapshot{cursor: c, taken: make(chan struct{}, 1), reset: reset}
	s.taken <- struct{}{}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	cancel, started := c.hub.spawn(func(ctx context.Context) { s.run(ctx, revision) })
	if started {
		s.cancel, c.snap = cancel, s
	}
	return started
}

// resync takes the cursor out of a feed that cannot serve it any more, for that reason, and begins it anew.
func (c *Cursor) resync(reason problem.Code) bool {
	c.detach()
	return c.begin(0, reason)
}

// run is the life of the snapshot. One that is cancelled leaves the cursor as it is: behind a part of a state nothing may
// follow.
func (s *snapshot) run(ctx context.Context, revision int64) {
	c := s.cursor
	revision, err := s.walks(ctx, revision)
	if err == nil {
		err = s.idle(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	c.snap = nil
	switch {
	case err == nil && c.request.form.election:
		c.ballot = s.ballot
		c.first = append(c.first, c.elected(revision))
	case err == nil:
		c.first = append(c.first, message{appendRevision(nil, "synced", revision), revision})
	case !c.ended:
		c.ended, c.end = true, problem.From(err)
	}
	c.mu.Unlock()
	c.nudge()
}

// walks reads the state, and anew once when it is compacted meanwhile. It gives the revision of the state.
func (s *snapshot) walks(ctx context.Context, revision int64) (int64, error) {
	c := s.cursor
	for try := 1; ; try++ {
		if revision == 0 {
			var err error
			if revision, err = c.hub.rejoin(ctx, c); err != nil {
				return 0, err
			}
			if err := s.offer(ctx, appendReset(nil, s.reset)); err != nil {
				return 0, err
			}
		}
		err := s.read(ctx, revision)
		if err == nil || problem.From(err).Code != problem.Compacted {
			return revision, err
		}
		if try == 2 {
			return 0, slowConsumer("the snapshot was compacted, twice, before the subscriber had read it")
		}
		revision, s.reset = 0, problem.Compacted
	}
}

// read reads the state at the revision: of an election who stands, else all there is.
func (s *snapshot) read(ctx context.Context, revision int64) (err error) {
	if !s.cursor.request.form.election {
		return s.walk(ctx, revision)
	}
	s.ballot, err = s.cursor.ballotAt(ctx, revision)
	return err
}

// walk offers the state at the revision in chunks.
func (s *snapshot) walk(ctx context.Context, revision int64) error {
	h, r := s.cursor.hub, s.cursor.request
	select {
	case h.snapshots <- struct{}{}:
		defer func() { <-h.snapshots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	end := r.End
	if r.one() {
		end = keyrange.After(r.Start)
	}
	in := scan.New(s.cursor.who().store, wire.RangeRequest{Key: r.Start, End: end, Revision: revision, KeysOnly: r.form.options.KeysOnly}, stepTimeout)
	var tail []byte
	for kv, err := range in.All(ctx) {
		if err != nil {
			return err
		}
		if tail == nil {
			tail = append(make([]byte, 0, chunkBytes+chunkBytes/4), `"type":"snapshot","kvs":[`...)
		} else {
			tail = append(tail, ',')
		}
		tail = kvjson.AppendKeyValue(tail, kv, r.form.options)
		if len(tail) >= chunkBytes {
			if err := s.offer(ctx, append(tail, ']', '}')); err != nil {
				return err
			}
			tail = nil
		}
	}
	if tail == nil {
		return nil
	}
	return s.offer(ctx, append(tail, ']', '}'))
}
