package authz

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Caller is a principal and what the policy lets it do. It is immutable and shared by the principal's requests.
type Caller struct {
	Principal *authn.Principal
	// Namespace is in front of all of the caller's keys; the ranges below are without it.
	Namespace []byte
	Limits    Limits

	grants []Grant
	rights rights
	usage  *Usage
	client *etcdclient.Client
	store  *Store
	// tag marks the caller's leases; tagged is false for one who may see everybody's. owner is whom they belong to: the namespace,
	// or the caller himself.
	tag    leaseTag
	tagged bool
	owner  string
	// user says whose user of etcd the caller's requests are made as.
	user string
	// until is when it must be decided anew.
	until time.Time
}

func newCaller(p *authn.Principal, r *rule, client *etcdclient.Client) (*Caller, error) {
	namespace, err := r.namespace.fill(p)
	if err != nil {
		return nil, problem.New(problem.PermissionDenied, "%v", err)
	}
	c := &Caller{Principal: p, Namespace: namespace, Limits: r.Limits, grants: r.Grants, rights: r.rights, client: client}
	switch {
	case len(namespace) > 0:
		c.owner, c.tagged = "namespace\x00"+string(namespace), true
	case !c.rights.cover(Write, nil, []byte("\x00")) || !c.rights.some(Admin):
		// Ending a lease deletes its keys, wherever they are, the gateway's own too: who may not write everywhere has leases of
		// his own.
		c.owner, c.tagged = "caller\x00"+c.ID(), true
	}
	c.store = newStore(c)
	return c, nil
}

// Client is etcd, asked as the identity that the policy gives the caller. Nothing narrows it: what has no namespace is done
// with it, by callers who may do Admin.
func (c *Caller) Client() *etcdclient.Client { return c.client }

// EtcdUser says, within a sentence for the caller, whose user of etcd his requests are made as.
func (c *Caller) EtcdUser() string { return c.user }

// Store is etcd's keys and leases as far as the caller may see and change them.
func (c *Caller) Store() *Store { return c.store }

// ID names the principal among all others: the same one has it again tomorrow, on any gateway.
func (c *Caller) ID() string {
	p := c.Principal
	if p.Kind == authn.KindEtcd && p.Name == "" { // a token, which is all that is known
		return string(p.Kind) + "\x00" + string(p.Digest[:])
	}
	return string(p.Kind) + "\x00" + p.Issuer + "\x00" + p.Name
}

// Usage is what the caller uses at this gateway, over all his credentials.
func (c *Caller) Usage() *Usage { return c.usage }

// Unlimited tells whether the caller may do everything, everywhere, so that nothing needs to be judged.
func (c *Caller) Unlimited() bool { return len(c.Namespace) == 0 && c.rights.everything() }

// Authorise refuses a caller who may not do this, whatever the verbs, to the whole range.
func (c *Caller) Authorise(v Verb, key, end []byte) error {
	if c.rights.cover(v, key, end) {
		return nil
	}
	return denied(v)
}

// May is Authorise for one who asks.
func (c *Caller) May(v Verb, key, end []byte) bool { return c.rights.cover(v, key, end) }

// Has refuses a caller who may do this to no key at all; for Admin it is the whole question.
func (c *Caller) Has(v Verb) error {
	if c.rights.some(v) {
		return nil
	}
	return denied(v)
}

// Grants are the caller's, within its namespace. They must not be changed.
func (c *Caller) Grants() []Grant { return c.grants }

// Scope tells apart what must not be shared: two callers of one scope see the same keys, under the same rights at etcd.
// What the policy grants them within it can differ.
type Scope struct {
	client    *etcdclient.Client
	namespace string
}

// Scope is the caller's.
func (c *Caller) Scope() Scope { return Scope{client: c.client, namespace: string(c.Namespace)} }

func denied(v Verb) error {
	if v&Admin != 0 {
		return problem.New(problem.PermissionDenied, "this is about the whole cluster, and needs admin, which the caller is not granted")
	}
	return problem.New(problem.PermissionDenied, "this needs %s on all the keys it names, which the caller is not granted", v).
		WithHint("GET /v1/auth/whoami shows what the caller may do")
}

type contextKey struct{}

// With puts the caller into a context, where those find it who serve his request.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From gives the caller, nil when nobody was asked who he is.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(contextKey{}).(*Caller)
	return c
}

// Owns tells whether a lease is the caller's, or he may see everybody's.
func (c *Caller) Owns(lease int64) bool { return !c.tagged || c.tag.owns(lease) }

// Same tells whether two judgements of one principal give him the same: namespace, grants and identity at etcd.
func (c *Caller) Same(o *Caller) bool {
	return c.Scope() == o.Scope() && slices.EqualFunc(c.grants, o.grants, func(a, b Grant) bool {
		return a.Verbs == b.Verbs && bytes.Equal(a.Prefix, b.Prefix)
	})
}
