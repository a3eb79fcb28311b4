package authn_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// wantStill demands that the credential counts yet, or not.
func wantStill(t *testing.T, what string, chain *authn.Chain, p *authn.Principal, counts bool) {
	t.Helper()
	err := chain.Still(p)
	if e := problem.From(err); counts != (e == nil) || e != nil && e.Code != problem.AuthExpired {
		t.Errorf("%s: got %v, want it to count: %t", what, err, counts)
	}
}

// TestATokenCountsAsLongAsItsKey: a key that its issuer takes back, or uses for something else, takes along those who were let
// in by it.
func TestATokenCountsAsLongAsItsKey(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: time.Millisecond, Refresh: 5 * time.Millisecond})
	eventually(t, chain, token(nil), true)
	p, err := authenticate(chain, token(nil))
	if err != nil {
		t.Fatal(err)
	}
	wantStill(t, "at first", chain, p, true)
	before := chain.Trusted()
	k := theKeys()
	idp.publish(setOf(jwkOf(k.ec.Public(), "ec", "ES256"), jwkOf(k.ec.Public(), "new", "ES256")))
	eventually(t, chain, withKid("new"), true)
	wantStill(t, "beside another key", chain, p, true)
	if after := chain.Trusted(); len(after) != 1 || after[0] == before[0] {
		t.Errorf("what is trusted: got %v, before %v; want another", after, before)
	}
	idp.publish(setOf(jwkOf(k.ec.Public(), "new", "ES256")))
	eventually(t, chain, token(nil), false)
	wantStill(t, "without its key", chain, p, false)
	idp.publish(setOf(jwkOf(k.ed.Public(), "ec", "EdDSA")))
	eventually(t, chain, withKid("new"), false)
	wantStill(t, "with another key of that name", chain, p, false)
}

// TestATokenCountsAsLongAsItsClaims: what they must be can be another thing when the configuration is read again.
func TestATokenCountsAsLongAsItsClaims(t *testing.T) {
	t.Parallel()
	options := authn.JWTOptions{Issuer: issuer, Audience: audience, Keys: jwksFile(t)}
	p, err := authenticate(authn.New(authn.NewJWT(options)), token(map[string]any{"email": "alice@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*authn.JWTOptions)
		counts bool
	}{
		"as before":               {func(*authn.JWTOptions) {}, true},
		"more leeway":             {func(o *authn.JWTOptions) { o.Leeway = time.Minute }, true},
		"for somebody else":       {func(o *authn.JWTOptions) { o.Audience = "another" }, false},
		"another name":            {func(o *authn.JWTOptions) { o.NameClaim = "email" }, false},
		"a name it does not have": {func(o *authn.JWTOptions) { o.NameClaim = "login" }, false},
	} {
		now := options
		c.change(&now)
		wantStill(t, what, authn.New(authn.NewJWT(now)), p, c.counts)
	}
}

// TestWhoseWayInIsGoneCountsNoMore: the configuration may be read again without a method, or an issuer.
func TestWhoseWayInIsGoneCountsNoMore(t *testing.T) {
	t.Parallel()
	chain := authn.New(authn.NewEtcd(), authn.NewNone(false))
	for kind, counts := range map[authn.Kind]bool{authn.KindEtcd: true, authn.KindNone: true, authn.KindJWT: false, authn.KindMTLS: false} {
		wantStill(t, string(kind), chain, &authn.Principal{Kind: kind, Issuer: "https://other.example"}, counts)
	}
}

// TestACertificateCountsAsLongAsItsAuthority, on a connection that has been open since, too.
func TestACertificateCountsAsLongAsItsAuthority(t *testing.T) {
	t.Parallel()
	old, fresh := newAuthority(t), newAuthority(t)
	pool := func(authorities ...*authority) *x509.CertPool {
		p := x509.NewCertPool()
		for _, a := range authorities {
			p.AddCert(a.certificate)
		}
		return p
	}
	shown, _ := old.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "app"}})
	state, err := handshake(t, tls.RequireAndVerifyClientCert, pool(old), shown)
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[x509.CertPool]
	now.Store(pool(old))
	chain := authn.New(authn.NewMTLS(""))
	chain.Authorities(now.Load)
	ask := func() (*authn.Principal, error) {
		return chain.Authenticate(t.Context(), authn.Credentials{TLS: state})
	}
	p, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what   string
		trust  *x509.CertPool
		counts bool
	}{
		{"beside another authority", pool(old, fresh), true},
		{"without its authority", pool(fresh), false},
		{"without any", x509.NewCertPool(), false},
		{"with its authority again", pool(old), true},
	} {
		now.Store(step.trust)
		wantStill(t, step.what, chain, p, step.counts)
		again, err := ask()
		if step.counts && (err != nil || again.Name != "app") {
			t.Errorf("%s: got %+v, %v", step.what, again, err)
		} else if !step.counts {
			wantRefused(t, step.what, again, err, problem.AuthExpired)
		}
	}
	for name, proof := range map[string][]byte{"none": nil, "no certificate": []byte("x")} {
		wantStill(t, "a proof that is "+name, chain, &authn.Principal{Kind: authn.KindMTLS, Proof: proof}, false)
	}
}
