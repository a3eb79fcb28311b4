package authn_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

func TestGoodTokensOfEachKeyNameTheirCaller(t *testing.T) {
	t.Parallel()
	k := theKeys()
	m := method(jwksFile(t))
	for name, text := range map[string]string{
		"RS256":                       forge("RS256", k.rsa, `{"alg":"RS256","kid":"rsa"}`, toJSON(claims(nil))),
		"ES256":                       token(nil),
		"EdDSA":                       forge("EdDSA", k.ed, `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, toJSON(claims(nil))),
		"no kid, one key fits":        forge("ES256", k.ec, `{"alg":"ES256"}`, toJSON(claims(nil))),
		"access token":                forge("ES256", k.ec, `{"alg":"ES256","kid":"ec","typ":"at+jwt"}`, toJSON(claims(nil))),
		"typ in full and in capitals": forge("ES256", k.ec, `{"alg":"ES256","kid":"ec","typ":"application/AT+JWT"}`, toJSON(claims(nil))),
	} {
		p, err := authenticate(m, text)
		if err != nil {
			t.Errorf("%s: got %v, want it taken", name, err)
			continue
		}
		if p.Kind != authn.KindJWT || p.Name != "alice" || p.Issuer != issuer || p.Claims["org"] != "hush-hush" || p.Expires.IsZero() || p.Digest == [32]byte{} {
			t.Errorf("%s: got %+v", name, p)
		}
		if again, err := authenticate(m, text); err != nil || again != p {
			t.Errorf("%s, again: got %p %v, want the same principal %p", name, again, err, p)
		}
	}
}

// TestForgedSignatures is about tokens that would be good, had the issuer signed them: RFC 8725, sections 2.1 and 3.1.
func TestForgedSignatures(t *testing.T) {
	t.Parallel()
	k := theKeys()
	m := method(jwksFile(t))
	payload := toJSON(claims(nil))
	bad := map[string]string{
		"signed by another":                 forge("RS256", k.attacker, `{"alg":"RS256","kid":"rsa"}`, payload),
		"RS384 with the key of RS256":       forge("RS384", k.rsa, `{"alg":"RS384","kid":"rsa"}`, payload),
		"PS256 with the key of RS256":       forge("PS256", k.rsa, `{"alg":"PS256","kid":"rsa"}`, payload),
		"PS256 signature said to be RS256":  forge("PS256", k.rsa, `{"alg":"RS256","kid":"rsa"}`, payload),
		"RS256 signature said to be PS256":  forge("RS256", k.rsa, `{"alg":"PS256","kid":"rsa"}`, payload),
		"ES256 with the kid of RS256":       forge("ES256", k.ec, `{"alg":"ES256","kid":"rsa"}`, payload),
		"RS256 with the kid of ES256":       forge("RS256", k.rsa, `{"alg":"RS256","kid":"ec"}`, payload),
		"ES384 with another key":            forge("ES384", k.ec384, `{"alg":"ES384","kid":"ec"}`, payload),
		"ES384 signature said to be ES256":  forge("ES384", k.ec384, `{"alg":"ES256","kid":"ec"}`, payload),
		"EdDSA signature said to be ES256":  forge("EdDSA", k.ed, `{"alg":"ES256","kid":"ec"}`, payload),
		"ES256 with r = s = 0":              signedWith(`{"alg":"ES256","kid":"ec"}`, payload, make([]byte, 64)),
		"ES256 with an empty half":          signedWith(`{"alg":"ES256","kid":"ec"}`, payload, make([]byte, 32)),
		"RS256 with a signature of zeroes":  signedWith(`{"alg":"RS256","kid":"rsa"}`, payload, make([]byte, 256)),
		"RS256 with a signature of one":     signedWith(`{"alg":"RS256","kid":"rsa"}`, payload, append(make([]byte, 255), 1)),
		"EdDSA with a signature of zeroes":  signedWith(`{"alg":"EdDSA","kid":"ed"}`, payload, make([]byte, 64)),
		"claims changed after signing":      swapPart(token(nil), 1, b64(toJSON(claims(map[string]any{"sub": "evil"})))),
		"header changed after signing":      swapPart(token(nil), 0, b64(`{"alg":"ES256","kid":"ec","x":1}`)),
		"unknown algorithm":                 forge("ES256", k.ec, `{"alg":"XS256","kid":"ec"}`, payload),
		"algorithm in small letters":        forge("ES256", k.ec, `{"alg":"es256","kid":"ec"}`, payload),
		"algorithm is a number":             forge("ES256", k.ec, `{"alg":1,"kid":"ec"}`, payload),
		"algorithm is a list":               forge("ES256", k.ec, `{"alg":["ES256"],"kid":"ec"}`, payload),
		"no algorithm":                      forge("ES256", k.ec, `{"kid":"ec"}`, payload),
		"no kid, and no key of that kind":   forge("ES384", k.ec384, `{"alg":"ES384"}`, payload),
		"another key's kid, no key for alg": forge("HS256", k.secret, `{"alg":"HS256","kid":"ec"}`, payload),
	}
	for _, none := range []string{"none", "None", "nOnE", "NONE", "", " none"} {
		header := toJSON(map[string]string{"alg": none, "kid": "ec"})
		bad["alg "+none+" without signature"] = b64(header) + "." + b64(payload) + "."
		bad["alg "+none+" with a signature"] = signedWith(header, payload, []byte("x"))
		bad["alg "+none+" without kid"] = signedWith(toJSON(map[string]string{"alg": none}), payload, []byte("x"))
	}
	for name, secret := range publicBytes(t) {
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			for _, kid := range []string{`,"kid":"rsa"`, `,"kid":"ec"`, `,"kid":"ed"`, ""} {
				bad[alg+" with "+name+kid] = forge(alg, secret, `{"alg":"`+alg+`"`+kid+`}`, payload)
			}
		}
	}
	for name, text := range bad {
		p, err := authenticate(m, text)
		wantRefused(t, name, p, err, problem.Unauthenticated)
	}
	if entries, _ := m.Cached(); entries != 0 {
		t.Errorf("%d forged tokens are kept, want none", entries)
	}
}

// publicBytes are what everybody knows of the issuer's keys, to be taken for a secret.
func publicBytes(t *testing.T) map[string][]byte {
	t.Helper()
	k := theKeys()
	der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)
	rsaPEM := publicPEM(t, k.rsa.Public())
	return map[string][]byte{
		"RSA PEM": []byte(rsaPEM), "RSA PEM trimmed": []byte(strings.TrimSpace(rsaPEM)), "RSA DER": der, "RSA PKCS #1 DER": pkcs1,
		"RSA PKCS #1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"RSA modulus":     k.rsa.N.Bytes(),
		"EC PEM":          []byte(publicPEM(t, k.ec.Public())),
		"EC JWK":          []byte(toJSON(jwkOf(k.ec.Public(), "ec", "ES256"))),
		"Ed25519 bytes":   k.ed.Public().(ed25519.PublicKey),
		"JWK Set":         []byte(goodSet()),
		"empty":           {},
	}
}

func signedWith(header, payload string, signature []byte) string {
	return b64(header) + "." + b64(payload) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func swapPart(text string, part int, with string) string {
	parts := strings.Split(text, ".")
	parts[part] = with
	return strings.Join(parts, ".")
}

// TestAHighSIsTheSameSignature shows why the other half of an ECDSA signature does no harm: RFC 7518 allows both, signers make
// both, and nothing is known by a token's text but what the token says.
func TestAHighSIsTheSameSignature(t *testing.T) {
	t.Parallel()
	m := method(jwksFile(t))
	text := token(nil)
	signature, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[2])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(theKeys().ec.Params().N, s).FillBytes(signature[32:])
	first, err1 := authenticate(m, text)
	second, err2 := authenticate(m, swapPart(text, 2, base64.RawURLEncoding.EncodeToString(signature)))
	if err1 != nil || err2 != nil || first.Name != second.Name || !first.Expires.Equal(second.Expires) {
		t.Errorf("got %+v %v and %+v %v, want the same caller", first, err1, second, err2)
	}
}

// TestKidsAreNamesAndNothingElse is scorecard E3.
func TestKidsAreNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	m := method(jwksFile(t))
	for _, kid := range []string{
		`"../../dev/null"`, `"/dev/null"`, `"ec' OR '1'='1"`, `"ec\u0000"`, `"ec\n"`, `""`, `null`, `1`, `["ec"]`, `{"kid":"ec"}`, `"EC"`, `"ec "`,
		`"` + strings.Repeat("k", 5000) + `"`, `"http://127.0.0.1:1/jwks"`, `"\ud800"`,
	} {
		p, err := authenticate(m, forge("ES256", theKeys().ec, `{"alg":"ES256","kid":`+kid+`}`, toJSON(claims(nil))))
		wantRefused(t, "kid "+kid, p, err, problem.Unauthenticated)
	}
}

// TestKeysThatATokenBringsAreNotUsed is scorecard E4: whatever a header points to is neither believed nor fetched.
func TestKeysThatATokenBringsAreNotUsed(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	trap, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	k := theKeys()
	url := "http://" + trap.Addr().String() + "/jwks"
	m := method(jwksFile(t))
	for _, header := range []map[string]any{
		{"jku": url},
		{"x5u": url},
		{"jwk": jwkOf(k.attacker.Public(), "rsa", "RS256")},
		{"x5c": []string{base64.StdEncoding.EncodeToString([]byte("certificate"))}},
		{"x5t": "x", "x5t#S256": "x"},
	} {
		for _, kid := range []any{"rsa", "unknown", nil} {
			header["alg"] = "RS256"
			header["kid"] = kid
			if kid == nil {
				delete(header, "kid")
			}
			p, err := authenticate(m, forge("RS256", k.attacker, toJSON(header), toJSON(claims(nil))))
			wantRefused(t, toJSON(header), p, err, problem.Unauthenticated)
		}
		header["kid"] = "rsa"
		if p, err := authenticate(m, forge("RS256", k.rsa, toJSON(header), toJSON(claims(nil)))); err != nil || p == nil {
			t.Errorf("%v with the issuer's signature: got %v, want it taken", header, err)
		}
	}
	_ = trap.Close()
	<-ended
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made to where the tokens point, want none", n)
	}
}

// TestMisshapenTokens is scorecard E9: what is not one JWT in compact form, spelt in the one way there is.
func TestMisshapenTokens(t *testing.T) {
	t.Parallel()
	k := theKeys()
	m := method(jwksFile(t))
	good := token(nil)
	parts := strings.Split(good, ".")
	payload := toJSON(claims(nil))
	signed := func(header, payload string) string { return forge("ES256", k.ec, header, payload) }
	const header = `{"alg":"ES256","kid":"ec"}`
	inner := strings.TrimSuffix(payload, "}")
	for name, text := range map[string]string{
		"crit":                              signed(`{"alg":"ES256","kid":"ec","crit":["exp"]}`, payload),
		"empty crit":                        signed(`{"alg":"ES256","kid":"ec","crit":[]}`, payload),
		"b64 false":                         signed(`{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}`, payload),
		"b64 without crit":                  signed(`{"alg":"ES256","kid":"ec","b64":false}`, payload),
		"zip":                               signed(`{"alg":"ES256","kid":"ec","zip":"DEF"}`, payload),
		"enc":                               signed(`{"alg":"ES256","kid":"ec","enc":"A256GCM"}`, payload),
		"nested":                            signed(`{"alg":"ES256","kid":"ec","cty":"JWT"}`, b64(good)),
		"nested, without saying so":         signed(header, good),
		"typ of a logout token":             signed(`{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`, payload),
		"typ of a proof of possession":      signed(`{"alg":"ES256","kid":"ec","typ":"dpop+jwt"}`, payload),
		"typ is no string":                  signed(`{"alg":"ES256","kid":"ec","typ":["JWT"]}`, payload),
		"empty typ":                         signed(`{"alg":"ES256","kid":"ec","typ":""}`, payload),
		"encrypted, five parts":             good + ".AAAA.AAAA",
		"four parts":                        good + ".",
		"no signature":                      parts[0] + "." + parts[1] + ".",
		"no claims":                         parts[0] + ".." + parts[2],
		"no header":                         "." + parts[1] + "." + parts[2],
		"only dots":                         "..",
		"JSON serialisation, flattened":     `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"JSON serialisation":                `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"alg twice":                         signed(`{"alg":"none","kid":"ec","alg":"ES256"}`, payload),
		"kid twice":                         signed(`{"alg":"ES256","kid":"x","kid":"ec"}`, payload),
		"sub twice":                         signed(header, inner+`,"sub":"evil"}`),
		"aud twice":                         signed(header, inner+`,"aud":"etcdrest"}`),
		"exp twice":                         signed(header, inner+`,"exp":99999999999}`),
		"a member deep inside twice":        signed(header, inner+`,"x":[{"a":1,"a":2}]}`),
		"sub twice, once by an escape":      signed(header, inner+`,"s\u0075b":"evil"}`),
		"half a surrogate pair":             signed(header, inner+`,"tenant":"\ud800"}`),
		"halves in the wrong order":         signed(header, inner+`,"tenant":"\udc00\ud800"}`),
		"not UTF-8":                         signed(header, inner+",\"tenant\":\"\xff\"}"),
		"byte order mark":                   signed(header, "\ufeff"+payload),
		"something after the claims":        signed(header, payload+"{}"),
		"NUL after the claims":              signed(header, payload+"\x00"),
		"something after the header":        signed(header+"x", payload),
		"claims are an array":               signed(header, "["+payload+"]"),
		"claims are null":                   signed(header, "null"),
		"claims are empty":                  signed(header, " "),
		"header is a string":                signed(`"ES256"`, payload),
		"NaN":                               signed(header, inner+`,"x":NaN}`),
		"nested too deep":                   signed(header, inner+`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`),
		"line break at the end":             good + "\n",
		"line break at the start":           "\n" + good,
		"line break inside the claims":      parts[0] + "." + parts[1][:9] + "\n" + parts[1][9:] + "." + parts[2],
		"carriage return in the signature":  parts[0] + "." + parts[1] + "." + parts[2][:9] + "\r\n" + parts[2][9:],
		"space inside":                      parts[0] + ". " + parts[1] + "." + parts[2],
		"space at the end":                  good + " ",
		"tab at the end":                    good + "\t",
		"NUL at the end":                    good + "\x00",
		"padding":                           good + "==",
		"padding of the header":             signedPadded(header, payload),
		"spare bits set":                    good[:len(good)-1] + nextLetter(good[len(good)-1]),
		"standard base64":                   parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43),
		"two tokens":                        good + ", Bearer " + good,
		"another alphabet":                  strings.ReplaceAll(good, ".", "\u2024") + "..",
		"a million dots":                    strings.Repeat(".", 1<<20),
		"a header of 64 KiB":                signed(`{"alg":"ES256","kid":"ec","x":"`+strings.Repeat("x", 64<<10)+`"}`, payload),
		"more than 8 KiB":                   token(map[string]any{"x": strings.Repeat("x", 8<<10)}),
		"a megabyte of brackets":            signed(header, strings.Repeat("[", 1<<20)),
		"claims of brackets in eight kilos": signed(header, strings.Repeat("[", 5<<10)),
	} {
		begin := time.Now()
		p, err := authenticate(m, text)
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("%s: took %v, want less than 50 ms", name, took)
		}
		wantRefused(t, name, p, err, problem.Unauthenticated)
	}
}

// TestLongTokensCostNothing: what is too long is refused before anything is made of it.
func TestLongTokensCostNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	m := method(jwksFile(t))
	text := "Bearer " + strings.Repeat("a.", 1<<19)
	ctx := t.Context()
	allocations := testing.AllocsPerRun(20, func() {
		if _, err := m.Authenticate(ctx, authn.Credentials{Authorization: text}); err == nil {
			t.Error("taken")
		}
	})
	if allocations > 20 {
		t.Errorf("a megabyte of letters and dots: %v allocations, want a few for the error", allocations)
	}
}

// signedPadded signs a token whose parts are padded.
func signedPadded(header, payload string) string {
	signed := base64.URLEncoding.EncodeToString([]byte(header)) + "." + b64(payload)
	signature, err := jwt.SigningMethodES256.Sign(signed, theKeys().ec)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// nextLetter is the base64url letter whose last bit differs, which decodes to the same bytes for a careless decoder.
func nextLetter(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}
