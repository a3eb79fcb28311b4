package compat

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// wake has a watch read.
func (s *watchStream) wake(w *watched) {
	s.mu.Lock()
	if w.live && !w.gone && !w.queued {
		w.queued = true
		s.ready = append(s.ready, w)
	}
	s.mu.Unlock()
	s.nudge()
}

// RecvMsg gives the next message, which is a WatchResponse.
func (s *watchStream) RecvMsg(m any) error {
	out, _ := m.(*pb.WatchResponse)
	for {
		next, again, err := s.next()
		switch {
		case err != nil:
			return err
		case next != nil:
			fill(out, next)
			return nil
		case again:
			continue
		}
		select {
		case <-s.kick:
		case a := <-s.answers:
			if next := s.heed(a); next != nil {
				fill(out, next)
				return nil
			}
		case <-s.ctx.Done():
			return s.over()
		}
	}
}

func fill(out, m *pb.WatchResponse) {
	out.Header, out.WatchId, out.Created, out.Canceled = m.GetHeader(), m.GetWatchId(), m.GetCreated(), m.GetCanceled()
	out.CompactRevision, out.CancelReason, out.Fragment, out.Events = m.GetCompactRevision(), m.GetCancelReason(), m.GetFragment(), m.GetEvents()
}

// next gives the next message, if there is one; again is that there may be one without waiting. A watch is looked for before the
// answers, and the answers are read before it: what tells of its creation, or of its end, comes before what it has to tell.
func (s *watchStream) next() (m *pb.WatchResponse, again bool, err error) {
	if s.ctx.Err() != nil {
		return nil, false, s.over()
	}
	if m = s.nextDenied(); m != nil {
		return m, true, nil
	}
	w, failed := s.pop()
	select {
	case a := <-s.answers:
		s.push(w)
		return s.heed(a), true, nil
	default:
	}
	if m = s.settled(); m != nil {
		s.push(w)
		return m, true, nil
	}
	if w == nil {
		return nil, false, failed
	}
	m, upTo, more, err := w.step()
	s.reached(w, upTo)
	if err != nil {
		m, err = s.end(w, err, upTo)
	} else if more {
		s.wake(w)
	}
	return m, true, err
}

// pop takes a watch that may have something, and tells whether the stream has failed.
func (s *watchStream) pop() (*watched, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 {
		w := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		w.queued = false
		if !w.gone && w.feed != nil {
			return w, nil
		}
	}
	return nil, s.failed
}

// push puts a watch back at the front.
func (s *watchStream) push(w *watched) {
	if w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.gone && !w.queued {
		w.queued = true
		s.ready = append([]*watched{w}, s.ready...)
	}
}

// reached notes up to where everything has been told.
func (s *watchStream) reached(w *watched, upTo int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.told = max(w.told, upTo)
}

// heed gives the message of an answer, nil when there is nothing to be told.
func (s *watchStream) heed(a answer) *pb.WatchResponse {
	m := a.m
	if a.begins != nil {
		s.mu.Lock()
		a.begins.announced = true
		s.mu.Unlock()
	}
	if a.from == nil {
		return m
	}
	if m.GetWatchId() == everyWatch && !m.GetCanceled() {
		s.mu.Lock()
		a.from.answered++
		a.from.told = max(a.from.told, m.GetHeader().GetRevision())
		s.mu.Unlock()
		return nil
	}
	if s.isOver(a.from) {
		return nil
	}
	if m.GetCanceled() {
		s.remove(a.from)
	}
	m.WatchId = a.from.id
	return m
}

// end handles that a feed cannot serve a watch any more: a stream of its own goes on behind what has been told, unless etcd would
// have ended it too.
func (s *watchStream) end(w *watched, err error, upTo int64) (*pb.WatchResponse, error) {
	if m := w.ending(err); m != nil {
		s.remove(w)
		return m, nil
	}
	if err := s.outage(err); err != nil {
		return nil, err
	}
	w.feed.Close() // first: the watch counts once among its caller's
	own, m, err := s.gateway.openOwn(s.ctx, w.request, upTo+1)
	if err != nil {
		return nil, err
	}
	if m.GetCanceled() {
		own.cancel()
		s.remove(w)
		return &pb.WatchResponse{Header: m.GetHeader(), WatchId: w.id, Canceled: true, CancelReason: m.GetCancelReason()}, nil
	}
	s.mu.Lock()
	gone := w.gone
	w.feed, w.own = nil, own
	s.mu.Unlock()
	if gone { // it was cancelled meanwhile
		own.cancel()
		return nil, nil
	}
	s.start(w)
	return nil, nil
}
