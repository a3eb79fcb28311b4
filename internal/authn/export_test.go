package authn

import (
	"crypto"
	"net/http"
	"net/url"
)

// Fits tells whether a JWK with the algorithm makes a key.
func Fits(members map[string]any, algorithmName string) (*Key, error) {
	k, err := readJWK(members)
	if err != nil {
		return nil, err
	}
	return k.key([]string{algorithmName})
}

// Secret makes an HMAC key.
func Secret(algorithmName string, secret []byte) (*Key, error) {
	return newKey("", algorithmName, secret)
}

// Verify checks a signature.
func (k *Key) Verify(signed string, signature []byte) error { return k.verify(signed, signature) }

// JWKOf gives the public members of a key.
func JWKOf(public crypto.PublicKey) map[string]any { return publicMembers(public) }

// StrictObject is the reader of headers and claims.
func StrictObject(text []byte) (map[string]any, error) { return strictObject(text) }

// Cached tells how many tokens are known, and how many bytes of them.
func (j *JWT) Cached() (entries, bytes int) {
	j.known.mu.Lock()
	defer j.known.mu.Unlock()
	n := 0
	for e := j.known.ring.next; e != &j.known.ring; e = e.next {
		n++
	}
	if n != len(j.known.entries) {
		return -1, -1
	}
	return n, j.known.bytes
}

// Bound makes the cache smaller, and tells its usual bounds.
func (j *JWT) Bound(entries, bytes int) (usualEntries, usualBytes int) {
	usualEntries, usualBytes = j.known.maxEntries, j.known.maxBytes
	j.known.maxEntries, j.known.maxBytes = entries, bytes
	return usualEntries, usualBytes
}

// Follows tells whether a redirect would be followed.
func Follows(from, to *url.URL) bool {
	return redirect(&http.Request{URL: to}, []*http.Request{{URL: from}}) == nil
}

// Waiting tells how many wait for a fetch, and how many may.
func (s *JWKSURL) Waiting() (now, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, maxWaiting
}

// Thumbprint is the name that a public key gives itself.
func Thumbprint(public crypto.PublicKey) string { return thumbprint(public) }

// NamedSecret makes an HMAC key with a name.
func NamedSecret(id, algorithmName string, secret []byte) (*Key, error) {
	return newKey(id, algorithmName, secret)
}

// JWKS gives the keys of a JWK set.
func JWKS(text []byte, algorithmNames []string) ([]*Key, error) {
	keys, _, err := parseJWKS(text, algorithmNames)
	return keys, err
}

// VerifyJWS checks a token's form, and its signature by one of the keys; what it says is not looked at.
func VerifyJWS(text string, keys []*Key) error {
	set, err := newKeySet(keys)
	if err != nil {
		return err
	}
	t, err := parseToken(text)
	if err != nil {
		return err
	}
	k, _, err := set.find(t.kid, t.algorithm)
	if err != nil {
		return err
	}
	return k.verify(t.signed, t.signature)
}
