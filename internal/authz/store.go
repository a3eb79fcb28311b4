package authz

import (
	"context"
	"errors"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// etcd is what a Store narrows; *etcdclient.Client and *etcdclient.Namespaced satisfy it.
type etcd interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error)
	Put(ctx context.Context, r *wire.PutRequest) (*wire.PutResponse, error)
	DeleteRange(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error)
	Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
	Compact(ctx context.Context, revision int64, physical bool) (wire.Header, error)
	LeaseGrant(ctx context.Context, ttl, id int64) (etcdclient.Lease, error)
	LeaseRevoke(ctx context.Context, id int64) (wire.Header, error)
	LeaseTimeToLive(ctx context.Context, id int64, keys bool) (etcdclient.LeaseStatus, error)
	Leases(ctx context.Context) ([]int64, wire.Header, error)
	LeaseKeepAliveOnce(ctx context.Context, id int64) (int64, error)
	KeepAlive(lease, ttl int64, k etcdclient.Keeper) *etcdclient.KeepAlive
	Changed(ctx context.Context, key, end []byte, from int64) error
	Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (int64, error)
	Watch(r etcdclient.WatchRequest, w etcdclient.Watcher) *etcdclient.Watch
}

// Store is etcd's keys and leases as one caller may see and change them: keys are those of his namespace, each request is
// judged by his grants before anything is sent, and leases are his own. It is safe for concurrent use.
//
// Single keys of the gateway's own state (wire.StatePrefix) pass unjudged: callers cannot name them.
type Store struct {
	etcd

	caller *Caller
	// stead is granted in the stead of read, write and watch; 0 when nothing is.
	stead Verb
}

func newStore(c *Caller) *Store {
	s := &Store{etcd: c.client, caller: c}
	if len(c.Namespace) > 0 {
		s.etcd = c.client.Namespace(c.Namespace)
	}
	return s
}

// For is the store for a job that has a verb of its own: a lock's keys are read and written by one who may lock.
func (s *Store) For(v Verb) *Store { return &Store{etcd: s.etcd, caller: s.caller, stead: v} }

// permit judges an access. A range can begin with the gateway's own keys, but never be one of them.
func (s *Store) permit(a Access) error {
	if len(a.end) == 0 && wire.IsState(a.key) {
		return nil
	}
	if err := s.caller.reserves(a.key); err != nil {
		return err
	}
	return s.caller.permit(a, s.stead)
}

func (s *Store) mayRange(r *wire.RangeRequest) error {
	return s.permit(Ranges(r.Key, r.End, r.KeysOnly))
}

func (s *Store) mayPut(r *wire.PutRequest) error {
	return s.permit(Puts(r.Key, r.PrevKV || r.IgnoreValue || r.IgnoreLease, r.Lease))
}

func (s *Store) mayDelete(r *wire.DeleteRequest) error {
	return s.permit(Deletes(r.Key, r.End, r.PrevKV))
}

func (s *Store) mayTxn(t *wire.TxnRequest) error {
	for i := range t.If {
		c := &t.If[i]
		if err := s.permit(Compares(c.Key, c.End, c.Target == wire.TargetValue)); err != nil {
			return err
		}
	}
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for i := range branch {
			if err := s.mayOp(&branch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// tooManyKeys refuses what may have etcd work on more keys than the caller may in one request.
func tooManyKeys(most int64) error {
	return problem.New(problem.ResultTooLarge, "a range in a transaction needs a limit of at most %d", most).With("limit", most).WithOutcome(problem.NotApplied).
		WithHint("keys_per_request in the gateway's policy bounds it")
}

func (s *Store) mayOp(op *wire.Op) error {
	switch {
	case op.Range != nil:
		if s.caller.Exceeds(op.Range.End, op.Range.Limit, op.Range.CountOnly) {
			return tooManyKeys(s.caller.Limits.KeysPerRequest)
		}
		return s.mayRange(op.Range)
	case op.Put != nil:
		return s.mayPut(op.Put)
	case op.Delete != nil:
		return s.mayDelete(op.Delete)
	case op.Txn != nil:
		return s.mayTxn(op.Txn)
	}
	return nil
}

// Range is etcdclient's, for one who may read.
func (s *Store) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	if err := s.mayRange(r); err != nil {
		return nil, err
	}
	return s.etcd.Range(ctx, r)
}

// RangeStream is etcdclient's, for one who may read.
func (s *Store) RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error) {
	if err := s.mayRange(r); err != nil {
		return nil, err
	}
	return s.etcd.RangeStream(ctx, r)
}

// Put is etcdclient's, for one who may write.
func (s *Store) Put(ctx context.Context, r *wire.PutRequest) (*wire.PutResponse, error) {
	if err := s.mayPut(r); err != nil {
		return nil, err
	}
	return s.etcd.Put(ctx, r)
}

// DeleteRange is etcdclient's, for one who may write.
func (s *Store) DeleteRange(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error) {
	if err := s.mayDelete(r); err != nil {
		return nil, err
	}
	return s.etcd.DeleteRange(ctx, r)
}

// Txn is etcdclient's, for one who may do all that it may do, whichever branch is taken. Ranges that it deletes are counted
// first where the caller may delete so many keys only: see Deleting.
func (s *Store) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	if err := s.mayTxn(r); err != nil {
		return nil, err
	}
	if s.caller.CountsDeletes() {
		if ranges := spans(nil, r); len(ranges) > 0 {
			return s.deleting(ctx, r, ranges)
		}
	}
	return s.etcd.Txn(ctx, r)
}

// Compact is etcdclient's, for one who may do admin.
func (s *Store) Compact(ctx context.Context, revision int64, physical bool) (wire.Header, error) {
	if err := s.caller.Has(Admin); err != nil {
		return wire.Header{}, err
	}
	return s.caller.client.Compact(ctx, revision, physical)
}

// Changed is etcdclient's, for one who may read.
func (s *Store) Changed(ctx context.Context, key, end []byte, from int64) error {
	if err := s.permit(Ranges(key, end, false)); err != nil {
		return err
	}
	return s.etcd.Changed(ctx, key, end, from)
}

// Log is etcdclient's, for one who may read, and do admin: the whole cluster waits for it.
func (s *Store) Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (int64, error) {
	if err := errors.Join(s.caller.Has(Admin), s.permit(Ranges(key, nil, false))); err != nil {
		return 0, err
	}
	return s.etcd.Log(ctx, key, from, to, take)
}

// Authenticated tells whether etcd asks who the caller's identity is.
func (s *Store) Authenticated() bool { return s.caller.client.Authenticated() }

// AuthRevision tells when what etcd's users may do has changed.
func (s *Store) AuthRevision(ctx context.Context) (uint64, error) {
	return s.caller.client.AuthRevision(ctx)
}

// WatchFaults are what the watches of the present members lack.
func (s *Store) WatchFaults() etcdclient.WatchFaults { return s.caller.client.WatchFaults() }
