// Package truth keeps what really happened: a plain watch of everything, by etcd's official client, at each member of a
// cluster. What the members say must agree, and together it must be every revision there was.
package truth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Recorder records until Close.
type Recorder struct {
	members []*member
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

// member is the watch at one member.
type member struct {
	client   *clientv3.Client
	endpoint string

	mu      sync.Mutex
	events  map[int64][]history.Event
	head    int64
	compact int64 // the highest compact revision that ended a watch
	err     error
	moved   chan struct{} // closed and replaced whenever something is new
}

// Record begins to record, at every endpoint by a client of its own.
func Record(ctx context.Context, endpoints ...string) (*Recorder, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &Recorder{cancel: cancel}
	for _, endpoint := range endpoints {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("record %s: %w", endpoint, err)
		}
		m := &member{client: client, endpoint: endpoint, events: map[int64][]history.Event{}, moved: make(chan struct{})}
		r.members = append(r.members, m)
		r.work.Go(func() { m.run(ctx) })
	}
	return r, nil
}

// Close ends the recording.
func (r *Recorder) Close() {
	r.cancel()
	r.work.Wait()
	for _, m := range r.members {
		_ = m.client.Close() // its watches have ended
	}
}

// Head is the highest revision seen by any member.
func (r *Recorder) Head() (head int64) {
	for _, m := range r.members {
		m.mu.Lock()
		head = max(head, m.head)
		m.mu.Unlock()
	}
	return head
}

// Log waits until every member has shown the revision, and gives all revisions up to it.
func (r *Recorder) Log(ctx context.Context, until int64) (*history.Log, error) {
	all := map[int64][]history.Event{}
	var compact int64
	for _, m := range r.members {
		if err := m.wait(ctx, until); err != nil {
			return nil, err
		}
		m.mu.Lock()
		compact = max(compact, m.compact)
		err := m.join(all)
		m.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	var revisions []history.Revision
	for revision := int64(2); revision <= until; revision++ {
		revisions = append(revisions, history.Revision{Revision: revision, Events: all[revision]})
	}
	log, err := history.NewLog(revisions)
	if err != nil {
		return nil, err
	}
	log.Compacted = compact
	return log, nil
}

// Reread holds a log against a fresh watch of the whole history; only before any compaction.
func (r *Recorder) Reread(ctx context.Context, log *history.Log) error {
	fresh, err := Record(ctx, r.members[0].endpoint)
	if err != nil {
		return err
	}
	defer fresh.Close()
	again, err := fresh.Log(ctx, log.Head())
	if err != nil {
		return err
	}
	for _, revision := range log.Revisions() {
		if got := again.At(revision.Revision); !slices.Equal(got.Events, revision.Events) {
			return fmt.Errorf("revision %d was %v, and is now read as %v", revision.Revision, revision.Events, got.Events)
		}
	}
	return nil
}

// run watches from where it is, again and again: etcd's client goes on by itself until a compaction stops it.
func (m *member) run(ctx context.Context) {
	for next := int64(2); ctx.Err() == nil; {
		watch, cancel := context.WithCancel(ctx)
		for answer := range m.client.Watch(watch, "\x00", clientv3.WithFromKey(), clientv3.WithRev(next)) {
			next = m.take(answer, next)
		}
		cancel()
	}
}

// take keeps an answer and gives the revision to go on with.
func (m *member) take(answer clientv3.WatchResponse, next int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() {
		close(m.moved)
		m.moved = make(chan struct{})
	}()
	if answer.CompactRevision > 0 {
		m.compact = max(m.compact, answer.CompactRevision)
		return max(next, answer.CompactRevision)
	}
	for _, e := range answer.Events {
		r := e.Kv.ModRevision
		if r < next {
			m.err = fmt.Errorf("%s: revision %d came after %d", m.endpoint, r, next)
		}
		m.events[r] = append(m.events[r], history.FromEtcd(e))
		m.head = max(m.head, r)
	}
	return max(next, m.head+1)
}

// wait until the member has shown a revision.
func (m *member) wait(ctx context.Context, until int64) error {
	for {
		m.mu.Lock()
		head, err, moved := m.head, m.err, m.moved
		m.mu.Unlock()
		if head >= until || err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("%s has shown %d of %d: %w", m.endpoint, head, until, ctx.Err())
		}
	}
}

var errDiffer = errors.New("the members do not agree, so there is no truth")

// join adds what the member saw. Two members that saw different things are an error.
func (m *member) join(all map[int64][]history.Event) error {
	for revision, events := range m.events {
		if known, ok := all[revision]; ok && !slices.Equal(known, events) {
			return fmt.Errorf("%w: revision %d is %v, and %v at %s", errDiffer, revision, known, events, m.endpoint)
		}
		all[revision] = events
	}
	return nil
}

// Patience is how long the members may take to catch up once the faults are over.
const Patience = 30 * time.Second
