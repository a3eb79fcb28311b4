package etcdclient

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Log gives take every change of one key at the revisions from to to, in their order, and returns when there can be no
// more: a watch that begins in the past, certified by a progress answer. It costs etcd a scan of its log from there on,
// during which it writes nothing, so callers bound the distance. When from is compacted nothing is taken, and the
// revision at which the log begins is returned.
func (c *Client) Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error) {
	return keyLog(ctx, c, key, from, to, take)
}

// Log is Client.Log inside the namespace.
func (n *Namespaced) Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error) {
	return keyLog(ctx, n, key, from, to, take)
}

// progressPause is how long a progress answer may take before it is asked for again: etcd gives none while it catches up.
const progressPause = time.Second

func keyLog(
	ctx context.Context, conn grpc.ClientConnInterface, key []byte, from, to int64, take func(wire.Event),
) (compacted int64, err error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader))
	defer cancel()
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return 0, err
	}
	create := &pb.WatchCreateRequest{Key: key, StartRevision: from, Fragment: true}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		_, err = stream.Recv() // Send says only EOF
		return 0, err
	}
	created := false
	for {
		r, err := stream.Recv()
		switch {
		case err != nil:
			return 0, err
		case r.GetCanceled() && r.GetCompactRevision() != 0:
			return r.GetCompactRevision(), nil
		case r.GetCanceled():
			return 0, FromReason(r.GetCancelReason())
		case r.GetCreated():
			created = true
			asking.Go(func() { askProgress(ctx, stream) })
		case len(r.GetEvents()) == 0 && created && r.GetHeader().GetRevision() >= to:
			return 0, nil // everything up to that revision has been delivered
		}
		for _, event := range r.GetEvents() {
			if event.GetKv().GetModRevision() > to {
				return 0, nil
			}
			take(keyEvent(event))
		}
	}
}

// askProgress asks for progress until ctx ends or the stream is broken, which its reader sees too.
func askProgress(ctx context.Context, stream pb.Watch_WatchClient) {
	ticker := time.NewTicker(progressPause)
	defer ticker.Stop()
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	for stream.Send(request) == nil {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func keyEvent(e *mvccpb.Event) wire.Event {
	kv := e.GetKv()
	return wire.Event{
		Delete: e.GetType() == mvccpb.Event_DELETE,
		KV: wire.KeyValue{
			Key: kv.GetKey(), Value: kv.GetValue(), CreateRevision: kv.GetCreateRevision(), ModRevision: kv.GetModRevision(),
			Version: kv.GetVersion(), Lease: kv.GetLease(),
		},
	}
}
