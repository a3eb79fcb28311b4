package main

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// feeds has the watches of /v3 share those of etcd with the native ones.
type feeds struct{ *stream.Hub }

// Follow implements compat.Feeds.
func (f feeds) Follow(ctx context.Context, key, end []byte, start int64, prevKV bool, wake func()) (compat.Feed, wire.Header, error) {
	follower, header, err := f.Hub.Follow(ctx, key, end, start, prevKV, wake)
	if err != nil {
		return nil, header, err // not the follower: a nil one would be a Feed
	}
	return follower, header, nil
}
