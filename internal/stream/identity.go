package stream

import (
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// identity is whom a connection is for. What he may do, and until when he is believed, can change while it lasts; who he is
// cannot. It is safe for concurrent use.
type identity struct {
	mu     sync.Mutex
	access access
	// usage counts the connection among its caller's; nil where it is not.
	usage *authz.Usage
	// judged is the judgement that the caller has passed last.
	judged int64
	// end ends the connection; nil before it is let in and after it has gone.
	end    func(*problem.Error)
	expiry *time.Timer
}

func (i *identity) now() access {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.access
}

// enter begins to watch over the credentials' end, unless the caller has as many connections as he may.
func (i *identity) enter(end func(*problem.Error)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.countLocked(i.access.caller); err != nil {
		return err
	}
	i.end = end
	i.armLocked()
	return nil
}

// countLocked counts the connection among the caller's, once.
func (i *identity) countLocked(c *authz.Caller) error {
	if c == nil || i.usage != nil {
		return nil
	}
	if err := c.Usage().OpenStream(); err != nil {
		return err
	}
	i.usage = c.Usage()
	return nil
}

// leavesRoom refuses a connection that was let in when its caller has too many of all that there are.
func (i *identity) leavesRoom(total, most int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.usage == nil {
		return nil
	}
	return i.usage.StreamsLeaveRoom(int64(total), int64(most))
}

// leave ends that.
func (i *identity) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end = nil
	if i.usage != nil {
		i.usage.CloseStream()
		i.usage = nil
	}
	if i.expiry != nil {
		i.expiry.Stop()
	}
}

// replace puts one access in the place of another, unless that has been replaced by a third one meanwhile.
func (i *identity) replace(from, to access, judged int64) (done bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.access.caller != from.caller || i.end == nil {
		return i.end == nil, nil // there is nobody any more to whom it would matter
	}
	if err := i.countLocked(to.caller); err != nil {
		return false, err
	}
	i.access, i.judged = to, judged
	i.armLocked()
	return true, nil
}

// armLocked has the connection ended when the credentials expire.
func (i *identity) armLocked() {
	if i.expiry != nil {
		i.expiry.Stop()
		i.expiry = nil
	}
	if at := i.access.expires(); !at.IsZero() && i.end != nil {
		i.expiry = time.AfterFunc(time.Until(at), i.expire)
	}
}

// expire ends the connection if the credentials have expired, and have not been renewed just then.
func (i *identity) expire() {
	i.mu.Lock()
	at, end := i.access.expires(), i.end
	i.mu.Unlock()
	if end != nil && !at.IsZero() && !time.Now().Before(at) {
		end(problem.New(problem.AuthExpired, "the credentials that the stream was begun with have expired").
			WithHint("resume with new ones; a WebSocket takes them before the old ones expire, by op auth"))
	}
}

// expires is when the caller's credentials stop to count; zero for never.
func (a *access) expires() (at time.Time) {
	if a.caller != nil {
		at = a.caller.Principal.Expires
	}
	return at
}

// sameCaller refuses a change of who somebody is, or of the namespace that his keys are in.
func sameCaller(before, after *authz.Caller) error {
	switch {
	case before.ID() != after.ID():
		return problem.New(problem.PermissionDenied, "these are the credentials of somebody else; a connection stays whose it is").
			WithHint("open another one")
	case string(before.Namespace) != string(after.Namespace):
		return problem.New(problem.PermissionDenied, "the caller's keys are in another namespace now; begin anew")
	}
	return nil
}
