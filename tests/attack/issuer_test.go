package attack_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuerName = "https://id.example"
	audience   = "etcdrest"
)

// issuer signs tokens and publishes its keys. It counts who asks for them, and who asks for anything else.
type issuer struct {
	*httptest.Server

	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
	// attacker is nobody's key that the gateway knows.
	attacker *ecdsa.PrivateKey
	// fetches count requests for the keys, strays those for any other path.
	fetches, strays atomic.Int64
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	i := new(issuer)
	var errs [3]error
	i.ec, errs[0] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.attacker, errs[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.rsa, errs[2] = rsa.GenerateKey(rand.Reader, 2048)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	set := i.jwks(t)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/jwks" {
			i.strays.Add(1)
			http.NotFound(w, r)
			return
		}
		i.fetches.Add(1)
		_, _ = w.Write(set)
	}))
	t.Cleanup(i.Close)
	return i
}

// jwks is what the issuer publishes.
func (i *issuer) jwks(t *testing.T) []byte {
	t.Helper()
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	raw := base64.RawURLEncoding.EncodeToString
	return []byte(toJSON(map[string]any{"keys": []map[string]string{
		{"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig", "x": raw(point[1:33]), "y": raw(point[33:])},
		{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": raw(i.rsa.N.Bytes()), "e": "AQAB"},
	}}))
}

// token is a good one for the subject, with changes to its claims; nil takes a claim out.
func (i *issuer) token(subject string, changes map[string]any) string {
	return forge("ES256", i.ec, `{"alg":"ES256","kid":"ec"}`, toJSON(claimsOf(subject, changes)))
}

func claimsOf(subject string, changes map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{"iss": issuerName, "aud": audience, "sub": subject, "iat": now, "exp": now + 3600}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// forge makes a token of texts: header and payload as they are, signed with the key as the algorithm says.
func forge(algorithm string, key any, header, payload string) string {
	signed := raw64(header) + "." + raw64(payload)
	signature, err := jwt.GetSigningMethod(algorithm).Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func raw64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func toJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}
