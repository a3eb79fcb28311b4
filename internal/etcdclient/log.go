package etcdclient

import (
	"context"
	"errors"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Log gives take every change of one key at the revisions from to to, in their order, and returns when there can be no
// more: a watch that begins in the past, certified by a progress answer. It costs etcd a scan of its log from there on,
// during which it writes nothing, so callers bound the distance. When from is compacted the revision at which the log
// begins is returned. Where etcd's progress cannot be trusted (before 3.4.31, and 3.5 before 3.5.13) it is not_supported.
func (c *Client) Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error) {
	return c.logIn(ctx, WatchRequest{Key: key, Revision: from, Alone: true}, nil, to, take)
}

// Log is Client.Log inside the namespace.
func (n *Namespaced) Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error) {
	return n.client.logIn(ctx, n.space.watchRequest(WatchRequest{Key: key, Revision: from, Alone: true}), n.space, to, take)
}

func (c *Client) logIn(
	ctx context.Context, r WatchRequest, prefix namespace, to int64, take func(wire.Event),
) (compacted int64, err error) {
	reader := logReader{steps: make(chan logStep), left: make(chan struct{})}
	defer close(reader.left)
	w := c.watchIn(r, reader, prefix, true)
	defer w.Stop()
	w.RequestProgress()
	for {
		select {
		case step := <-reader.steps:
			if done, compacted, err := step.take(w, to, take); done {
				return compacted, err
			}
		case <-ctx.Done():
			return 0, ended(methodWatch, ctx.Err(), true, "the log has not been read to its end", "")
		}
	}
}

// logReader is a Watcher that hands over to the one who reads the log, and waits for it.
type logReader struct {
	steps chan logStep  // closed never
	left  chan struct{} // closed when nobody reads any more
}

// logStep is what one call of the Watcher brought.
type logStep struct {
	changes  []Change
	progress int64
	err      error
}

func (r logReader) Created()                 {}
func (r logReader) Lost(error)               {}
func (r logReader) Changes(changes []Change) { r.give(logStep{changes: changes}) }
func (r logReader) Progress(revision int64)  { r.give(logStep{progress: revision}) }
func (r logReader) Ended(err error)          { r.give(logStep{err: err}) }

func (r logReader) give(step logStep) {
	select {
	case r.steps <- step:
	case <-r.left:
	}
}

// take takes the events up to a revision; done says that there can be no more.
func (s *logStep) take(w *Watch, to int64, take func(wire.Event)) (done bool, compacted int64, err error) {
	if e, ok := errors.AsType[*Error](s.err); ok {
		if e.CompactRevision > 0 {
			return true, e.CompactRevision, nil
		}
		return true, 0, e
	}
	for _, change := range s.changes {
		if change.Revision > to {
			return true, 0, nil
		}
		for _, e := range change.Events {
			take(e)
		}
	}
	if s.progress > 0 && s.progress < to { // the member lags
		w.RequestProgress()
	}
	return s.progress >= to, 0, nil
}
