package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
)

// The sections of the file that say who may call, and what they may do. They have no flags and no variables.
const (
	authSection   = "auth"
	policySection = "policy"
)

// access is those sections, and where they stand.
type access struct {
	auth   []authn.Options
	policy []policyRule
	// hasAuth and hasPolicy tell a section that is empty from one that is not there.
	hasAuth, hasPolicy bool
	// badAuth and badPolicy tell that one could not be read, so that there is no more to be said about what it holds.
	badAuth, badPolicy bool
	// text is the sections as they were written.
	text string
}

// policyRule is one rule as the file spells it.
type policyRule struct {
	When             policyWhen    `yaml:"when"`
	Namespace        string        `yaml:"namespace"`
	Grants           []policyGrant `yaml:"grants"`
	Limits           policyLimits  `yaml:"limits"`
	EtcdUser         string        `yaml:"etcd_user"`
	EtcdPasswordFile string        `yaml:"etcd_password_file"`
}

type policyWhen struct {
	Kind   authn.Kind       `yaml:"kind"`
	Issuer string           `yaml:"issuer"`
	Name   texts            `yaml:"name"`
	Claims map[string]texts `yaml:"claims"`
}

type policyGrant struct {
	Verbs  texts  `yaml:"verbs"`
	Prefix string `yaml:"prefix"`
}

type policyLimits struct {
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	Burst             int     `yaml:"burst"`
	Concurrent        int     `yaml:"concurrent"`
	Streams           int     `yaml:"streams"`
	Watches           int     `yaml:"watches"`
	KeysPerRequest    int64   `yaml:"keys_per_request"`
	BytesInFlight     int64   `yaml:"bytes_in_flight"`
}

// texts is one text or a list of them.
type texts []string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (t *texts) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*t = texts{one}
		return nil
	}
	return unmarshal((*[]string)(t))
}

// allVerbs stands for every verb in a grant.
const allVerbs = "all"

// section reads one of the sections; false when the key names none.
func (r *fileReader) section(key string, e *ast.MappingValueNode) bool {
	switch key {
	case authSection:
		r.access.hasAuth = true
		r.access.badAuth = !r.list(e, &r.access.auth)
	case policySection:
		r.access.hasPolicy = true
		r.access.badPolicy = !r.list(e, &r.access.policy)
	default:
		return false
	}
	return true
}

// list reads a section, which is a list; false after a fault.
func (r *fileReader) list(e *ast.MappingValueNode, to any) bool {
	r.access.text += strings.TrimRight(e.String(), "\n") + "\n"
	if e.Value.Type() == ast.NullType {
		return true
	}
	faults := len(r.faults)
	r.shape(e.Key.GetToken().Value, e.Value, reflect.TypeOf(to).Elem())
	if len(r.faults) > faults {
		return false
	}
	if err := yaml.NodeToValue(e.Value, to, yaml.Strict()); err != nil {
		r.faults = append(r.faults, yamlFault(r.path, err))
		return false
	}
	return true
}

// open makes what lets callers in; both are nil where nobody is asked. It gives every fault at once, each with its place.
func (a *access) open(log *slog.Logger) (methods *authn.Chain, policy *authz.Policy, faults []string) {
	switch {
	case !a.hasAuth && !a.hasPolicy:
		return nil, nil, nil
	case len(a.auth) == 0 && !a.badAuth:
		faults = append(faults, "policy is given without auth: it would be for nobody; say under auth how callers are known")
	case len(a.policy) == 0 && !a.badPolicy:
		faults = append(faults, "auth is given without policy: nobody could do anything; say under policy what callers may do")
	}
	if !a.badAuth {
		var wrong []string
		methods, wrong = authn.Open(a.auth, log)
		faults = append(faults, wrong...)
	}
	if !a.badPolicy {
		var wrong []string
		policy, wrong = a.openPolicy()
		faults = append(faults, wrong...)
	}
	return methods, policy, faults
}

