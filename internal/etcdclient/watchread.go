package etcdclient

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// allWatches is the id of an answer that concerns every watch of the stream, or none.
const allWatches = -1

// take handles one answer. An error is the stream's end.
func (s *watchStream) take(ctx context.Context, inner *stream, f *frame) *Error {
	r, err := wire.ParseWatch(f.buffer.ReadOnlyData(), nil)
	if err != nil {
		return errCorrupt(methodWatch, err)
	}
	inner.conn.note(r.Header)
	switch {
	case r.Created:
		return s.created(ctx, inner, &r)
	case r.WatchID == allWatches:
		s.progress(r.Header.Revision)
	default:
		if w := s.find(r.WatchID); w != nil { // otherwise it was stopped, and this was under way
			return s.deliver(inner, w, &r)
		}
	}
	return nil
}

func (s *watchStream) find(id int64) *Watch {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.byID[id]
}

// deliver hands one answer to its watch. An error is the stream's end.
func (s *watchStream) deliver(inner *stream, w *Watch, r *wire.WatchResponse) *Error {
	changes, err := w.revisions.take(r, w.prefix)
	if len(changes) > 0 {
		w.watcher.Changes(changes)
	}
	switch {
	case err != nil && err.Name == NameCorruptAnswer:
		return err
	case err != nil:
		s.hub.end(w, err)
	case r.Canceled:
		s.canceled(inner, w, r)
	case r.Events.Len() == 0:
		s.certify(w, r.Header.Revision)
	}
	return nil
}

// created handles the answer to a request to watch. An error is the stream's end.
func (s *watchStream) created(ctx context.Context, inner *stream, r *wire.WatchResponse) *Error {
	w := s.answered(r)
	switch {
	case w == nil: // stopped meanwhile
	case r.Canceled:
		s.canceled(inner, w, r)
	case w.certain && !s.release.certifies():
		s.hub.end(w, errUncertain())
	default:
		if err := s.whole(ctx, w, r.Header.Revision); err != nil {
			return err
		}
		w.refusals = 0
		if s.hub.live(w) {
			w.watcher.Created()
		}
	}
	return nil
}

// wholeWithin bounds the question whether a start is there.
const wholeWithin = 2 * time.Second

// whole ends a watch that begins where the member may have lost something: at the revision of a compaction, where old releases
// forget deletions and say nothing. The stream waits for the answer meanwhile, so that nothing is delivered before; a start that the
// member has not reached needs no look at its history. An error is the stream's end.
func (s *watchStream) whole(ctx context.Context, w *Watch, reached int64) *Error {
	start := w.revisions.next
	if s.release.keepsCompacted() || start > reached || start <= 1 {
		return nil
	}
	key := w.request.Key
	if len(key) == 0 { // the first there can be, to a watch
		key = []byte{0}
	}
	ctx, cancel := context.WithTimeout(ctx, wholeWithin)
	defer cancel()
	answer, err := s.hub.client.Range(ctx, &wire.RangeRequest{Key: key, Revision: start - 1, CountOnly: true})
	if err == nil {
		answer.Free()
		return nil
	}
	e, _ := errors.AsType[*Error](err) // all of the client's are
	if e.problem == problem.Compacted {
		s.hub.end(w, errCompacted(start+1))
		return nil
	}
	return e
}

// answered finds the watch that a creation answers, nil when it was stopped: etcd answers in the order in which it was
// asked, and a refusal only so, without an id. Something in front of etcd may choose ids of its own.
func (s *watchStream) answered(r *wire.WatchResponse) *Watch {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if len(s.sent) == 0 {
		return nil
	}
	at := max(0, slices.Index(s.sent, r.WatchID))
	id := s.sent[at]
	s.sent = slices.Delete(s.sent, at, at+1)
	w := s.byID[id]
	if r.Canceled || r.WatchID != id {
		delete(s.byID, id)
	}
	switch {
	case w == nil && !r.Canceled && r.WatchID != id:
		s.cancels = append(s.cancels, r.WatchID) // what was cancelled was the other id
		s.wake()
	case w == nil:
	case r.Canceled:
		w.id = 0
	default:
		w.id, w.open = r.WatchID, true
		s.byID[w.id] = w
		if w.asks {
			s.wake()
		}
	}
	return w
}

// canceled handles that etcd ended a watch, or refused it.
func (s *watchStream) canceled(inner *stream, w *Watch, r *wire.WatchResponse) {
	err := cancelReason(r, s.release)
	identity := s.hub.client.identity
	if s.proven() {
		w.failures = 0
	}
	switch {
	case s.hub.client.refusal(err), w.refusals >= maxRefusals:
		s.hub.end(w, identity.final(err))
	case err.follow == followRenew:
		identity.refused(inner.token)
		w.failures = w.refusals // the first new token is tried at once
		w.refusals++
		s.hub.move(w, err)
	default:
		w.failures++
		s.hub.move(w, err)
	}
}

// progress takes the revision up to which etcd has sent everything, of all watches of the stream. It counts for those
// that it had created before: it can overtake the others' creation.
func (s *watchStream) progress(revision int64) {
	s.hub.mu.Lock()
	s.asked = time.Time{}
	s.wake() // others may have asked meanwhile
	watches := make([]*Watch, 0, len(s.byID))
	for _, w := range s.byID {
		if w.open {
			w.asked = false
			watches = append(watches, w)
		}
	}
	s.hub.mu.Unlock()
	for _, w := range watches {
		if s.hub.live(w) {
			s.certify(w, revision)
		}
	}
}

// certify passes progress on, unless it is not to be trusted or says less than what was delivered.
func (s *watchStream) certify(w *Watch, revision int64) {
	if s.release.certifies() && w.revisions.reach(revision) {
		w.watcher.Progress(revision)
	}
}
