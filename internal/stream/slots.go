package stream

import (
	"slices"
	"sync"
)

// slots lets only so many catch-ups run at a time: etcd pays for each with a scan of its log. Its lock is the innermost.
type slots struct {
	mu      sync.Mutex
	free    int
	all     int // catch-ups there are, running or not
	queue   []*catchup
	changed chan struct{} // capacity 1; tells the hub to look
}

func newSlots(n int) *slots { return &slots{free: n, changed: make(chan struct{}, 1)} }

// mostCatchups bounds the catch-ups there are, and so the memory that those hold whose readers are slow.
const mostCatchups = 64

// admit tells whether there may be one more catch-up, and counts it.
func (s *slots) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= mostCatchups {
		return false
	}
	s.all++
	return true
}

// dismiss counts one catch-up less.
func (s *slots) dismiss() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
}

func (s *slots) enqueue(u *catchup) {
	s.mu.Lock()
	s.queue = append(s.queue, u)
	s.mu.Unlock()
	s.tell()
}

func (s *slots) dequeue(u *catchup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, func(q *catchup) bool { return q == u })
}

func (s *slots) release() {
	s.mu.Lock()
	s.free++
	s.mu.Unlock()
	s.tell()
}

func (s *slots) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// next takes the catch-up whose turn it is, with its slot; nil when there is none.
func (s *slots) next() *catchup {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 || len(s.queue) == 0 {
		return nil
	}
	u := s.queue[0]
	s.queue = s.queue[1:]
	s.free--
	return u
}

// count gives the catch-ups there are.
func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
