package authn_test

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// provider publishes a JWK Set as a real HTTP server, and counts who asks.
type provider struct {
	*httptest.Server
	hits   atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.publish(goodSet())
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.hits.Add(1)
	(*p.answer.Load())(w, r)
}

func (p *provider) publish(set string) {
	p.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
}

func (p *provider) serve(h http.HandlerFunc) { p.answer.Store(&h) }

// fetching is a jwt method whose keys the provider publishes, with Run under way until the test's end.
func fetching(t *testing.T, o authn.JWKSURLOptions) *authn.Chain {
	t.Helper()
	o.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	source, err := authn.NewJWKSURL(o)
	if err != nil {
		t.Fatal(err)
	}
	chain := authn.New(method(source))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { chain.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return chain
}

// eventually asks until the token is taken, or refused.
func eventually(t *testing.T, chain *authn.Chain, text string, taken bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := authenticate(chain, text)
		if (err == nil) == taken {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("got %v for 20 s, want it taken: %v", err, taken)
		}
	}
}

func withKid(kid string) string {
	return forge("ES256", theKeys().ec, `{"alg":"ES256","kid":"`+kid+`"}`, toJSON(claims(nil)))
}

// TestAFloodOfUnknownKeysIsOneFetch is scorecard E5, with the default cooldown.
func TestAFloodOfUnknownKeysIsOneFetch(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL})
	eventually(t, chain, token(nil), true)
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for i := range 1000 {
				p, err := authenticate(chain, withKid("unknown"+strings.Repeat("x", i%100)))
				if i%100 == 0 {
					wantRefused(t, "unknown kid", p, err, problem.Unauthenticated)
					if _, err := authenticate(chain, token(map[string]any{"jti": i})); err != nil {
						t.Errorf("a good token during the flood: %v", err)
					}
				}
			}
		})
	}
	flood.Wait()
	if hits := idp.hits.Load(); hits > 2 {
		t.Errorf("%d fetches for 8,000 unknown keys, want at most 2", hits)
	}
}

// TestCallersWhoWaitShareOneFetch: after the cooldown, all who show a new key wait for the same fetch and are taken.
func TestCallersWhoWaitShareOneFetch(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: time.Nanosecond})
	eventually(t, chain, token(nil), true)
	before := idp.hits.Load()
	gate := make(chan struct{})
	set := setOf(jwkOf(theKeys().ec.Public(), "new", "ES256"))
	idp.serve(func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		_, _ = w.Write([]byte(set))
	})
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if _, err := authenticate(chain, withKid("new")); err != nil {
				t.Errorf("got %v, want the new key taken up", err)
			}
		})
	}
	idp.awaitHits(t, before+1)
	close(gate)
	callers.Wait()
	// One that came between the end of the fetch and the next look at the set may have asked for another.
	if n := idp.hits.Load() - before; n > 2 {
		t.Errorf("%d fetches for 50 callers with one new key, want one", n)
	}
}

// awaitHits waits until so many fetches have begun.
func (p *provider) awaitHits(t *testing.T, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for p.hits.Load() < n {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d fetches, want %d", p.hits.Load(), n)
		}
	}
}

// TestKeysAreRotated is scorecard E7: a new key is taken up when it is first seen, one that was taken back is refused after
// the next fetch, and so are the tokens that were known by it.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: time.Millisecond, Refresh: 20 * time.Millisecond})
	old, fresh := token(nil), withKid("new")
	eventually(t, chain, old, true)
	p, err := authenticate(chain, fresh)
	wantRefused(t, "a key before it is published", p, err, problem.Unauthenticated)
	k := theKeys()
	idp.publish(setOf(jwkOf(k.ec.Public(), "ec", "ES256"), jwkOf(k.ec.Public(), "new", "ES256")))
	eventually(t, chain, fresh, true)
	if _, err := authenticate(chain, old); err != nil {
		t.Errorf("the old key beside the new one: got %v, want it taken", err)
	}
	idp.publish(setOf(jwkOf(k.ec.Public(), "new", "ES256")))
	eventually(t, chain, old, false)
	if _, err := authenticate(chain, fresh); err != nil {
		t.Errorf("the new key alone: got %v, want it taken", err)
	}
	// The same name with another key is another key.
	idp.publish(setOf(jwkOf(k.ed.Public(), "new", "EdDSA")))
	eventually(t, chain, fresh, false)
}

