package handlers

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/ticket"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// call is one request on its way through the gateway: what was asked, and the answer that grows. It belongs to the
// goroutine that serves the request and is reused afterwards; nothing may keep it.
type call struct {
	w http.ResponseWriter
	// r has the call's deadline, received has none but the caller's own.
	r        *http.Request
	received *http.Request
	api      *API
	route    *route
	// caller is who asks; nil when nobody is asked who he is. store is what he sees of etcd, and backend etcd as his identity,
	// for what has no namespace.
	caller  *authz.Caller
	store   Store
	backend Backend
	query   params
	// ticketHold is the caller's hold on the ticket of a stream; nil without one.
	ticketHold *ticket.Hold

	id      string
	started time.Time
	// notes are for logs and traces; nil when nobody wants them.
	notes *trail.Request
	// waits says that the caller chose how long the call may take.
	waits bool
	// placed and counted say that the call counts among the requests under way, of the gateway and of its caller; held is how
	// many bytes of its body do.
	placed, counted bool
	held            int64
	// claim is the call's hold on its Idempotency-Key; nil without one.
	claim *claim

	// The answer. A handler appends the body and sets what differs from 200 application/json without caching.
	status      int
	body        []byte
	contentType string
	// revision is the store revision that answered; it is written as Etcd-Revision when positive.
	revision int64
	// etag is the mod revision that the answer's entity tag names; positive means the answer may be revalidated.
	etag int64
	// streamed means that the handler writes the body itself as it goes (export, search, import): see stream.go.
	streamed bool
	// answered means that the answer has been written, or that the connection is not HTTP's any more.
	answered bool
	// lasts means that it is the caller who chose how long the call took, or others did.
	lasts   bool
	written int64
}

// calls recycles calls with their buffers.
var calls = sync.Pool{New: func() any { return new(call) }}

// keepBytes is the largest answer buffer that is kept for reuse.
const keepBytes = 1 << 20

func (a *API) newCall(w http.ResponseWriter, r *http.Request) *call {
	c, _ := calls.Get().(*call)
	body, q := c.body[:0], c.query
	*c = call{w: w, r: r, received: r, api: a, store: a.store, backend: a.backend, started: time.Now(), body: body}
	c.query = q
	return c
}

func (c *call) recycle() {
	if cap(c.body) > keepBytes {
		c.body = nil
	}
	c.query.Reset()
	*c = call{body: c.body[:0], query: c.query}
	calls.Put(c)
}

// ctx ends when the caller goes away or the call's time has run out.
func (c *call) ctx() context.Context { return c.r.Context() }

// extend gives the call the seconds that its body asks to wait, on top of its own time; timeout= bounds both together.
func (c *call) extend(wait int64) context.CancelFunc {
	c.waits = wait > 0
	if wait == 0 || c.query.Timeout > 0 {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(c.received.Context(), c.api.options.RequestTimeout+time.Duration(wait)*time.Second)
	c.r = c.r.WithContext(ctx)
	return cancel
}

// isWrite tells whether the route can change the store; failed writes say what they did.
func (c *call) isWrite() bool { return c.route != nil && c.route.writes }

// key is the key that the path names: the percent-decoded rest of the path behind the route's fixed prefix, decoded once
// by net/http, or with key_encoding=base64url the bytes it spells. An empty rest is refused.
func (c *call) key() ([]byte, error) {
	rest, ok := strings.CutPrefix(c.r.URL.Path, c.route.keyPrefix)
	if !ok { // the router matched the escaped path, so the decoded one begins with the prefix too
		return nil, problem.New(problem.Internal, "the path does not begin with its route")
	}
	key, err := c.query.DecodeKey("key", rest)
	if err != nil {
		return nil, err
	}
	return key, c.checkKey(key)
}

// checkKey refuses the empty key and, unless the caller asked to see the gateway's state, the reserved ones.
func (c *call) checkKey(key []byte) error {
	switch {
	case len(key) == 0:
		return problem.New(problem.InvalidParameter, "the key is empty; name one behind %s, or list keys with GET /v1/kv?prefix=",
			c.route.keyPrefix).AtParameter("key")
	case key[0] == 0 && (!c.query.State || c.isWrite()):
		return problem.New(problem.Reserved, "keys that begin with a NUL byte hold the gateway's own state").AtParameter("key")
	}
	return nil
}

// readBody reads the whole JSON body, bounded, of an accepted media type.
func (c *call) readBody() ([]byte, error) {
	if err := acceptJSON(c.r.Header); err != nil {
		return nil, err
	}
	return c.readAll(c.api.options.MaxBodyBytes)
}

// decode reads the JSON body into the declared members.
func (c *call) decode(fields ...kvjson.Field) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	return kvjson.Decode(body, fields...)
}

// object appends the opening of the answer's object; member and closeObject continue it.
func (c *call) openObject() { c.body = append(c.body, '{') }

// closeObject ends the answer's object, dropping the comma that the last member left.
func (c *call) closeObject() {
	if n := len(c.body); c.body[n-1] == ',' {
		c.body = c.body[:n-1]
	}
	c.body = append(c.body, '}', '\n')
}

// openArray begins a member that is an array; closeArray ends it.
func (c *call) openArray(name string) {
	c.name(name)
	c.body = append(c.body, '[')
}

func (c *call) closeArray() { c.closeInner(']') }

// closeInner ends an object or array within the answer's object, and appends the comma behind it.
func (c *call) closeInner(bracket byte) {
	if n := len(c.body); c.body[n-1] == ',' {
		c.body = c.body[:n-1]
	}
	c.body = append(c.body, bracket, ',')
}

// intMember, boolMember and rawMember append one member and a comma.
func (c *call) intMember(name string, v int64) {
	c.name(name)
	c.body = append(strconv.AppendInt(c.body, v, 10), ',')
}

func (c *call) boolMember(name string, v bool) {
	c.name(name)
	c.body = append(strconv.AppendBool(c.body, v), ',')
}

func (c *call) leaseMember(id int64) { c.leaseIDMember("lease", id) }

// leaseIDMember and idMember append an id, which is signed for leases and not for members.
func (c *call) leaseIDMember(name string, id int64) {
	c.name(name)
	c.body = append(kvjson.AppendID(c.body, id), ',')
}

func (c *call) idMember(name string, id uint64) { c.leaseIDMember(name, int64(id)) } //nolint:gosec // the bits are the id

func (c *call) textsMember(name string, texts []string) {
	c.openArray(name)
	for _, text := range texts {
		c.body = append(kvjson.AppendString(c.body, []byte(text)), ',')
	}
	c.closeArray()
}

func (c *call) textMember(name, v string) {
	c.name(name)
	c.body = append(kvjson.AppendString(c.body, []byte(v)), ',')
}

func (c *call) keyMember(key []byte, e kvjson.Encoding) {
	c.body = append(kvjson.AppendKey(c.body, key, e), ',')
}

// name appends a member's name, which needs no escaping, and the colon.
func (c *call) name(name string) {
	c.body = append(c.body, '"')
	c.body = append(c.body, name...)
	c.body = append(c.body, '"', ':')
}
