package handlers

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// maxTags is how many entity tags one If-Match may list: each can cost a call.
const maxTags = 8

// condition is what a write demands of the key before it happens. The zero value demands nothing.
type condition struct {
	// absent demands that the key does not exist, exists that it does.
	absent, exists bool
	// anyOf are the mod revisions of which the key must have one; given tells apart "none of them can match" (tags that
	// name no revision) from no such demand.
	anyOf []int64
	given bool
	// lockKey must exist with lockToken as its create revision.
	lockKey   []byte
	lockToken int64
}

// keyed tells whether the condition speaks of the key written, rather than of a lock only.
func (d *condition) keyed() bool { return d.absent || d.exists || d.given }

// onKey is the demand on the key as a compare, of the tags the one of that index; nothing when there is no demand. What
// nothing can meet is a compare that never holds.
func (d *condition) onKey(key []byte, tag int) []wire.Compare {
	switch {
	case d.absent:
		return []wire.Compare{createRevision(key, wire.Equal, 0)}
	case d.exists:
		return []wire.Compare{createRevision(key, wire.NotEqual, 0)}
	case !d.given:
		return nil
	case len(d.anyOf) == 0:
		return []wire.Compare{createRevision(key, wire.Less, 0)}
	}
	return []wire.Compare{{Key: key, Target: wire.TargetModRevision, Number: d.anyOf[tag]}}
}

// lock is the demand on the lock as a compare.
func (d *condition) lock() []wire.Compare {
	if d.lockKey == nil {
		return nil
	}
	return []wire.Compare{createRevision(d.lockKey, wire.Equal, d.lockToken)}
}

func createRevision(key []byte, op wire.CompareOp, n int64) wire.Compare {
	return wire.Compare{Key: key, Target: wire.TargetCreateRevision, Op: op, Number: n}
}

// condition reads If-Match, If-None-Match, if_mod_revision, and if_lock with fencing_token. At most one of the first
// three may be given, since together they could only contradict or repeat each other.
func (c *call) condition() (condition, error) {
	var d condition
	ifMatch, ifNoneMatch := c.r.Header["If-Match"], c.r.Header["If-None-Match"]
	byQuery := c.query.Given("if_mod_revision")
	revision := c.query.Integer("if_mod_revision", 0, 0, maxInt64)
	if n := count(len(ifMatch) > 0, len(ifNoneMatch) > 0, byQuery); n > 1 {
		return d, problem.New(problem.InvalidParameter, "give one of If-Match, If-None-Match and if_mod_revision").AtParameter("If-Match")
	}
	switch {
	case len(ifMatch) > 0:
		tags, star, err := parseTags("If-Match", ifMatch)
		if err != nil {
			return d, err
		}
		d.exists, d.given, d.anyOf = star, !star, tags
	case len(ifNoneMatch) > 0:
		if _, star, err := parseTags("If-None-Match", ifNoneMatch); err != nil || !star {
			return d, problem.New(problem.InvalidParameter, "on a write, If-None-Match takes only *: the key must not exist").
				WithHint("to demand a version of the key, send If-Match").AtParameter("If-None-Match")
		}
		d.absent = true
	case byQuery && revision == 0:
		d.absent = true
	case byQuery:
		d.given, d.anyOf = true, []int64{revision}
	}
	c.lockCondition(&d)
	return d, nil
}

// lockCondition reads the lock that must be held; faults are kept for query.done.
func (c *call) lockCondition(d *condition) {
	lockKey, hasLock := c.query.Key("if_lock")
	hasToken := c.query.Given("fencing_token")
	token := c.query.Integer("fencing_token", 0, 1, maxInt64)
	if hasLock != hasToken {
		c.query.Fault("if_lock", problem.InvalidParameter, "if_lock and fencing_token come together: the lock's owner_key and its token")
	}
	if !hasLock {
		return
	}
	if len(lockKey) == 0 || lockKey[0] == 0 {
		c.query.Fault("if_lock", problem.InvalidParameter, "if_lock must be the owner_key that the lock's answer gave")
	}
	d.lockKey, d.lockToken = lockKey, token
}

// parseTags reads a list of entity tags. A weak tag names the same stored version as a strong one. "0" and tags that name
// no revision match nothing, so they are left out: etcd's own compare with revision 0 is true for an absent key.
func parseTags(header string, values []string) (revisions []int64, star bool, err error) {
	list := strings.Join(values, ",")
	if strings.TrimSpace(list) == "*" {
		return nil, true, nil
	}
	seen := 0
	for rest := list; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		tag, tail, ok := cutTag(rest)
		if !ok {
			return nil, false, problem.New(problem.InvalidParameter,
				`%s must be * or a list of entity tags in double quotes, like "42"`, header).AtParameter(header)
		}
		rest = tail
		if seen++; seen > maxTags {
			return nil, false, problem.New(problem.InvalidParameter, "%s may list at most %d entity tags", header, maxTags).AtParameter(header)
		}
		if n, err := strconv.ParseInt(tag, 10, 64); err == nil && n > 0 && strconv.FormatInt(n, 10) == tag {
			revisions = append(revisions, n)
		}
	}
	if seen == 0 {
		return nil, false, problem.New(problem.InvalidParameter, `%s is empty; send * or a tag like "42"`, header).AtParameter(header)
	}
	return revisions, false, nil
}

// cutTag cuts one entity tag (RFC 9110, section 8.8.3) and gives what is between the quotes.
func cutTag(s string) (tag, rest string, ok bool) {
	s = strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	tag, rest, ok = strings.Cut(s[1:], `"`)
	if trimmed := strings.TrimLeft(rest, " \t"); trimmed != "" && trimmed[0] != ',' {
		return "", "", false
	}
	return tag, rest, ok
}

// notModified tells whether If-None-Match of a read names the version found. Tags that cannot be read match nothing, as
// HTTP says of reads.
func notModified(h http.Header, modRevision int64) bool {
	values := h["If-None-Match"]
	if len(values) == 0 {
		return false
	}
	revisions, star, err := parseTags("If-None-Match", values)
	if err != nil {
		return false
	}
	for _, r := range revisions {
		star = star || r == modRevision
	}
	return star
}

func count(flags ...bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}
