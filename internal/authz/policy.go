package authz

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// Rule says what callers get whom it fits.
type Rule struct {
	// When tells whom it fits.
	When When
	// Namespace is put in front of every key on the way in and taken off on the way out; {name} and {claims.X} stand for
	// what is known of the caller. Empty is the whole store.
	Namespace string
	Grants    []Grant
	Limits    Limits
	// EtcdUser is who etcd sees, with its password; empty is the gateway's own user, or the caller himself if he brought
	// credentials of etcd's.
	EtcdUser, EtcdPassword string
}

// When tells whom a rule fits: all that is given must hold, of each list one.
type When struct {
	Kind   authn.Kind
	Issuer string
	Names  []string
	Claims map[string][]string
}

// Limits bound what one caller may use; 0 is no bound.
type Limits struct {
	// RequestsPerSecond is the rate, and Burst how many may come at once (default: one second's worth).
	RequestsPerSecond float64
	Burst             int
	// Concurrent bounds the requests under way, Streams the connections that watch, Watches the watches on them.
	Concurrent, Streams, Watches int
	// KeysPerRequest bounds the keys that one request may have etcd read or delete.
	KeysPerRequest int64
	// BytesInFlight bounds the bodies of the requests under way, together.
	BytesInFlight int64
}

// Policy is rules, of which the first that fits decides. It is immutable; make it with NewPolicy.
type Policy struct{ rules []rule }

type rule struct {
	Rule
	index     int
	namespace template
	rights    rights
}

// NewPolicy checks the rules and reports every fault, each with the place of its rule.
func NewPolicy(rules []Rule) (*Policy, error) {
	p := &Policy{rules: make([]rule, 0, len(rules))}
	var faults []error
	for i := range rules {
		r := &rules[i]
		at := func(member string, err error) {
			faults = append(faults, fmt.Errorf("policy[%d]%s: %w", i, member, err))
		}
		t, err := parseTemplate(r.Namespace)
		if err != nil {
			at(".namespace", err)
		}
		r.check(at)
		if i > 0 && rules[i-1].When.everybody() {
			at("", fmt.Errorf("policy[%d] fits everybody, so this is never reached; put it before, or say there under when whom it is for", i-1))
		}
		p.rules = append(p.rules, rule{Rule: *r, index: i, namespace: t, rights: newRights(r.Grants)})
	}
	return p, errors.Join(faults...)
}

// check tells the faults of a rule by itself.
func (r *Rule) check(at func(member string, err error)) {
	r.When.check(at)
	if len(r.Grants) == 0 {
		at(".grants", errors.New("a rule without grants lets its callers do nothing; leave the rule out, or grant something"))
	}
	for i := range r.Grants {
		r.Grants[i].check(func(member string, err error) { at(fmt.Sprintf(".grants[%d]%s", i, member), err) })
	}
	r.Limits.check(at)
}

func (w *When) check(at func(member string, err error)) {
	if w.Kind != "" && !slices.Contains(authn.Kinds(), w.Kind) {
		at(".when.kind", fmt.Errorf("%q is no kind; the kinds are %s, %s, %s, %s", w.Kind, authn.KindJWT, authn.KindMTLS, authn.KindEtcd, authn.KindNone))
		return
	}
	if (len(w.Claims) > 0 || w.Issuer != "") && w.Kind != authn.KindJWT {
		at(".when", errors.New("only callers with a JWT have an issuer and claims; say kind: jwt, or leave them out"))
	}
}

// everybody tells whether it fits whoever there is.
func (w *When) everybody() bool {
	return w.Kind == "" && w.Issuer == "" && len(w.Names) == 0 && len(w.Claims) == 0
}

func (g *Grant) check(at func(member string, err error)) {
	switch {
	case g.Verbs == 0:
		at(".verbs", fmt.Errorf("name at least one of %s", All))
	case g.Verbs == All && len(g.Prefix) > 0:
		at("", fmt.Errorf("admin, one of all, is about the whole cluster; leave the prefix out, or name the verbs: %s", All&^Admin))
	case g.Verbs&Admin != 0 && len(g.Prefix) > 0:
		at("", errors.New("admin is about the whole cluster; grant it in an entry of its own, without a prefix"))
	}
	if len(g.Prefix) > 0 && g.Prefix[0] == 0 {
		at(".prefix", errors.New("keys that begin with NUL hold the gateway's own state; name a prefix of other keys"))
	}
}

func (l *Limits) check(at func(member string, err error)) {
	for _, one := range []struct {
		name     string
		negative bool
	}{
		{"requests_per_second", l.RequestsPerSecond < 0},
		{"burst", l.Burst < 0},
		{"concurrent", l.Concurrent < 0},
		{"streams", l.Streams < 0},
		{"watches", l.Watches < 0},
		{"keys_per_request", l.KeysPerRequest < 0},
		{"bytes_in_flight", l.BytesInFlight < 0},
	} {
		if one.negative {
			at(".limits."+one.name, errors.New("it cannot be negative; leave it out for no bound"))
		}
	}
	if l.Burst > 0 && l.RequestsPerSecond == 0 {
		at(".limits.burst", errors.New("it is of requests_per_second, which is missing; give both, or leave it out"))
	}
}

// find gives the first rule that fits.
func (p *Policy) find(who *authn.Principal) *rule {
	for i := range p.rules {
		if p.rules[i].When.fits(who) {
			return &p.rules[i]
		}
	}
	return nil
}

func (w *When) fits(p *authn.Principal) bool {
	if w.Kind != "" && w.Kind != p.Kind || w.Issuer != "" && w.Issuer != p.Issuer ||
		len(w.Names) > 0 && !slices.Contains(w.Names, p.Name) {
		return false
	}
	for claim, wanted := range w.Claims {
		if !holds(p.Claims[claim], wanted) {
			return false
		}
	}
	return true
}

// holds tells whether a claim is one of the texts, or a list that has one of them.
func holds(claim any, wanted []string) bool {
	switch v := claim.(type) {
	case string:
		return slices.Contains(wanted, v)
	case bool:
		return slices.Contains(wanted, strconv.FormatBool(v))
	case fmt.Stringer: // a json.Number
		return slices.Contains(wanted, v.String())
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return holds(one, wanted) })
	}
	return false
}

// aWhile is how long a decision about a caller is kept that somebody else could change meanwhile.
const aWhile = 10 * time.Second
