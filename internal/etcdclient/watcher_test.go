package etcdclient_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// recorder is a Watcher that keeps what it is told, and holds it against the promises of the interface.
type recorder struct {
	t     testing.TB
	from  int64
	block chan struct{} // when set, Changes waits until it is closed

	mu       sync.Mutex
	busy     bool
	created  int
	changes  []etcdclient.Change
	progress []int64
	lost     []error
	ended    []error
	signal   chan struct{} // closed and replaced at every call
}

func newRecorder(t testing.TB, from int64) *recorder {
	t.Helper()
	return &recorder{t: t, from: from, signal: make(chan struct{})}
}

// told makes one call of the Watcher; the calls never overlap, and nothing comes after Ended.
func (r *recorder) told(what string, f func()) {
	r.mu.Lock()
	if r.busy || len(r.ended) > 0 {
		r.t.Errorf("%s: called during another call, or after Ended", what)
	}
	r.busy = true
	r.mu.Unlock()
	if r.block != nil && what == "Changes" {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.busy = false
	close(r.signal)
	r.signal = make(chan struct{})
}

func (r *recorder) reached() int64 {
	if n := len(r.changes); n > 0 {
		return r.changes[n-1].Revision
	}
	return r.from - 1
}

func (r *recorder) Created() { r.told("Created", func() { r.created++ }) }

func (r *recorder) Changes(changes []etcdclient.Change) {
	r.told("Changes", func() {
		for _, c := range changes {
			if c.Revision <= r.reached() || len(c.Events) == 0 {
				r.t.Errorf("revision %d with %d events came after %d", c.Revision, len(c.Events), r.reached())
			}
			for _, e := range c.Events {
				if e.KV.ModRevision != c.Revision {
					r.t.Errorf("revision %d has an event of %d", c.Revision, e.KV.ModRevision)
				}
			}
			r.changes = append(r.changes, c)
		}
	})
}

func (r *recorder) Progress(revision int64) {
	r.told("Progress", func() {
		if revision < r.reached() {
			r.t.Errorf("progress %d after %d was delivered", revision, r.reached())
		}
		r.progress = append(r.progress, revision)
	})
}

func (r *recorder) Lost(err error) { r.told("Lost", func() { r.lost = append(r.lost, err) }) }

func (r *recorder) Ended(err error) { r.told("Ended", func() { r.ended = append(r.ended, err) }) }

// until waits until the condition holds, looking whenever something was told.
func (r *recorder) until(what string, d time.Duration, condition func() bool) {
	r.t.Helper()
	deadline := time.After(d)
	for {
		r.mu.Lock()
		ok, signal := condition(), r.signal
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-signal:
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("not within %v: %s; created %d times, %d changes up to %d, progress %v, lost %v, ended %v",
				d, what, r.created, len(r.changes), r.reached(), r.progress, r.lost, r.ended)
		}
	}
}

func (r *recorder) untilCreated(times int) {
	r.t.Helper()
	r.until(fmt.Sprintf("created %d times", times), 20*time.Second, func() bool { return r.created >= times })
}

func (r *recorder) untilReached(revision int64) {
	r.t.Helper()
	r.until(fmt.Sprintf("revision %d", revision), 20*time.Second, func() bool { return r.reached() >= revision })
}

// untilEnded gives the error that ended the watch.
func (r *recorder) untilEnded() *etcdclient.Error {
	r.t.Helper()
	r.until("the end", 20*time.Second, func() bool { return len(r.ended) > 0 })
	return asError(r.t, r.ended[0])
}

// get reads a count under the lock.
func (r *recorder) get(f func() int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f()
}

// watcher is what both forms of the client offer.
type watcher interface {
	Watch(r etcdclient.WatchRequest, w etcdclient.Watcher) *etcdclient.Watch
}

// watch begins a watch with a recorder, for the length of the test.
func watch(t testing.TB, c watcher, r etcdclient.WatchRequest) (*recorder, *etcdclient.Watch) {
	t.Helper()
	rec := newRecorder(t, r.Revision)
	w := c.Watch(r, rec)
	t.Cleanup(w.Stop)
	return rec, w
}

func all(revision int64) etcdclient.WatchRequest {
	return etcdclient.WatchRequest{Key: []byte("\x00"), End: []byte("\x00"), Revision: revision}
}

func keyed(key string, revision int64) etcdclient.WatchRequest {
	return etcdclient.WatchRequest{Key: []byte(key), Revision: revision}
}

// count is a client's gauge of watches or their streams.
func count(t testing.TB, c *etcdclient.Client, what string) float64 {
	t.Helper()
	n := gauge(t, c, "etcdrest_etcd_"+what)
	if n < 0 {
		t.Errorf("%s: %v", what, n)
	}
	return n
}

// deleteRange deletes a range and gives its revision.
func deleteRange(t testing.TB, c *etcdclient.Client, key, end string) int64 {
	t.Helper()
	r, err := c.DeleteRange(within(t, 20*time.Second), &wire.DeleteRequest{Key: []byte(key), End: []byte(end)})
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}
