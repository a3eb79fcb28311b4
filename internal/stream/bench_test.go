package stream_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// BenchmarkFanOut is what one revision costs that a thousand subscribers read; an operation is one of the thousand events.
func BenchmarkFanOut(b *testing.B) {
	const subscribers = 1000
	u := stream.NewFanOut(subscribers)
	change := etcdclient.Change{Size: 64, Events: []wire.Event{{KV: wire.KeyValue{
		Key: []byte("app/config/name"), Value: []byte(`{"color":"blue","size":12}`), CreateRevision: 7, ModRevision: 12, Version: 3,
	}}}}
	b.ReportAllocs()
	for n := 0; n < b.N; n += subscribers {
		u.Deliver(change)
	}
}
