package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// observer is a Watcher that notes what it got and when it was last certain to have everything.
type observer struct {
	mu      sync.Mutex
	created int
	lost    []error
	ended   []error
	events  map[int64]string // the key, by its revision
	last    int64
}

func (o *observer) note(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *observer) Created()        { o.note(func() { o.created++ }) }
func (o *observer) Progress(int64)  {}
func (o *observer) Lost(err error)  { o.note(func() { o.lost = append(o.lost, err) }) }
func (o *observer) Ended(err error) { o.note(func() { o.ended = append(o.ended, err) }) }

func (o *observer) Changes(changes []etcdclient.Change) {
	o.note(func() {
		for _, c := range changes {
			if c.Revision <= o.last {
				o.ended = append(o.ended, fmt.Errorf("revision %d came after %d", c.Revision, o.last))
			}
			o.last = c.Revision
			for _, e := range c.Events {
				o.events[c.Revision] = string(e.KV.Key)
			}
		}
	})
}

func (o *observer) reached() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// observe has n watches see every key under w/ from a revision on, for the length of the test; the first has been served.
func observe(t *testing.T, endpoints []string, n int, start int64) (observers []*observer) {
	t.Helper()
	client, err := etcdclient.New(etcdclient.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	for i := range n {
		o := &observer{events: map[int64]string{}}
		client.Watch(etcdclient.WatchRequest{Key: []byte("w/"), End: []byte("w0"), Revision: start, Alone: i%10 == 0}, o)
		observers = append(observers, o)
		if i == 0 { // the connections are opened with it
			eventually(t, 20*time.Second, "the first watch", func() bool { return o.reached() == start })
		}
	}
	return observers
}

func lostOf(observers []*observer) (n int) {
	for _, o := range observers {
		o.note(func() { n += len(o.lost) })
	}
	return n
}
