package authn_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// FuzzToken shows Authorization values to a chain of everything. Nobody becomes a JWT's caller who does not show the one good
// token, letter by letter, and every refusal is a 401.
func FuzzToken(f *testing.F) {
	good := token(nil)
	header, rest, _ := strings.Cut(good, ".")
	f.Add("Bearer " + good)
	f.Add("bearer  " + good)
	f.Add(good)
	f.Add("Bearer " + good + "=")
	f.Add("Bearer " + good + "\n")
	f.Add("Bearer " + b64(`{"alg":"none"}`) + "." + rest)
	f.Add("Bearer " + header + "." + b64(`{"iss":"https://id.example","iss":"x"}`) + ".AAAA")
	f.Add(`Bearer {"payload":""}`)
	f.Add("Bearer a.b.c.d.e")
	f.Add("Bearer ..")
	f.Add("Basic cm9vdDpzZWNyZXQ=")
	f.Add("Basic !")
	f.Add("OTLLFHSTIXvUwZlb.42")
	f.Add("")
	chain := authn.New(authn.NewMTLS(""), method(jwksFile(f)), authn.NewEtcd(), authn.NewNone(true))
	f.Fuzz(func(t *testing.T, value string) {
		p, err := chain.Authenticate(t.Context(), shown(value, here))
		if (p == nil) != (err != nil) {
			t.Fatalf("got %+v and %v", p, err)
		}
		if err != nil {
			if code := problem.From(err).Code; code != problem.Unauthenticated && code != problem.AuthExpired {
				t.Fatalf("got %v, want a 401", err)
			}
			return
		}
		switch p.Kind {
		case authn.KindJWT:
			if text := strings.TrimLeft(value[len("Bearer "):], " "); text != good {
				t.Fatalf("%q is a caller: %+v", value, p)
			}
		case authn.KindEtcd:
			if (p.Token == "") == (p.User == "") || (p.Token != "" && !strings.HasSuffix(value, p.Token)) {
				t.Fatalf("%q: got %+v", value, p)
			}
		case authn.KindNone:
			if value != "" {
				t.Fatalf("%q is nobody in particular", value)
			}
		default:
			t.Fatalf("%q: got %+v", value, p)
		}
	})
}

// FuzzStrictObject: what is taken is what encoding/json reads, too, and it survives being written again.
func FuzzStrictObject(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":1,"a":2}`, `{"a":{"b":[1,2.5e3,null,true,"x"]}}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`, `{"a":"\\ud83d"}`, `{"\ude00":0}`,
		`{"a":1}{}`, `[{}]`, "{\"a\":\"\xff\"}", `{"a":[1,]}`, `{"a":1,}`, `{"a"}`, ` {"a":1} `, `{"a":01}`, `{"a":"\u00"}`, `{"a":"\\\ud83d\ude00"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := authn.StrictObject(text)
		if err != nil {
			return
		}
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
		if strings.ContainsRune(toJSON(got), '\ufffd') && !strings.Contains(string(text), "\ufffd") && !strings.Contains(strings.ToLower(string(text)), `\ufffd`) {
			t.Fatalf("%q: something was replaced: %v", text, got)
		}
	})
}
