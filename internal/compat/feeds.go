package compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	mvcc "go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Feeds lets watches of one range share a watch of etcd, with those of the same identity and namespace; in the gateway it is the
// hub of the native watches. The caller is in the context (authz.From); without one it is the gateway itself.
type Feeds interface {
	// Follow refuses a caller who may not watch the range, and begins a watch of the range, which is as etcd takes it, from the revision start on, 0 for the next; it gives where
	// the store is. wake is called, and does not block, whenever Take may have something that it had not.
	Follow(ctx context.Context, key, end []byte, start int64, prevKV bool, wake func()) (Feed, wire.Header, error)
	// Header tells where the store is, by a linearizable read of the key.
	Header(ctx context.Context, key []byte) (wire.Header, error)
}

// Feed is one watch's place.
type Feed interface {
	// Take gives up to so many further revisions; upTo is that up to which everything has been given. It never blocks. An
	// error is the end.
	Take(most int) (changes []etcdclient.Change, upTo int64, err error)
	// Certify has upTo come to the revision soon, whether something happens or not.
	Certify(revision int64)
	Close()
}

// shareable tells whether a watch can be told from a feed exactly as etcd tells it. How often etcd notifies of progress, and how large
// its fragments are, is etcd's own setting; what is refused is refused in etcd's own words. Who brings a token of etcd's that nobody
// here has looked at has a stream under it.
func (g *Gateway) shareable(ctx context.Context, r *pb.WatchCreateRequest) bool {
	if g.options.Feeds == nil || r.GetProgressNotify() || r.GetFragment() || r.GetStartRevision() < 0 {
		return false
	}
	switch caller := authz.From(ctx); {
	case caller != nil && (pass{caller}).watch(r) != nil, caller == nil && (g.options.Gate != nil || etcdclient.BringsToken(ctx)):
		return false
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md[rpctypes.MetadataRequireLeaderKey]) > 0 { // the caller wants to be told when there is no leader
		return false
	}
	end := string(r.GetRangeEnd())
	return end == "" || end == openEnd || string(firstKey(r)) < end
}

// openEnd is etcd's spelling of "no end".
const openEnd = "\x00"

// firstKey is the key of a watch; an empty one is the first key there can be.
func firstKey(r *pb.WatchCreateRequest) []byte {
	if len(r.GetKey()) == 0 {
		return []byte{0}
	}
	return r.GetKey()
}

// headerOf gives a header as etcd's message.
func headerOf(h wire.Header) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: h.ClusterID, MemberId: h.MemberID, Revision: h.Revision, RaftTerm: h.RaftTerm}
}

// appendEvents appends the events that the watch wants, as etcd's messages. They alias the feed's memory.
func appendEvents(dst []*mvcc.Event, r *pb.WatchCreateRequest, events []wire.Event) []*mvcc.Event {
	for i := range events {
		e := &events[i]
		if !wants(r, e.Delete) {
			continue
		}
		out := &mvcc.Event{Kv: keyValueOf(&e.KV)}
		if e.Delete {
			out.Type = mvcc.Event_DELETE
		}
		if r.GetPrevKv() && e.PrevKV != nil {
			out.PrevKv = keyValueOf(e.PrevKV)
		}
		dst = append(dst, out)
	}
	return dst
}

func wants(r *pb.WatchCreateRequest, deletion bool) bool {
	for _, f := range r.GetFilters() {
		if f == pb.WatchCreateRequest_NOPUT && !deletion || f == pb.WatchCreateRequest_NODELETE && deletion {
			return false
		}
	}
	return true
}

func keyValueOf(kv *wire.KeyValue) *mvcc.KeyValue {
	return &mvcc.KeyValue{
		Key: kv.Key, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
	}
}