// TestAProviderThatFailsLeavesTheKeysAsTheyWere is scorecard E6.
func TestAProviderThatFailsLeavesTheKeysAsTheyWere(t *testing.T) {
	t.Parallel()
	k := theKeys()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		_, _ = w.Write([]byte(setOf(jwkOf(k.attacker.Public(), "rsa", "RS256"))))
	}))
	t.Cleanup(other.Close)
	var written atomic.Int64
	text := func(set string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) }
	}
	evil := setOf(jwkOf(k.attacker.Public(), "rsa", "RS256"), jwkOf(k.ec.Public(), "ec", "ES256"))
	for name, answer := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"404 with a set": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(evil))
		},
		"a cut connection":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a redirect elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"a redirect to itself": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			for {
				n, err := w.Write(make([]byte, 64<<10))
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		},
		"too long":      text(evil + strings.Repeat(" ", 2<<20)),
		"no JSON":       text("<html>"),
		"nothing":       text(""),
		"no keys":       text(`{}`),
		"keys twice":    text(`{"keys":[],"keys":` + toJSON([]any{jwkOf(k.attacker.Public(), "rsa", "RS256")}) + `}`),
		"an empty set":  text(setOf()),
		"a kid twice":   text(setOf(jwkOf(k.attacker.Public(), "rsa", "RS256"), jwkOf(k.ec.Public(), "ec", "ES256"), jwkOf(k.ed.Public(), "ec", "EdDSA"))),
		"a secret":      text(setOf(jwkOf(k.ec.Public(), "ec", "ES256"), map[string]any{"kty": "oct", "k": b64(string(k.secret)), "kid": "s", "alg": "HS256"})),
		"only weak key": text(setOf(map[string]any{"kty": "RSA", "kid": "ec", "alg": "RS256", "n": b64(strings.Repeat("\xff", 128)), "e": "AQAB"})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := newProvider(t)
			chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: 5 * time.Millisecond, Refresh: 5 * time.Millisecond})
			eventually(t, chain, token(nil), true)
			idp.serve(answer)
			idp.awaitHits(t, idp.hits.Load()+4)
			if _, err := authenticate(chain, token(map[string]any{"jti": name})); err != nil {
				t.Errorf("got %v, want the former keys to count", err)
			}
			p, err := authenticate(chain, forge("RS256", k.attacker, `{"alg":"RS256","kid":"rsa"}`, toJSON(claims(nil))))
			wantRefused(t, "the attacker's token", p, err, problem.Unauthenticated)
			idp.publish(setOf(jwkOf(k.ec.Public(), "ec2", "ES256")))
			eventually(t, chain, withKid("ec2"), true)
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Load(); n != 0 {
			t.Errorf("the other host was asked %d times, want never", n)
		}
		if n := written.Load(); n == 0 || n > 512<<20 {
			t.Errorf("%d bytes were taken of answers without end", n)
		}
	})
}

// TestASlowProviderHoldsNobodyForLong: callers with unknown keys leave when their time is up, known keys do not notice.
func TestASlowProviderHoldsNobodyForLong(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: time.Nanosecond, Timeout: 300 * time.Millisecond})
	eventually(t, chain, token(nil), true)
	idp.serve(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	before := idp.hits.Load()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	p, err := chain.Authenticate(ctx, authn.Credentials{Authorization: "Bearer " + withKid("x")})
	wantRefused(t, "an impatient caller with an unknown key", p, err, problem.Unauthenticated)
	idp.awaitHits(t, before+1)
	if _, err := authenticate(chain, token(map[string]any{"jti": "1"})); err != nil {
		t.Errorf("a known key during the fetch: %v", err)
	}
	begin := time.Now()
	p, err = authenticate(chain, withKid("y"))
	wantRefused(t, "a patient caller with an unknown key", p, err, problem.Unauthenticated)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("waited %v, want no longer than a fetch may take", took)
	}
}

