package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/loopback"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestEveryServiceIsReachedThroughItsGeneratedClient(t *testing.T) {
	t.Parallel()
	c, s := embedded(t)
	ctx := within(t, 20*time.Second)
	lease, err := c.LeaseGrant(ctx, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	lock := v3lockpb.NewLockClient(c)
	election := v3electionpb.NewElectionClient(c)
	var (
		held   *v3lockpb.LockResponse
		leader *v3electionpb.CampaignResponse
	)
	at, err := c.At(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range []struct {
		name string
		call func() error
	}{
		{"KV", func() error { _, err := pb.NewKVClient(c).Range(ctx, &pb.RangeRequest{Key: []byte("k")}); return err }},
		{"Lease", func() error { _, err := pb.NewLeaseClient(c).LeaseLeases(ctx, &pb.LeaseLeasesRequest{}); return err }},
		{"Cluster", func() error { _, err := pb.NewClusterClient(c).MemberList(ctx, &pb.MemberListRequest{}); return err }},
		{"Maintenance", func() error { _, err := pb.NewMaintenanceClient(at).HashKV(ctx, &pb.HashKVRequest{}); return err }},
		{"Auth", func() error { _, err := pb.NewAuthClient(c).AuthStatus(ctx, &pb.AuthStatusRequest{}); return err }},
		{"Lock", func() (err error) {
			held, err = lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("l"), Lease: lease.ID})
			return err
		}},
		{"Unlock", func() error { _, err := lock.Unlock(ctx, &v3lockpb.UnlockRequest{Key: held.GetKey()}); return err }},
		{"Campaign", func() (err error) {
			leader, err = election.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("e"), Lease: lease.ID})
			return err
		}},
		{"Leader", func() error {
			_, err := election.Leader(ctx, &v3electionpb.LeaderRequest{Name: []byte("e")})
			return err
		}},
		{"Observe", func() error {
			o, err := election.Observe(ctx, &v3electionpb.LeaderRequest{Name: []byte("e")})
			if err != nil {
				return err
			}
			_, err = o.Recv()
			return err
		}},
		{"Resign", func() error {
			_, err := election.Resign(ctx, &v3electionpb.ResignRequest{Leader: leader.GetLeader()})
			return err
		}},
		{"Health", func() error {
			_, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		}},
		{"Snapshot", func() error {
			o, err := pb.NewMaintenanceClient(c).Snapshot(ctx, &pb.SnapshotRequest{})
			if err != nil {
				return err
			}
			_, err = o.Recv()
			return err
		}},
		{"Watch", func() error {
			w, err := pb.NewWatchClient(c).Watch(ctx)
			if err != nil {
				return err
			}
			if err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("w")}}}); err != nil {
				return err
			}
			if _, err := w.Recv(); err != nil {
				return err
			}
			put(t, c, "w", "v")
			r, err := w.Recv()
			if len(r.GetEvents()) != 1 {
				t.Errorf("the watch got %v; want one event", r)
			}
			return err
		}},
	} {
		if err := each.call(); err != nil {
			t.Errorf("%s: %v", each.name, err)
		}
	}
	_, err = election.Leader(ctx, &v3electionpb.LeaderRequest{Name: []byte("nobody")})
	if e := asError(t, err); e.Name != "ElectionNoLeader" || e.Problem().Code != problem.FailedPrecondition {
		t.Errorf("an election without a leader: %+v; want ElectionNoLeader", e)
	}
	_, err = lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("l"), Lease: 99})
	if e := asError(t, err); e.Name != "LeaseNotFound" || e.Code != codes.NotFound {
		t.Errorf("a lock with an unknown lease, which etcd sends as Unknown: %+v; want LeaseNotFound", e)
	}
}

func TestStatusMembersAndAlarms(t *testing.T) {
	t.Parallel()
	c, s := embedded(t, func(o *embedetcd.Options) { o.QuotaBytes = 1 << 20 })
	ctx := within(t, 20*time.Second)
	status, err := c.Status(ctx, s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if status.Version == "" || status.DBSize == 0 || status.DBSizeQuota != 1<<20 || status.Leader == 0 || status.RaftTerm == 0 || status.RaftIndex == 0 {
		t.Errorf("status %+v; want every field", status)
	}
	members, header, err := c.Members(ctx)
	if err != nil || len(members) != 1 || members[0].ID != status.Header.MemberID || header.ClusterID == 0 {
		t.Errorf("members %+v, %+v, %v; want this one", members, header, err)
	}
	if _, err := c.Status(ctx, "http://elsewhere:1"); err == nil {
		t.Error("an endpoint that is not configured was asked")
	}
	var full *etcdclient.Error
	for i := 0; ctx.Err() == nil; i++ { // etcd looks at its size when it commits, ten times a second
		_, err := c.Put(ctx, &wire.PutRequest{Key: fmt.Append(nil, i), Value: make([]byte, 100<<10)})
		if err != nil {
			full = asError(t, err)
			break
		}
	}
	if full == nil || full.Name != "NoSpace" || full.Outcome != problem.Unknown {
		t.Fatalf("a full database: %+v; want NoSpace with the outcome unknown", full)
	}
	alarms, _, err := c.Alarms(ctx)
	if err != nil || len(alarms) != 1 || alarms[0].Kind != "NOSPACE" || alarms[0].MemberID != status.Header.MemberID {
		t.Errorf("alarms %+v, %v; want NOSPACE", alarms, err)
	}
}

func TestManyGoroutinesThroughRestartsOfEtcd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listen, err := loopback.LastingAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := func() *embedetcd.Server {
		s, err := embedetcd.Start(within(t, 30*time.Second), embedetcd.Options{Dir: dir, Listen: listen, Fast: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	c := ready(t, []string{s.Endpoint()})

	ctx, cancel := context.WithCancel(within(t, 60*time.Second))
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		acks = map[string]bool{} // acknowledged or unknown
	)
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d/%d", g, i)
				_, err := c.Put(ctx, &wire.PutRequest{Key: []byte(key), Value: []byte("v")})
				if e, ok := errors.AsType[*etcdclient.Error](err); ok && e.Outcome == problem.NotApplied {
					continue
				}
				mu.Lock()
				acks[key] = err == nil
				mu.Unlock()
			}
		})
	}
	for range 2 {
		eventually(t, "writes go on", 20*time.Second, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(acks) > 200
		})
		s.Close()
		s = start()
		if _, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte("k")}); err != nil {
			t.Fatalf("a read after the restart: %v", err)
		}
	}
	cancel()
	wg.Wait()
	r, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte{0}, End: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for kv := range r.KVs.All() {
		stored[string(kv.Key)] = true
		if kv.Version != 1 {
			t.Errorf("%s was written %d times; want once", kv.Key, kv.Version)
		}
		if _, ok := acks[string(kv.Key)]; !ok {
			t.Errorf("%s is stored although its put was not_applied", kv.Key)
		}
	}
	for key, sure := range acks {
		if sure && !stored[key] {
			t.Errorf("%s was acknowledged and is not stored", key)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestARequestThatCannotBeEncodedIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	c := ready(t, []string{s.endpoint})
	_, err := pb.NewAuthClient(c).UserAdd(within(t, 5*time.Second), &pb.AuthUserAddRequest{Name: "\xff"})
	if e := asError(t, err); e.Outcome != problem.NotApplied || e.Problem().Code != problem.InvalidArgument {
		t.Errorf("invalid UTF-8: got %+v; want invalid_argument, not_applied", e)
	}
}
