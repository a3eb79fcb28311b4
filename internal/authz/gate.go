package authz

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Methods find out who is calling; *authn.Chain satisfies it.
type Methods interface {
	Authenticate(ctx context.Context, c authn.Credentials) (*authn.Principal, error)
	// Still tells whether the credential of somebody who is known would be taken again; auth_expired if not.
	Still(p *authn.Principal) error
	// Kinds are the ways to be known, in the order in which they are tried.
	Kinds() []authn.Kind
	// Challenges are the values of WWW-Authenticate.
	Challenges() []string
}

// Gate lets callers in: it asks the methods who somebody is, and the policy what he may do. Both can be replaced while it
// works. It is safe for concurrent use; make it with NewGate.
type Gate struct {
	client *etcdclient.Client
	leases *leaseSecret

	mu      sync.RWMutex
	methods Methods
	policy  *Policy
	// known are the callers by their credential's digest.
	known map[callerKey]*Caller
	// usages are what they use, by their ids.
	usages map[string]*Usage
}

type callerKey struct {
	kind   authn.Kind
	digest [sha256.Size]byte
}

// mostKnown bounds the callers that are remembered.
const mostKnown = 10_000

// NewGate makes a gate before a client, whose identity is the gateway's own.
func NewGate(client *etcdclient.Client, methods Methods, policy *Policy) *Gate {
	return &Gate{
		client: client, leases: newLeaseSecret(client), methods: methods, policy: policy,
		known: make(map[callerKey]*Caller), usages: make(map[string]*Usage),
	}
}

// Replace has everybody judged by other methods and another policy from now on. Those who are inside stay until they are
// judged anew (Again).
func (g *Gate) Replace(methods Methods, policy *Policy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.methods, g.policy = methods, policy
	clear(g.known)
}

// Kinds are the ways to be known, in the order in which they are tried.
func (g *Gate) Kinds() []authn.Kind {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.methods.Kinds()
}

// Challenges are the values of WWW-Authenticate.
func (g *Gate) Challenges() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.methods.Challenges()
}

// Admit tells who calls and what he may do. The error is unauthenticated or auth_expired for credentials that are not good,
// permission_denied for somebody whom no rule of the policy fits, or why etcd could not be asked about its own users.
func (g *Gate) Admit(ctx context.Context, c authn.Credentials) (*Caller, error) {
	g.mu.RLock()
	methods := g.methods
	g.mu.RUnlock()
	p, err := methods.Authenticate(ctx, c)
	if err != nil {
		return nil, err
	}
	return g.judge(ctx, p)
}

// Again judges somebody who is known by the policy as it is now. A credential whose time is over is not good any more, nor one
// that was verified by what is not trusted any more.
func (g *Gate) Again(ctx context.Context, p *authn.Principal) (*Caller, error) {
	g.mu.RLock()
	methods := g.methods
	g.mu.RUnlock()
	if err := methods.Still(p); err != nil {
		return nil, err
	}
	return g.judge(ctx, p)
}

func (g *Gate) judge(ctx context.Context, p *authn.Principal) (*Caller, error) {
	now := time.Now()
	if !p.Expires.IsZero() && !now.Before(p.Expires) {
		return nil, problem.New(problem.AuthExpired, "the credentials have expired")
	}
	key := callerKey{p.Kind, p.Digest}
	g.mu.RLock()
	known, policy := g.known[key], g.policy
	g.mu.RUnlock()
	if known != nil && (known.until.IsZero() || now.Before(known.until)) {
		return known, nil
	}
	c, err := g.decide(ctx, policy, p)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.policy != policy { // it was replaced meanwhile; the next request is judged by that
		return c, nil
	}
	if len(g.known) >= mostKnown {
		for other := range g.known { // any will do: deciding again costs little
			delete(g.known, other)
			break
		}
	}
	g.known[key] = c
	return c, nil
}

func (g *Gate) decide(ctx context.Context, policy *Policy, p *authn.Principal) (*Caller, error) {
	r := policy.find(p)
	if r == nil {
		return nil, problem.New(problem.PermissionDenied, "the caller is known, but no rule of the gateway's policy is about him")
	}
	client, until, user := g.client, time.Time{}, GatewaysUser
	var err error
	switch {
	case p.User != "" || p.Password != "":
		client, err = g.client.AsUser(ctx, p.User, p.Password)
		until, user = time.Now().Add(aWhile), callersUser
	case p.Token != "":
		client, err = g.client.AsToken(ctx, p.Token)
		until, user = time.Now().Add(aWhile), callersUser
	}
	if err != nil {
		return nil, refusedByEtcd(err)
	}
	if r.EtcdUser != "" { // the policy's word counts, once the caller's own is proven
		user = policysUser
		if client, err = g.client.AsUser(ctx, r.EtcdUser, r.EtcdPassword); err != nil {
			return nil, problem.New(problem.Unavailable, "etcd does not accept the user that the policy gives the caller").Because(err).WithOutcome(problem.NotApplied)
		}
	}
	c, err := newCaller(p, r, client)
	if err != nil {
		return nil, err
	}
	if c.tagged {
		secret, err := g.leases.get(ctx)
		if err != nil {
			return nil, err
		}
		c.tag = tagOf(secret, c.owner)
		if until.IsZero() {
			until = time.Now().Add(secretFor)
		}
	}
	c.until, c.user, c.usage = until, user, g.usageOf(c)
	return c, nil
}

// The users of etcd that requests are made as. GatewaysUser is that of callers without any other, and of those whom nobody
// asks who they are.
const (
	GatewaysUser = "the gateway's etcd user"
	callersUser  = "the caller's own etcd user"
	policysUser  = "the etcd user that the policy gives the caller"
)

// forgottenAfter is how long what a caller uses is remembered when he uses nothing.
const forgottenAfter = 10 * time.Minute

// usageOf gives what the caller uses. Other limits than before begin anew.
func (g *Gate) usageOf(c *Caller) *Usage {
	id, now := c.ID(), time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.usages[id]
	if u == nil || u.limits != c.Limits {
		u = newUsage(c.Limits)
		if len(g.usages) >= mostKnown {
			for other, unused := range g.usages {
				if unused.idle() && now.Unix()-unused.used.Load() > int64(forgottenAfter/time.Second) {
					delete(g.usages, other)
				}
			}
		}
		g.usages[id] = u
	}
	u.used.Store(now.Unix())
	return u
}

// refusedByEtcd tells what etcd refused apart from why it could not be asked: nothing was done either way.
func refusedByEtcd(err error) error {
	e := problem.From(err)
	if e.Code == problem.Unauthenticated || e.Code == problem.InvalidArgument {
		return problem.New(problem.Unauthenticated, "etcd does not accept these credentials").Because(err).WithOutcome(problem.NotApplied)
	}
	return e.WithOutcome(problem.NotApplied)
}
