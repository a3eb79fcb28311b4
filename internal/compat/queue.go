package compat

import (
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/keyrange"
)

// etcd's services for locks and elections keep their queues below a name, and work with the rights of whoever asks; who may
// lock below the name may ask.

// queue judges a request of those services, and puts its names and keys into the namespace; known is false for another.
func (p pass) queue(message any) (inner proto.Message, known bool, err error) {
	switch r := message.(type) {
	case *lock.LockRequest:
		c := proto.CloneOf(r)
		c.Name = p.spaceKey(r.GetName())
		return c, true, p.stands(r.GetName(), r.GetLease())
	case *lock.UnlockRequest:
		c := proto.CloneOf(r)
		c.Key = p.spaceKey(r.GetKey())
		return c, true, p.at(r.GetKey())
	case *election.CampaignRequest:
		c := proto.CloneOf(r)
		c.Name = p.spaceKey(r.GetName())
		return c, true, p.stands(r.GetName(), r.GetLease())
	case *election.LeaderRequest:
		c := proto.CloneOf(r)
		c.Name = p.spaceKey(r.GetName())
		return c, true, p.stands(r.GetName(), 0)
	case *election.ProclaimRequest:
		c := proto.CloneOf(r)
		return c, true, p.leader(c.GetLeader())
	case *election.ResignRequest:
		c := proto.CloneOf(r)
		return c, true, p.leader(c.GetLeader())
	}
	return nil, false, nil
}

// stands judges one who wants a place below the name, with a lease of his own or none.
func (p pass) stands(name []byte, lease int64) error {
	prefix := append(append([]byte(nil), name...), '/')
	if p.may(authz.Lock, prefix, keyrange.PrefixEnd(prefix)) != nil {
		return errDenied
	}
	if lease != 0 && !p.caller.Owns(lease) {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	return nil
}

// at judges one who names the key of a place. An empty one would be the namespace itself.
func (p pass) at(key []byte) error {
	if len(key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return p.may(authz.Lock, key, nil)
}

// leader judges one who says that he leads, and puts him into the namespace.
func (p pass) leader(l *election.LeaderKey) error {
	if l == nil {
		return nil // etcd's to refuse
	}
	if err := p.at(l.GetKey()); err != nil {
		return err
	}
	if err := p.stands(l.GetName(), l.GetLease()); err != nil {
		return err
	}
	l.Name, l.Key = p.spaceKey(l.GetName()), p.spaceKey(l.GetKey())
	return nil
}

// queueOut takes the namespace off the answers.
func (p pass) queueOut(answer any) error {
	switch a := answer.(type) {
	case *lock.LockResponse:
		a.Key = p.bareKey(a.GetKey())
	case *election.CampaignResponse:
		if l := a.GetLeader(); l != nil {
			l.Name, l.Key = p.bareKey(l.GetName()), p.bareKey(l.GetKey())
		}
	case *election.LeaderResponse:
		if kv := a.GetKv(); kv != nil {
			kv.Key = p.bareKey(kv.GetKey())
		}
	}
	return nil
}
