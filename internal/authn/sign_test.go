package authn_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// TestWhatIsSignedIsTaken: a generated key of each algorithm, through its JWK Set or as a secret.
func TestWhatIsSignedIsTaken(t *testing.T) {
	t.Parallel()
	for _, algorithm := range authn.AlgorithmNames() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			content, err := authn.GenerateKey(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			key, err := authn.ReadSigningKey(content, algorithm, "")
			if err != nil {
				t.Fatal(err)
			}
			var source authn.KeySource
			if strings.HasPrefix(algorithm, "HS") {
				if _, err := key.JWKS(); err == nil {
					t.Error("a secret was published")
				}
				source, err = authn.NewSecretKeys([]authn.FileKey{{Algorithm: algorithm, File: writeFile(t, "secret", string(content))}}, nil)
			} else {
				var set []byte
				if set, err = key.JWKS(); err != nil || strings.Contains(string(set), `"d"`) {
					t.Fatalf("got %s %v, want a set without private members", set, err)
				}
				source, err = authn.NewJWKSFile(writeFile(t, "jwks.json", string(set)), []string{algorithm}, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := key.Sign(claims(nil))
			if err != nil {
				t.Fatal(err)
			}
			if p, err := authenticate(method(source), text); err != nil || p.Name != "alice" {
				t.Errorf("got %+v %v, want alice", p, err)
			}
		})
	}
}

// TestThumbprint is the example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	n := decode64(t, "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5"+
		"n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0"+
		"fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	key := &rsa.PublicKey{N: new(big.Int).SetBytes([]byte(n)), E: 65537}
	if got, want := authn.Thumbprint(key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	signing, err := authn.ReadSigningKey(privatePEM(t, theKeys().ec), "", "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := signing.Sign(claims(nil))
	kid := authn.Thumbprint(theKeys().ec.Public())
	if want := b64(`{"alg":"ES256","kid":"` + kid + `","typ":"JWT"}`); err != nil || !strings.HasPrefix(text, want+".") {
		t.Errorf("got %s %v, want the thumbprint %s for a kid", text, err, kid)
	}
}

func privatePEM(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestSigningKeysOfEachForm(t *testing.T) {
	t.Parallel()
	k := theKeys()
	sec1, err := x509.MarshalECPrivateKey(k.ec384)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		block *pem.Block
		want  string // in the header
	}{
		"PKCS #1": {&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k.rsa)}, `{"alg":"RS256","kid":"k","typ":"JWT"}`},
		"SEC 1":   {&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}, `{"alg":"ES384","kid":"k","typ":"JWT"}`},
	} {
		key, err := authn.ReadSigningKey(pem.EncodeToMemory(c.block), "", "k")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := key.Sign(claims(nil))
		if err != nil || !strings.HasPrefix(text, b64(c.want)+".") {
			t.Errorf("%s: got %s %v, want the header %s", name, text, err, c.want)
		}
	}
	for name, content := range map[string]string{
		"a public key":   publicPEM(t, k.ec.Public()),
		"a short secret": "password",
		"nothing":        "",
		"a broken key":   "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n",
	} {
		if key, err := authn.ReadSigningKey([]byte(content), "", ""); err == nil {
			t.Errorf("%s: got %+v, want an error", name, key)
		}
	}
	if _, err := authn.ReadSigningKey(k.secret, "RS256", ""); err == nil {
		t.Error("RS256 with a secret: got a key, want an error")
	}
}
