package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	var to any
	switch key {
	case authSection:
		to, r.access.hasAuth = &r.access.auth, true
	case policySection:
		to, r.access.hasPolicy = &r.access.policy, true
	default:
		return false
	}
	r.access.text += strings.TrimRight(e.String(), "\n") + "\n"
	if e.Value.Type() == ast.NullType {
		return true
	}
	if err := yaml.NodeToValue(e.Value, to, yaml.Strict()); err != nil {
		r.faults = append(r.faults, yamlFault(r.path, err))
	}
	return true
}

// open makes what lets callers in; both are nil where nobody is asked. It gives every fault at once, each with its place.
func (a *access) open(log *slog.Logger) (methods *authn.Chain, policy *authz.Policy, faults []string) {
	switch {
	case !a.hasAuth && !a.hasPolicy:
		return nil, nil, nil
	case len(a.auth) == 0:
		faults = append(faults, "policy is given without auth: it would be for nobody; say under auth how callers are known")
	case len(a.policy) == 0:
		faults = append(faults, "auth is given without policy: nobody could do anything; say under policy what callers may do")
	}
	methods, wrong := authn.Open(a.auth, log)
	faults = append(faults, wrong...)
	rules := make([]authz.Rule, 0, len(a.policy))
	for i := range a.policy {
		rule, err := a.policy[i].rule()
		if err != nil {
			faults = append(faults, fmt.Sprintf("policy[%d].%v", i, err))
		}
		rules = append(rules, rule)
	}
	policy, err := authz.NewPolicy(rules)
	faults = append(faults, lines(err)...)
	return methods, policy, faults
}

// asks tells whether callers from other machines are asked who they are.
func (a *access) asks() bool {
	for i := range a.auth {
		if a.auth[i].Anywhere {
			return false
		}
	}
	return len(a.auth) > 0
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

func (r *policyRule) rule() (authz.Rule, error) {
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
			if word == allVerbs {
				grant.Verbs |= authz.All
				continue
			}
			v, err := authz.ParseVerb(word)
			if err != nil {
				return out, fmt.Errorf("grants[%d].verbs: %w, and %s", i, err, allVerbs)
			}
			grant.Verbs |= v
		}
		out.Grants = append(out.Grants, grant)
	}
	switch {
	case r.EtcdUser == "" && r.EtcdPasswordFile == "":
		return out, nil
	case r.EtcdUser == "" || r.EtcdPasswordFile == "":
		return out, errors.New("etcd_user: it goes with etcd_password_file; give both or neither")
	}
	var err error
	if out.EtcdPassword, err = readPassword(r.EtcdPasswordFile); err != nil {
		return out, fmt.Errorf("etcd_password_file: %w", err)
	}
	return out, nil
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
