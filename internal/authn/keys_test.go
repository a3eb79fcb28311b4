package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// TestWhatIsNoKey: what a JWK says of itself must agree, and what proves nothing is no key (RFC 8725, section 3.5).
func TestWhatIsNoKey(t *testing.T) {
	t.Parallel()
	k := theKeys()
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // that it is weak is the point
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, ec, ed := authn.JWKOf(k.rsa.Public()), authn.JWKOf(k.ec.Public()), authn.JWKOf(k.ed.Public())
	with := func(base, changes map[string]any) map[string]any {
		all := maps.Clone(base)
		maps.Copy(all, changes)
		maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
		return all
	}
	type m = map[string]any
	for _, good := range []struct {
		jwk       m
		algorithm string
	}{
		{rsaKey, "RS256"},
		{rsaKey, "PS512"},
		{ec, "ES256"},
		{ed, "EdDSA"},
		{with(ec, m{"use": "sig", "key_ops": []any{"verify"}, "alg": "ES256", "kid": "a"}), "ES256"},
	} {
		if _, err := authn.Fits(good.jwk, good.algorithm); err != nil {
			t.Errorf("%v for %s: got %v, want a key", good.jwk, good.algorithm, err)
		}
	}
	for name, bad := range map[string]struct {
		jwk       m
		algorithm string
	}{
		"for encryption":                 {with(ec, m{"use": "enc"}), "ES256"},
		"for signing only":               {with(ec, m{"key_ops": []any{"sign"}}), "ES256"},
		"for nothing":                    {with(ec, m{"key_ops": []any{}}), "ES256"},
		"private":                        {with(ec, m{"d": "AAAA"}), "ES256"},
		"of an algorithm not listed":     {with(rsaKey, m{"alg": "RS512"}), "RS256"},
		"alg of another type":            {with(ec, m{"alg": "RS256"}), "RS256"},
		"alg none":                       {with(ec, m{"alg": "none"}), "none"},
		"HMAC with an RSA key":           {with(rsaKey, m{"alg": "HS256"}), "HS256"},
		"another curve than it says":     {with(ec, m{"crv": "P-384"}), "ES384"},
		"a curve without algorithm":      {with(ec, m{"crv": "secp256k1"}), "ES256"},
		"no curve":                       {with(ec, m{"crv": nil}), "ES256"},
		"Ed25519 said to be EC":          {with(ed, m{"kty": "EC"}), "EdDSA"},
		"X25519":                         {with(ed, m{"crv": "X25519"}), "EdDSA"},
		"a point beside the curve":       {with(ec, m{"y": ec["x"]}), "ES256"},
		"a point of zeroes":              {with(ec, m{"x": b64(strings.Repeat("\x00", 32)), "y": b64(strings.Repeat("\x00", 32))}), "ES256"},
		"a short coordinate":             {with(ec, m{"x": b64("x")}), "ES256"},
		"a byte from y in x":             {with(ec, m{"x": b64(decode64(t, ec["x"]) + decode64(t, ec["y"])[:1]), "y": b64(decode64(t, ec["y"])[1:])}), "ES256"},
		"x missing":                      {with(ec, m{"x": nil}), "ES256"},
		"x is a number":                  {with(ec, m{"x": 1}), "ES256"},
		"padded":                         {with(ed, m{"x": ed["x"].(string) + "="}), "EdDSA"},
		"31 bytes":                       {with(ed, m{"x": b64(strings.Repeat("x", 31))}), "EdDSA"},
		"Ed25519 of order 1":             {with(ed, m{"x": b64("\x01" + strings.Repeat("\x00", 31))}), "EdDSA"},
		"Ed25519 of order 4":             {with(ed, m{"x": b64(strings.Repeat("\x00", 32))}), "EdDSA"},
		"Ed25519 of order 4, other sign": {with(ed, m{"x": b64(strings.Repeat("\x00", 31) + "\x80")}), "EdDSA"},
		"Ed25519 of order 2":             {with(ed, m{"x": b64("\xec" + strings.Repeat("\xff", 30) + "\x7f")}), "EdDSA"},
		"Ed25519 of order 8":             {with(ed, m{"x": b64(string(unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")))}), "EdDSA"},
		"RSA of 1024 bits":               {authn.JWKOf(small.Public()), "RS256"},
		"RSA of 16384 bits":              {with(rsaKey, m{"n": b64(strings.Repeat("\xff", 2048))}), "RS256"},
		"RSA with e = 1":                 {with(rsaKey, m{"e": b64("\x01")}), "RS256"},
		"RSA with e = 2":                 {with(rsaKey, m{"e": b64("\x02")}), "RS256"},
		"RSA with a huge e":              {with(rsaKey, m{"e": b64("\xff\xff\xff\xff")}), "RS256"},
		"RSA with e of nine bytes":       {with(rsaKey, m{"e": b64("\x01\x00\x00\x00\x00\x00\x00\x00\x01")}), "RS256"},
		"RSA with an even modulus":       {with(rsaKey, m{"n": b64(strings.Repeat("\xfe", 256))}), "RS256"},
		"no type":                        {with(ec, m{"kty": nil}), "ES256"},
		"kid is a number":                {with(ec, m{"kid": 1}), "ES256"},
		"kid with a line break":          {with(ec, m{"kid": "a\nb"}), "ES256"},
		"key_ops is a string":            {with(ec, m{"key_ops": "verify"}), "ES256"},
		"P-224":                          {with(authn.JWKOf(p224.Public()), m{"crv": "P-224"}), "ES256"},
		"nothing":                        {m{}, "ES256"},
	} {
		if key, err := authn.Fits(bad.jwk, bad.algorithm); err == nil {
			t.Errorf("%s: got %+v, want no key", name, key)
		}
	}
	for algorithm, least := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		if _, err := authn.Secret(algorithm, make([]byte, least)); err != nil {
			t.Errorf("%s with %d bytes: %v", algorithm, least, err)
		}
		if _, err := authn.Secret(algorithm, make([]byte, least-1)); err == nil {
			t.Errorf("%s with %d bytes: got a key, want none", algorithm, least-1)
		}
	}
}

// TestAKeyWithoutAlgGetsOne: the first of the configured ones that fits, and no other (RFC 8725, section 3.1).
func TestAKeyWithoutAlgGetsOne(t *testing.T) {
	t.Parallel()
	k := theKeys()
	members := authn.JWKOf(k.rsa.Public())
	source, err := authn.NewJWKSFile(writeFile(t, "jwks.json", setOf(members)), []string{"ES256", "PS256", "RS256"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := method(source)
	// The key has no kid either, so it is for tokens of any.
	if _, err := authenticate(m, forge("PS256", k.rsa, `{"alg":"PS256","kid":"any"}`, toJSON(claims(nil)))); err != nil {
		t.Errorf("PS256: got %v, want it taken", err)
	}
	p, err := authenticate(m, forge("RS256", k.rsa, `{"alg":"RS256"}`, toJSON(claims(nil))))
	wantRefused(t, "RS256", p, err, problem.Unauthenticated)
}

// TestATokenWithoutKidMustLeaveNoChoice of the key.
func TestATokenWithoutKidMustLeaveNoChoice(t *testing.T) {
	t.Parallel()
	k := theKeys()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := setOf(jwkOf(k.ec.Public(), "a", "ES256"), jwkOf(other.Public(), "b", "ES256"))
	source, err := authn.NewJWKSFile(writeFile(t, "jwks.json", set), []string{"ES256"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*ecdsa.PrivateKey{"first": k.ec, "second": other} {
		p, err := authenticate(method(source), forge("ES256", key, `{"alg":"ES256"}`, toJSON(claims(nil))))
		wantRefused(t, "no kid, signed with the "+name+" of two keys", p, err, problem.Unauthenticated)
	}
	if _, err := authenticate(method(source), forge("ES256", k.ec, `{"alg":"ES256","kid":"a"}`, toJSON(claims(nil)))); err != nil {
		t.Errorf("with its kid: got %v, want it taken", err)
	}
}

// TestSetsThatAreRefused as a whole.
func TestSetsThatAreRefused(t *testing.T) {
	t.Parallel()
	k := theKeys()
	ec := jwkOf(k.ec.Public(), "a", "ES256")
	var many []map[string]any
	for i := range 65 {
		many = append(many, jwkOf(k.ec.Public(), fmt.Sprint(i), "ES256"))
	}
	for name, set := range map[string]string{
		"a kid twice":         setOf(ec, jwkOf(k.ed.Public(), "a", "EdDSA")),
		"a secret among keys": setOf(ec, map[string]any{"kty": "oct", "k": "AAAA"}),
		"65 keys":             setOf(many...),
		"no keys":             setOf(),
		"no usable key":       setOf(jwkOf(k.rsa.Public(), "a", "RS256")),
		"keys is an object":   `{"keys":{}}`,
		"no set":              toJSON(ec),
		"a member twice":      `{"keys":[{"kty":"EC","kty":"EC"}]}`,
		"more than 1 MiB":     goodSet() + strings.Repeat(" ", 1<<20),
		"nothing":             "",
	} {
		if _, err := authn.NewJWKSFile(writeFile(t, "jwks.json", set), []string{"ES256", "EdDSA"}, nil); err == nil {
			t.Errorf("%s: got keys, want an error", name)
		}
	}
	// What is not for signing, or not understood, is left out.
	set := setOf(ec, map[string]any{"kty": "X"}, map[string]any{"kty": 1}, jwkOf(k.rsa.Public(), "b", "RSA-OAEP"))
	if _, err := authn.NewJWKSFile(writeFile(t, "jwks.json", set), []string{"ES256"}, nil); err != nil {
		t.Errorf("one key among others: got %v, want it taken", err)
	}
}

func decode64(t *testing.T, text any) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text.(string))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
