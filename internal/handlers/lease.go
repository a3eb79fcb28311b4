package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// revokeTimeout bounds the clean-up of a lease whose write did not happen.
const revokeTimeout = 2 * time.Second

// grant makes the lease that a put with ttl asks for, and sets it in the body. The zero Lease means that none was asked.
func (c *call) grant(b *putBody) (etcdclient.Lease, error) {
	if b.ttl == 0 {
		return etcdclient.Lease{}, nil
	}
	lease, err := c.store.LeaseGrant(c.ctx(), b.ttl, 0)
	if err != nil { // whatever became of the lease, the key was not written
		return lease, c.notApplied(err)
	}
	b.lease = lease.ID
	return lease, nil
}

// dropLease revokes the lease of a write that certainly did not happen, and gives err back. After an unknown outcome the
// lease is left to expire, since revoking it would delete a key that may have been written; the problem names it.
func (c *call) dropLease(lease etcdclient.Lease, err error) error {
	if err == nil || lease.ID == 0 {
		return err
	}
	e := problem.From(err)
	if outcome(e) != problem.NotApplied {
		return e.With("lease", formatID(lease.ID)).WithHint("if the write happened, the key goes with its lease, after its ttl")
	}
	c.revokeLease(lease)
	return err
}

// revokeLease ends a lease that certainly holds no key, if there is one. If that fails it expires by itself.
func (c *call) revokeLease(lease etcdclient.Lease) {
	if lease.ID == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), revokeTimeout)
	defer cancel()
	_, _ = c.store.LeaseRevoke(ctx, lease.ID)
}

// outcome is what a failed write did: the error's own word, else its code's.
func outcome(e *problem.Error) problem.Outcome {
	if e.Outcome != "" {
		return e.Outcome
	}
	return e.Code.Info().Outcome
}

// notApplied states the outcome of a write whose preparation failed.
func (c *call) notApplied(err error) error {
	e := *problem.From(err)
	return e.WithOutcome(problem.NotApplied)
}

// formatID spells a 64-bit id as the API does: 16 lower-case hex digits.
func formatID(id int64) string { return fmt.Sprintf("%016x", uint64(id)) } //nolint:gosec // the bits are the id
