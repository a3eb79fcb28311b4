package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// SigningKey is a private key, or a secret, that test tokens are signed with. The gateway itself signs nothing.
type SigningKey struct {
	public   Key
	material any // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey or []byte
}

// ReadSigningKey reads the content of a file: a private key (PEM: PKCS #8, PKCS #1 or SEC 1), or else a secret. An empty
// algorithm means the usual one for the key: RS256, ES256, ES384, ES512, EdDSA or HS256. An empty kid means the key's
// thumbprint (RFC 7638), as in the JWK Set of GenerateKey, and none for a secret.
func ReadSigningKey(content []byte, algorithmName, kid string) (*SigningKey, error) {
	material, err := parsePrivate(content)
	if err != nil {
		return nil, err
	}
	var public crypto.PublicKey = material
	if signer, ok := material.(crypto.Signer); ok {
		public = signer.Public()
	}
	if algorithmName == "" {
		algorithmName = usualAlgorithm(public)
	}
	if kid == "" {
		kid = thumbprint(public)
	}
	k, err := newKey(kid, algorithmName, public)
	if err != nil {
		return nil, err
	}
	return &SigningKey{*k, material}, nil
}

// parsePrivate gives a private key, or the content as a secret.
func parsePrivate(content []byte) (any, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return trimLine(content), nil
	}
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it holds a PEM block of the type %q; a private key begins with -----BEGIN PRIVATE KEY-----", block.Type)
	}
}

func usualAlgorithm(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		return map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Curve.Params().Name]
	case ed25519.PublicKey:
		return "EdDSA"
	default:
		return "HS256"
	}
}

// Sign makes a token of the claims.
func (k *SigningKey) Sign(claims map[string]any) (string, error) {
	t := jwt.NewWithClaims(k.public.algorithm.method, jwt.MapClaims(claims))
	if k.public.id != "" {
		t.Header["kid"] = k.public.id
	}
	return t.SignedString(k.material)
}

// JWKS is the JWK Set with the public key, for an issuer to publish or for jwks_file.
func (k *SigningKey) JWKS() ([]byte, error) {
	members := publicMembers(k.public.material)
	if members == nil {
		return nil, errors.New("a secret is never published")
	}
	members["kid"], members["alg"], members["use"] = k.public.id, k.public.algorithm.name, "sig"
	return json.MarshalIndent(map[string]any{"keys": []any{members}}, "", "  ")
}

// GenerateKey makes a private key for an algorithm, as PEM (PKCS #8), or a secret in base64url.
func GenerateKey(algorithmName string) ([]byte, error) {
	a, err := algorithmNamed(algorithmName)
	if err != nil {
		return nil, err
	}
	var key any
	switch a.kty {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	case "EC":
		key, err = ecdsa.GenerateKey(curves()[a.crv], rand.Reader)
	case "OKP":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		secret := make([]byte, a.minSecret)
		_, err := rand.Read(secret)
		return append(base64.RawURLEncoding.AppendEncode(nil, secret), '\n'), err
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// curves are those of the JWA algorithms, by their names in a JWK.
func curves() map[string]elliptic.Curve {
	return map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
}

// publicMembers are the members of a JWK that are the key itself; nil for a secret.
func publicMembers(public crypto.PublicKey) map[string]any {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return nil
		}
		size := (len(point) - 1) / 2
		return map[string]any{
			"kty": "EC", "crv": key.Curve.Params().Name, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:]),
		}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encode(key)}
	default:
		return nil
	}
}

// thumbprint is the name that a public key gives itself (RFC 7638): the hash of its members in the order of their names,
// which is the one that encoding/json writes. A secret has none.
func thumbprint(public crypto.PublicKey) string {
	members := publicMembers(public)
	if members == nil {
		return ""
	}
	text, err := json.Marshal(members)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
