package authz

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// secretKey is where etcd keeps the secret of leases.
const secretKey = wire.StatePrefix + "leases"

const (
	// secretFor is how long the secret counts before etcd is asked again: a restored etcd may have another one, or none.
	secretFor = time.Minute
	// secretWithin bounds how long a caller waits for it.
	secretWithin = 5 * time.Second
)

// secretStore is where the secret is kept; *etcdclient.Client satisfies it.
type secretStore interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
}

// leaseSecret goes into the tags of leases (tagOf). All gateways of a cluster have the same, which etcd keeps, and no caller
// learns it: a tag has 40 bits, so whoever may choose the text of his namespace could else choose one that has another's tag.
// A gateway that may keep nothing in etcd has an empty one. It is safe for concurrent use.
type leaseSecret struct {
	store secretStore
	// turn is held by the one who asks etcd.
	turn chan struct{}

	mu    sync.Mutex
	value []byte
	until time.Time
}

func newLeaseSecret(store secretStore) *leaseSecret {
	return &leaseSecret{store: store, turn: make(chan struct{}, 1)}
}

// get gives the secret. An error says why etcd could not be asked for it for the first time.
func (s *leaseSecret) get(ctx context.Context) ([]byte, error) {
	if value, fresh := s.known(); fresh {
		return value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, secretWithin)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		if value, _ := s.known(); value != nil {
			return value, nil
		}
		return nil, problem.New(problem.Unavailable, "etcd has not told the secret of leases in time").WithOutcome(problem.NotApplied)
	}
	value, fresh := s.known() // another may have asked meanwhile
	if fresh {
		return value, nil
	}
	return s.ask(ctx, value)
}

func (s *leaseSecret) known() (value []byte, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.value != nil && time.Now().Before(s.until)
}

// ask asks etcd. What was known before counts on while etcd cannot be asked.
func (s *leaseSecret) ask(ctx context.Context, before []byte) ([]byte, error) {
	value, err := s.agree(ctx, before)
	switch {
	case err == nil:
	case before != nil:
		value = before
	case isUnkept(err):
		value = []byte{}
	default:
		return nil, problem.From(err).WithOutcome(problem.NotApplied)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.until = value, time.Now().Add(secretFor)
	return value, nil
}

// isUnkept tells whether etcd lets the gateway's user keep nothing.
func isUnkept(err error) bool {
	switch problem.From(err).Code { //nolint:exhaustive // the others are no refusals of etcd's
	case problem.PermissionDenied, problem.Unauthenticated, problem.InvalidArgument:
		return true
	}
	return false
}

// agree gives what etcd keeps, and has it keep the one known before, or a new one, when it keeps none.
func (s *leaseSecret) agree(ctx context.Context, before []byte) ([]byte, error) {
	fresh := before
	if len(fresh) == 0 {
		fresh = make([]byte, 32)
		_, _ = rand.Read(fresh) // never fails (crypto/rand)
	}
	for range 2 {
		kept, err := s.kept(ctx)
		if err != nil || kept != nil {
			return kept, err
		}
		answer, err := s.store.Txn(ctx, &wire.TxnRequest{
			If:   []wire.Compare{{Key: []byte(secretKey), Target: wire.TargetCreateRevision, Op: wire.Equal}},
			Then: []wire.Op{{Put: &wire.PutRequest{Key: []byte(secretKey), Value: fresh}}},
		})
		if err != nil {
			return nil, err
		}
		won := answer.Succeeded
		answer.Free()
		if won {
			return fresh, nil
		}
	}
	return nil, problem.New(problem.Unavailable, "the secret of leases is deleted from etcd as soon as it is there")
}

func (s *leaseSecret) kept(ctx context.Context) ([]byte, error) {
	answer, err := s.store.Range(ctx, &wire.RangeRequest{Key: []byte(secretKey)})
	if err != nil {
		return nil, err
	}
	defer answer.Free()
	kv, there := answer.KVs.First()
	if !there || len(kv.Value) == 0 {
		return nil, nil //nolint:nilnil // none is a value here
	}
	return append([]byte(nil), kv.Value...), nil
}
