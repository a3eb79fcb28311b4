package compat

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// kind is one of the two streams in both directions.
type kind struct {
	path, method string
	request      func() proto.Message
	answer       func() proto.Message
	// begins judges the first request; nil is a body without any.
	begins func(first proto.Message) error
}

var watchKind = kind{
	path: pathWatch, method: pb.Watch_Watch_FullMethodName,
	request: func() proto.Message { return new(pb.WatchRequest) },
	answer:  func() proto.Message { return new(pb.WatchResponse) },
	begins:  beginsWatch,
}

var keepAliveKind = kind{
	path: pathKeepAlive, method: pb.Lease_LeaseKeepAlive_FullMethodName,
	request: func() proto.Message { return new(pb.LeaseKeepAliveRequest) },
	answer:  func() proto.Message { return new(pb.LeaseKeepAliveResponse) },
	begins:  func(proto.Message) error { return nil },
}

// beginsWatch refuses what etcd would wait over without a word: a body that asks for nothing.
func beginsWatch(first proto.Message) error {
	if r, ok := first.(*pb.WatchRequest); ok && r.GetRequestUnion() != nil {
		return nil
	}
	return status.Error(codes.InvalidArgument, "a watch needs a create_request, a progress_request or a cancel_request")
}
