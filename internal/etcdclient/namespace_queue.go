package etcdclient

import (
	"google.golang.org/protobuf/proto"

	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

// etcd's services for locks and elections keep their queues below a name: NAME/LEASE. A name in the namespace keeps the whole
// queue there, since what they append to it never takes anything off. Keys of places are keys as any other.

// queueRequest copies a message of those services with the prefix in front of its names and keys; nil for another message.
func (ns namespace) queueRequest(message any) (inner proto.Message, ok bool) {
	ok = true
	switch r := message.(type) {
	case *lock.LockRequest:
		c := proto.CloneOf(r)
		c.Name = ns.key(c.GetName())
		inner = c
	case *lock.UnlockRequest:
		c := proto.CloneOf(r)
		ok = ns.bounds(&c.Key, nil)
		inner = c
	case *election.CampaignRequest:
		c := proto.CloneOf(r)
		c.Name = ns.key(c.GetName())
		inner = c
	case *election.LeaderRequest:
		c := proto.CloneOf(r)
		c.Name = ns.key(c.GetName())
		inner = c
	case *election.ProclaimRequest:
		c := proto.CloneOf(r)
		ok = ns.leader(c.GetLeader())
		inner = c
	case *election.ResignRequest:
		c := proto.CloneOf(r)
		ok = ns.leader(c.GetLeader())
		inner = c
	}
	return inner, ok
}

// leader puts the prefix in front of what a leader says of himself; one who says nothing is etcd's to refuse.
func (ns namespace) leader(l *election.LeaderKey) bool {
	if l == nil {
		return true
	}
	l.Name = ns.key(l.GetName())
	return ns.bounds(&l.Key, nil)
}

// queueAnswer takes the prefix off an answer's names and keys; false when one does not have it.
func (ns namespace) queueAnswer(message any) (ok bool) {
	ok = true
	switch r := message.(type) {
	case *lock.LockResponse:
		r.Key, ok = ns.strip(r.GetKey())
	case *election.CampaignResponse:
		if l := r.GetLeader(); l != nil {
			var named, keyed bool
			l.Name, named = ns.strip(l.GetName())
			l.Key, keyed = ns.strip(l.GetKey())
			ok = named && keyed
		}
	case *election.LeaderResponse:
		ok = ns.kvs(r.GetKv())
	}
	return ok
}
