package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is one way to sign, of those in RFC 7518 and RFC 8037 that are asked for in practice.
type algorithm struct {
	name   string
	method jwt.SigningMethod
	// kty and crv are what a JWK of such a key says.
	kty, crv string
	// minSecret is the least length of an HMAC secret in bytes (RFC 7518, section 3.2).
	minSecret int
}

// algorithms is the closed set. `none` is not in it.
func algorithms() map[string]algorithm {
	all := make(map[string]algorithm)
	for _, a := range []algorithm{
		{name: "RS256", kty: "RSA", method: jwt.SigningMethodRS256},
		{name: "RS384", kty: "RSA", method: jwt.SigningMethodRS384},
		{name: "RS512", kty: "RSA", method: jwt.SigningMethodRS512},
		{name: "PS256", kty: "RSA", method: strictPSS(jwt.SigningMethodPS256)},
		{name: "PS384", kty: "RSA", method: strictPSS(jwt.SigningMethodPS384)},
		{name: "PS512", kty: "RSA", method: strictPSS(jwt.SigningMethodPS512)},
		{name: "ES256", kty: "EC", crv: "P-256", method: jwt.SigningMethodES256},
		{name: "ES384", kty: "EC", crv: "P-384", method: jwt.SigningMethodES384},
		{name: "ES512", kty: "EC", crv: "P-521", method: jwt.SigningMethodES512},
		{name: "EdDSA", kty: "OKP", crv: "Ed25519", method: jwt.SigningMethodEdDSA},
		{name: "HS256", kty: "oct", minSecret: 32, method: jwt.SigningMethodHS256},
		{name: "HS384", kty: "oct", minSecret: 48, method: jwt.SigningMethodHS384},
		{name: "HS512", kty: "oct", minSecret: 64, method: jwt.SigningMethodHS512},
	} {
		all[a.name] = a
	}
	return all
}

// strictPSS demands a salt as long as the hash (RFC 7518, section 3.5); the library takes any length.
func strictPSS(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: m.Options}
}

// AlgorithmNames lists the algorithms that there are, in the order of their names.
func AlgorithmNames() []string { return slices.Sorted(maps.Keys(algorithms())) }

// algorithmNamed finds an algorithm; the error says what there is.
func algorithmNamed(name string) (algorithm, error) {
	a, ok := algorithms()[name]
	if ok {
		return a, nil
	}
	if name == "" {
		return a, fmt.Errorf("no algorithm is named; use one of %s", strings.Join(AlgorithmNames(), ", "))
	}
	return a, fmt.Errorf("%q is not one of %s", name, strings.Join(AlgorithmNames(), ", "))
}

// The bounds of RSA keys: below the one they are weak, above the other each check takes milliseconds.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// fits says why a key cannot be used with the algorithm; nil when it can.
func (a algorithm) fits(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if a.kty != "RSA" {
			return fmt.Errorf("an RSA key is not for %s", a.name)
		}
		return fitRSA(key)
	case *ecdsa.PublicKey:
		if curve := key.Curve.Params().Name; a.crv != curve {
			return fmt.Errorf("a key on the curve %s is not for %s", curve, a.name)
		}
		return nil
	case ed25519.PublicKey:
		if a.crv != "Ed25519" {
			return fmt.Errorf("an Ed25519 key is not for %s", a.name)
		}
		return fitEd25519(key)
	case []byte:
		if a.kty != "oct" {
			return fmt.Errorf("a secret is not for %s", a.name)
		}
		if len(key) < a.minSecret {
			return fmt.Errorf("a secret of %d bytes is too short for %s; use %d or more random bytes", len(key), a.name, a.minSecret)
		}
		return nil
	default:
		return errors.New("a key of this type cannot be used; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519")
	}
}

func fitRSA(key *rsa.PublicKey) error {
	switch bits := key.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("an RSA key of %d bits is too weak; use %d or more", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("an RSA key of %d bits is too slow to check; use at most %d", bits, maxRSABits)
	case key.E < 3 || key.E%2 == 0:
		return fmt.Errorf("the RSA exponent %d proves nothing; use 65537", key.E)
	case key.N.Bit(0) == 0:
		return errors.New("the RSA modulus is even")
	case isROCA(key.N):
		return errors.New("the RSA key comes from a chip whose keys can be factored (ROCA, CVE-2017-15361); make a new one elsewhere")
	}
	return nil
}
