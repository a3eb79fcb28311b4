package handlers_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// young is an etcd that does not know its cluster's version yet.
type young struct {
	pb.UnimplementedMaintenanceServer

	validated, others atomic.Int64
}

func (*young) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 1, MemberId: 1}, Version: "3.7.3", Leader: 1}, nil
}

func (y *young) Downgrade(_ context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	if r.GetAction() == pb.DowngradeRequest_VALIDATE {
		y.validated.Add(1)
	} else {
		y.others.Add(1)
	}
	return nil, rpctypes.ErrGRPCClusterVersionUnavailable
}

// otherDowngrades is a backend with the downgrades of another client.
type otherDowngrades struct {
	*etcdclient.Client

	of *etcdclient.Client
}

func (o otherDowngrades) Downgrade(ctx context.Context, action etcdclient.DowngradeAction, version string) (string, wire.Header, error) {
	return o.of.Downgrade(ctx, action, version)
}

// TestAClusterWithoutAVersionIsNotAskedToCancelADowngrade: etcd 3.7 crashes then.
func TestAClusterWithoutAVersionIsNotAskedToCancelADowngrade(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y, server, served := new(young), grpc.NewServer(), make(chan struct{})
	pb.RegisterMaintenanceServer(server, y)
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-served })
	client, err := etcdclient.New(etcdclient.Config{Endpoints: []string{"http://" + l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	etcd := embedetcd.StartForTest(t)
	g := startOver(t, etcd, etcd.Endpoint(), func(c *etcdclient.Client) handlers.Backend { return otherDowngrades{Client: c, of: client} })
	for n, body := range []string{`{"action":"cancel"}`, `{"action":"enable","version":"3.6"}`, `{"action":"validate","version":"3.6"}`} {
		a := g.do(t, "POST", "/v1/maintenance/downgrade", body)
		if doc := a.problem(t, 503, "unavailable"); doc["outcome"] != "not_applied" || doc["retryable"] != true || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %s with %v, want it not applied, and to be asked again", body, a.body, a.header)
		}
		if v, o := y.validated.Load(), y.others.Load(); v != int64(n+1) || o != 0 {
			t.Errorf("%s: etcd was asked %d times to validate and %d times for more, want %d and 0", body, v, o, n+1)
		}
	}
}
