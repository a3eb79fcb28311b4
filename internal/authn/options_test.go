package authn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// parse reads the list `auth` of a configuration.
func parse(t *testing.T, text string) []authn.Options {
	t.Helper()
	var file struct {
		Auth []authn.Options `yaml:"auth"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return file.Auth
}

func TestOpenMakesWhatIsConfigured(t *testing.T) {
	t.Parallel()
	k := theKeys()
	secret := writeFile(t, "secret", string(k.secret)+"\n")
	public := writeFile(t, "public.pem", publicPEM(t, k.ec.Public()))
	entries := parse(t, `
auth:
  - kind: jwt
    issuer: https://id.example
    audience: etcdrest
    keys: {pem: [{kid: ec, algorithm: ES256, file: `+public+`}]}
    leeway: 0
    name: email
  - kind: jwt
    issuer: https://second.example
    audience: etcdrest
    keys: {secret: [{algorithm: HS512, file: `+secret+`}]}
  - kind: jwt
    issuer: https://third.example
    audience: etcdrest
    keys: {jwks_url: https://third.example/jwks, algorithms: [RS256, ES256]}
  - kind: mtls
    name: dns
  - kind: etcd
  - kind: none
    anywhere: true
`)
	chain, faults := authn.Open(entries, nil)
	if faults != nil {
		t.Fatalf("got %q, want no faults", faults)
	}
	p, err := authenticate(chain, token(map[string]any{"email": "a@example"}))
	if err != nil || p.Name != "a@example" || p.Expires.Unix() != mustInt(t, p.Claims["exp"]) {
		t.Errorf("the first: got %+v %v, want a@example without leeway", p, err)
	}
	p, err = authenticate(chain, forge("HS512", k.secret, `{"alg":"HS512","kid":"any"}`, toJSON(claims(map[string]any{"iss": "https://second.example"}))))
	if err != nil || p.Name != "alice" || p.Expires.Unix() != mustInt(t, p.Claims["exp"])+30 {
		t.Errorf("the second: got %+v %v, want alice with the usual leeway of 30 s", p, err)
	}
	if p, err := chain.Authenticate(t.Context(), shown("", there)); err != nil || p.Kind != authn.KindNone {
		t.Errorf("nothing shown: got %+v %v, want none", p, err)
	}
}

// TestTheReferencesExampleIsGood: the file in docs/reference/authentication.md, as it stands there.
func TestTheReferencesExampleIsGood(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "authentication.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	entries := parse(t, example)
	chain, faults := authn.Open(entries, nil)
	if !found || faults != nil {
		t.Fatalf("got %q, want an example without faults", faults)
	}
	want := []authn.Kind{authn.KindJWT, authn.KindMTLS, authn.KindEtcd, authn.KindNone}
	if diff := cmp.Diff(want, chain.Kinds()); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func mustInt(t *testing.T, number any) int64 {
	t.Helper()
	n, err := number.(interface{ Int64() (int64, error) }).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEveryFaultIsToldAtOnce, each at its place.
func TestEveryFaultIsToldAtOnce(t *testing.T) {
	t.Parallel()
	k := theKeys()
	public := writeFile(t, "public.pem", publicPEM(t, k.ec.Public()))
	private := writeFile(t, "private.pem", "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n")
	short := writeFile(t, "short", "password")
	oct := writeFile(t, "oct.json", setOf(map[string]any{"kty": "oct", "k": "AAAA"}))
	_, faults := authn.Open(parse(t, `
auth:
  - kind: jwt
    leeway: 301
    keys: {jwks_url: "http://id.example/jwks", jwks_file: x, algorithms: [RS256]}
  - kind: jwt
    issuer: a
    audience: etcdrest
    keys: {pem: [{algorithm: ES256, file: `+public+`}, {algorithm: RS256, file: `+public+`}, {file: `+public+`}, {algorithm: none, file: `+public+`}, {algorithm: ES256, file: `+private+`}, {algorithm: ES256}, {algorithm: ES256, file: /nowhere}]}
  - kind: jwt
    issuer: a
    audience: etcdrest
    keys: {secret: [{algorithm: HS256, file: `+short+`}, {algorithm: HS256, file: `+public+`}], algorithms: [HS256]}
  - kind: jwt
    issuer: b
    audience: etcdrest
    keys: {jwks_url: "http://id.example/jwks", jwks_ca: `+short+`, algorithms: [HS256, es256]}
  - kind: jwt
    issuer: c
    audience: etcdrest
    keys: {jwks_file: `+oct+`}
  - kind: mtls
    name: san
    leeway: 3
  - kind: etcd
    anywhere: true
    issuer: x
  - kind: etcd
  - kind: jwt
    issuer: d
    audience: etcdrest
    keys: {jwks_url: "https://user@id.example/jwks", algorithms: [RS256]}
  - kind: jwt
    issuer: e
    audience: etcdrest
  - kind: oidc
`), nil)
	want := []string{
		"auth[0].issuer: it is missing",
		"auth[0].audience: it is missing",
		"auth[0].leeway: 301 is out of bounds; use 0 to 300 seconds",
		"auth[0].keys: 2 of jwks_url, jwks_file, pem and secret are given; give exactly one",
		"auth[1].keys.pem[1]: " + public + ": a key on the curve P-256 is not for RS256",
		"auth[1].keys.pem[2]: " + public + ": no algorithm is named",
		"auth[1].keys.pem[3]: " + public + `: "none" is not one of ES256`,
		"auth[1].keys.pem[4]: " + private + ": it holds a private key; the gateway needs the public one",
		"auth[1].keys.pem[5].file: it is missing",
		"auth[1].keys.pem[6]: ",
		"auth[2].issuer: auth[1] has the same issuer",
		"auth[2].keys.algorithms: it goes with jwks_url and jwks_file",
		"auth[2].keys.algorithms[0]: HS256 is for secrets",
		"auth[2].keys.secret[0]: " + short + ": a secret of 8 bytes is too short for HS256; use 32 or more random bytes",
		"auth[2].keys.secret[1]: " + public + ": it holds a PEM block (PUBLIC KEY), not a secret",
		"auth[3].keys.algorithms[0]: HS256 is for secrets",
		`auth[3].keys.algorithms[1]: "es256" is not one of ES256`,
		"auth[3].keys.jwks_ca: " + short + " holds no certificate",
		`auth[3].keys.jwks_url: "http://id.example/jwks": it is http`,
		"auth[4].keys.algorithms: it is missing",
		"auth[4].keys.jwks_file: " + oct + ": the JWK Set holds a secret",
		`auth[5].leeway: kind "mtls" does not have it`,
		`auth[5].name: "san" is not one of cn, dns, uri, email`,
		`auth[6].issuer: kind "etcd" does not have it`,
		`auth[6].anywhere: kind "etcd" does not have it`,
		"auth[7]: etcd is there twice",
		"auth[8]: etcd stands before it",
		`auth[8].keys.jwks_url: "https://user@id.example/jwks": it has a user`,
		"auth[9]: etcd stands before it",
		"auth[9].keys: 0 of",
		`auth[10].kind: "oidc" is not one of jwt, mtls, etcd, none`,
	}
	for i, fault := range faults {
		if i < len(want) && strings.HasPrefix(fault, want[i]) {
			faults[i] = want[i] // what follows is for people
		}
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}
