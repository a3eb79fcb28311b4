package etcdclient_test

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// script is the server's side of a scripted watch stream.
type script struct {
	pb.Watch_WatchServer
	server *scripted
}

// scripting makes a server that plays a part on every watch stream; n counts them from 1.
func scripting(t testing.TB, s *scripted, play func(s *script, n int64) error) *scripted {
	t.Helper()
	s.onWatch = func(stream pb.Watch_WatchServer) error {
		return play(&script{Watch_WatchServer: stream, server: s}, s.watches.Load())
	}
	return serve(t, s)
}

// create waits for a request to watch, passing over others; nil when the client has left.
func (s *script) create() *pb.WatchCreateRequest {
	for {
		r, err := s.Recv()
		if err != nil {
			return nil
		}
		if c := r.GetCreateRequest(); c != nil {
			return c
		}
	}
}

func (s *script) send(r *pb.WatchResponse) {
	if r.GetHeader() == nil {
		r.Header = s.server.header()
	}
	_ = s.Send(r) // the client may have left
}

// accept waits for a request to watch and accepts it.
func (s *script) accept() *pb.WatchCreateRequest {
	c := s.create()
	if c != nil {
		s.send(&pb.WatchResponse{WatchId: c.GetWatchId(), Created: true})
	}
	return c
}

func (s *script) progress(revision int64) {
	h := s.server.header()
	h.Revision = revision
	s.send(&pb.WatchResponse{Header: h, WatchId: -1})
}

// events sends an event of the key k at each of the revisions.
func (s *script) events(id int64, fragment bool, revisions ...int64) {
	r := &pb.WatchResponse{WatchId: id, Fragment: fragment}
	for _, revision := range revisions {
		r.Events = append(r.Events, &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), Value: []byte("v"), ModRevision: revision}})
	}
	s.send(r)
}

// idle waits until the client has left.
func (s *script) idle() error { return hang(s.Context()) }
