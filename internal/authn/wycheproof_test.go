package authn_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// wycheproof is a group of testdata/wycheproof.
type wycheproof struct {
	JWK   map[string]any `json:"jwk"`
	K     string         `json:"k"`
	Tests [][5]any       `json:"tests"` // id, message, signature, result, comment
}

// TestWycheproof runs the signature vectors of Project Wycheproof through the keys that tokens are checked with. What the
// vectors call acceptable may go either way.
func TestWycheproof(t *testing.T) {
	t.Parallel()
	for _, set := range []struct {
		file, algorithm string
		tests           int
		judge           func(w wycheproof, test [5]any) bool // whether it is valid here, where that differs from the vectors
	}{
		{file: "ecdsa_secp256r1_sha256_p1363", algorithm: "ES256", tests: 262},
		{file: "ecdsa_secp384r1_sha384_p1363", algorithm: "ES384", tests: 280},
		{file: "ecdsa_secp521r1_sha512_p1363", algorithm: "ES512", tests: 318},
		{file: "ed25519", algorithm: "EdDSA", tests: 151},
		{file: "rsa_signature_2048_sha256", algorithm: "RS256", tests: 259},
		{file: "rsa_pss_2048_sha256_mgf1_32", algorithm: "PS256", tests: 108},
		// RFC 7518, section 3.5: the salt is as long as the hash.
		{file: "rsa_pss_2048_sha256_mgf1_0", algorithm: "PS256", tests: 103, judge: func(_ wycheproof, test [5]any) bool {
			return test[4] == "s_len changed to 32"
		}},
		// RFC 7518, section 3.2: no tag is cut short, and no secret is shorter than the hash.
		{file: "hmac_sha256", algorithm: "HS256", tests: 174, judge: func(w wycheproof, test [5]any) bool {
			return test[3] == "valid" && len(w.K) >= 64 && len(test[2].(string)) == 64
		}},
	} {
		t.Run(set.file, func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(filepath.Join("testdata", "wycheproof", set.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var groups []wycheproof
			if err := json.Unmarshal(content, &groups); err != nil {
				t.Fatal(err)
			}
			count, valid := 0, 0
			for _, w := range groups {
				key, fault := w.key(set.algorithm)
				for _, test := range w.Tests {
					count++
					err := fault
					if err == nil {
						err = key.Verify(string(unhex(t, test[1])), unhex(t, test[2]))
					}
					want := test[3] == "valid"
					if set.judge != nil {
						want = set.judge(w, test)
					}
					if err == nil {
						valid++
					}
					if test[3] != "acceptable" && (err == nil) != want {
						t.Errorf("test %v (%v): got %v, want it valid: %v", test[0], test[4], err, want)
					}
				}
			}
			if count != set.tests {
				t.Errorf("ran %d tests, want %d", count, set.tests)
			}
			if valid == 0 {
				t.Error("nothing is valid, so nothing is shown")
			}
		})
	}
}

func (w wycheproof) key(algorithm string) (*authn.Key, error) {
	if w.JWK == nil {
		secret, err := hex.DecodeString(w.K)
		if err != nil {
			return nil, err
		}
		return authn.Secret(algorithm, secret)
	}
	return authn.Fits(w.JWK, algorithm)
}

func unhex(t *testing.T, text any) []byte {
	t.Helper()
	b, err := hex.DecodeString(fmt.Sprint(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
