package authn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
)

// Etcd is the method of etcd's own users: their password, or a token that etcd gave. It believes neither: both are for etcd
// to judge when the caller's requests are sent there.
type Etcd struct{}

// NewEtcd makes the method.
func NewEtcd() *Etcd { return &Etcd{} }

// Kind is KindEtcd.
func (*Etcd) Kind() Kind { return KindEtcd }

// Challenge is that of RFC 7617. Browsers answer it with a window that asks for a password, so it is not for their scripts.
func (*Etcd) Challenge() string { return `Basic realm="etcd", charset="UTF-8"` }

// Authenticate takes `Basic`, and any other value that is a token: raw, as etcd's clients send it, or after `Bearer`. A JWT is
// a token like any other here, so etcd's own JWTs pass when no jwt method stands before, or when their issuer is not its; what
// they say of their end counts besides.
func (*Etcd) Authenticate(_ context.Context, c Credentials) (*Principal, error) {
	if c.Authorization == "" {
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
	if len(c.Authorization) > maxCredential {
		return nil, refuse("the Authorization header is too long", "send at most 8192 bytes", nil)
	}
	name, rest := scheme(c.Authorization)
	switch name {
	case "basic":
		return basic(rest)
	case "bearer", "":
		return etcdToken(rest)
	default:
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
}

// basic reads a user and a password (RFC 7617).
func basic(encoded string) (*Principal, error) {
	const hint = "send base64 of USER:PASSWORD after Basic, as `curl -u USER:PASSWORD` does"
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, refuse("the Basic credentials are not base64", hint, nil)
	}
	user, password, found := strings.Cut(string(decoded), ":")
	if !found {
		return nil, refuse("the Basic credentials have no colon between user and password", hint, nil)
	}
	if fault := nameFault(user); fault != "" {
		return nil, refuse("the user's name in the Basic credentials "+fault, hint, nil)
	}
	if password == "" || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, refuse("the password in the Basic credentials is empty or holds a control character", hint, nil)
	}
	return &Principal{Kind: KindEtcd, Name: user, User: user, Password: password, Digest: digest("basic", string(decoded))}, nil
}

// etcdToken passes a token on. gRPC carries it as a header, so it is visible ASCII.
func etcdToken(token string) (*Principal, error) {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, refuse("the token is empty or holds something else than visible ASCII characters", "send the token as etcd gave it", nil)
	}
	return &Principal{Kind: KindEtcd, Token: token, Expires: ownWord(token), Digest: digest("token", token)}, nil
}

// clocks is how far etcd's clock may be from ours.
const clocks = 30 * time.Second

// ownWord is when a token of etcd's says that it ends, if it is a JWT; zero when it does not say. etcd looks at a token only
// when something is asked with it, so without this a watch would outlive it. Nothing is believed that would be to the
// bearer's good: etcd is asked whether the token counts all the same, and what somebody writes into a token of his own making
// ends it earlier.
func ownWord(text string) (expires time.Time) {
	if !looksLikeJWT(text) {
		return expires
	}
	t, err := parseToken(text)
	if err != nil {
		return expires
	}
	claims, err := strictObject(t.payload)
	if err != nil {
		return expires
	}
	if exp, is, err := numericDate(claims, "exp"); is && err == nil {
		expires = exp.Add(clocks)
	}
	return expires
}

// digest is the SHA-256 of a credential, after a word that keeps the kinds apart. A JWT stands for itself: no word with a NUL
// after it is one.
func digest(word, credential string) [32]byte {
	return sha256.Sum256([]byte(word + "\x00" + credential))
}
