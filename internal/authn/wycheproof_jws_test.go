package authn_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// tokenGroup is a group of the vectors for whole tokens.
type tokenGroup struct {
	Comment string
	JWKS    struct{ Keys []map[string]any }
	Tests   [][4]any // id, token, result, comment
}

// TestWycheproofTokens runs the vectors of Project Wycheproof for whole tokens, with the keys that they are to be checked by.
func TestWycheproofTokens(t *testing.T) {
	t.Parallel()
	const spoilt, claimless, pinned = "not as the vector describes it", "a JWT has claims", "the key is pinned to another algorithm, or to none that there is"
	for _, set := range []struct {
		file   string
		tests  int
		differ map[float64]string // here valid and there not, or the other way round, and why
	}{
		{"json_web_signature", 401, map[float64]string{
			259: claimless, 264: claimless, 268: claimless, 272: claimless, 320: claimless, 325: claimless,
			346: pinned, 347: pinned, 350: pinned, 351: pinned,
			367: spoilt, 370: spoilt, // the very token of 357
			372: spoilt, 373: spoilt, // with a character that is none of base64url
		}},
		{"json_web_key", 26, nil},
	} {
		t.Run(set.file, func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(filepath.Join("testdata", "wycheproof", set.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var groups []tokenGroup
			if err := json.Unmarshal(content, &groups); err != nil {
				t.Fatal(err)
			}
			count, valid := 0, 0
			for _, g := range groups {
				keys, fault := g.keys(t)
				for _, test := range g.Tests {
					count++
					err := fault
					if token, _ := test[1].(string); err == nil {
						err = authn.VerifyJWS(token, keys)
					}
					if err == nil {
						valid++
					}
					id, _ := test[0].(float64)
					if _, differs := set.differ[id]; (err == nil) != (test[2] == "valid") != differs {
						t.Errorf("%s: test %v (%v): got %v; the vector is %v", g.Comment, id, test[3], err, test[2])
					}
				}
			}
			if count != set.tests || valid == 0 {
				t.Errorf("ran %d tests, %d of them valid; want %d, and some", count, valid, set.tests)
			}
		})
	}
}

// keys reads the group's keys as an operator would give them: a secret is never taken from a JWK set.
func (g *tokenGroup) keys(t *testing.T) (keys []*authn.Key, err error) {
	t.Helper()
	for _, k := range g.JWKS.Keys {
		if k["kty"] != "oct" {
			text, err := json.Marshal(map[string]any{"keys": g.JWKS.Keys})
			if err != nil {
				t.Fatal(err)
			}
			return authn.JWKS(text, authn.AlgorithmNames())
		}
		text, _ := k["k"].(string)
		secret, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := k["kid"].(string)
		algorithm, _ := k["alg"].(string)
		key, err := authn.NamedSecret(id, algorithm, secret)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
