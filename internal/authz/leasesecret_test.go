package authz_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func client(t *testing.T, etcd *embedetcd.Server) *etcdclient.Client {
	t.Helper()
	c, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestAllGatewaysHaveOneSecretOfLeases, whoever comes first; and it outlives its record in etcd.
func TestAllGatewaysHaveOneSecretOfLeases(t *testing.T) {
	t.Parallel()
	etcd := client(t, embedetcd.StartForTest(t))
	gateways := make([]authz.LeaseSecret, 8)
	got := make([][]byte, len(gateways))
	var work sync.WaitGroup
	for i := range gateways {
		gateways[i] = authz.NewLeaseSecret(etcd)
		work.Go(func() {
			var err error
			if got[i], err = gateways[i].Get(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for i := range got {
		if len(got[i]) != 32 || !bytes.Equal(got[i], got[0]) {
			t.Fatalf("gateway %d has %x, the first %x; want the same 32 bytes", i, got[i], got[0])
		}
	}
	if _, err := etcd.DeleteRange(t.Context(), &wire.DeleteRequest{Key: []byte(authz.SecretKey)}); err != nil {
		t.Fatal(err)
	}
	gateways[0].Age()
	if again, err := gateways[0].Get(t.Context()); err != nil || !bytes.Equal(again, got[0]) {
		t.Errorf("after its record has gone: got %x, %v; want the same", again, err)
	}
	if fresh, err := authz.NewLeaseSecret(etcd).Get(t.Context()); err != nil || !bytes.Equal(fresh, got[0]) {
		t.Errorf("a gateway that starts then: got %x, %v; want the same", fresh, err)
	}
	// A restore may bring back another one, which counts for all from then on.
	if _, err := etcd.Put(t.Context(), &wire.PutRequest{Key: []byte(authz.SecretKey), Value: []byte("restored")}); err != nil {
		t.Fatal(err)
	}
	if now, err := gateways[1].Get(t.Context()); err != nil || !bytes.Equal(now, got[0]) {
		t.Errorf("at once: got %x, %v; want that etcd is not asked for each caller", now, err)
	}
	gateways[1].Age()
	if now, err := gateways[1].Get(t.Context()); err != nil || string(now) != "restored" {
		t.Errorf("after a while: got %q, %v; want what etcd keeps", now, err)
	}
}

// refusing is an etcd that answers every call with an error.
type refusing struct{ err error }

func (r refusing) Range(context.Context, *wire.RangeRequest) (*wire.RangeResponse, error) {
	return nil, r.err
}

func (r refusing) Txn(context.Context, *wire.TxnRequest) (*wire.TxnResponse, error) {
	return nil, r.err
}

// TestWithoutEtcdThereIsNoSecretOfLeases: one who may keep nothing has an empty secret; while etcd cannot be asked there is none,
// because an empty one would open others' leases.
func TestWithoutEtcdThereIsNoSecretOfLeases(t *testing.T) {
	t.Parallel()
	for code, empty := range map[problem.Code]bool{
		problem.PermissionDenied: true, problem.Unauthenticated: true, problem.InvalidArgument: true,
		problem.Unavailable: false, problem.DeadlineExceeded: false, problem.Internal: false,
	} {
		s := authz.NewLeaseSecret(refusing{problem.New(code, "no")})
		for range 2 {
			if got, err := s.Get(t.Context()); empty != (err == nil) || len(got) > 0 {
				t.Errorf("%s: got %x, %v; want an empty one: %t", code, got, err, empty)
			}
		}
	}
}