// TestOnlySoManyWait: whoever comes when a thousand wait for a slow provider is told at once.
func TestOnlySoManyWait(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	gate := make(chan struct{})
	idp.serve(func(http.ResponseWriter, *http.Request) { <-gate })
	source, err := authn.NewJWKSURL(authn.JWKSURLOptions{URL: idp.URL, Algorithms: []string{"ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { source.Run(ctx) })
	idp.awaitHits(t, 1)
	_, most := source.Waiting()
	for range most {
		running.Go(func() { source.Renew(ctx) })
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for now := 0; now < most; now, _ = source.Waiting() {
		<-tick.C
	}
	if set := source.Renew(t.Context()); set != nil {
		t.Errorf("got %v, want no keys", set)
	}
	if now, _ := source.Waiting(); now != most {
		t.Errorf("%d wait after one more has come and gone, want %d: it waited", now, most)
	}
	cancel()
	close(gate)
	running.Wait()
	if now, _ := source.Waiting(); now != 0 {
		t.Errorf("%d wait when all is over", now)
	}
}

func TestRedirectsStayWithTheHost(t *testing.T) {
	t.Parallel()
	from := &url.URL{Scheme: "https", Host: "id.example", Path: "/jwks"}
	for to, want := range map[url.URL]bool{
		{Scheme: "https", Host: "id.example", Path: "/keys"}:      true,
		{Scheme: "http", Host: "id.example", Path: "/keys"}:       false,
		{Scheme: "https", Host: "id.example:8443", Path: "/jwks"}: false,
		{Scheme: "https", Host: "evil.example", Path: "/jwks"}:    false,
	} {
		if got := authn.Follows(from, &to); got != want {
			t.Errorf("%v: followed: %v, want %v", to, got, want)
		}
	}
}

// TestAnUnreachableProviderIsNotFatal: its tokens are refused, with a time to come back, until it is there.
func TestAnUnreachableProviderIsNotFatal(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	idp.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: 10 * time.Millisecond})
	idp.awaitHits(t, 2)
	p, err := authenticate(chain, token(nil))
	wantRefused(t, "no keys yet", p, err, problem.Unauthenticated)
	if fault, ok := errors.AsType[*problem.Error](err); !ok || fault.RetryAfter == 0 {
		t.Errorf("got %v, want a time to come back", err)
	}
	idp.publish(goodSet())
	eventually(t, chain, token(nil), true)
}

// TestWithoutRunNobodyWaits: a source that nobody runs has no keys, and says so at once.
func TestWithoutRunNobodyWaits(t *testing.T) {
	t.Parallel()
	source, err := authn.NewJWKSURL(authn.JWKSURLOptions{URL: "http://127.0.0.1:1/", Algorithms: []string{"ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := authenticate(method(source), token(nil))
	wantRefused(t, "not running", p, err, problem.Unauthenticated)
}

// TestRedirectsEnd: within the host they are followed, three at a time.
func TestRedirectsEnd(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	idp.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	log := &logged{}
	fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: time.Hour, Log: slog.New(slog.NewTextHandler(log, nil))})
	log.await(t, "could not be fetched")
	if hits := idp.hits.Load(); hits != 4 {
		t.Errorf("%d requests for one fetch, want 4", hits)
	}
	moved := newProvider(t)
	moved.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new" {
			_, _ = w.Write([]byte(goodSet()))
			return
		}
		http.Redirect(w, r, "/new", http.StatusFound)
	})
	eventually(t, fetching(t, authn.JWKSURLOptions{URL: moved.URL + "/old"}), token(nil), true)
}

func TestStaleKeysEnd(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	chain := fetching(t, authn.JWKSURLOptions{URL: idp.URL, Cooldown: 10 * time.Millisecond, Refresh: 10 * time.Millisecond, MaxStale: 100 * time.Millisecond})
	eventually(t, chain, token(nil), true)
	idp.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	eventually(t, chain, token(nil), false)
	idp.publish(goodSet())
	eventually(t, chain, token(nil), true)
}

// TestKeysOutliveTheConfiguration: what a former chain has fetched counts in the next one, for the same address only.
func TestKeysOutliveTheConfiguration(t *testing.T) {
	t.Parallel()
	idp := newProvider(t)
	entry := func(path string, algorithms ...string) authn.Options {
		return authn.Options{
			Kind: authn.KindJWT, Issuer: issuer, Audience: audience, Keys: authn.KeysOptions{JWKSURL: idp.URL + path, Algorithms: algorithms},
		}
	}
	former := opened(t, entry("/jwks", "ES256"))
	eventually(t, former, token(nil), true)
	idp.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for _, next := range []struct {
		entries []authn.Options
		taken   bool
	}{
		{[]authn.Options{{Kind: authn.KindMTLS}, entry("/jwks", "ES256"), {Kind: authn.KindEtcd}}, true},
		{[]authn.Options{entry("/other", "ES256")}, false},
		{[]authn.Options{entry("/jwks", "ES256", "RS256")}, false},
	} {
		chain, faults := authn.Open(next.entries, nil)
		if faults != nil {
			t.Fatal(faults)
		}
		chain.Adopt(former)
		if _, err := authenticate(chain, token(nil)); (err == nil) != next.taken {
			t.Errorf("%+v: got %v, want it taken: %v", next.entries, err, next.taken)
		}
	}
}

func TestJWKSOverTLSWithItsOwnAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(goodSet())) }))
	t.Cleanup(server.Close)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	entry := authn.Options{
		Kind: authn.KindJWT, Issuer: issuer, Audience: audience,
		Keys: authn.KeysOptions{JWKSURL: server.URL, JWKSCA: ca, Algorithms: []string{"ES256"}},
	}
	chain := opened(t, entry)
	eventually(t, chain, token(nil), true)
	entry.Keys.JWKSCA = ""
	p, err := authenticate(opened(t, entry), token(nil))
	wantRefused(t, "an authority that nobody named", p, err, problem.Unauthenticated)
}

// opened is a chain of the configuration, running until the test's end.
func opened(t *testing.T, entries ...authn.Options) *authn.Chain {
	t.Helper()
	return openedWith(t, nil, entries...)
}

func openedWith(t *testing.T, log *slog.Logger, entries ...authn.Options) *authn.Chain {
	t.Helper()
	chain, faults := authn.Open(entries, log)
	if faults != nil {
		t.Fatalf("faults: %q", faults)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { chain.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return chain
}
