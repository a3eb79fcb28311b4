package authn_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// pass lets time pass in a synctest bubble, where it costs none.
func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the bubble's clock is what is waited for

// TestClaims is scorecard E8.
func TestClaims(t *testing.T) {
	t.Parallel()
	m := authn.New(method(jwksFile(t)))
	now := time.Now().Unix()
	long := strings.Repeat("n", 513)
	for _, c := range []struct {
		change string // JSON members
		want   problem.Code
	}{
		{`"exp":null`, problem.Unauthenticated},
		{`"exp":0`, problem.Unauthenticated},
		{`"exp":-1`, problem.Unauthenticated},
		{`"exp":0.5`, problem.Unauthenticated},
		{`"exp":"99999999999"`, problem.Unauthenticated},
		{`"exp":1e300`, problem.Unauthenticated},
		{`"exp":1e400`, problem.Unauthenticated},
		{`"exp":-1e300`, problem.Unauthenticated},
		{`"exp":9223372036854775808`, problem.Unauthenticated},
		{`"exp":253402300800`, problem.Unauthenticated},
		{`"exp":true`, problem.Unauthenticated},
		{`"exp":[99999999999]`, problem.Unauthenticated},
		{`"exp":{}`, problem.Unauthenticated},
		{`"exp":1`, problem.AuthExpired},
		{`"exp":1000000000`, problem.AuthExpired},
		{`"exp":4000000000`, ""},
		{`"exp":4e9`, ""},
		{`"exp":4000000000.25`, ""},
		{`"nbf":4000000000`, problem.Unauthenticated},
		{`"nbf":"0"`, problem.Unauthenticated},
		{`"nbf":-1`, problem.Unauthenticated},
		{`"nbf":1e300`, problem.Unauthenticated},
		{`"nbf":0`, ""},
		{`"iat":4000000000`, problem.Unauthenticated},
		{`"iat":null`, problem.Unauthenticated},
		{`"iat":"now"`, problem.Unauthenticated},
		{`"iat":0`, ""},
		{`"iss":"https://id.example/"`, problem.Unauthenticated},
		{`"iss":"HTTPS://ID.EXAMPLE"`, problem.Unauthenticated},
		{`"iss":""`, problem.Unauthenticated},
		{`"iss":null`, problem.Unauthenticated},
		{`"iss":["https://id.example"]`, problem.Unauthenticated},
		{`"iss":{"https://id.example":1}`, problem.Unauthenticated},
		{`"aud":null`, problem.Unauthenticated},
		{`"aud":""`, problem.Unauthenticated},
		{`"aud":[]`, problem.Unauthenticated},
		{`"aud":[""]`, problem.Unauthenticated},
		{`"aud":"other"`, problem.Unauthenticated},
		{`"aud":"ETCDREST"`, problem.Unauthenticated},
		{`"aud":"etcdrest other"`, problem.Unauthenticated},
		{`"aud":["other"]`, problem.Unauthenticated},
		{`"aud":["etcdrest",1]`, problem.Unauthenticated},
		{`"aud":[["etcdrest"]]`, problem.Unauthenticated},
		{`"aud":{"etcdrest":true}`, problem.Unauthenticated},
		{`"aud":["other","etcdrest"]`, ""},
		{`"sub":null`, problem.Unauthenticated},
		{`"sub":""`, problem.Unauthenticated},
		{`"sub":["evil"]`, problem.Unauthenticated},
		{`"sub":7`, problem.Unauthenticated},
		{`"sub":true`, problem.Unauthenticated},
		{`"sub":"evil\u0000"`, problem.Unauthenticated},
		{`"sub":"evil\n2026 INFO all is well"`, problem.Unauthenticated},
		{`"sub":"\u001b[31mevil"`, problem.Unauthenticated},
		{`"sub":"\u202eevil"`, problem.Unauthenticated},
		{`"sub":"evil\u200b"`, problem.Unauthenticated},
		{`"sub":"evil\u0085"`, problem.Unauthenticated},
		{`"sub":"` + long + `"`, problem.Unauthenticated},
		{`"sub":"` + long[:512] + `"`, ""},
		{`"sub":"auth0|a/b"`, ""},
		{`"sub":"Zoë 王"`, ""},
		{`"SUB":"evil","Aud":"other"`, ""}, // other claims, which mean nothing
	} {
		payload := withMembers(t, c.change, now)
		p, err := authenticate(m, forge("ES256", theKeys().ec, `{"alg":"ES256","kid":"ec"}`, payload))
		if c.want != "" {
			wantRefused(t, c.change, p, err, c.want)
		} else if err != nil {
			t.Errorf("%s: got %v, want it taken", c.change, err)
		}
	}
}

