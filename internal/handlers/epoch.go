package handlers

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// renewEpoch answers POST /v1/maintenance/epoch, the last step of a restore's runbook.
func (a *API) renewEpoch(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	if c.r.ContentLength != 0 {
		if err := c.decode(); err != nil {
			return err
		}
	}
	epoch, revision, err := a.epoch.Renew(c.ctx())
	if err != nil {
		return err
	}
	c.revision = revision
	c.openObject()
	c.textMember("epoch", epoch)
	c.intMember("revision", revision)
	c.closeObject()
	return nil
}

// observed is a store whose answers the keeper sees.
type observed struct {
	Store
	epoch *epoch.Keeper
}

// Range is Store.Range.
func (o observed) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	floor := o.epoch.Highest()
	answer, err := o.Store.Range(ctx, r)
	if err == nil && !r.Serializable {
		o.epoch.Observe(floor, answer.Header)
	}
	return answer, err
}

// Txn is Store.Txn.
func (o observed) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	floor := o.epoch.Highest()
	answer, err := o.Store.Txn(ctx, r)
	if err == nil && !mayBeStale(r) {
		o.epoch.Observe(floor, answer.Header)
	}
	return answer, err
}

// mayBeStale tells whether etcd may answer the transaction without asking a quorum. It errs towards yes.
func mayBeStale(r *wire.TxnRequest) bool {
	for _, branch := range [][]wire.Op{r.Then, r.Else} {
		for i := range branch {
			if branch[i].Range == nil || !branch[i].Range.Serializable {
				return false
			}
		}
	}
	return true
}
