// Package authn finds out who is calling: by a JWT, by a client certificate, by an etcd user's password or token, or, where
// that is allowed, not at all. It decides nothing about what the caller may do.
package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Kind is a way to prove who one is.
type Kind string

// The kinds, as the configuration spells them.
const (
	KindJWT  Kind = "jwt"
	KindMTLS Kind = "mtls"
	KindEtcd Kind = "etcd"
	KindNone Kind = "none"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{KindJWT, KindMTLS, KindEtcd, KindNone} }

// Principal is who is calling, as one method knows it. It is immutable and shared between requests.
type Principal struct {
	Kind Kind
	// Name is a JWT's name claim, a certificate's CN or SAN, an etcd user's name; empty for an etcd token that is brought
	// as it is, and for none. It is never empty otherwise, and holds no control characters.
	Name string
	// Issuer is that of a JWT.
	Issuer string
	// Claims are those of a JWT, with numbers as json.Number; nil for other kinds. Nobody may change them.
	Claims map[string]any
	// Expires is when the credential stops to count, leeway included; zero: never, or nobody here knows.
	Expires time.Time
	// Digest is the SHA-256 of the credential; what is kept about a caller is kept under it. No two kinds share one.
	Digest [32]byte
	// Proof is what the credential was verified with, for Chain.Still: the fingerprint of a JWT's key, or a certificate and
	// those between it and its authority, in DER.
	Proof []byte
	// User and Password are etcd credentials, to be shown upstream.
	User, Password string
	// Token is an etcd token that the caller brought, to be passed on untouched.
	Token string
}

// Credentials are what a caller shows, whichever way it came: header, WebSocket subprotocol, first message.
type Credentials struct {
	// Authorization is the value of that header; empty for none. A request with several such headers is not for this
	// package: whoever fills this in refuses it.
	Authorization string
	// TLS is nil for plain connections.
	TLS *tls.ConnectionState
	// Remote is the other end of the connection.
	Remote netip.Addr
}

// Method is one way to find out who is calling. It is safe for concurrent use.
type Method interface {
	Kind() Kind
	// Authenticate gives the principal; nil and no error when the credentials are not of this method; an error, a
	// *problem.Error of unauthenticated or auth_expired, when they are and are not good.
	Authenticate(ctx context.Context, c Credentials) (*Principal, error)
	// Challenge is the value of WWW-Authenticate that asks for such credentials; empty for none.
	Challenge() string
}

// runner is a method with something to keep up to date.
type runner interface{ Run(ctx context.Context) }

// voucher is a method whose trust can be withdrawn before a credential expires. vouches tells whether the principal is one that
// it has let in, and if so whether it would again; an error is auth_expired.
type voucher interface {
	vouches(p *Principal) (mine bool, err error)
	// trust is what it verifies credentials by, to be compared: another value means that some may not count any more.
	trust() any
}

// decliner is a method that can say why credentials that may have been meant for it are not. The reason holds nothing of
// them.
type decliner interface{ declines(c Credentials) string }

// Chain is the configured methods in their order. It is safe for concurrent use. The zero value knows nobody.
type Chain struct{ methods []Method }

// New makes a chain of methods that are tried in the given order. It starts nothing: see Run.
func New(methods ...Method) *Chain { return &Chain{methods: methods} }

// Authenticate gives the principal of the first method that takes the credentials. The first verdict is final: what one
// method has found bad is not shown to the next. Errors are *problem.Error of unauthenticated or auth_expired; what they
// tell the caller holds nothing of the credentials, the cause (for the log) says precisely why.
func (c *Chain) Authenticate(ctx context.Context, shown Credentials) (*Principal, error) {
	for _, m := range c.methods {
		principal, err := m.Authenticate(ctx, shown)
		if err != nil || principal != nil {
			return principal, err
		}
	}
	return nil, c.unknown(shown)
}

