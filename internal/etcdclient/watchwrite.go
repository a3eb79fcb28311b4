package etcdclient

import (
	"time"

	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	// linger is how long a stream stays open for the next watch, and for etcd to confirm that the last is cancelled:
	// etcd before 3.5.22 and 3.6.1 counts a watch down twice when its stream is closed at that moment.
	linger = time.Second
	// progressPause is the least time between two requests for progress.
	progressPause = 100 * time.Millisecond
	// progressAgain is how long an answer may take before it is asked for again: etcd gives none while it catches up.
	progressAgain = time.Second
	// noHurry is for when only a kick brings work.
	noHurry = time.Hour
)

// write sends what there is to be sent until the stream ends, or nobody has wanted it for a while.
func (s *watchStream) write(inner *stream) {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		requests, wait := s.outgoing(time.Now())
		for _, r := range requests {
			f := encode(r, smallFrame)
			err := inner.SendMsg(&f)
			f.free()
			if err != nil {
				return // the reader sees why
			}
		}
		timer.Reset(wait)
		select {
		case <-s.kick:
		case <-timer.C:
		case <-inner.ended:
			return
		}
	}
}

// outgoing gives what is to be sent now, and when to look again at the latest.
func (s *watchStream) outgoing(now time.Time) (requests []wire.Request, wait time.Duration) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	requests = s.createsLocked(requests)
	for _, id := range s.cancels {
		requests = append(requests, &wire.WatchCancelRequest{WatchID: id})
	}
	s.cancels = nil
	if len(s.watches) == 0 {
		return requests, s.lingerLocked(now)
	}
	s.empty = time.Time{}
	ask, wait := s.progressLocked(now)
	if ask {
		requests = append(requests, &wire.WatchProgressRequest{})
	}
	return requests, wait
}

// createsLocked asks for all watches that the stream does not have yet, at once.
func (s *watchStream) createsLocked(requests []wire.Request) []wire.Request {
	for w := range s.watches {
		if w.id != 0 {
			continue
		}
		s.lastID++
		w.id = s.lastID
		s.byID[w.id] = w
		s.sent = append(s.sent, w.id)
		create := w.request
		create.WatchID, create.StartRevision = w.id, w.revisions.next
		requests = append(requests, &create)
	}
	return requests
}

// lingerLocked retires the stream when nobody has wanted it for long enough.
func (s *watchStream) lingerLocked(now time.Time) (wait time.Duration) {
	if s.empty.IsZero() {
		s.empty = now
	}
	if left := linger - now.Sub(s.empty); left > 0 {
		return left
	}
	s.retireLocked()
	return linger
}

// progressLocked says whether to ask for progress now.
func (s *watchStream) progressLocked(now time.Time) (ask bool, wait time.Duration) {
	asks, asked := false, false
	for w := range s.watches {
		asks, asked = asks || w.open && w.asks, asked || w.asked
	}
	due := s.lastAsk.Add(progressPause)
	switch {
	case !s.release.certifies() || !asks && !asked:
		s.asked = time.Time{} // those who asked have left
		return false, noHurry
	case !s.asked.IsZero():
		due = s.asked.Add(progressAgain)
	}
	if left := due.Sub(now); left > 0 {
		return false, left
	}
	s.asked, s.lastAsk = now, now
	for w := range s.watches {
		if w.open && w.asks {
			w.asks, w.asked = false, true
		}
	}
	return true, progressAgain
}
