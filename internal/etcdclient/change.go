package etcdclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Changed returns nil as soon as a key of the range has changed at the revision from or later, which must be positive; end
// is as in a range. It fails with ErrCompacted when from is gone from etcd's log, and with the context's error. A stream
// that breaks is opened again, since nothing can be missed: from stays where it is.
func (c *Client) Changed(ctx context.Context, key, end []byte, from int64) error {
	return changed(ctx, c, key, end, from)
}

// Changed is Client.Changed inside the namespace.
func (n *Namespaced) Changed(ctx context.Context, key, end []byte, from int64) error {
	return changed(ctx, n, key, end, from)
}

const (
	reopenBase = 50 * time.Millisecond
	reopenMax  = 3 * time.Second
)

func changed(ctx context.Context, conn grpc.ClientConnInterface, key, end []byte, from int64) error {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader))
	defer cancel()
	create := &pb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: from}
	for backoff := reopenBase; ; backoff = min(2*backoff, reopenMax) {
		err := firstEvent(ctx, conn, create)
		if err == nil {
			return nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || !e.Retryable || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(rand.N(backoff)): //nolint:gosec // jitter needs no secrecy
		}
	}
}

// firstEvent watches on a stream of its own until the first event.
func firstEvent(ctx context.Context, conn grpc.ClientConnInterface, create *pb.WatchCreateRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return err
	}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		_, err = stream.Recv() // Send says only EOF
		return err
	}
	for {
		r, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case r.Canceled && r.CompactRevision != 0:
			return FromReason(rpctypes.ErrCompacted.Error())
		case r.Canceled:
			return FromReason(r.CancelReason)
		case len(r.Events) > 0:
			return nil
		}
	}
}
