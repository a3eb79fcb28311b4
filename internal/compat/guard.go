package compat

import (
	"context"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// guarded is the client as the caller of the request may use it: the door has put him into the context. Each message is
// judged by his grants, however deep the keys in it are nested, before it is sent as his identity and within his namespace.
// Where nobody is asked who he is, it is the client itself.
type guarded struct {
	grpc.ClientConnInterface

	// asked says that callers are asked who they are, so that one who is not known gets nothing but a login.
	asked bool
}

// Invoke implements grpc.ClientConnInterface.
func (g guarded) Invoke(ctx context.Context, method string, request, answer any, opts ...grpc.CallOption) error {
	caller := authz.From(ctx)
	if caller == nil {
		if g.asked && method != pb.Auth_Authenticate_FullMethodName {
			return rpctypes.ErrGRPCInvalidAuthToken
		}
		return g.ClientConnInterface.Invoke(ctx, method, request, answer, opts...)
	}
	p := pass{caller}
	if err := p.judge(request); err != nil {
		return err
	}
	u := unary{pass: p, conn: conn(caller, method), method: method, opts: opts}
	if err := u.send(withoutCredentials(ctx), request, answer); err != nil {
		return err
	}
	p.out(answer)
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (g guarded) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	caller := authz.From(ctx)
	if caller == nil {
		if g.asked {
			return nil, rpctypes.ErrGRPCInvalidAuthToken
		}
		return g.ClientConnInterface.NewStream(ctx, d, method, opts...)
	}
	if method == pb.Lease_LeaseKeepAlive_FullMethodName && caller.Has(authz.Lease) != nil {
		return nil, rpctypes.ErrGRPCPermissionDenied
	}
	s, err := conn(caller, method).NewStream(withoutCredentials(ctx), d, method, opts...)
	if err != nil {
		return nil, err
	}
	return newGuardedStream(ctx, s, caller), nil
}

// withoutCredentials takes off what the caller showed to the gateway: etcd is shown the identity that he has there.
func withoutCredentials(ctx context.Context) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return ctx
	}
	for _, name := range []string{
		rpctypes.TokenFieldNameGRPC, rpctypes.TokenFieldNameSwagger, "grpcgateway-authorization", "grpcgateway-cookie",
	} {
		delete(md, name) // it is a copy
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// conn is the way that a method's messages go: within the caller's namespace, if he has one and they can.
func conn(c *authz.Caller, method string) grpc.ClientConnInterface {
	if len(c.Namespace) == 0 || !spaced(method) {
		return c.Client()
	}
	return c.Client().Namespace(c.Namespace)
}

// spaced tells whether a method is about keys and leases. The others are about the whole cluster, for those who may do admin.
func spaced(method string) bool {
	switch service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/"); service {
	case "etcdserverpb.KV":
		return name != "Compact"
	case "etcdserverpb.Watch", "etcdserverpb.Lease", "v3lockpb.Lock", "v3electionpb.Election":
		return true
	}
	return false
}
