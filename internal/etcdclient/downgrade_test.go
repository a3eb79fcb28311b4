package etcdclient_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// young is a member of a cluster that may have no version yet: where it has none, etcd 3.7 crashes when it is to end a
// downgrade.
type young struct {
	t testing.TB

	mu      sync.Mutex
	refusal error // what it answers to validate
	asked   []pb.DowngradeRequest_DowngradeAction
}

func (y *young) downgrade(_ context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.asked = append(y.asked, r.GetAction())
	if r.GetAction() == pb.DowngradeRequest_VALIDATE {
		return &pb.DowngradeResponse{Version: "3.7.0"}, y.refusal
	}
	if errors.Is(y.refusal, rpctypes.ErrGRPCClusterVersionUnavailable) {
		y.t.Errorf("%v was asked of a member without a version: it would crash", r.GetAction())
	}
	return &pb.DowngradeResponse{Version: "3.7.0"}, nil
}

func (y *young) count(action pb.DowngradeRequest_DowngradeAction) (n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, a := range y.asked {
		if a == action {
			n++
		}
	}
	return n
}

func TestADowngradeIsNotEndedWhereTheClusterHasNoVersionYet(t *testing.T) {
	t.Parallel()
	y := &young{t: t, refusal: rpctypes.ErrGRPCClusterVersionUnavailable}
	c := ready(t, []string{serve(t, &scripted{onDowngrade: y.downgrade}).endpoint})
	// The API of our own, and the generated client that /v3 uses.
	for name, change := range map[string]func(ctx context.Context, action etcdclient.DowngradeAction) error{
		"ours": func(ctx context.Context, action etcdclient.DowngradeAction) error {
			_, _, err := c.Downgrade(ctx, action, "3.6")
			return err
		},
		"generated": func(ctx context.Context, action etcdclient.DowngradeAction) error {
			_, err := pb.NewMaintenanceClient(c).Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: "3.6"})
			return err
		},
	} {
		for _, action := range []etcdclient.DowngradeAction{etcdclient.DowngradeCancel, etcdclient.DowngradeEnable} {
			e := asError(t, change(within(t, 5*time.Second), action))
			p := problem.From(e)
			if e.Name != "ClusterVersionUnavailable" || p.Code != problem.Unavailable || p.Outcome != problem.NotApplied || !p.Code.Info().Retryable {
				t.Errorf("%s, %v: got %+v, want it unavailable, to be asked again, and not applied", name, action, e)
			}
			if n := y.count(action); n != 0 {
				t.Errorf("%s: %v was sent %d times, want never", name, action, n)
			}
		}
	}
	if n := y.count(etcdclient.DowngradeValidate); n != 4 {
		t.Errorf("validate was asked %d times, want once before each", n)
	}
}

// TestWhatAValidationRefusesSaysThatThereIsAVersion: a downgrade is ended while one is under way, and whatever the version.
func TestWhatAValidationRefusesSaysThatThereIsAVersion(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{nil, rpctypes.ErrGRPCInvalidDowngradeTargetVersion, rpctypes.ErrGRPCDowngradeInProcess} {
		y := &young{t: t, refusal: refusal}
		c := ready(t, []string{serve(t, &scripted{onDowngrade: y.downgrade}).endpoint})
		if version, _, err := c.Downgrade(within(t, 5*time.Second), etcdclient.DowngradeCancel, ""); err != nil || version != "3.7.0" {
			t.Errorf("%v: got %q, %v; want the downgrade ended", refusal, version, err)
		}
		_, _, err := c.Downgrade(within(t, 5*time.Second), etcdclient.DowngradeEnable, "3.6")
		if !errors.Is(err, refusal) || refusal == nil && err != nil {
			t.Errorf("enable: got %v, want %v", err, refusal)
		}
	}
	y := &young{t: t, refusal: rpctypes.ErrGRPCPermissionDenied}
	c := ready(t, []string{serve(t, &scripted{onDowngrade: y.downgrade}).endpoint})
	if _, _, err := c.Downgrade(within(t, 5*time.Second), etcdclient.DowngradeCancel, ""); !errors.Is(err, rpctypes.ErrPermissionDenied) || y.count(etcdclient.DowngradeCancel) != 0 {
		t.Errorf("without the right: got %v, and %d were sent", err, y.count(etcdclient.DowngradeCancel))
	}
}

// TestTheMemberThatHasAVersionIsTheOneThatIsAsked: another may be behind.
func TestTheMemberThatHasAVersionIsTheOneThatIsAsked(t *testing.T) {
	t.Parallel()
	members := []*young{{t: t, refusal: rpctypes.ErrGRPCInvalidDowngradeTargetVersion}, {t: t, refusal: rpctypes.ErrGRPCClusterVersionUnavailable}}
	var endpoints []string
	for i, y := range members {
		s := &scripted{id: uint64(i + 1), onDowngrade: y.downgrade}
		s.leader.Store(9)
		endpoints = append(endpoints, serve(t, s).endpoint)
	}
	c := ready(t, endpoints)
	eventually(t, "both are asked", 10*time.Second, func() bool {
		_, _, err := c.Downgrade(within(t, 5*time.Second), etcdclient.DowngradeCancel, "")
		if err != nil && asError(t, err).Name != "ClusterVersionUnavailable" {
			t.Fatal(err)
		}
		return members[0].count(etcdclient.DowngradeCancel) >= 20 && members[1].count(etcdclient.DowngradeValidate) >= 20
	})
}
