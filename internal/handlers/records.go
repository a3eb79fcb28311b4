package handlers

import (
	"context"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

const (
	// recordLeaseTTL outlives every record on the lease: a record lives a day, and a lease takes records for five minutes.
	recordLeaseTTL = int64((recordLife + 10*time.Minute) / time.Second)
	// A lease takes records for maxLeaseAge, and at most maxLeaseRecords of them: ending a lease deletes its keys in one
	// stroke that every write waits for, and a lease a record would be a lease a write.
	maxLeaseAge     = 5 * time.Minute
	maxLeaseRecords = 500
)

// records is what the idempotency records of one gateway share: the keys in use, and the lease that new records hang on.
// It is safe for concurrent use.
type records struct {
	store Store
	// granting has room for one: who puts its token in may grant a lease.
	granting chan struct{}

	mu      sync.Mutex
	running map[string]struct{}
	current recordLease
}

type recordLease struct {
	id      int64
	granted time.Time
	used    int
}

func newRecords(store Store) *records {
	return &records{store: store, granting: make(chan struct{}, 1), running: make(map[string]struct{})}
}

// enter takes the key for a request; false when one with the same key is under way in this gateway.
func (s *records) enter(key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.running[string(key)]; ok {
		return false
	}
	s.running[string(key)] = struct{}{}
	return true
}

func (s *records) leave(key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, string(key))
}

// lease gives the lease for one more record.
func (s *records) lease(ctx context.Context) (int64, error) {
	if id := s.take(); id != 0 {
		return id, nil
	}
	select {
	case s.granting <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-s.granting }()
	if id := s.take(); id != 0 { // somebody else has granted one meanwhile
		return id, nil
	}
	lease, err := s.store.LeaseGrant(ctx, recordLeaseTTL, 0)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = recordLease{id: lease.ID, granted: time.Now(), used: 1}
	return lease.ID, nil
}

// take counts one more record on the current lease; 0 when it takes no more.
func (s *records) take() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.current
	if l.id == 0 || l.used == maxLeaseRecords || time.Since(l.granted) > maxLeaseAge {
		return 0
	}
	l.used++
	return l.id
}

// drop forgets the lease if etcd says that it does not exist, and tells whether that is so.
func (s *records) drop(ctx context.Context, id int64) bool {
	if _, err := s.store.LeaseTimeToLive(ctx, id, false); problem.From(err) == nil || problem.From(err).Code != problem.LeaseNotFound {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.id == id {
		s.current = recordLease{}
	}
	return true
}
