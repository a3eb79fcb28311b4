package compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// guarded is the client as the caller of the request may use it: the door has put him into the context. Each message is
// judged by his grants, however deep the keys in it are nested, before it is sent as his identity and within his namespace.
// Where nobody is asked who he is, it is the client itself.
type guarded struct{ grpc.ClientConnInterface }

var errDenied = rpctypes.ErrGRPCPermissionDenied

// Invoke implements grpc.ClientConnInterface.
func (g guarded) Invoke(ctx context.Context, method string, request, answer any, opts ...grpc.CallOption) error {
	caller := authz.From(ctx)
	if caller == nil {
		return g.ClientConnInterface.Invoke(ctx, method, request, answer, opts...)
	}
	ctx = withoutCredentials(ctx)
	if caller.Unlimited() {
		return caller.Client().Invoke(ctx, method, request, answer, opts...)
	}
	p := pass{caller}
	inner, err := p.in(request)
	if err != nil {
		return err
	}
	if err := conn(caller, inner).Invoke(ctx, method, inner, answer, opts...); err != nil {
		return err
	}
	return p.out(request, answer)
}

// NewStream implements grpc.ClientConnInterface.
func (g guarded) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	caller := authz.From(ctx)
	if caller == nil {
		return g.ClientConnInterface.NewStream(ctx, d, method, opts...)
	}
	ctx = withoutCredentials(ctx)
	if caller.Unlimited() {
		return caller.Client().NewStream(ctx, d, method, opts...)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	in, err := streamConn(caller, method).NewStream(ctx, d, method, opts...)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &guardedStream{ClientStream: in, pass: pass{caller}, ctx: ctx, cancel: cancel}, nil
}

// withoutCredentials takes off what the caller showed to the gateway: etcd is shown the identity that he has there.
func withoutCredentials(ctx context.Context) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return ctx
	}
	for _, name := range []string{"authorization", "grpcgateway-authorization", "token"} {
		delete(md, name) // it is a copy
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// conn is the way that a message goes: into the caller's namespace, unless it has been put there already or has none.
func conn(c *authz.Caller, message proto.Message) grpc.ClientConnInterface {
	if len(c.Namespace) == 0 || !spaced(message) {
		return c.Client()
	}
	return c.Client().Namespace(c.Namespace)
}

// spaced tells whether the client puts the message's keys into the namespace.
func spaced(message proto.Message) bool {
	switch message.(type) {
	case *pb.RangeRequest, *pb.PutRequest, *pb.DeleteRangeRequest, *pb.TxnRequest, *pb.LeaseTimeToLiveRequest:
		return true
	}
	return false
}

// streamConn is conn for a stream.
func streamConn(c *authz.Caller, method string) grpc.ClientConnInterface {
	if len(c.Namespace) > 0 && (method == pb.Watch_Watch_FullMethodName || method == pb.KV_RangeStream_FullMethodName) {
		return c.Client().Namespace(c.Namespace)
	}
	return c.Client()
}

// guardedStream judges each message of a stream. One that is denied ends it.
type guardedStream struct {
	grpc.ClientStream
	pass   pass
	ctx    context.Context //nolint:containedctx // a stream is a call under way
	cancel context.CancelCauseFunc
	// asked are the leases whose keepalives have not been answered, in their order.
	asked fifo
}

// SendMsg implements grpc.ClientStream.
func (s *guardedStream) SendMsg(m any) error {
	inner, err := s.pass.in(m)
	if err != nil {
		s.cancel(err)
		return err
	}
	if r, ok := m.(*pb.LeaseKeepAliveRequest); ok {
		s.asked.push(r.GetID())
	}
	return s.ClientStream.SendMsg(inner)
}

// Header implements grpc.ClientStream.
func (s *guardedStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, s.why(err)
}

// RecvMsg implements grpc.ClientStream.
func (s *guardedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return s.why(err)
	}
	if r, ok := m.(*pb.LeaseKeepAliveResponse); ok { // one that is not the caller's was asked for under another id
		r.ID = s.asked.pop(r.GetID())
	}
	return s.pass.out(nil, m)
}

// why is what ended the stream: our own word, if it was that.
func (s *guardedStream) why(err error) error {
	if err != nil {
		if cause, ok := context.Cause(s.ctx).(interface{ GRPCStatus() *status.Status }); ok {
			return cause.GRPCStatus().Err()
		}
	}
	return err
}

// tooMany is the error of a range that has more keys than the caller may have read at once.
func tooMany(most int64) error {
	return status.Errorf(codes.ResourceExhausted, "the range has more than the %d keys that the caller may have read at once; give a limit", most)
}
