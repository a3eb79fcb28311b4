package etcdclient

import (
	"context"
)

// Changed returns nil as soon as a key of the range has changed at the revision from or later, which must be positive; end
// is as in a range. It fails with ErrCompacted when from is gone from etcd's log, and with the context's error. A stream
// that breaks is opened again, since nothing can be missed: from stays where it is.
func (c *Client) Changed(ctx context.Context, key, end []byte, from int64) error {
	return changed(ctx, c.Watch, key, end, from)
}

// Changed is Client.Changed inside the namespace.
func (n *Namespaced) Changed(ctx context.Context, key, end []byte, from int64) error {
	return changed(ctx, n.Watch, key, end, from)
}

func changed(ctx context.Context, begin func(WatchRequest, Watcher) *Watch, key, end []byte, from int64) error {
	first := firstChange{over: make(chan error, 1)}
	w := begin(WatchRequest{Key: key, End: end, Revision: from}, first)
	defer w.Stop()
	select {
	case err := <-first.over:
		return err
	case <-ctx.Done():
		return ended(methodWatch, ctx.Err(), true, "nothing has changed", "")
	}
}

// firstChange is the Watcher that waits for one change.
type firstChange struct {
	over chan error // capacity 1: what comes first
}

func (f firstChange) Created()         {}
func (f firstChange) Progress(int64)   {}
func (f firstChange) Lost(error)       {}
func (f firstChange) Changes([]Change) { f.tell(nil) }
func (f firstChange) Ended(err error)  { f.tell(err) }

func (f firstChange) tell(err error) {
	select {
	case f.over <- err:
	default:
	}
}
