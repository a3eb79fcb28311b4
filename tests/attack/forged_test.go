package attack_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// TestForgedTokensOpenNothing shows tokens end to end that another than the issuer has made, or made for another purpose, while
// a good tenant goes on. Whatever they point to is never asked.
func TestForgedTokensOpenNothing(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	good := s.tenant(alice)
	fetches := s.issuer.fetches.Load()
	for name, token := range forgeries(t, s) {
		for _, form := range []string{"Bearer ", "bearer ", ""} {
			a := ask(t, s.gateway.API, "GET", "/v1/kv/k", "", "Authorization: "+form+token)
			want := 401
			if len(token) > 96<<10 {
				want = 431
			}
			if a.status != want || strings.Contains(a.body, "eyJ") || strings.Contains(a.body, s.issuer.URL) {
				t.Errorf("%s: got %d %s; want %d and nothing of the token", name, a.status, a.body, want)
			}
			good.do(t, "GET", "/v1/kv?limit=1", "").want(t, "a good tenant beside "+name, 200)
		}
	}
	if n := s.issuer.fetches.Load() - fetches; n > 1 {
		t.Errorf("the keys were fetched %d times meanwhile; want at most once in 30 s", n)
	}
	if n := s.issuer.strays.Load(); n != 0 {
		t.Errorf("%d requests went where the tokens point", n)
	}
}

// forgeries are tokens that must not be taken. How each part of a token is read is tested where that is done; these go through
// the whole gateway.
func forgeries(t *testing.T, s *site) map[string]string {
	t.Helper()
	i := s.issuer
	payload := toJSON(claimsOf(op, nil))
	der, err := x509.MarshalPKIXPublicKey(i.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	attacked := func(header string) string { return forge("ES256", i.attacker, header, payload) }
	header := func(header string) string { return forge("ES256", i.ec, header, payload) }
	parts := strings.Split(i.token(op, nil), ".")
	all := map[string]string{
		"the public key as a secret":     forge("HS256", public, `{"alg":"HS256","kid":"rsa"}`, payload),
		"the key set as a secret":        forge("HS256", i.jwks(t), `{"alg":"HS256"}`, payload),
		"an empty secret":                forge("HS256", []byte{}, `{"alg":"HS256","kid":"ec"}`, payload),
		"another algorithm of the key":   forge("PS256", i.rsa, `{"alg":"PS256","kid":"rsa"}`, payload),
		"another key's kid":              forge("RS256", i.rsa, `{"alg":"RS256","kid":"ec"}`, payload),
		"a signature of zeroes":          parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"claims changed":                 parts[0] + "." + raw64(toJSON(claimsOf("alice", nil))) + "." + parts[2],
		"a padded signature":             parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"five parts":                     strings.Join(parts, ".") + ".AAAA.AAAA",
		"JSON serialisation":             `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"jku":                            attacked(`{"alg":"ES256","kid":"ec","jku":"` + i.URL + `/stray"}`),
		"jku with an unknown kid":        attacked(`{"alg":"ES256","kid":"new","jku":"` + i.URL + `/stray"}`),
		"x5u":                            attacked(`{"alg":"ES256","kid":"ec","x5u":"` + i.URL + `/stray"}`),
		"a jwk of its own":               attacked(`{"alg":"ES256","kid":"ec","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`),
		"kid is a file":                  attacked(`{"alg":"ES256","kid":"../../../../dev/null"}`),
		"kid is an address":              attacked(`{"alg":"ES256","kid":"` + i.URL + `/stray"}`),
		"kid is SQL":                     attacked(`{"alg":"ES256","kid":"ec' UNION SELECT 'x"}`),
		"kid ends with NUL":              header(`{"alg":"ES256","kid":"ec\u0000"}`),
		"a huge kid":                     header(`{"alg":"ES256","kid":"` + strings.Repeat("k", 5000) + `"}`),
		"crit":                           header(`{"alg":"ES256","kid":"ec","crit":["exp"]}`),
		"b64 false":                      header(`{"alg":"ES256","kid":"ec","b64":false}`),
		"zip":                            header(`{"alg":"ES256","kid":"ec","zip":"DEF"}`),
		"typ of a logout token":          header(`{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`),
		"alg twice":                      header(`{"alg":"none","kid":"ec","alg":"ES256"}`),
		"sub twice":                      forge("ES256", i.ec, `{"alg":"ES256","kid":"ec"}`, strings.TrimSuffix(payload, "}")+`,"sub":"alice"}`),
		"a token in a token":             forge("ES256", i.ec, `{"alg":"ES256","kid":"ec","cty":"JWT"}`, i.token(op, nil)),
		"more than eight kilobytes":      i.token(op, map[string]any{"x": strings.Repeat("x", 8<<10)}),
		"a hundred kilobytes of dots":    strings.Repeat(".", 100<<10),
		"ninety kilobytes of brackets":   forge("ES256", i.ec, `{"alg":"ES256","kid":"ec"}`, strings.Repeat("[", 60<<10)),
		"a name with a NUL":              i.token("op\x00", nil),
		"a name that turns round":        i.token("\u202epo", nil),
		"another issuer's":               i.token(op, map[string]any{"iss": issuerName + "/"}),
		"a list of audiences, not ours":  i.token(op, map[string]any{"aud": []string{"a", "b"}}),
		"a time before which not":        i.token(op, map[string]any{"nbf": time.Now().Unix() + 600}),
		"issued in the future":           i.token(op, map[string]any{"iat": time.Now().Unix() + 600}),
		"a time of infinity":             forge("ES256", i.ec, `{"alg":"ES256","kid":"ec"}`, strings.Replace(payload, `"exp":`, `"exp":1e300,"x":`, 1)),
		"a subject that is a list":       i.token(op, map[string]any{"sub": []string{op}}),
		"no subject":                     i.token(op, map[string]any{"sub": nil}),
		"no audience":                    i.token(op, map[string]any{"aud": nil}),
		"no issuer":                      i.token(op, map[string]any{"iss": nil}),
		"no end":                         i.token(op, map[string]any{"exp": nil}),
		"an end at the beginning":        i.token(op, map[string]any{"exp": 0}),
		"an end before the beginning":    i.token(op, map[string]any{"exp": -1}),
		"an end that is text":            i.token(op, map[string]any{"exp": "9999999999"}),
		"an end that has passed":         i.token(op, map[string]any{"exp": time.Now().Unix() - 1}),
		"algorithm in other letters":     header(`{"alg":"es256","kid":"ec"}`),
		"no algorithm":                   header(`{"kid":"ec"}`),
		"a signature for another header": raw64(`{"alg":"ES256","kid":"ec","x":1}`) + "." + parts[1] + "." + parts[2],
	}
	for _, none := range []string{"none", "None", "nOnE", "NONE", ""} {
		text := raw64(`{"alg":"`+none+`","kid":"ec"}`) + "." + parts[1] + "."
		all["alg "+none+" without signature"], all["alg "+none+" with one"] = text, text+parts[2]
	}
	return all
}
