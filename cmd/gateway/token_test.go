package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// decoded are the header and the claims of a token.
type decoded struct{ header, claims map[string]any }

// mint runs `gateway token` with a key of its own and reads what it prints.
func mint(t *testing.T, flags ...string) decoded {
	t.Helper()
	return decode(t, printToken(t, newKey(t), flags...))
}

// newKey makes a key by the program.
func newKey(t *testing.T, flags ...string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key.pem")
	if out, err := output(t, append([]string{"token", "--generate-key=" + file}, flags...)...); err != nil || !strings.Contains(out, file) {
		t.Fatalf("generate-key: got %q, %v", out, err)
	}
	return file
}

func printToken(t *testing.T, key string, flags ...string) string {
	t.Helper()
	args := []string{"token", "--key=" + key, "--issuer=https://id.example", "--audience=etcdrest", "--subject=alice"}
	out, err := output(t, append(args, flags...)...)
	if err != nil {
		t.Fatalf("gateway token %s: %v", strings.Join(flags, " "), err)
	}
	token, found := strings.CutSuffix(out, "\n")
	if !found || strings.ContainsAny(token, " \n") {
		t.Fatalf("got %q, want a token alone on a line", out)
	}
	return token
}

func decode(t *testing.T, token string) decoded {
	t.Helper()
	parts := strings.Split(token, ".")
	var d decoded
	for i, to := range []*map[string]any{&d.header, &d.claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// tokenOptions see each flag of `gateway token` act, for TestEveryOptionActs.
//
//nolint:thelper // the cases are the test
func tokenOptions() map[string]func(*testing.T) {
	claim := func(name string, want any, flags ...string) func(*testing.T) {
		return func(t *testing.T) {
			if got := mint(t, flags...).claims[name]; got != want {
				t.Errorf("claim %s: got %v, want %v", name, got, want)
			}
		}
	}
	return map[string]func(*testing.T){
		"issuer":   claim("iss", "i", "--issuer=i"),
		"audience": claim("aud", "a", "--audience=a"),
		"subject":  claim("sub", "s", "--subject=s"),
		"claim": func(t *testing.T) {
			got := mint(t, "--claim=org=acme", "--claim=uid=7", `--claim=roles=["a","b"]`, "--claim=empty=", `--claim=seven="7"`, "--claim=e=a=b,c").claims
			for _, usual := range []string{"iss", "aud", "sub", "iat", "exp"} {
				delete(got, usual)
			}
			want := `{"e":"a=b,c","empty":"","org":"acme","roles":["a","b"],"seven":"7","uid":7}`
			if text, err := json.Marshal(got); err != nil || string(text) != want {
				t.Errorf("claims: got %s, want %s", text, want)
			}
		},
		"ttl": func(t *testing.T) {
			for flag, want := range map[string]float64{"--ttl=60": 60, "--ttl=2h": 7200, "--kid=x": 3600} {
				if c := mint(t, flag).claims; c["exp"].(float64)-c["iat"].(float64) != want {
					t.Errorf("%s: got %v to %v, want %v seconds", flag, c["iat"], c["exp"], want)
				}
			}
		},
		"kid": func(t *testing.T) {
			if got := mint(t, "--kid=k").header["kid"]; got != "k" {
				t.Errorf("kid: got %v, want k", got)
			}
		},
		"algorithm": func(t *testing.T) {
			key := newKey(t, "--algorithm=RS256")
			for flag, want := range map[string]string{"--algorithm=PS384": "PS384", "--ttl=1": "RS256"} {
				if got := decode(t, printToken(t, key, flag)).header["alg"]; got != want {
					t.Errorf("%s: got %v, want %s", flag, got, want)
				}
			}
		},
		"key": func(t *testing.T) {
			secret := write(t, filepath.Join(t.TempDir(), "secret"), strings.Repeat("s", 64))
			if got := decode(t, printToken(t, secret)).header; got["alg"] != "HS256" || got["kid"] != nil {
				t.Errorf("a secret: got %v, want HS256 and no kid", got)
			}
		},
		"generate-key": func(t *testing.T) {
			key := newKey(t, "--kid=k")
			if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key: got %v %v, want it for nobody else", info, err)
			}
			set, err := os.ReadFile(key + ".jwks.json")
			if err != nil || !strings.Contains(string(set), `"kid": "k"`) || strings.Contains(string(set), `"d"`) {
				t.Errorf("the JWK Set: got %s %v, want the public part of the key k", set, err)
			}
		},
	}
}

// TestAMintedTokenIsTaken by a gateway that has the JWK Set, or the secret, which came with the key.
func TestAMintedTokenIsTaken(t *testing.T) {
	t.Parallel()
	for algorithm, keys := range map[string]string{
		"ES256": "{jwks_file: KEY.jwks.json, algorithms: [ES256]}",
		"EdDSA": "{jwks_file: KEY.jwks.json, algorithms: [EdDSA]}",
		"PS256": "{jwks_file: KEY.jwks.json, algorithms: [PS256]}",
		"HS256": "{secret: [{algorithm: HS256, file: KEY}]}",
	} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			key := newKey(t, "--algorithm="+algorithm)
			file := write(t, filepath.Join(t.TempDir(), "gateway.yaml"), `
listen: 127.0.0.1:0
admin-listen: ""
data-dir: `+t.TempDir()+`
auth:
  - kind: jwt
    issuer: https://id.example
    audience: etcdrest
    leeway: 0
    keys: `+strings.ReplaceAll(keys, "KEY", key)+`
policy:
  - when: {kind: jwt, claims: {roles: editor}}
    grants: [{verbs: [read, write], prefix: ""}]
`)
			g := start(t, "dev", "--config="+file)
			flags := []string{`--claim=roles=["editor"]`}
			if algorithm == "PS256" {
				flags = append(flags, "--algorithm=PS256")
			}
			token := printToken(t, key, flags...)
			a := call(t, nil, http.MethodGet, g.api+"/v1/auth/whoami", "", "Authorization", "Bearer "+token)
			if a.status != http.StatusOK || !strings.Contains(a.body, `"alice"`) {
				t.Errorf("whoami: got %d %s, want alice", a.status, a.body)
			}
			old := printToken(t, key, append(flags, "--claim=exp="+jsonOf(t, time.Now().Unix()-1))...)
			a = call(t, nil, http.MethodGet, g.api+"/v1/auth/whoami", "", "Authorization", "Bearer "+old)
			if a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"auth_expired"`) {
				t.Errorf("whoami, expired: got %d %s, want auth_expired", a.status, a.body)
			}
		})
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
