package authz

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Usage is what one caller uses at this gateway, over all his requests and connections, and how much that may be. It is
// safe for concurrent use.
type Usage struct {
	limits Limits
	// rate is nil without a bound.
	rate *rate.Limiter

	requests, streams, watches, bytes atomic.Int64
	// used is when somebody last looked, in seconds since 1970.
	used atomic.Int64
}

func newUsage(l Limits) *Usage {
	u := &Usage{limits: l}
	if l.RequestsPerSecond > 0 {
		burst := l.Burst
		if burst == 0 {
			burst = max(int(math.Ceil(l.RequestsPerSecond)), 1)
		}
		u.rate = rate.NewLimiter(rate.Limit(l.RequestsPerSecond), burst)
	}
	return u
}

// Admit counts a request against the rate, or refuses it with the time to come back.
func (u *Usage) Admit() error {
	if u.rate == nil {
		return nil
	}
	r := u.rate.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	return atLimit("requests_per_second", float64(u.rate.Limit())).WithRetryAfter(wait)
}

// Quota is what is left of the rate: the requests that may come at once, how many they could be, and in how many seconds
// they could be so again. ok is false without a rate.
func (u *Usage) Quota() (left, most int64, full time.Duration, ok bool) {
	if u.rate == nil {
		return 0, 0, 0, false
	}
	most = int64(u.rate.Burst())
	tokens := max(u.rate.Tokens(), 0)
	return int64(tokens), most, time.Duration((float64(most) - tokens) / float64(u.rate.Limit()) * float64(time.Second)), true
}

// Left is what the caller may still use now, of each limit that he has: requests at once by the rate, requests under way,
// streams, watches, and bytes of bodies.
type Left struct {
	Requests, Concurrent, Streams, Watches, Bytes int64
}

// Left tells it; where there is no limit it is -1.
func (u *Usage) Left() Left {
	l := Left{
		Requests: -1, Concurrent: remaining(&u.requests, int64(u.limits.Concurrent)), Streams: remaining(&u.streams, int64(u.limits.Streams)),
		Watches: remaining(&u.watches, int64(u.limits.Watches)), Bytes: remaining(&u.bytes, u.limits.BytesInFlight),
	}
	if left, _, _, ok := u.Quota(); ok {
		l.Requests = left
	}
	return l
}

func remaining(used *atomic.Int64, most int64) int64 {
	if most == 0 {
		return -1
	}
	return max(most-used.Load(), 0)
}

// The pairs below count what is under way; each Open that returned nil needs its Close.

// OpenRequest counts a request under way.
func (u *Usage) OpenRequest() error {
	return open(&u.requests, 1, int64(u.limits.Concurrent), "concurrent")
}

// CloseRequest ends one.
func (u *Usage) CloseRequest() { u.requests.Add(-1) }

// OpenStream counts a connection that watches.
func (u *Usage) OpenStream() error { return open(&u.streams, 1, int64(u.limits.Streams), "streams") }

// CloseStream ends one.
func (u *Usage) CloseStream() { u.streams.Add(-1) }

// OpenWatch counts a watch.
func (u *Usage) OpenWatch() error { return open(&u.watches, 1, int64(u.limits.Watches), "watches") }

// CloseWatch ends one.
func (u *Usage) CloseWatch() { u.watches.Add(-1) }

// Hold counts n bytes of a body.
func (u *Usage) Hold(n int64) error {
	return open(&u.bytes, n, u.limits.BytesInFlight, "bytes_in_flight")
}

// Release gives them back.
func (u *Usage) Release(n int64) { u.bytes.Add(-n) }

// share is how many times what is free one caller may have of the gateway's own limits. Alone he gets seven eighths; several who
// want all get as much as each other, and whoever has nothing yet finds room, however many they are.
const share = 7

// RequestsLeaveRoom refuses the request that was opened last when all callers together have total under way of at most most, and
// this one has so many of them that others would find no room. A caller's first is never refused.
func (u *Usage) RequestsLeaveRoom(total, most int64) error {
	return leavesRoom("requests under way", u.requests.Load(), 1, total, most)
}

// StreamsLeaveRoom is RequestsLeaveRoom for connections that watch.
func (u *Usage) StreamsLeaveRoom(total, most int64) error {
	return leavesRoom("streams", u.streams.Load(), 1, total, most)
}

// BytesLeaveRoom is RequestsLeaveRoom for the bytes of bodies, of which the last has n.
func (u *Usage) BytesLeaveRoom(n, total, most int64) error {
	return leavesRoom("bytes of bodies under way", u.bytes.Load(), n, total, most)
}

func leavesRoom(what string, own, last, total, most int64) error {
	if own <= last || own <= share*(most-total) {
		return nil
	}
	return problem.New(problem.RateLimited, "the caller has so many %s that others would find no room", what).
		WithRetryAfter(comeBack).WithOutcome(problem.NotApplied)
}

// open adds n unless that is more than most; 0 is no bound.
func open(count *atomic.Int64, n, most int64, name string) error {
	if now := count.Add(n); most > 0 && now > most {
		count.Add(-n)
		return atLimit(name, most).With("limit", most).WithRetryAfter(comeBack)
	}
	return nil
}

// comeBack is when something else may have ended.
const comeBack = time.Second

// atLimit refuses what is beyond a limit of the caller's own.
func atLimit[N int64 | float64](name string, most N) *problem.Error {
	return problem.New(problem.RateLimited, "the caller is at its limit: %s is %v", name, most).WithOutcome(problem.NotApplied)
}

// idle tells whether nothing is under way.
func (u *Usage) idle() bool {
	return u.requests.Load() == 0 && u.streams.Load() == 0 && u.watches.Load() == 0 && u.bytes.Load() == 0
}
