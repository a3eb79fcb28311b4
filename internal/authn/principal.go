// Package authn finds out who is calling.
package authn

import (
	"crypto/sha256"
	"crypto/tls"
	"net/netip"
	"time"
)

// Kind is the method by which somebody is known.
type Kind string

// The methods.
const (
	KindJWT  Kind = "jwt"
	KindMTLS Kind = "mtls"
	KindEtcd Kind = "etcd"
	KindNone Kind = "none"
)

// Principal is who is calling, as one method knows it. It is immutable and shared.
type Principal struct {
	Kind Kind
	// Name is the name claim of a JWT, the CN or SAN of a certificate, or the name of a user of etcd; empty for a token of
	// etcd that the caller brought, and for nobody.
	Name string
	// Issuer is that of a JWT.
	Issuer string
	// Claims are those of a JWT, numbers as json.Number; nil otherwise.
	Claims map[string]any
	// Expires is when the credential stops to count; zero for never.
	Expires time.Time
	// Digest is the SHA-256 of the credential, by which caches know it.
	Digest [sha256.Size]byte
	// User and Password are to be shown to etcd, when the caller gave them for that.
	User, Password string
	// Token is a token of etcd's that the caller brought, to be shown to etcd as it is.
	Token string
}

// Credentials are what a caller shows, whichever way it came.
type Credentials struct {
	// Authorization is the value of the header of that name, or what stands for it.
	Authorization string
	// TLS is the connection's; nil for a plain one.
	TLS *tls.ConnectionState
	// Remote is where the connection comes from.
	Remote netip.Addr
}
