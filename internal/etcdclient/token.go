package etcdclient

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// token is what an identity shows to etcd, in the form in which it travels. It is told apart by its address.
type token struct {
	value string
	md    metadata.MD
}

func newToken(value string) *token {
	t := &token{value: value, md: metadata.MD{"client-api-version": {version.APIVersion}}}
	if value != "" {
		t.md["token"] = []string{value}
	}
	return t
}

// outgoing puts the token into the request's metadata. What the caller has put there wins.
func (t *token) outgoing(ctx context.Context) context.Context {
	own, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return metadata.NewOutgoingContext(ctx, t.md)
	}
	for k, v := range t.md {
		if len(own[k]) == 0 && (k != "token" || len(own["authorization"]) == 0) {
			own[k] = v
		}
	}
	return metadata.NewOutgoingContext(ctx, own)
}

// BringsToken says that a call in the context would show etcd a token of its caller's own, and not the client's.
func BringsToken(ctx context.Context) bool { return bringsToken(ctx) }

// bringsToken says that the call shows etcd a token of its caller's own. Such a call goes by itself, under that token alone:
// it joins no other, and what etcd says of the token says nothing of the client's.
func bringsToken(ctx context.Context) bool {
	own, ok := metadata.FromOutgoingContext(ctx)
	return ok && (len(own["token"]) > 0 || len(own["authorization"]) > 0)
}

// identityOf gives the identity that a call goes under: the client's, or nobody's when the call brings a token of its own.
func (c *Client) identityOf(ctx context.Context) *identity {
	if bringsToken(ctx) {
		return c.nobody
	}
	return c.identity
}

// identity is who the client is to etcd, and its token. Safe for concurrent use.
type identity struct {
	name, password string
	// authenticate gets a token; it is nil when there is nothing to authenticate with.
	authenticate func(ctx context.Context, name, password string) (string, error)
	run          func(func(context.Context)) bool // starts a goroutine that the client waits for
	refreshed    func(ok bool)
	log          *slog.Logger

	current atomic.Pointer[token]

	mu        sync.Mutex
	flight    *flight
	failures  int
	failure   *Error // the refusal that is remembered
	notBefore time.Time
}

// flight is one authentication under way, for everyone who needs its token.
type flight struct {
	done chan struct{} // closed by the goroutine that authenticates, after token or err is set
	tok  *token
	err  *Error
}

// fixedIdentity always shows the same token; an empty one is nobody.
func fixedIdentity(value string) *identity {
	id := &identity{}
	id.current.Store(newToken(value))
	return id
}

func (id *identity) renewable() bool { return id.authenticate != nil }

// token gives the present token, authenticating when there is none. Calls that come while one authenticates wait for it.
func (id *identity) token(ctx context.Context, m *method) (*token, *Error) {
	if t := id.current.Load(); t != nil {
		return t, nil
	}
	f, err := id.join()
	if err != nil {
		return nil, err.onBehalf(m)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ended(m, ctx.Err(), false, "authenticating with etcd takes too long", "")
	}
	if f.err != nil {
		return nil, f.err.onBehalf(m)
	}
	return f.tok, nil
}

// refused forgets a token that etcd did not accept. Only the present one: of many calls that failed with the same token,
// the first has it renewed and the others find the new one.
func (id *identity) refused(t *token) {
	if id.renewable() {
		id.current.CompareAndSwap(t, nil)
	}
}

// mayRepeat tells whether a call that etcd refused for its token can be made once more: with a new one, or with the same when
// etcd's users and roles changed just while it was judged, which says nothing of a plain token.
func (id *identity) mayRepeat(e *Error) bool { return id.renewable() || e.Name == nameAuthOldRevision }

// final gives an error as it is to a call that goes under the identity and is not repeated. What is wrong with a token that
// cannot be renewed here, its owner has to mend. An old one is a JWT of etcd's, which names the revision of the users and
// roles that it was signed under.
func (id *identity) final(e *Error) *Error {
	if id.renewable() || e.Name != nameAuthOldRevision && e.Name != nameInvalidAuthToken {
		return e
	}
	c := *e
	c.hint = "log in again, and send the new token"
	if e.Name == nameAuthOldRevision {
		c.problem, c.Retryable, c.retryAfter = problem.AuthExpired, false, 0
		c.detail = "etcd's users or roles have changed since the token was made, which ends every token of this kind"
	}
	return &c
}

const (
	authFirstPause = time.Second
	authMostPause  = 30 * time.Second
)

// join gives the flight under way, or starts one, unless etcd refused the password a moment ago.
func (id *identity) join() (*flight, *Error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.flight != nil {
		return id.flight, nil
	}
	if t := id.current.Load(); t != nil {
		f := &flight{done: make(chan struct{}), tok: t}
		close(f.done)
		return f, nil
	}
	if id.failure != nil && time.Now().Before(id.notBefore) {
		return nil, id.failure
	}
	f := &flight{done: make(chan struct{})}
	if !id.run(func(ctx context.Context) { id.fly(ctx, f) }) {
		return nil, errClosed(methodAuthn)
	}
	id.flight = f
	return f, nil
}

func (id *identity) fly(ctx context.Context, f *flight) {
	defer close(f.done)
	value, err := id.authenticate(ctx, id.name, id.password)
	id.mu.Lock()
	defer id.mu.Unlock()
	id.flight = nil
	e, isError := errors.AsType[*Error](err)
	switch {
	case err == nil, isError && e.Name == "AuthNotEnabled":
		f.tok = newToken(value)
		id.current.Store(f.tok)
		id.failures, id.failure = 0, nil
		id.refreshed(true)
		return
	case !isError:
		e = local(methodAuthn, NameInvalidArgument, 0, "internal", err.Error(), "the gateway could not authenticate with etcd")
	}
	f.err = e
	id.refreshed(false)
	if e.Answered { // etcd refused: asking again at once cannot help and costs it a password hash each time
		id.failure = e
		id.notBefore = time.Now().Add(min(authFirstPause<<min(id.failures, 8), authMostPause))
		id.failures++
		id.log.LogAttrs(ctx, slog.LevelError, "etcd refuses the credentials", slog.String("user", id.name), slog.String("error", e.Name))
	}
}

// onBehalf gives an authentication's error to the call that needed it: that call was not sent.
func (e *Error) onBehalf(m *method) *Error {
	c := *e
	c.Method = m.name
	c.Message = strings.TrimPrefix(c.Message, "authenticate: ")
	c.Outcome, c.cause = "", nil
	if !m.read {
		c.Outcome = notApplied
	}
	return &c
}
