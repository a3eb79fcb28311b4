package subscribe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Client is one subscriber that lives through all: after every end it goes on where it was, at its next transport, as the
// contract tells it to. What it sees is recorded.
type Client struct {
	Name string
	Ask  Ask
	// Transports are taken in turn: clients of two gateways hop.
	Transports []Transport
	// Whim is what the client does before it reads its nth message; nil: it just reads.
	Whim func(n int) Whim

	position atomic.Int64 // everything up to here has been seen; 0: nothing is known
	mu       sync.Mutex
	legs     []history.Leg
	failed   error
	owed     bool // a snapshot, since what is between is gone
	opened   int
}

// Whim is what a client does by itself.
type Whim struct {
	Pause           time.Duration // it does not read for a while
	Leave, Abruptly bool          // it goes away and comes back
}

// Run follows until ctx ends, or until a refusal that no client can live with.
func (c *Client) Run(ctx context.Context) {
	if c.Ask.Start > 0 {
		c.position.Store(c.Ask.Start - 1)
	}
	c.owed = c.Ask.Snapshot
	for ctx.Err() == nil {
		err := c.follow(ctx)
		wait, again := c.ended(ctx, err)
		if !again {
			c.note(func() { c.failed = fmt.Errorf("%s: %w", c.Name, err) })
			return
		}
		pause(ctx, wait)
	}
}

// Position is the revision up to which everything has been seen.
func (c *Client) Position() int64 { return c.position.Load() }

// Stream is what was seen so far, and Failed why the client gave up.
func (c *Client) Stream() history.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	legs := make([]history.Leg, len(c.legs))
	copy(legs, c.legs)
	return history.Stream{Name: c.Name, View: c.Ask.View, Legs: legs}
}

// Failed is why the client gave up; nil while it has not.
func (c *Client) Failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// follow is the life of one connection, and tells why it ended.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport := c.Transports[c.opened%len(c.Transports)]
	c.opened++
	ask := Ask{View: c.Ask.View, Snapshot: c.owed}
	if at := c.position.Load(); at > 0 && !c.owed {
		ask.Start = at + 1
	}
	c.note(func() {
		c.legs = append(c.legs, history.Leg{Start: ask.Start, Snapshot: ask.Snapshot, Opened: time.Now()})
	})
	feed, err := transport.Open(ctx, ask)
	if err != nil {
		return err
	}
	return c.read(ctx, feed)
}

func (c *Client) read(ctx context.Context, feed Feed) error {
	for n := 0; ; n++ {
		if c.Whim != nil {
			whim := c.Whim(n)
			pause(ctx, whim.Pause)
			if whim.Leave {
				feed.Close(whim.Abruptly)
				return errLeft
			}
		}
		m, err := feed.Next()
		if m.Kind != "" {
			m.At = time.Now()
			c.saw(m)
		}
		if err != nil {
			feed.Close(false)
			return err
		}
	}
}

var errLeft = errors.New("left")

func (c *Client) saw(m history.Message) {
	c.note(func() {
		leg := &c.legs[len(c.legs)-1]
		leg.Messages = append(leg.Messages, m)
	})
	switch m.Kind {
	case history.Created:
		if !c.owed {
			c.position.Store(max(c.position.Load(), m.Revision))
		}
	case history.Reset:
		c.owed = true
	case history.Synced:
		c.owed = false
		c.position.Store(m.Revision)
	case history.Events, history.Progress:
		if !c.owed && c.position.Load() > 0 {
			c.position.Store(max(c.position.Load(), m.Revision))
		}
	case history.Snapshot, history.Error, history.End:
	}
}

// ended notes why a connection ended, and decides as the contract says: when to come again, if at all.
func (c *Client) ended(ctx context.Context, err error) (wait time.Duration, again bool) {
	wait = time.Duration(20+rand.IntN(80)) * time.Millisecond
	end, compact := "cut: "+err.Error(), int64(0)
	refusal, told := errors.AsType[*RefusalError](err)
	if told {
		end, compact = refusal.Code, refusal.CompactRevision
		wait = max(wait, refusal.RetryAfter())
	}
	c.note(func() {
		leg := &c.legs[len(c.legs)-1]
		leg.End, leg.Compact = end, compact
	})
	switch {
	case !told || ctx.Err() != nil:
		return wait, true
	case refusal.Code == "compacted" || refusal.Code == "too_far_behind" || refusal.Code == "revision_too_large":
		c.owed = true
		return wait, true
	default:
		return wait, refusal.Status == 429 || refusal.Status >= 500 || resumable[refusal.Code]
	}
}

// resumable are the ends of a stream that say: come again.
//
//nolint:gochecknoglobals // a constant table
var resumable = map[string]bool{"slow_consumer": true, "draining": true, "unavailable": true, "overloaded": true}

func (c *Client) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
