package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// What the tokens of the tests are for.
const (
	issuer   = "https://id.example"
	audience = "etcdrest"
)

// keys are the issuer's and the attacker's private keys; made once, since RSA keys take a while.
type keys struct {
	rsa, attacker *rsa.PrivateKey
	ec            *ecdsa.PrivateKey
	ec384         *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
	secret        []byte
}

var theKeys = sync.OnceValue(func() keys {
	var k keys
	var errs [5]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.attacker, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ec384, errs[3] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, k.ed, errs[4] = ed25519.GenerateKey(rand.Reader)
	k.secret = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	if err := errors.Join(errs[:]...); err != nil {
		panic(err)
	}
	return k
})

// jwkOf is a member of a JWK Set.
func jwkOf(public crypto.PublicKey, kid, alg string) map[string]any {
	members := authn.JWKOf(public)
	maps.Copy(members, map[string]any{"kid": kid, "alg": alg, "use": "sig"})
	return members
}

// goodSet is the issuer's JWK Set.
func goodSet() string {
	k := theKeys()
	return setOf(jwkOf(k.rsa.Public(), "rsa", "RS256"), jwkOf(k.ec.Public(), "ec", "ES256"), jwkOf(k.ed.Public(), "ed", "EdDSA"))
}

func setOf(members ...map[string]any) string { return toJSON(map[string]any{"keys": members}) }

func toJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jwksFile is the issuer's JWK Set in a file.
func jwksFile(t testing.TB) authn.KeySource {
	t.Helper()
	source, err := authn.NewJWKSFile(writeFile(t, "jwks.json", goodSet()), []string{"RS256", "ES256", "EdDSA"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// method is a jwt method with these keys, without leeway.
func method(source authn.KeySource) *authn.JWT {
	return authn.NewJWT(authn.JWTOptions{Issuer: issuer, Audience: audience, Keys: source})
}

// claims are good ones, with changes; a nil value takes a claim out.
func claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "exp": now + 3600, "iat": now, "org": "hush-hush"}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// forge makes a token of texts: header and payload as they are, signed with the key as the algorithm says.
func forge(algorithm string, key any, header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	signature, err := jwt.GetSigningMethod(algorithm).Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// token is signed with the issuer's P-256 key.
func token(changes map[string]any) string {
	return forge("ES256", theKeys().ec, `{"alg":"ES256","kid":"ec"}`, toJSON(claims(changes)))
}

func authenticate(m interface {
	Authenticate(context.Context, authn.Credentials) (*authn.Principal, error)
}, text string,
) (*authn.Principal, error) {
	return m.Authenticate(context.Background(), authn.Credentials{Authorization: "Bearer " + text}) //nolint:forbidigo // forged tokens need no patience
}

// wantRefused demands a 401 that helps the caller, and tells nothing of what was shown.
func wantRefused(t *testing.T, what string, p *authn.Principal, err error, code problem.Code) {
	t.Helper()
	fault, ok := errors.AsType[*problem.Error](err)
	if p != nil || !ok || fault.Code != code {
		t.Errorf("%s: got %+v, %v; want %s", what, p, err, code)
		return
	}
	if code.Info().Status != 401 || fault.Detail == "" || fault.Hint == "" {
		t.Errorf("%s: got status %d, detail %q, hint %q; want 401 with both", what, code.Info().Status, fault.Detail, fault.Hint)
	}
	for _, secret := range []string{"alice", "hush", "evil", "eyJ", "127.0.0.1"} {
		if strings.Contains(fault.Detail+fault.Hint, secret) {
			t.Errorf("%s: the answer tells %q: %s %s", what, secret, fault.Detail, fault.Hint)
		}
	}
}

func publicPEM(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// otherPEM is the public key of somebody else.
func otherPEM(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return publicPEM(t, k.Public())
}
