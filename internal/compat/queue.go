package compat

import (
	"bytes"
	"strconv"

	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/keyrange"
)

// etcd's services for locks and elections keep their queues below a name, with the rights of whoever asks; who may lock
// below the name may ask.

// queue judges a request of those services; known is false for another.
func (p pass) queue(message any) (known bool, err error) {
	known, err = p.queued(message)
	if code := status.Code(err); code != codes.OK && code != codes.PermissionDenied {
		err = status.Error(codes.Unknown, status.Convert(err).Message()) // as those services pass on what etcd tells them
	}
	return known, err
}

func (p pass) queued(message any) (known bool, err error) {
	switch r := message.(type) {
	case *lock.LockRequest:
		return true, p.below(r.GetName(), r.GetLease())
	case *lock.UnlockRequest:
		return true, p.place(r.GetKey())
	case *election.CampaignRequest:
		return true, p.below(r.GetName(), r.GetLease())
	case *election.LeaderRequest:
		return true, p.below(r.GetName(), 0)
	case *election.ProclaimRequest:
		return true, p.leads(r.GetLeader(), r.GetLeader().GetLease())
	case *election.ResignRequest:
		return true, p.leads(r.GetLeader(), 0) // etcd makes nothing of the lease
	}
	return false, nil
}

// below judges one who wants a place below the name, with a lease of his own, or none.
func (p pass) below(name []byte, lease int64) error {
	prefix := append(bytes.Clone(name), '/')
	return refusal(p.caller.Permit(authz.Queues(prefix, keyrange.PrefixEnd(prefix), lease)))
}

// leads judges one who says that he leads; one who does not say where is etcd's to refuse.
func (p pass) leads(l *election.LeaderKey, lease int64) error {
	if l == nil {
		return nil
	}
	if err := p.place(l.GetKey()); err != nil {
		return err
	}
	return p.below(l.GetName(), lease)
}

// place judges one who names the key of a place. etcd would write or delete any key for him, so one where no place can be
// is only for those who may write it anyway.
func (p pass) place(key []byte) error {
	if err := p.keys(key, authz.Queues(key, nil, 0)); err != nil || isPlace(key) {
		return err
	}
	return p.keys(key, authz.Deletes(key, nil, false))
}

// isPlace tells whether a key is a name and a lease's id in hexadecimal, as package concurrency writes it.
func isPlace(key []byte) bool {
	slash := bytes.LastIndexByte(key, '/')
	if slash < 0 {
		return false
	}
	id, err := strconv.ParseInt(string(key[slash+1:]), 16, 64)
	return err == nil && strconv.FormatInt(id, 16) == string(key[slash+1:])
}
