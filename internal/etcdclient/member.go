package etcdclient

import (
	"sync"
	"sync/atomic"
	"time"
)

// member is one etcd server, told apart by the id that its answers carry and not by the endpoint that led to it: behind
// one endpoint there may be several, and several endpoints may lead to one. Before the first answer a connection has a
// member of its own with the id 0.
type member struct {
	id uint64
	// aside says that the member gets no work while another can do it. A probe that succeeds ends it.
	aside atomic.Bool
	// learner says that the member gets no work, but for what is about itself.
	learner atomic.Bool
	// streams is whether the member has RangeStream.
	streams atomic.Int32
	// version is etcd's version there; nil until it is known.
	version atomic.Pointer[string]

	mu        sync.Mutex
	failures  int
	failedAt  time.Time
	nextProbe time.Time
}

// What is known of RangeStream at a member.
const (
	streamsUnknown int32 = iota
	streamsYes
	streamsNo
)

const (
	probeBase = 250 * time.Millisecond
	probeMax  = 3 * time.Second
	// calm is how long a member must have done well for its next failure to count as the first.
	calm = 10 * time.Second
)

// runs takes in what the member runs. With another version than before it is asked anew what it has: members are upgraded, one by
// one, under the same id.
func (m *member) runs(version string) {
	if former := m.version.Swap(&version); former != nil && *former == version {
		return
	}
	switch r := parseRelease(version); {
	case !r.known():
		m.streams.Store(streamsUnknown)
	case r.since(hasRangeStream):
		m.streams.Store(streamsYes)
	default:
		m.streams.Store(streamsNo)
	}
}

// fail sets the member aside; it reports whether it was not so before.
func (m *member) fail(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.failedAt) > calm {
		m.failures = 0
	}
	m.failedAt = now
	if m.aside.Load() {
		return false
	}
	m.backOffLocked(now)
	return !m.aside.Swap(true)
}

// probeDue says whether it is time to probe, and if so reserves the probe for the one who asked.
func (m *member) probeDue(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Before(m.nextProbe) {
		return false
	}
	m.backOffLocked(now)
	return true
}

func (m *member) backOffLocked(now time.Time) {
	m.nextProbe = now.Add(min(probeBase<<min(m.failures, 8), probeMax))
	m.failures++
}

// recover puts the member back to work; it reports whether it was aside.
func (m *member) recover() bool { return m.aside.Swap(false) }