// withMembers is a good claim set in which the members replace those of their names.
func withMembers(t *testing.T, members string, now int64) string {
	t.Helper()
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+members+"}"), &changes); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "exp": now + 3600, "iat": now}
	for name, value := range changes {
		all[name] = value
	}
	return toJSON(all)
}

func TestMissingClaims(t *testing.T) {
	t.Parallel()
	m := authn.New(method(jwksFile(t)))
	for _, claim := range []string{"iss", "aud", "exp", "sub"} {
		p, err := authenticate(m, token(map[string]any{claim: nil}))
		wantRefused(t, "without "+claim, p, err, problem.Unauthenticated)
	}
	if _, err := authenticate(m, token(map[string]any{"iat": nil})); err != nil {
		t.Errorf("without iat: got %v, want it taken", err)
	}
}

func TestTheNameIsThatOfTheConfiguredClaim(t *testing.T) {
	t.Parallel()
	m := authn.NewJWT(authn.JWTOptions{Issuer: issuer, Audience: audience, Keys: jwksFile(t), NameClaim: "email"})
	if p, err := authenticate(m, token(map[string]any{"email": "a@example", "sub": nil})); err != nil || p.Name != "a@example" {
		t.Errorf("got %+v %v, want a@example", p, err)
	}
	for what, changes := range map[string]map[string]any{
		"no email":            {},
		"email is a list":     {"email": []string{"a@example"}},
		"email is empty":      {"email": ""},
		"sub is not a string": {"email": "a@example", "sub": []string{"evil"}},
		"sub is empty":        {"email": "a@example", "sub": ""},
	} {
		p, err := authenticate(m, token(changes))
		wantRefused(t, what, p, err, problem.Unauthenticated)
	}
}

// TestLeewayIsExact looks a second before and after each bound, for new tokens and for known ones.
func TestLeewayIsExact(t *testing.T) {
	t.Parallel()
	source := jwksFile(t)
	synctest.Test(t, func(t *testing.T) {
		m := lenient(source)
		start := time.Now()
		at := func(d time.Duration) int64 { return start.Add(d).Unix() }
		text := token(map[string]any{"exp": at(time.Hour), "iat": at(31 * time.Second), "nbf": at(31 * time.Second)})

		p, err := authenticate(m, text)
		wantRefused(t, "31 s before nbf", p, err, problem.Unauthenticated)
		p, err = authenticate(m, token(map[string]any{"iat": at(31 * time.Second)}))
		wantRefused(t, "31 s before iat", p, err, problem.Unauthenticated)
		pass(time.Second)
		if p, err = authenticate(m, text); err != nil || !p.Expires.Equal(start.Add(time.Hour+30*time.Second)) {
			t.Fatalf("30 s before nbf and iat: got %+v %v, want it taken until exp and the leeway", p, err)
		}
		pass(time.Until(start.Add(time.Hour + 29*time.Second)))
		if known, err := authenticate(m, text); err != nil || known != p {
			t.Errorf("29 s after exp, known: got %v %v, want it taken", known, err)
		}
		if _, err := authenticate(lenient(source), text); err != nil {
			t.Errorf("29 s after exp, new: got %v, want it taken", err)
		}
		pass(time.Second)
		p, err = authenticate(m, text)
		wantRefused(t, "30 s after exp, known", p, err, problem.AuthExpired)
		p, err = authenticate(lenient(source), text)
		wantRefused(t, "30 s after exp, new", p, err, problem.AuthExpired)
		if entries, _ := m.Cached(); entries != 0 {
			t.Errorf("%d tokens are kept that have expired", entries)
		}
	})
}

// lenient is a jwt method with a leeway of 30 seconds that knows no token yet.
func lenient(source authn.KeySource) *authn.JWT {
	return authn.NewJWT(authn.JWTOptions{Issuer: issuer, Audience: audience, Keys: source, Leeway: 30 * time.Second})
}
