package stream

import (
	"context"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// ReadLate begins a watch in the past and reads it after its connection has let go of it, as a writer does that was just
// about to.
func (h *Hub) ReadLate(ctx context.Context, key string) error {
	c, err := h.subscribe(ctx, h.accessOf(nil), &Request{Start: []byte(key), Revision: 1, Heartbeat: time.Minute}, "", func(*Cursor) {})
	if err != nil {
		return err
	}
	c.close(0)
	c.read(nil, ndjson{})
	return nil
}

// DeliverLate has a change delivered to a feed that was closed meanwhile, and gives the bytes that are held then.
func (h *Hub) DeliverLate(key string) int64 {
	f := h.openFeed(h.store, feedKey{start: key}, 1)
	f.close()
	f.Changes([]etcdclient.Change{{Revision: 5, Size: 100}})
	return h.logs.bytes.Load()
}
