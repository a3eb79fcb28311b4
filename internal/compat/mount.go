package compat

import (
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	electiongw "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb/gw"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	lockgw "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb/gw"
	"google.golang.org/protobuf/encoding/protojson"
)

// mount builds the mux with the options of etcd's server/embed/serve.go and all of etcd's handlers but those of the two
// streams that callers write to as well, which are our own (bidi.go).
func (g *Gateway) mount() error {
	form := marshaler{&runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}}}
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, form),
		runtime.WithErrorHandler(writeError),
		runtime.WithStreamErrorHandler(streamError),
	)
	ctx := g.stopping // the handlers that take a client use no context
	for _, register := range []func() error{
		func() error { return gw.RegisterKVHandlerClient(ctx, g.mux, pb.NewKVClient(g.client)) },
		func() error { return gw.RegisterLeaseHandlerClient(ctx, g.mux, pb.NewLeaseClient(g.client)) },
		func() error {
			members := advertised{ClusterClient: pb.NewClusterClient(g.client), url: g.options.AdvertiseURL}
			return gw.RegisterClusterHandlerClient(ctx, g.mux, members)
		},
		func() error {
			return gw.RegisterMaintenanceHandlerClient(ctx, g.mux, pb.NewMaintenanceClient(g.client))
		},
		func() error { return gw.RegisterAuthHandlerClient(ctx, g.mux, pb.NewAuthClient(g.client)) },
		func() error { return lockgw.RegisterLockHandlerClient(ctx, g.mux, lock.NewLockClient(g.client)) },
		func() error {
			elections := observed{ElectionClient: election.NewElectionClient(g.client), gateway: g}
			return electiongw.RegisterElectionHandlerClient(ctx, g.mux, elections)
		},
		func() error { return g.mux.HandlePath(http.MethodPost, pathWatch, g.bidi(watchKind)) },
		func() error { return g.mux.HandlePath(http.MethodPost, pathKeepAlive, g.bidi(keepAliveKind)) },
	} {
		if err := register(); err != nil {
			return err
		}
	}
	return nil
}
