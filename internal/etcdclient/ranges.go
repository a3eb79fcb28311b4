package etcdclient

import (
	"context"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// ranges lets callers that ask for the very same range share an answer: while one call is reading it, those that arrive
// queue, and when it returns one more call is made for all of them. As with single keys, a read joins only a call that has
// not left yet. Many clients that look at the same prefix then cost etcd hardly more than one.
//
// It is safe for concurrent use.
type ranges struct {
	client *Client

	mu sync.Mutex
	// lanes are those of the ranges that are being read, by their requests' bytes: every parameter is among them.
	lanes map[string]*rangeLane
}

// rangeLane is the lane of one range; it lasts as long as it has users.
type rangeLane struct {
	*lane
	users int
}

// slowRange is how long a read of a range takes at least before it counts as slow, so that another may begin beside it.
const slowRange = 250 * time.Millisecond

func newRanges(c *Client) *ranges {
	return &ranges{client: c, lanes: make(map[string]*rangeLane)}
}

// do makes one read, by itself when nobody else is reading this range, else with those who wait for it.
func (s *ranges) do(ctx context.Context, r *wire.RangeRequest, prefix []byte) (*wire.RangeResponse, error) {
	name := string(r.AppendTo(nil))
	l := s.enter(name)
	defer s.leave(name, l)
	return l.do(ctx, r, prefix)
}

func (s *ranges) enter(name string) *rangeLane {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[name]
	if l == nil {
		l = &rangeLane{lane: &lane{
			client: s.client, parallel: 1, patience: slowRange, most: laneMost, typical: time.Millisecond,
			calls: make(map[*call]struct{}),
		}}
		s.lanes[name] = l
	}
	l.users++
	return l
}

func (s *ranges) leave(name string, l *rangeLane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.lanes, name)
	}
}
