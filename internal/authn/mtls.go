package authn

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

// CertificateName is the part of a certificate that names its owner.
type CertificateName string

// The parts, as the configuration spells them. Of the last three a certificate must have exactly one.
const (
	NameCN    CertificateName = "cn"
	NameDNS   CertificateName = "dns"
	NameURI   CertificateName = "uri"
	NameEmail CertificateName = "email"
)

// MTLS is the method of client certificates. The TLS listener verifies them; here the owner's name is read.
type MTLS struct {
	name  CertificateName
	known *cache
	// authorities are those that count now; nil: those that the listener had when it verified.
	authorities func() *x509.CertPool
}

// NewMTLS makes the method; an empty name means the CN.
func NewMTLS(name CertificateName) *MTLS {
	if name == "" {
		name = NameCN
	}
	return &MTLS{name: name, known: newCache()}
}

// Kind is KindMTLS.
func (*MTLS) Kind() Kind { return KindMTLS }

// Challenge is none: HTTP has no way to ask for a certificate.
func (*MTLS) Challenge() string { return "" }

// Authenticate takes connections on which a certificate was shown. One that the listener has not verified is an error, as is
// one that has expired since the connection was made, or whose authority has been withdrawn since.
func (m *MTLS) Authenticate(_ context.Context, c Credentials) (*Principal, error) {
	if c.TLS == nil || len(c.TLS.PeerCertificates) == 0 {
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
	if len(c.TLS.VerifiedChains) == 0 {
		return nil, refuse("the client certificate is not verified", "the operator of the gateway must name the authorities of client certificates", nil)
	}
	leaf := c.TLS.VerifiedChains[0][0]
	id := sha256.Sum256(leaf.Raw)
	now := time.Now()
	trust := m.trust()
	if p := m.known.get(id, trust, now); p != nil {
		return p, nil
	}
	chains, err := m.chains(c.TLS.VerifiedChains, now)
	if err != nil {
		return nil, err
	}
	name, err := m.owner(leaf)
	if err != nil {
		return nil, refuse("the client certificate's "+err.Error(), "use a certificate that names its owner where this gateway looks: "+string(m.name), nil)
	}
	expires := validUntil(chains)
	if !now.Before(expires) {
		return nil, expired("the client certificate has expired", "connect again with a new one")
	}
	p := &Principal{Kind: KindMTLS, Name: name, Expires: expires, Digest: id, Proof: proofOf(chains[0])}
	m.known.put(p, trust, len(p.Proof))
	return p, nil
}

func (m *MTLS) trust() any {
	if m.authorities == nil {
		return nil
	}
	return m.authorities()
}

// chains are the ways from a certificate to authorities that count now. The listener may have verified it by others, on a
// connection that has been open since.
func (m *MTLS) chains(verified [][]*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	if m.authorities == nil {
		return verified, nil
	}
	between := x509.NewCertPool()
	for _, chain := range verified {
		for _, certificate := range chain[1:] {
			between.AddCert(certificate)
		}
	}
	chains, err := verified[0][0].Verify(x509.VerifyOptions{
		Roots: m.authorities(), Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, expired("the client certificate has expired, or its authority is none of this gateway's any more", "connect again with a new one").Because(err)
	}
	return chains, nil
}

// vouches for certificates of authorities that count now.
func (m *MTLS) vouches(p *Principal) (mine bool, err error) {
	if p.Kind != KindMTLS {
		return false, nil
	}
	chain, err := x509.ParseCertificates(p.Proof)
	if err != nil || len(chain) == 0 {
		return true, expired("the client certificate cannot be verified any more", "connect again")
	}
	_, err = m.chains([][]*x509.Certificate{chain}, time.Now())
	return true, err
}

// proofOf is a certificate with its chain.
func proofOf(chain []*x509.Certificate) (der []byte) {
	for _, certificate := range chain {
		der = append(der, certificate.Raw...)
	}
	return der
}

// owner reads the name of the certificate's owner.
func (m *MTLS) owner(leaf *x509.Certificate) (string, error) {
	var names []string
	switch m.name {
	case NameDNS:
		names = leaf.DNSNames
	case NameEmail:
		names = leaf.EmailAddresses
	case NameURI:
		for _, u := range leaf.URIs {
			names = append(names, u.String())
		}
	default:
		names = []string{leaf.Subject.CommonName}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("subject has %d alternative names of the type %s; one is needed", len(names), m.name)
	}
	if fault := nameFault(names[0]); fault != "" {
		return "", fmt.Errorf("%s %s", m.name, fault)
	}
	return names[0], nil
}

// validUntil is when the last of the chains stops to hold.
func validUntil(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, certificate := range chain {
			if certificate.NotAfter.Before(end) {
				end = certificate.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}
