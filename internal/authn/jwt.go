package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"
)

// JWTOptions are what tokens of one issuer must be.
type JWTOptions struct {
	// Issuer is what iss must be, letter by letter.
	Issuer string
	// Audience is what aud must be or contain.
	Audience string
	// Keys are the issuer's.
	Keys KeySource
	// Leeway is how far the issuer's clock may be from ours, in exp, nbf and iat.
	Leeway time.Duration
	// NameClaim is the claim that names the caller; empty: sub.
	NameClaim string
}

// JWT is the method of JSON Web Tokens (RFC 7519) in `Authorization: Bearer`, under the rules of RFC 8725.
type JWT struct {
	rules claimRules
	keys  KeySource
	known *cache
}

// NewJWT makes the method. Its keys are kept up to date by Run.
func NewJWT(o JWTOptions) *JWT {
	if o.NameClaim == "" {
		o.NameClaim = "sub"
	}
	return &JWT{
		rules: claimRules{issuer: o.Issuer, audience: o.Audience, name: o.NameClaim, leeway: o.Leeway},
		keys:  o.Keys, known: newCache(),
	}
}

// Kind is KindJWT.
func (j *JWT) Kind() Kind { return KindJWT }

// Challenge is that of RFC 6750.
func (j *JWT) Challenge() string { return `Bearer realm="etcdrest"` }

// Run keeps the keys up to date until ctx ends.
func (j *JWT) Run(ctx context.Context) { j.keys.Run(ctx) }

// Authenticate takes Bearer tokens that look like a JWT of its issuer; whether they are is then its to say, and final. It
// leaves to the methods after it: tokens with less than two dots, which are no JWT (etcd's simple tokens have one), and
// well-formed JWTs whose iss is absent or another (etcd's own have none; another jwt method may trust that issuer).
func (j *JWT) Authenticate(ctx context.Context, c Credentials) (*Principal, error) {
	text, ok := bearer(c.Authorization)
	if !ok || !looksLikeJWT(text) {
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
	if len(text) <= maxCredential {
		if p := j.known.get(digestOf(text), j.keys.Keys(), time.Now()); p != nil {
			return p, nil
		}
	}
	t, err := parseToken(text)
	if err != nil {
		return nil, refuse("the token is not a JWT that this gateway reads: "+err.Error(),
			"send a signed JWT in its compact form, as the issuer gave it", nil)
	}
	claims, err := strictObject(t.payload)
	if err != nil {
		return nil, refuse("the token is not a JWT that this gateway reads: claims: "+err.Error(), "get a token from the issuer", nil)
	}
	if claims["iss"] != any(j.rules.issuer) {
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
	return j.verify(ctx, text, t, claims)
}

// digestOf is the digest of a token. Tokens as most issuers make them cost no allocation: every request has one.
func digestOf(text string) [sha256.Size]byte {
	var room [2 << 10]byte
	return sha256.Sum256(append(room[:0], text...))
}

// looksLikeJWT tells whether a token is a JWT or tries to be one: in compact form, encrypted, or as JSON.
func looksLikeJWT(text string) bool {
	first := strings.IndexByte(text, '.')
	return (first >= 0 && strings.IndexByte(text[first+1:], '.') >= 0) || strings.HasPrefix(text, "{")
}

// declines says why a JWT was left to other methods.
func (j *JWT) declines(c Credentials) string {
	text, ok := bearer(c.Authorization)
	switch {
	case !ok:
		return ""
	case !looksLikeJWT(text):
		return "the Bearer token is not a JWT"
	default:
		return "the token's iss is not an issuer that this gateway trusts"
	}
}

// verify finds the key, checks the signature, and only then what the token claims.
func (j *JWT) verify(ctx context.Context, text string, t *token, claims map[string]any) (*Principal, error) {
	keys, key, err := j.key(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := key.verify(t.signed, t.signature); err != nil {
		return nil, refuse("the token's signature is not the issuer's",
			"send the token as the issuer gave it; if it is unchanged, the issuer's keys and this gateway's differ",
			because("key %q (%s): %w", key.id, key.algorithm.name, err))
	}
	name, expires, err := j.rules.check(claims, time.Now())
	if errors.Is(err, errExpired) {
		return nil, expired("the token has expired", "get a new one from the issuer; if it is new, compare the clocks of both machines")
	}
	if err != nil {
		return nil, refuse("the token's "+err.Error(), "get a token from the issuer that is meant for this gateway", nil)
	}
	p := &Principal{
		Kind: KindJWT, Name: name, Issuer: j.rules.issuer, Claims: claims, Expires: expires, Digest: digestOf(text),
		Proof: key.fingerprint[:],
	}
	j.known.put(p, keys, len(text))
	return p, nil
}

// vouches for tokens of its issuer whose key is still the issuer's, and whose claims are what they must be now. Without any keys,
// nobody knows better yet.
func (j *JWT) vouches(p *Principal) (mine bool, err error) {
	if p.Kind != KindJWT || p.Issuer != j.rules.issuer {
		return false, nil
	}
	if keys := j.keys.Keys(); keys != nil && !keys.has(p.Proof) {
		return true, expired("the issuer has taken back the key that the token was signed with", "get a new token from the issuer")
	}
	name, _, err := j.rules.check(p.Claims, time.Now())
	if err == nil && name != p.Name {
		err = errors.New("name is in another claim now")
	}
	if err != nil {
		return true, expired("the token is not one any more that this gateway takes: its "+err.Error(), "get a new token from the issuer")
	}
	return true, nil
}

func (j *JWT) trust() any { return j.keys.Keys() }

// key finds the key of a token, looking for newer keys once.
func (j *JWT) key(ctx context.Context, t *token) (*KeySet, *Key, error) {
	keys := j.keys.Keys()
	renewed := false
	for {
		if keys != nil {
			key, newerMayHave, err := keys.find(t.kid, t.algorithm)
			if err == nil {
				return keys, key, nil
			}
			if renewed || !newerMayHave {
				return nil, nil, refuse("no key of the issuer is for this token",
					"get a new token; if the issuer has new keys, this gateway takes them up within a minute", err)
			}
		}
		if renewed {
			return nil, nil, refuse("this gateway could not get the issuer's keys yet, so it cannot check the token",
				"try again a little later; if it stays, the gateway's log says what is wrong with the keys", nil).WithRetryAfter(noKeysRetry)
		}
		keys, renewed = j.keys.Renew(ctx), true
	}
}

// noKeysRetry is when to come back while there are no keys.
const noKeysRetry = 5 * time.Second
