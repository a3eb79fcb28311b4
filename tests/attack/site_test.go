package attack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// zone is in front of every tenant's keys in etcd, and nothing that a tenant sees may show it.
const zone = "zone-7f3a"

// The tenants, each a namespace of its own; noisy is bounded.
const (
	alice = "alice"
	bob   = "bob"
	noisy = "noisy"
	op    = "op"
)

// site is a gateway that asks who its callers are, with what it stands between.
type site struct {
	issuer  *issuer
	etcd    *harness.Etcd
	gateway *harness.Gateway
}

// startSite runs one. More options go to the gateway; without endpoints among them it stands before the etcd directly.
func startSite(t *testing.T, args ...string) *site {
	t.Helper()
	s := &site{issuer: startIssuer(t), etcd: harness.StartEtcd(t)}
	s.serve(t, s.etcd.Endpoint, args...)
	return s
}

// serve starts the site's gateway before etcd at that address.
func (s *site) serve(t *testing.T, endpoint string, args ...string) {
	t.Helper()
	s.gateway = harness.StartGateway(t, append([]string{"serve", "--config", s.file(t), "--endpoints", endpoint}, args...)...)
	for range 200 { // until the issuer's keys are there
		if s.as(op).do(t, "GET", "/v1/auth/whoami", "").status == 200 {
			return
		}
	}
	t.Fatalf("the issuer's keys are not taken up; the gateway's log:\n%s", s.gateway.Output())
}

func (s *site) file(t *testing.T) string {
	t.Helper()
	text := fmt.Sprintf(`
auth:
  - kind: jwt
    issuer: %s
    audience: %s
    keys: {jwks_url: %s/jwks, algorithms: [ES256, RS256]}
    leeway: 0
policy:
  - when: {kind: jwt, name: op}
    grants: [{verbs: all}]
  - when: {kind: jwt, name: noisy}
    namespace: %[4]s/{name}/
    grants: [{verbs: [read, write, lease, lock]}]
    limits: {requests_per_second: 50, burst: 50, concurrent: 4, bytes_in_flight: 65536, keys_per_request: 100}
  - when: {kind: jwt, name: [alice, bob]}
    namespace: %[4]s/{name}/
    grants: [{verbs: [read, write, watch, lease, lock]}]
`, issuerName, audience, s.issuer.URL, zone)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// as is the principal of that name, with a good token.
func (s *site) as(name string) *principal {
	return &principal{site: s, token: s.issuer.token(name, nil)}
}

// tenant is a principal from whom these texts, and the zone, must stay hidden.
func (s *site) tenant(name string, hidden ...string) *principal {
	p := s.as(name)
	p.hidden = spellings(append(hidden, zone)...)
	return p
}

// spellings are the ways in which a text can show in an answer: as it is, in hexadecimal, and within base64 at each of its
// three offsets.
func spellings(texts ...string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, text, fmt.Sprintf("%x", text))
		for offset := range 3 {
			padded := raw64(strings.Repeat("\x00", offset) + text)
			from, to := []int{0, 2, 3}[offset], len(padded)-1 // the ends depend on what stands beside the text
			all = append(all, padded[from:to])
		}
	}
	return all
}
