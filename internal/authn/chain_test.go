package authn_test

import (
	"crypto/tls"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

var (
	here  = netip.MustParseAddr("127.0.0.1")
	there = netip.MustParseAddr("192.0.2.7")
)

func shown(authorization string, from netip.Addr) authn.Credentials {
	return authn.Credentials{Authorization: authorization, Remote: from}
}

func basicOf(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestEtcdCredentials(t *testing.T) {
	t.Parallel()
	chain := authn.New(authn.NewEtcd())
	jwtOfEtcd := forge("RS256", theKeys().rsa, `{"alg":"RS256","typ":"JWT"}`, `{"username":"root","revision":7,"exp":4000000000}`)
	for _, c := range []struct{ value, user, secret, token string }{
		{basicOf("root:secret"), "root", "secret", ""},
		{"bAsIc  " + basicOf("a b:s:e c")[6:], "a b", "s:e c", ""},
		{basicOf("Zoë:Schlüssel"), "Zoë", "Schlüssel", ""},
		{"OTLLFHSTIXvUwZlb.42", "", "", "OTLLFHSTIXvUwZlb.42"},
		{"Bearer OTLLFHSTIXvUwZlb.42", "", "", "OTLLFHSTIXvUwZlb.42"},
		{"bearer OTLLFHSTIXvUwZlb.42", "", "", "OTLLFHSTIXvUwZlb.42"},
		{"BEARER   OTLLFHSTIXvUwZlb.42", "", "", "OTLLFHSTIXvUwZlb.42"},
		{jwtOfEtcd, "", "", jwtOfEtcd},
		{"Bearer " + jwtOfEtcd, "", "", jwtOfEtcd},
		{"Bearer " + strings.Repeat("t", 8<<10-7), "", "", strings.Repeat("t", 8<<10-7)},
	} {
		p, err := chain.Authenticate(t.Context(), shown(c.value, there))
		if err != nil {
			t.Errorf("%.40q: got %v, want it taken", c.value, err)
			continue
		}
		if p.Kind != authn.KindEtcd || p.Name != c.user || p.User != c.user || p.Password != c.secret || p.Token != c.token ||
			p.Digest == [32]byte{} || p.Expires.IsZero() == (c.token == jwtOfEtcd) || p.Claims != nil {
			t.Errorf("%.40q: got %+v, want %+v", c.value, p, c)
		}
	}
	for _, value := range []string{
		"", "Bearer", "Bearer ", "Basic", "Basic ", "Basic !", basicOf("root"), basicOf(":secret"), basicOf("root:"), basicOf("ro\x00ot:secret"),
		basicOf("root\n:secret"), basicOf("root:sec\nret"), basicOf("root:sec\x00ret"), basicOf("\xff:secret"), basicOf("root:secret") + "=", "Basic cm9vdDpzZWNyZXR=",
		"Basic " + strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("root:secrets")), "=") + "A",
		"Bearer a b", "Bearer a,b c", "Bearer t\x00", "t\n", "Bearer t\u00e9", "Digest username=root", "Negotiate abc", "Token abc",
		strings.Repeat("t", 8<<10+1),
	} {
		p, err := chain.Authenticate(t.Context(), shown(value, there))
		wantRefused(t, value, p, err, problem.Unauthenticated)
	}
}

// TestDigestsTellCredentialsApart: the same bytes as password and as token are not the same caller.
func TestDigestsTellCredentialsApart(t *testing.T) {
	t.Parallel()
	chain := authn.New(authn.NewEtcd(), authn.NewNone(true))
	seen := make(map[[32]byte]string)
	for _, value := range []string{basicOf("root:secret"), basicOf("root:secret2"), basicOf("roo:t:secret"), "root:secret", "etcd", "token", "none", ""} {
		p, err := chain.Authenticate(t.Context(), shown(value, here))
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if other, twice := seen[p.Digest]; twice {
			t.Errorf("%q and %q have one digest", value, other)
		}
		seen[p.Digest] = value
	}
}

