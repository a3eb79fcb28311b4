package handlers

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Limits are of two kinds: what the gateway as a whole takes on (overloaded), and what one caller may use (rate_limited).
// Both refuse early, with a time to come back, rather than let requests pile up.

// room takes the call among the requests under way. Probes and pages always find room, and streams are bounded elsewhere.
func (a *API) room(c *call) error {
	if c.route.open || c.goesOn() {
		return nil
	}
	if a.requests.Add(1) > a.options.MaxRequests {
		a.requests.Add(-1)
		return overloaded("the gateway works on as many requests as it may (--max-requests)", a.options.MaxRequests)
	}
	c.placed = true
	return nil
}

// goesOn tells whether the call is a stream, or waits for others, which is bounded where it is served.
func (c *call) goesOn() bool {
	return c.route.live || c.route.compat && c.api.options.Compat != nil && c.api.options.Compat.Lasts(c.r)
}

// count takes the call against the limits of its caller, and tells him what is left.
func (c *call) count() error {
	u := c.caller.Usage()
	err := u.Admit()
	if left, most, full, ok := u.Quota(); ok {
		c.quota(left, most, full)
	}
	if err != nil || c.goesOn() {
		return err
	}
	if err := u.OpenRequest(); err != nil {
		return err
	}
	c.counted = true
	return u.RequestsLeaveRoom(c.api.requests.Load(), c.api.options.MaxRequests)
}

// quota writes the RateLimit headers (draft-ietf-httpapi-ratelimit-headers).
func (c *call) quota(left, most int64, full time.Duration) {
	h := c.w.Header()
	set(h, "Ratelimit-Policy", `"requests";q=`+strconv.FormatInt(most, 10))
	seconds := int64((full + time.Second - 1) / time.Second)
	set(h, "Ratelimit", `"requests";r=`+strconv.FormatInt(left, 10)+`;t=`+strconv.FormatInt(seconds, 10))
}

// uncount gives back what the call has taken.
func (c *call) uncount() {
	if c.held > 0 {
		c.api.bytes.Add(-c.held)
		if c.caller != nil {
			c.caller.Usage().Release(c.held)
		}
		c.held = 0
	}
	if c.counted {
		c.caller.Usage().CloseRequest()
		c.counted = false
	}
	if c.placed {
		c.api.requests.Add(-1)
		c.placed = false
	}
}

// readAll reads a body of at most limit bytes, which count as held until the call ends. A body that was read before, and is
// read again from memory, counts once.
func (c *call) readAll(limit int64) ([]byte, error) {
	announced := min(max(c.r.ContentLength, 0), limit)
	if err := c.hold(announced); err != nil {
		return nil, err
	}
	body, err := readAll(c.w, c.r, limit)
	if err != nil {
		return nil, err
	}
	return body, c.hold(int64(len(body)))
}

// hold makes the bytes that the call holds n, if they are fewer.
func (c *call) hold(n int64) error {
	more := n - c.held
	if more <= 0 {
		return nil
	}
	if !within(&c.api.bytes, more, c.api.options.MaxBytes) {
		return overloaded("the gateway holds as many bytes of requests as it may (--max-bytes-in-flight)", c.api.options.MaxBytes)
	}
	if c.caller != nil {
		if err := c.caller.Usage().Hold(more); err != nil {
			c.api.bytes.Add(-more)
			return err
		}
	}
	c.held = n
	if c.caller == nil {
		return nil
	}
	return c.caller.Usage().BytesLeaveRoom(n, c.api.bytes.Load(), c.api.options.MaxBytes)
}

func within(count *atomic.Int64, n, most int64) bool {
	if count.Add(n) > most {
		count.Add(-n)
		return false
	}
	return true
}

func overloaded(detail string, limit int64) error {
	return problem.New(problem.Overloaded, "%s", detail).With("limit", limit).WithRetryAfter(time.Second).WithOutcome(problem.NotApplied)
}

// mostKeys is how many keys the caller may have one request read or delete, and at most n.
func (c *call) mostKeys(n int64) int64 {
	if c.caller == nil || c.caller.Limits.KeysPerRequest == 0 {
		return n
	}
	return min(n, c.caller.Limits.KeysPerRequest)
}
