package authn_test

import (
	"crypto/x509"
	"encoding/pem"
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
