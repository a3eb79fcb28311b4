package etcdclient

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// views are a client's other identities: callers who are users of etcd themselves. Each is a Client of its own over the
// same connections, so that nothing is shared across rights.
type views struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]*view
}

// view is one identity. Its fields but the client are guarded by views.mu.
type view struct {
	client *Client
	used   time.Time
	// proven is when etcd accepted it last; zero for one that it has not.
	proven time.Time
}

const (
	// mostViews bounds the identities that are remembered, mostUnproven those of them that etcd has not accepted: whoever
	// tries passwords pushes out other guesses, and nobody's sessions.
	mostViews    = 4096
	mostUnproven = 256
	// tokenProvenFor is how long a token that etcd accepted counts as good where etcd is not asked anyway.
	tokenProvenFor = 10 * time.Second
)

// AsUser gives the client as another user of etcd, whom etcd has accepted. Callers of the same name and password share one,
// and with it one token, which is renewed once for all of them; a refusal is remembered for a moment, since each
// authentication costs etcd a password hash. It lives as long as the client that New made.
func (c *Client) AsUser(ctx context.Context, name, password string) (*Client, error) {
	key := credential("user", name, password)
	v, _ := c.views.get(key, func() *Client { return c.withUser(name, password) })
	if _, err := v.identity.token(ctx, methodAuthn); err != nil {
		return nil, err
	}
	c.views.prove(key)
	return v, nil
}

// AsToken is AsUser for a token of etcd that the caller got himself, and that nobody here can renew.
func (c *Client) AsToken(ctx context.Context, token string) (*Client, error) {
	key := credential("token", token)
	v, proven := c.views.get(key, func() *Client { return c.withToken(token) })
	if proven {
		return v, nil
	}
	if err := v.verify(ctx); err != nil {
		return nil, err
	}
	c.views.prove(key)
	return v, nil
}

// credential is what an identity is known by.
func credential(parts ...string) (key [sha256.Size]byte) {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p)) // so that no two lists of parts look alike
		h.Write(sum[:])
	}
	h.Sum(key[:0])
	return key
}

// verify has etcd judge the token, by a read that nobody needs a right to. While etcd asks nobody who he is, any will do.
func (c *Client) verify(ctx context.Context) error {
	answer, err := c.Range(ctx, &wire.RangeRequest{Key: []byte(wire.StatePrefix), CountOnly: true})
	if err == nil {
		answer.Free()
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Answered && e.Code == codes.PermissionDenied {
		return nil
	}
	return err
}

// get gives the identity of the key, made if it must be; proven tells whether etcd has accepted it of late.
func (s *views) get(key [sha256.Size]byte, create func() *Client) (c *Client, proven bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	v := s.of[key]
	if v == nil {
		v = &view{client: create()}
		s.of[key] = v
		s.trimLocked()
	}
	v.used = now
	return v.client, now.Sub(v.proven) < tokenProvenFor
}

func (s *views) prove(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.of[key]; v != nil {
		v.proven = time.Now()
	}
}

// trimLocked forgets the identities that were not used for longest: first those that etcd has not accepted, and never one
// that watches or keeps leases alive.
func (s *views) trimLocked() {
	unproven := 0
	for _, v := range s.of {
		if v.proven.IsZero() {
			unproven++
		}
	}
	if unproven > mostUnproven {
		s.dropOldestLocked(func(v *view) bool { return v.proven.IsZero() && !v.used.IsZero() })
	} else if len(s.of) > mostViews {
		s.dropOldestLocked(func(v *view) bool { return !v.used.IsZero() && v.client.atRest() })
	}
}

func (s *views) dropOldestLocked(can func(*view) bool) {
	var oldest [sha256.Size]byte
	var found *view
	for key, v := range s.of {
		if can(v) && (found == nil || v.used.Before(found.used)) {
			oldest, found = key, v
		}
	}
	if found != nil {
		delete(s.of, oldest)
	}
}

// atRest tells whether nothing that lasts hangs on the identity.
func (c *Client) atRest() bool {
	watches, _ := c.watches.counts()
	return watches == 0 && c.keepAlives.count() == 0
}

// each calls do for every identity.
func (s *views) each(do func(*Client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.of {
		do(v.client)
	}
}
