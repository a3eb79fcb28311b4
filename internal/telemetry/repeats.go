package telemetry

import (
	"net"
	"sync"
	"time"
)

// repeats bounds the lines of refusals that are alike, so that somebody who hammers the gateway does not fill its disk: the first
// is written at once, and those of each second after it as one line that says how many they were. It is safe for concurrent use.
type repeats struct {
	write func(*auditLine)

	mu     sync.Mutex
	of     map[alike]*repeated
	timer  *time.Timer // nil while there is nothing to wait for
	closed bool
	// under is the timer's work.
	under sync.WaitGroup
}

// alike is what refusals have in common.
type alike struct {
	principal, host, operation, reason, outcome string
	status                                      int
}

// repeated counts those that have no line yet; last is the last of them.
type repeated struct {
	n    int64
	last auditLine
}

const (
	repeatsEvery = time.Second
	// mostAlike bounds the kinds that are told apart; what is beyond is told apart by reason alone.
	mostAlike = 256
	// several stands for those who are not told apart.
	several = "several"
)

func newRepeats(write func(*auditLine)) *repeats {
	return &repeats{write: write, of: make(map[alike]*repeated)}
}

// add writes the line, or counts it.
func (r *repeats) add(line *auditLine) {
	host, _, err := net.SplitHostPort(line.Remote)
	if err != nil {
		host = line.Remote
	}
	key := alike{line.Principal, host, line.Operation, line.Error, line.Outcome, line.Status}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of[key]
	if known == nil && len(r.of) >= mostAlike {
		key = alike{several, several, several, line.Error, line.Outcome, line.Status}
		line.Principal, line.Remote, line.Operation = several, several, several
		known = r.of[key]
	}
	if known != nil && !r.closed {
		known.n++
		known.last = *line
		return
	}
	r.write(line)
	if !r.closed {
		r.of[key] = new(repeated)
		r.armLocked()
	}
}

func (r *repeats) armLocked() {
	if r.timer != nil {
		return
	}
	r.under.Add(1)
	r.timer = time.AfterFunc(repeatsEvery, func() {
		defer r.under.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.timer = nil
		r.tellLocked()
		if len(r.of) > 0 && !r.closed {
			r.armLocked()
		}
	})
}

// tellLocked writes what was counted, and forgets what has not repeated.
func (r *repeats) tellLocked() {
	for key, known := range r.of {
		if known.n == 0 {
			delete(r.of, key)
			continue
		}
		known.last.Repeated = known.n
		r.write(&known.last)
		known.n = 0
	}
}

// close writes what was counted, and waits for what is under way. Lines that come later are written one by one.
func (r *repeats) close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil && r.timer.Stop() {
		r.under.Done()
	}
	r.tellLocked()
	r.mu.Unlock()
	r.under.Wait()
}
