package authn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authn"
)

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	source, err := authn.NewSecretKeys([]authn.FileKey{{Algorithm: "HS256", File: writeFile(t, "secret", string(theKeys().secret))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := method(source)
	const most, mostBytes = 100, 64 << 10
	if entries, bytes := m.Bound(most, mostBytes); entries != 10_000 || bytes != 16<<20 {
		t.Errorf("a cache holds %d tokens and %d bytes, want 10,000 and 16 MiB", entries, bytes)
	}
	mint := func(i, size int) string {
		return forge("HS256", theKeys().secret, `{"alg":"HS256"}`, toJSON(claims(map[string]any{"n": i, "x": strings.Repeat("x", size)})))
	}
	first := mint(0, 1)
	p, err := authenticate(m, first)
	if err != nil {
		t.Fatal(err)
	}
	show := func(from, to, size int) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := authenticate(m, mint(i, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	show(1, most, 1)
	if again, _ := authenticate(m, first); again != p {
		t.Error("a known token was verified again before the cache was full")
	}
	show(most, most+most/2, 1)
	if entries, _ := m.Cached(); entries != most {
		t.Errorf("%d tokens are kept, want %d", entries, most)
	}
	if again, _ := authenticate(m, first); again != p {
		t.Error("the token that was just used went before those that were not")
	}
	show(0, 40, 3000)
	if entries, bytes := m.Cached(); bytes > mostBytes || bytes < mostBytes-8<<10 || entries >= most {
		t.Errorf("%d tokens of %d bytes are kept, want at most %d bytes and not much less", entries, bytes, mostBytes)
	}
	if again, err := authenticate(m, first); again == p || err != nil {
		t.Errorf("the token that was not used for longest: got %p %v, want it verified anew", again, err)
	}
}

func TestClaimsKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	p, err := authenticate(method(jwksFile(t)), token(map[string]any{"uid": json.Number("9007199254740993")}))
	if err != nil || p.Claims["uid"] != json.Number("9007199254740993") {
		t.Errorf("got %v %v, want 9007199254740993", p.Claims["uid"], err)
	}
}

// BenchmarkVerifyCached is what a request with a known token costs.
func BenchmarkVerifyCached(b *testing.B) {
	m, text := benchmark(b)
	ctx := context.Background() //nolint:forbidigo // a benchmark has none
	c := authn.Credentials{Authorization: "Bearer " + text}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if p, err := m.Authenticate(ctx, c); err != nil || p == nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkVerifyNew is what the first request with a token costs.
func BenchmarkVerifyNew(b *testing.B) {
	m, _ := benchmark(b)
	texts := make([]string, 4096)
	for i := range texts {
		texts[i] = token(map[string]any{"jti": fmt.Sprint(i), "groups": []string{"a", "b"}})
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i%len(texts) == 0 {
			m, _ = benchmark(b)
		}
		if _, err := authenticate(m, texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func benchmark(b *testing.B) (m *authn.JWT, text string) {
	b.Helper()
	m, text = method(jwksFile(b)), token(map[string]any{"groups": []string{"a", "b"}, "pad": strings.Repeat("x", 500)})
	if _, err := authenticate(m, text); err != nil {
		b.Fatal(err)
	}
	return m, text
}

// TestAKnownTokenCostsNoMemory guards what BenchmarkVerifyCached measures.
func TestAKnownTokenCostsNoMemory(t *testing.T) { //nolint:paralleltest // it counts allocations
	m := method(jwksFile(t))
	ctx, c := t.Context(), authn.Credentials{Authorization: "Bearer " + token(nil)}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Authenticate(ctx, c); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a known token, want none", n)
	}
}
