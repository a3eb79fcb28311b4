package compat

import (
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// lookAfter has the stream's watches looked after from now on.
func (s *watchStream) lookAfter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave == nil {
		s.leave = s.gateway.lookAfter(s)
	}
}

// whose implements holder.
func (s *watchStream) whose() context.Context { return s.ctx }

// holds implements holder: the watches on streams of their own.
func (s *watchStream) holds(each func(r span, deny func(why *etcdclient.Error))) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		if w.own != nil {
			each(span{string(w.request.GetKey()), string(w.request.GetRangeEnd())}, func(why *etcdclient.Error) { s.deny(w, why) })
		}
	}
}

// deny has the end of a watch told. Nothing else of it is received any more.
func (s *watchStream) deny(w *watched, why *etcdclient.Error) {
	s.mu.Lock()
	if w.denied == nil {
		w.denied = why
		s.denied = append(s.denied, w)
	}
	s.mu.Unlock()
	s.nudge()
}

// nextDenied ends a watch that was denied, and gives what is told of it. One whose creation has not been told comes later.
func (s *watchStream) nextDenied() *pb.WatchResponse {
	w := s.takeDenied()
	if w == nil || !s.remove(w) {
		return nil
	}
	return w.ending(w.denied)
}

func (s *watchStream) takeDenied() *watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.denied, func(w *watched) bool { return w.gone || w.announced })
	if n < 0 {
		return nil
	}
	w := s.denied[n]
	s.denied = slices.Delete(s.denied, n, n+1)
	return w
}

// denial is etcd's word for a watch that it would not begin any more. Clients log in again where it is not the right that is lacking.
func denial(why *etcdclient.Error) error {
	if why.Problem().Code == problem.PermissionDenied {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return rpctypes.ErrGRPCInvalidAuthToken
}