// openPolicy makes the policy of the rules as the file spells them.
func (a *access) openPolicy() (*authz.Policy, []string) {
	var faults []string
	rules := make([]authz.Rule, 0, len(a.policy))
	for i := range a.policy {
		at := func(member, format string, args ...any) {
			faults = append(faults, fmt.Sprintf("policy[%d].%s: ", i, member)+fmt.Sprintf(format, args...))
		}
		rules = append(rules, a.policy[i].rule(at))
		a.reached(&a.policy[i].When, at)
	}
	policy, err := authz.NewPolicy(rules)
	return policy, append(faults, lines(err)...)
}

// reached refuses a rule for callers whom auth lets nobody be: it would fit nobody.
func (a *access) reached(w *policyWhen, at func(member, format string, args ...any)) {
	if len(a.auth) == 0 || w.Kind == "" {
		return
	}
	var kinds, issuers []string
	for i := range a.auth {
		kinds = append(kinds, string(a.auth[i].Kind))
		if a.auth[i].Issuer != "" {
			issuers = append(issuers, a.auth[i].Issuer)
		}
	}
	switch known := slices.Contains(authn.Kinds(), w.Kind); {
	case known && !slices.Contains(kinds, string(w.Kind)):
		at("when.kind", "no entry of auth is of the kind %s, so this rule fits nobody; add one, or take the rule out", w.Kind)
	case w.Kind == authn.KindJWT && w.Issuer != "" && !slices.Contains(issuers, w.Issuer):
		at("when.issuer", "no entry of auth has the issuer %q, so this rule fits nobody%s", w.Issuer, orKnown("", w.Issuer, issuers))
	}
}

// asks tells whether callers from other machines are asked who they are.
func (a *access) asks() bool {
	for i := range a.auth {
		if a.auth[i].Anywhere {
			return false
		}
	}
	return len(a.auth) > 0 || a.badAuth
}

// byCertificate tells whether callers can be known by their certificates, and whether in another way, too.
func (a *access) byCertificate() (can, others bool) {
	for i := range a.auth {
		if a.auth[i].Kind == authn.KindMTLS {
			can = true
		} else {
			others = true
		}
	}
	return can, others
}

// rule is the rule for the gateway; at is told what the file alone can get wrong.
func (r *policyRule) rule(at func(member, format string, args ...any)) authz.Rule {
	out := authz.Rule{
		When:      authz.When{Kind: r.When.Kind, Issuer: r.When.Issuer, Names: r.When.Name, Claims: map[string][]string{}},
		Namespace: r.Namespace, Limits: authz.Limits(r.Limits), EtcdUser: r.EtcdUser,
	}
	for claim, wanted := range r.When.Claims {
		out.When.Claims[claim] = wanted
	}
	for i, g := range r.Grants {
		grant := authz.Grant{Prefix: []byte(g.Prefix)}
		for _, word := range g.Verbs {
			v, err := parseVerb(word)
			if err != nil {
				at(fmt.Sprintf("grants[%d].verbs", i), "%v", err)
				v = authz.Read // any: so that it is not said to have none, too
			}
			grant.Verbs |= v
		}
		out.Grants = append(out.Grants, grant)
	}
	switch {
	case r.EtcdUser != "" && r.EtcdPasswordFile == "":
		at("etcd_password_file", "it is missing, and etcd_user is given; name a file that holds the user's password")
	case r.EtcdUser == "" && r.EtcdPasswordFile != "":
		at("etcd_user", "it is missing, and etcd_password_file is given; name the user of etcd whose password it holds")
	case r.EtcdUser != "":
		var err error
		if out.EtcdPassword, err = readPassword(r.EtcdPasswordFile); err != nil {
			at("etcd_password_file", "%v; name a file that holds the password of %s", err, r.EtcdUser)
		}
	}
	return out
}

// parseVerb reads one word of a grant.
func parseVerb(word string) (authz.Verb, error) {
	if word == allVerbs {
		return authz.All, nil
	}
	v, err := authz.ParseVerb(word)
	if err != nil {
		return 0, fmt.Errorf("%w, and %s%s", err, allVerbs, didYouMean("", word, append(authz.All.Words(), allVerbs)))
	}
	return v, nil
}

// readPassword reads a password from a file; one newline at its end is not part of it.
func readPassword(file string) (string, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return "", err
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if password == "" {
		return "", errors.New(file + " is empty")
	}
	return password, nil
}

// lines are the errors that were joined, one by one.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
