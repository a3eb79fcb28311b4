package authz

import (
	"context"
	"time"
)

// LeaseSecret is one gateway's way to the secret.
type LeaseSecret struct{ *leaseSecret }

// NewLeaseSecret makes one over a store.
func NewLeaseSecret(store secretStore) LeaseSecret { return LeaseSecret{newLeaseSecret(store)} }

// Get is get.
func (s LeaseSecret) Get(ctx context.Context) ([]byte, error) { return s.get(ctx) }

// Age makes the secret as old as one that etcd is asked for again.
func (s LeaseSecret) Age() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// SecretKey is where etcd keeps it.
const SecretKey = secretKey

// Cover tells whether the grants cover the verbs on the range.
func Cover(grants []Grant, v Verb, key, end []byte) bool {
	r := newRights(grants)
	return r.cover(v, key, end)
}

// NewUsage makes the usage of one caller.
func NewUsage(l Limits) *Usage { return newUsage(l) }
