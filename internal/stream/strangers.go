package stream

import (
	"net/netip"
	"sync"
	"time"
)

// What a socket may do whose peer has not said yet who he is: say so, soon, in a small message, and few at a time.
const (
	introTime         = 5 * time.Second
	maxIntro          = 8 << 10
	mostStrangers     = 256
	mostStrangersFrom = 64 // from one address, which may be a proxy's
)

// strangers counts those sockets. The zero value has none; it is safe for concurrent use.
type strangers struct {
	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// enter lets one more in; false when there is no room.
func (s *strangers) enter(at netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= mostStrangers || s.from[at] >= mostStrangersFrom {
		return false
	}
	if s.from == nil {
		s.from = make(map[netip.Addr]int)
	}
	s.all++
	s.from[at]++
	return true
}

// leave is told that one has said who he is, or is gone.
func (s *strangers) leave(at netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.from[at]--; s.from[at] == 0 {
		delete(s.from, at)
	}
}
