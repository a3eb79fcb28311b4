package etcdclient_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/loopback"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// connect makes a client for the length of the test; adjust changes its configuration.
func connect(t testing.TB, endpoints []string, adjust ...func(*etcdclient.Config)) *etcdclient.Client {
	t.Helper()
	config := etcdclient.Config{Endpoints: endpoints}
	for _, f := range adjust {
		f(&config)
	}
	c, err := etcdclient.New(config)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// ready is connect, waiting until a member has answered.
func ready(t testing.TB, endpoints []string, adjust ...func(*etcdclient.Config)) *etcdclient.Client {
	t.Helper()
	c := connect(t, endpoints, adjust...)
	if err := c.WaitReady(within(t, 10*time.Second)); err != nil {
		t.Fatalf("WaitReady: %v", err)
	}
	return c
}

// embedded starts an etcd and a client of ours.
func embedded(t testing.TB, adjust ...func(*embedetcd.Options)) (*etcdclient.Client, *embedetcd.Server) {
	t.Helper()
	s := embedetcd.StartForTest(t, adjust...)
	return ready(t, []string{s.Endpoint()}), s
}

// official makes a client of etcd's own, the oracle.
func official(t testing.TB, config clientv3.Config) *clientv3.Client {
	t.Helper()
	config.Logger = zap.NewNop()
	c, err := clientv3.New(config)
	if err != nil {
		t.Fatalf("the official client: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// within gives a context of the test that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until the condition holds, asking often.
func eventually(t testing.TB, what string, d time.Duration, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(d)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// scripted is a gRPC server that does what the test says: etcd's faults on demand. The zero value of each hook is a server
// that works.
type scripted struct {
	pb.UnimplementedKVServer
	pb.UnimplementedAuthServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedLeaseServer
	*health.Server

	id       uint64
	leader   atomic.Uint64
	learner  atomic.Bool
	says     string // its version
	answers  string // a key that every range finds
	onPut    func(ctx context.Context) error
	onRange  func(ctx context.Context) error
	onStatus func(ctx context.Context) error
	onAuthn  func(ctx context.Context, r *pb.AuthenticateRequest) (string, error)
	onStream func(stream pb.KV_RangeStreamServer) error // nil: as before etcd 3.7
	onRenew  func(stream pb.Lease_LeaseKeepAliveServer) error
	onWatch  func(stream pb.Watch_WatchServer) error // nil: waits

	onDowngrade func(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error)

	puts, ranges, streams, authns, statuses, renewals, watches atomic.Int64

	address, endpoint string
	mu                sync.Mutex
	server            *grpc.Server
}

// serve starts the server for the length of the test.
func serve(t testing.TB, s *scripted) *scripted {
	t.Helper()
	if s.id == 0 {
		s.id = 1
	}
	if s.leader.Load() == 0 {
		s.leader.Store(s.id)
	}
	var err error
	if s.address, err = loopback.LastingAddress(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.endpoint = "http://" + s.address
	s.start(t)
	return s
}

func (s *scripted) start(t testing.TB) {
	t.Helper()
	var l net.Listener
	eventually(t, "the address is free", 20*time.Second, func() (free bool) { // another test may have looked whether it is
		var err error
		l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", s.address)
		return err == nil
	})
	g := grpc.NewServer()
	s.Server = health.NewServer()
	pb.RegisterKVServer(g, s)
	pb.RegisterAuthServer(g, s)
	pb.RegisterMaintenanceServer(g, s)
	pb.RegisterLeaseServer(g, s)
	pb.RegisterWatchServer(g, watchServer{scripted: s})
	healthpb.RegisterHealthServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l)
	}()
	s.mu.Lock()
	s.server = g
	s.mu.Unlock()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
}

// stop ends the server; start brings it back at the same address.
func (s *scripted) stop() { s.server.Stop() }

func (s *scripted) version() string {
	if s.says != "" {
		return s.says
	}
	return "3.6.0"
}

func (s *scripted) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 7, MemberId: s.id, Revision: 1, RaftTerm: 2}
}

func (s *scripted) Range(ctx context.Context, _ *pb.RangeRequest) (*pb.RangeResponse, error) {
	s.ranges.Add(1)
	if s.onRange != nil {
		if err := s.onRange(ctx); err != nil {
			return nil, err
		}
	}
	r := &pb.RangeResponse{Header: s.header()}
	if s.answers != "" {
		r.Kvs = []*mvccpb.KeyValue{{Key: []byte(s.answers)}}
	}
	return r, nil
}

func (s *scripted) RangeStream(_ *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if s.onStream == nil {
		return status.Error(codes.Unimplemented, "unknown method RangeStream for service etcdserverpb.KV")
	}
	s.streams.Add(1)
	return s.onStream(stream)
}

func (s *scripted) Put(ctx context.Context, _ *pb.PutRequest) (*pb.PutResponse, error) {
	s.puts.Add(1)
	if s.onPut != nil {
		if err := s.onPut(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.PutResponse{Header: s.header()}, nil
}

func (s *scripted) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	s.statuses.Add(1)
	if s.onStatus != nil {
		if err := s.onStatus(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.StatusResponse{
		Header: s.header(), Version: s.version(), Leader: s.leader.Load(), RaftTerm: 2, IsLearner: s.learner.Load(),
	}, nil
}

func (s *scripted) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	s.authns.Add(1)
	if s.onAuthn == nil {
		return nil, status.Error(codes.FailedPrecondition, "etcdserver: authentication is not enabled")
	}
	token, err := s.onAuthn(ctx, r)
	return &pb.AuthenticateResponse{Header: s.header(), Token: token}, err
}

func (s *scripted) Downgrade(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	return s.onDowngrade(ctx, r)
}

func (s *scripted) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	s.renewals.Add(1)
	if s.onRenew != nil {
		return s.onRenew(stream)
	}
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	return stream.Send(&pb.LeaseKeepAliveResponse{Header: s.header(), ID: r.GetID(), TTL: 10})
}

// watchServer has the method whose name the health service has taken.
type watchServer struct {
	pb.UnimplementedWatchServer
	scripted *scripted
}

func (w watchServer) Watch(stream pb.Watch_WatchServer) error {
	s := w.scripted
	s.watches.Add(1)
	if s.onWatch != nil {
		return s.onWatch(stream)
	}
	return hang(stream.Context())
}

// hang waits until the caller has left.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func put(t testing.TB, c *etcdclient.Client, key, value string) *wire.PutResponse {
	t.Helper()
	r, err := c.Put(within(t, 10*time.Second), &wire.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return r
}
