package compat

import (
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// watches knows which watches of a stream are alive, so that the stream ends with the last one.
type watches struct {
	mu sync.Mutex
	// asked is how many are to be created.
	asked int
	alive map[int64]struct{}
	// began says that there was one, done that there will be no more.
	began, done bool
}

// sent takes note of a request.
func (w *watches) sent(m proto.Message) {
	r, ok := m.(*pb.WatchRequest)
	if !ok || r.GetCreateRequest() == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	w.began = true
}

// finished takes note that no request follows, and tells whether the stream is over.
func (w *watches) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	return w.overLocked()
}

// received takes note of an answer, and tells whether the stream is over.
func (w *watches) received(m proto.Message) bool {
	r, ok := m.(*pb.WatchResponse)
	if !ok || !r.GetCreated() && !r.GetCanceled() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.GetCreated() {
		w.asked--
		w.alive[r.GetWatchId()] = struct{}{}
	}
	if r.GetCanceled() { // one that could not be created is canceled in the same answer
		delete(w.alive, r.GetWatchId())
	}
	return w.overLocked()
}

func (w *watches) overLocked() bool { return w.began && w.done && w.asked == 0 && len(w.alive) == 0 }