// unknown is the answer to credentials that no method takes.
func (c *Chain) unknown(shown Credentials) error {
	var reasons []string
	for _, m := range c.methods {
		if d, ok := m.(decliner); ok {
			if reason := d.declines(shown); reason != "" && !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	detail := "the request shows no credentials"
	switch {
	case len(reasons) > 0:
		detail = strings.Join(reasons, "; ")
	case shown.Authorization != "":
		detail = "the Authorization header holds nothing that this gateway takes"
	}
	return problem.New(problem.Unauthenticated, "%s", detail).WithHint("%s", c.hint())
}

// hint says what would be taken.
func (c *Chain) hint() string {
	ways := map[Kind]string{
		KindJWT:  "a JWT of the configured issuer (Authorization: Bearer …)",
		KindMTLS: "a client certificate",
		KindEtcd: "a user and password of etcd (Authorization: Basic …) or a token of etcd",
		KindNone: "a connection from this machine without credentials",
	}
	var taken []string
	for _, m := range c.methods {
		if way := ways[m.Kind()]; way != "" {
			taken = append(taken, way)
			ways[m.Kind()] = ""
		}
	}
	if len(taken) == 0 {
		return "this gateway takes no credentials at all; its configuration names no way to prove who one is"
	}
	return "use " + strings.Join(taken, ", or ")
}

// Kinds are the ways to be known, in the order of the methods.
func (c *Chain) Kinds() []Kind {
	kinds := make([]Kind, 0, len(c.methods))
	for _, m := range c.methods {
		kinds = append(kinds, m.Kind())
	}
	return kinds
}

// Challenges are the values of WWW-Authenticate that a 401 carries, in the order of the methods, each once.
func (c *Chain) Challenges() []string {
	var all []string
	seen := make(map[string]bool)
	for _, m := range c.methods {
		if value := m.Challenge(); value != "" && !seen[value] {
			seen[value] = true
			all = append(all, value)
		}
	}
	return all
}

// Still tells whether the credential by which somebody is known would be taken again, but for its time: nil, or auth_expired. It
// is for what lasts; Authenticate sees to it by itself.
func (c *Chain) Still(p *Principal) error {
	for _, m := range c.methods {
		v, ok := m.(voucher)
		if !ok && m.Kind() == p.Kind {
			return nil
		}
		if !ok {
			continue
		}
		if mine, err := v.vouches(p); mine {
			return err
		}
	}
	return expired("this gateway does not take such credentials any more", c.hint())
}

// Trusted is what credentials are verified by now, key sets and authorities. When a value in it is another than before, some
// that were good may not be any more.
func (c *Chain) Trusted() []any {
	var all []any
	for _, m := range c.methods {
		if v, ok := m.(voucher); ok {
			all = append(all, v.trust())
		}
	}
	return all
}

// Authorities has certificates held against the authorities that count now, and not only against those of the moment when their
// connection was made. It is called before the chain is used.
func (c *Chain) Authorities(now func() *x509.CertPool) {
	for _, m := range c.methods {
		if m, ok := m.(*MTLS); ok {
			m.authorities = now
		}
	}
}

// Adopt takes over the keys that a former chain has fetched from the same addresses, so that a configuration which is read
// again while an issuer is down shuts nobody out. It is called before Run.
func (c *Chain) Adopt(former *Chain) {
	for _, m := range c.methods {
		for _, f := range former.methods {
			source, is := fetched(m)
			other, was := fetched(f)
			if is && was {
				source.adopt(other)
			}
		}
	}
}

// fetched gives the source of a method whose keys are fetched.
func fetched(m Method) (*JWKSURL, bool) {
	j, ok := m.(*JWT)
	if !ok {
		return nil, false
	}
	source, ok := j.keys.(*JWKSURL)
	return source, ok
}

// Run keeps the methods' keys up to date until ctx ends, and has ended everything it started when it returns.
func (c *Chain) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, m := range c.methods {
		if r, ok := m.(runner); ok {
			group.Go(func() { r.Run(ctx) })
		}
	}
	group.Wait()
}
