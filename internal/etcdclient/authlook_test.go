package etcdclient_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// TestALookTellsWhatCanHaveChanged, look by look, by what those are told who ask.
func TestALookTellsWhatCanHaveChanged(t *testing.T) {
	t.Parallel()
	told := func(revision uint64) func(context.Context) (uint64, error) {
		return func(context.Context) (uint64, error) { return revision, nil }
	}
	fails := func(code problem.Code) func(context.Context) (uint64, error) {
		return func(context.Context) (uint64, error) { return 0, problem.New(code, "no") }
	}
	type asked = []func(context.Context) (uint64, error)
	var look etcdclient.AuthLook
	for n, c := range []struct {
		what    string
		ask     asked
		changed bool
	}{
		{"authentication is off", asked{told(0)}, false},
		{"it is on", asked{told(7)}, true},
		{"once more, for members that are behind", asked{told(7)}, true},
		{"nothing has happened", asked{told(7)}, false},
		{"the second is told", asked{fails(problem.Unauthenticated), told(7)}, false},
		{"and that it is another", asked{fails(problem.AuthExpired), told(8)}, true},
		{"once more", asked{told(8), fails(problem.Internal)}, true},
		{"nobody asks", nil, false},
		{"etcd is away", asked{fails(problem.Unavailable), fails(problem.Unavailable)}, false},
		{"all are refused", asked{fails(problem.Unavailable), fails(problem.AuthExpired)}, true},
		{"by a right that is lacking", asked{fails(problem.PermissionDenied)}, true},
		{"they have gone", asked{told(8)}, false},
		{"etcd does not tell", asked{fails(problem.NotSupported)}, true},
		{"it still does not", asked{fails(problem.NotSupported)}, true},
		{"authentication is off again", asked{told(0)}, true},
	} {
		if got := look.Changed(t.Context(), slices.Values(c.ask)); got != c.changed {
			t.Errorf("look %d: %s: got %t, want %t", n, c.what, got, c.changed)
		}
	}
	look.Changed(t.Context(), slices.Values(asked{told(0)}))
	look.Again()
	if !look.Changed(t.Context(), slices.Values(asked{told(0)})) || look.Changed(t.Context(), slices.Values(asked{told(0)})) {
		t.Error("after Again: want one look that tells a change")
	}
	late, cancel := context.WithCancel(t.Context())
	asks := 0
	if look.Changed(late, slices.Values(slices.Repeat(asked{func(context.Context) (uint64, error) {
		asks++
		cancel()
		return 0, errors.New("late")
	}}, 3))) || asks != 1 {
		t.Errorf("when the time is over: asked %d times, want once, and no change", asks)
	}
}