// TestWhoJudgesABearerToken: what looks like a JWT of a trusted issuer is the jwt method's, and its verdict is final.
func TestWhoJudgesABearerToken(t *testing.T) {
	t.Parallel()
	k := theKeys()
	chain := authn.New(method(jwksFile(t)), authn.NewEtcd(), authn.NewNone(false))
	foreign := token(map[string]any{"iss": "https://other.example"})
	unnamed := token(map[string]any{"iss": nil})
	for name, c := range map[string]struct {
		value string
		want  authn.Kind // "": refused
		code  problem.Code
	}{
		"a good JWT":                     {value: "Bearer " + token(nil), want: authn.KindJWT},
		"a good JWT, scheme in capitals": {value: "BEARER " + token(nil), want: authn.KindJWT},
		"a forged JWT":                   {value: "Bearer " + forge("RS256", k.attacker, `{"alg":"RS256","kid":"rsa"}`, toJSON(claims(nil))), code: problem.Unauthenticated},
		"an expired JWT":                 {value: "Bearer " + token(map[string]any{"exp": 1}), code: problem.AuthExpired},
		"a JWT for another audience":     {value: "Bearer " + token(map[string]any{"aud": "other"}), code: problem.Unauthenticated},
		"a mangled JWT":                  {value: "Bearer " + token(nil) + "=", code: problem.Unauthenticated},
		"an encrypted one":               {value: "Bearer a.b.c.d.e", code: problem.Unauthenticated},
		"a JSON one":                     {value: `Bearer {"payload":"e30"}`, code: problem.Unauthenticated},
		"a JWT of another issuer":        {value: "Bearer " + foreign, want: authn.KindEtcd},
		"a JWT without issuer":           {value: "Bearer " + unnamed, want: authn.KindEtcd},
		"a JWT without scheme":           {value: token(nil), want: authn.KindEtcd},
		"etcd's simple token":            {value: "Bearer OTLLFHSTIXvUwZlb.42", want: authn.KindEtcd},
		"a password":                     {value: basicOf("root:secret"), want: authn.KindEtcd},
		"nothing":                        {want: authn.KindNone},
		"an unknown scheme":              {value: "Digest x", code: problem.Unauthenticated},
	} {
		p, err := chain.Authenticate(t.Context(), shown(c.value, here))
		switch {
		case c.want == "":
			wantRefused(t, name, p, err, c.code)
		case err != nil || p.Kind != c.want:
			t.Errorf("%s: got %+v %v, want %s", name, p, err, c.want)
		}
	}
	// Without an etcd method, a foreign JWT is nobody's, and never that of a caller who shows nothing.
	alone := authn.New(method(jwksFile(t)), authn.NewNone(true))
	for _, value := range []string{"Bearer " + foreign, "Bearer " + unnamed, "Bearer OTLLFHSTIXvUwZlb.42", "Bearer", "Bearer ", "x", basicOf("a:b"), token(nil)} {
		p, err := alone.Authenticate(t.Context(), shown(value, here))
		wantRefused(t, value, p, err, problem.Unauthenticated)
	}
}

// etcd looks at a token only when something is asked with it, so what lasts ends by what the token says itself.
func TestAJWTOfEtcdEndsByItsOwnWord(t *testing.T) {
	t.Parallel()
	k := theKeys()
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	etcds := func(claims map[string]any) string {
		return forge("ES256", k.ec, `{"alg":"ES256","typ":"JWT"}`, toJSON(claims))
	}
	for name, c := range map[string]struct {
		token string
		want  time.Time
	}{
		"a JWT":                {etcds(map[string]any{"username": "alice", "revision": 3, "exp": end.Unix()}), end.Add(30 * time.Second)},
		"one without an end":   {etcds(map[string]any{"username": "alice", "revision": 3}), time.Time{}},
		"one with a wrong end": {etcds(map[string]any{"username": "alice", "revision": 3, "exp": "soon"}), time.Time{}},
		"one that is no JWT":   {"a.b.c", time.Time{}},
		"a plain token":        {"OTLLFHSTIXvUwZlb.42", time.Time{}},
	} {
		for _, form := range []string{c.token, "Bearer " + c.token} {
			p, err := authn.New(method(jwksFile(t)), authn.NewEtcd()).Authenticate(t.Context(), shown(form, here))
			if strings.HasPrefix(form, "Bearer a.") { // the jwt method says what is wrong with that
				wantRefused(t, name, p, err, problem.Unauthenticated)
				continue
			}
			if err != nil || !p.Expires.Equal(c.want) || p.Token != c.token {
				t.Errorf("%s: got %+v, %v; want its end at %v", name, p, err, c.want)
			}
		}
	}
}

func TestTwoIssuersEachJudgeTheirOwn(t *testing.T) {
	t.Parallel()
	second := authn.NewJWT(authn.JWTOptions{Issuer: "https://second.example", Audience: audience, Keys: jwksFile(t)})
	chain := authn.New(method(jwksFile(t)), second)
	for _, name := range []string{issuer, "https://second.example"} {
		if p, err := authenticate(chain, token(map[string]any{"iss": name})); err != nil || p.Issuer != name {
			t.Errorf("%s: got %+v %v", name, p, err)
		}
	}
	p, err := authenticate(chain, token(map[string]any{"iss": "https://third.example"}))
	wantRefused(t, "a third issuer", p, err, problem.Unauthenticated)
}

func TestNoneIsForThisMachine(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]bool{
		"127.0.0.1": {true, true}, "127.9.9.9": {true, true}, "::1": {true, true}, "::ffff:127.0.0.1": {true, true},
		"192.0.2.7": {false, true}, "::ffff:192.0.2.7": {false, true}, "fe80::1%lo": {false, true}, "0.0.0.0": {false, true}, "::": {false, true},
		"": {false, true},
	} {
		var from netip.Addr
		if address != "" {
			from = netip.MustParseAddr(address)
		}
		for i, anywhere := range []bool{false, true} {
			p, err := authn.New(authn.NewNone(anywhere)).Authenticate(t.Context(), shown("", from))
			switch {
			case !want[i]:
				wantRefused(t, address, p, err, problem.Unauthenticated)
			case err != nil || p.Kind != authn.KindNone || p.Name != "":
				t.Errorf("from %q, anywhere %v: got %+v %v, want it taken", address, anywhere, p, err)
			}
		}
	}
}

func TestAnEmptyChainKnowsNobody(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "Bearer " + token(nil), basicOf("root:secret")} {
		c := shown(value, here)
		c.TLS = &tls.ConnectionState{}
		p, err := authn.New().Authenticate(t.Context(), c)
		wantRefused(t, value, p, err, problem.Unauthenticated)
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	got := authn.New(authn.NewMTLS(""), method(jwksFile(t)), method(jwksFile(t)), authn.NewEtcd(), authn.NewNone(false)).Challenges()
	if want := []string{`Bearer realm="etcdrest"`, `Basic realm="etcd", charset="UTF-8"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
