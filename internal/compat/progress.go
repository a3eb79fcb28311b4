package compat

import (
	"errors"
	"io"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// ask is a request to be told of progress: it is answered once, when everything up to its revision has been told by each watch.
type ask struct {
	header *pb.ResponseHeader
	// owns are the watches on streams of their own, with how often each had told of progress before.
	owns map[*watched]int
}

// mostAsks is how many requests wait; a further one is answered with the last of them.
const mostAsks = 16

// progress asks all watches how far they are. Without any there is nothing to tell, as in etcd.
func (s *watchStream) progress() error {
	s.mu.Lock()
	feeds, owns := make([]*watched, 0, len(s.watches)), make(map[*watched]int)
	for _, w := range s.watches {
		if w.feed != nil {
			feeds = append(feeds, w)
		} else {
			owns[w] = w.answered
		}
	}
	s.mu.Unlock()
	if len(feeds)+len(owns) == 0 {
		return nil
	}
	a := ask{owns: owns}
	if len(feeds) > 0 {
		header, err := s.gateway.options.Feeds.Header(s.asker(), firstKey(feeds[0].request))
		if err != nil {
			return s.outage(err) // who is not told may ask again
		}
		a.header = headerOf(header)
	}
	s.mu.Lock()
	if len(s.asks) == mostAsks || len(owns) > 0 { // etcd leaves a request unanswered while a watch catches up: nobody waits behind that
		s.asks = s.asks[:max(len(s.asks)-1, 0)]
	}
	s.asks = append(s.asks, a)
	s.mu.Unlock()
	for _, w := range feeds {
		s.certify(w, a.header.GetRevision())
	}
	for w := range owns {
		request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
		if err := w.own.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	s.nudge()
	return nil
}

// certify has the feed of a watch find out how far it is, unless it has just lost it.
func (s *watchStream) certify(w *watched, revision int64) {
	s.mu.Lock()
	feed := w.feed
	s.mu.Unlock()
	if feed != nil {
		feed.Certify(revision)
	}
}

// settled gives the answer to the first request for progress, if it can be given.
func (s *watchStream) settled() *pb.WatchResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.asks) > 0 {
		header, settled := s.asks[0].settledLocked(s.watches)
		if !settled {
			return nil
		}
		s.asks = s.asks[1:]
		if header != nil {
			return &pb.WatchResponse{Header: header, WatchId: everyWatch}
		}
	}
	return nil
}

// settledLocked tells whether every watch has told enough, and gives the header of the answer; nil when no watch is left.
func (a *ask) settledLocked(watches map[int64]*watched) (header *pb.ResponseHeader, settled bool) {
	var of *pb.ResponseHeader
	revision := int64(math.MaxInt64)
	if a.header != nil {
		revision = a.header.GetRevision()
	}
	for _, w := range watches {
		before, asked := a.owns[w]
		if w.feed != nil && w.told < a.header.GetRevision() || asked && w.answered == before {
			return nil, false
		}
		of, revision = w.began, min(revision, w.told)
	}
	if of == nil {
		return nil, true
	}
	if a.header != nil {
		of = a.header
	}
	return &pb.ResponseHeader{ClusterId: of.GetClusterId(), MemberId: of.GetMemberId(), RaftTerm: of.GetRaftTerm(), Revision: revision}, true
}
