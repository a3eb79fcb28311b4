package handlers_test

import (
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// TestRefusalsHaveAPace: the first refusals come at once, and then each after a moment, so that one who comes again and again
// over a connection does so at most some fifty times in a second. Others wait for nothing.
func TestRefusalsHaveAPace(t *testing.T) {
	t.Parallel()
	limited := tenant()
	limited.Limits = authz.Limits{RequestsPerSecond: 0.01, Burst: 1}
	limited.When.Names = []string{"limited"}
	g := startGuarded(t, limited, tenant())
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`, as("limited")).want(t, 201)
	for _, refusal := range []struct {
		who, code string
		status    int
	}{{as("limited"), "rate_limited", 429}, {"X-Nobody: 1", "unauthenticated", 401}} {
		began, refused := time.Now(), 0
		var last time.Duration
		for ; refused < 100_000 && last < 10*time.Millisecond; refused++ {
			sent := time.Now()
			a := g.do(t, "GET", "/v1/kv/k", "", refusal.who)
			a.problem(t, refusal.status, refusal.code)
			last = time.Since(sent)
		}
		if prompt := int(time.Since(began).Seconds()*200) + 400; refused > prompt {
			t.Errorf("%s: %d refusals came at once; want at most %d", refusal.code, refused, prompt)
		}
	}
	fastest := time.Hour
	for range 20 {
		sent := time.Now()
		g.do(t, "GET", "/v1/kv/k", "", as("op")).problem(t, 404, "key_not_found")
		fastest = min(fastest, time.Since(sent))
	}
	if fastest > 10*time.Millisecond {
		t.Errorf("a good request takes %v beside the refusals", fastest)
	}
}
