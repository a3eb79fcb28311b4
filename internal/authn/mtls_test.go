package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// authority signs certificates of clients.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	var pair tls.Certificate
	pair, a.certificate = a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue signs a certificate; an authority without one signs its own.
func (a *authority) issue(t *testing.T, template *x509.Certificate) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	parent, signer := template, key
	if a.certificate != nil {
		parent, signer = a.certificate, a.key
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certificate
}

// handshake is what a real listener knows of a connection on which the certificates are shown.
func handshake(t *testing.T, ask tls.ClientAuthType, pool *x509.CertPool, shown ...tls.Certificate) (*tls.ConnectionState, error) {
	t.Helper()
	var state *tls.ConnectionState
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { state = r.TLS }))
	server.TLS = &tls.Config{ClientAuth: ask, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = shown
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	return state, nil
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	spiffe, err := url.Parse("spiffe://example/app")
	if err != nil {
		t.Fatal(err)
	}
	full, leaf := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "app"}, DNSNames: []string{"app.example"}, URIs: []*url.URL{spiffe}, EmailAddresses: []string{"app@example"},
	})
	state, err := handshake(t, tls.VerifyClientCertIfGiven, pool, full)
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[authn.CertificateName]string{
		"": "app", authn.NameCN: "app", authn.NameDNS: "app.example", authn.NameURI: "spiffe://example/app", authn.NameEmail: "app@example",
	} {
		chain := authn.New(authn.NewMTLS(part))
		p, err := chain.Authenticate(t.Context(), authn.Credentials{TLS: state})
		if err != nil || p.Kind != authn.KindMTLS || p.Name != want || !p.Expires.Equal(leaf.NotAfter) || p.Digest == [32]byte{} {
			t.Errorf("%q: got %+v %v, want %s until %v", part, p, err, want, leaf.NotAfter)
			continue
		}
		if again, err := chain.Authenticate(t.Context(), authn.Credentials{TLS: state}); again != p {
			t.Errorf("%q, again: got %+v %v, want the same principal", part, again, err)
		}
	}

	several, _ := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "evil\n"}, DNSNames: []string{"a", "b"}})
	if state, err = handshake(t, tls.VerifyClientCertIfGiven, pool, several); err != nil {
		t.Fatal(err)
	}
	for _, part := range []authn.CertificateName{authn.NameCN, authn.NameDNS, authn.NameURI, authn.NameEmail} {
		p, err := authn.New(authn.NewMTLS(part)).Authenticate(t.Context(), authn.Credentials{TLS: state})
		wantRefused(t, "a bad name: "+string(part), p, err, problem.Unauthenticated)
	}
}

// TestACertificateCountsOnlyWhenTheListenerHasVerifiedIt: it is not enough to show one.
func TestACertificateCountsOnlyWhenTheListenerHasVerifiedIt(t *testing.T) {
	t.Parallel()
	stranger, _ := newAuthority(t).issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "app"}})
	chain := authn.New(authn.NewMTLS(""), authn.NewNone(true))
	state, err := handshake(t, tls.RequestClientCert, nil, stranger)
	if err != nil {
		t.Fatal(err)
	}
	p, err := chain.Authenticate(t.Context(), authn.Credentials{TLS: state})
	wantRefused(t, "an unverified certificate", p, err, problem.Unauthenticated)
	if _, err := handshake(t, tls.VerifyClientCertIfGiven, x509.NewCertPool(), stranger); err == nil {
		t.Error("a stranger's certificate: got a connection, want none")
	}
	if state, err = handshake(t, tls.VerifyClientCertIfGiven, x509.NewCertPool()); err != nil {
		t.Fatal(err)
	}
	if p, err = chain.Authenticate(t.Context(), authn.Credentials{TLS: state}); err != nil || p.Kind != authn.KindNone {
		t.Errorf("no certificate: got %+v %v, want none", p, err)
	}
	p, err = authn.New(authn.NewMTLS("")).Authenticate(t.Context(), authn.Credentials{})
	wantRefused(t, "no TLS", p, err, problem.Unauthenticated)
}

// TestACertificateExpiresOnAnOpenConnection: with the end of its chain, whichever certificate that is.
func TestACertificateExpiresOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		_, leaf := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(3 * time.Hour)})
		_, longer := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "other way"}, NotAfter: time.Now().Add(2 * time.Hour)})
		c := authn.Credentials{TLS: &tls.ConnectionState{
			PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, a.certificate}, {leaf, longer}},
		}}
		chain := authn.New(authn.NewMTLS(""))
		p, err := chain.Authenticate(t.Context(), c)
		if err != nil || !p.Expires.Equal(longer.NotAfter) {
			t.Fatalf("got %+v %v, want it to count until %v", p, err, longer.NotAfter)
		}
		pass(2*time.Hour - time.Second)
		if _, err := chain.Authenticate(t.Context(), c); err != nil {
			t.Errorf("a second before: %v", err)
		}
		pass(2 * time.Second)
		p, err = chain.Authenticate(t.Context(), c)
		wantRefused(t, "a second after", p, err, problem.AuthExpired)
	})
}
