package compat

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// guardedStream judges each message of a stream. What etcd would answer on the stream is answered there: a watch that is
// denied is canceled, with the others going on, and a lease that is somebody else's has no time left.
type guardedStream struct {
	grpc.ClientStream
	pass

	mu sync.Mutex
	// creates are those without an answer yet, in their order: why it is denied, or empty.
	creates []string
	// renewals are the leases whose keepalives have no answer yet, in their order.
	renewals []int64
	// open is how many watches count as the caller's; ended says that the stream is over.
	open  int
	ended bool
}

func newGuardedStream(ctx context.Context, s grpc.ClientStream, c *authz.Caller) *guardedStream {
	g := &guardedStream{ClientStream: s, pass: pass{c}}
	context.AfterFunc(ctx, g.end) // ctx ends with the stream
	return g
}

// end gives back what the stream has taken of the caller's limits.
func (s *guardedStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.open > 0; s.open-- {
		s.caller.Usage().CloseWatch()
	}
	s.ended = true
}

// SendMsg implements grpc.ClientStream.
func (s *guardedStream) SendMsg(m any) error {
	switch r := m.(type) {
	case *pb.WatchRequest:
		if r.GetCreateRequest() != nil {
			m = s.create(r)
		}
	case *pb.LeaseKeepAliveRequest:
		m = s.renew(r)
	default:
		if err := s.judge(m); err != nil {
			return err
		}
	}
	return s.ClientStream.SendMsg(m)
}

// create judges a watch. In the stead of one that is denied goes one that etcd refuses, so that the refusal comes in its turn
// and with a header of etcd's.
func (s *guardedStream) create(r *pb.WatchRequest) *pb.WatchRequest {
	err := s.judge(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if err = s.countLocked(); err == nil {
			s.creates = append(s.creates, "")
			return r
		}
	}
	s.creates = append(s.creates, err.Error())
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte{1}, RangeEnd: []byte{1}, // an empty range
	}}}
}

// countLocked counts a watch against the caller's limits.
func (s *guardedStream) countLocked() error {
	if s.ended {
		return nil
	}
	if err := s.caller.Usage().OpenWatch(); err != nil {
		return status.Error(codes.ResourceExhausted, problem.From(err).Detail)
	}
	s.open++
	return nil
}

func (s *guardedStream) renew(r *pb.LeaseKeepAliveRequest) *pb.LeaseKeepAliveRequest {
	s.mu.Lock()
	s.renewals = append(s.renewals, r.GetID())
	s.mu.Unlock()
	if s.caller.Owns(r.GetID()) {
		return r
	}
	return &pb.LeaseKeepAliveRequest{ID: noLease}
}

// RecvMsg implements grpc.ClientStream.
func (s *guardedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r := m.(type) {
	case *pb.WatchResponse:
		s.watchedLocked(r)
	case *pb.LeaseKeepAliveResponse:
		if len(s.renewals) > 0 {
			r.ID, s.renewals = s.renewals[0], s.renewals[1:]
		}
	}
	return nil
}

// watchedLocked says why a watch is denied, and takes note of one that is over.
func (s *guardedStream) watchedLocked(r *pb.WatchResponse) {
	if r.GetCreated() && len(s.creates) > 0 { // etcd answers each create with one such message, in their order
		denied := s.creates[0]
		s.creates = s.creates[1:]
		if denied != "" {
			r.CancelReason = denied
			return
		}
	}
	if r.GetCanceled() && s.open > 0 {
		s.open--
		s.caller.Usage().CloseWatch()
	}
}
