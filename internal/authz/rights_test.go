package authz_test

import (
	"bytes"
	"testing"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// FuzzCover holds the intervals against the grants themselves, key by key.
func FuzzCover(f *testing.F) {
	f.Add([]byte("a/"), []byte("b/"), []byte("a/1"), []byte("a0"), []byte("a/x"))
	f.Add([]byte(""), []byte("\xff"), []byte("\xff\xff"), []byte("\x00"), []byte("\xff\xff\x01"))
	f.Add([]byte("a"), []byte("b"), []byte("a"), []byte("c"), []byte("b\xff"))
	f.Add([]byte("\xff"), []byte("a"), []byte("a"), []byte(""), []byte("a\x00"))
	f.Fuzz(func(t *testing.T, p1, p2, key, end, probe []byte) {
		grants := []authz.Grant{{Verbs: authz.Read, Prefix: p1}, {Verbs: authz.Read | authz.Write, Prefix: p2}}
		mayRead := func(k []byte) bool { return bytes.HasPrefix(k, p1) || bytes.HasPrefix(k, p2) }
		if got, want := authz.Cover(grants, authz.Read, probe, nil), mayRead(probe); got != want {
			t.Errorf("one key %q with %q and %q: %t, want %t", probe, p1, p2, got, want)
		}
		if got, want := authz.Cover(grants, authz.Read|authz.Write, probe, nil), bytes.HasPrefix(probe, p2); got != want {
			t.Errorf("both verbs on %q with %q: %t, want %t", probe, p2, got, want)
		}
		inside := bytes.Compare(probe, key) >= 0 && (string(end) == "\x00" || bytes.Compare(probe, end) < 0)
		if len(end) > 0 && inside && authz.Cover(grants, authz.Read, key, end) && !mayRead(probe) {
			t.Errorf("[%q, %q) is granted with %q and %q, but %q in it is not", key, end, p1, p2, probe)
		}
	})
}

func TestGrantsThatTouchCoverTheRangeOverBoth(t *testing.T) {
	t.Parallel()
	grants := []authz.Grant{
		{Verbs: authz.Read, Prefix: []byte("b")},
		{Verbs: authz.Read, Prefix: []byte("a")},
		{Verbs: authz.Read, Prefix: []byte("a/x")},
		{Verbs: authz.Write},
	}
	for _, c := range []struct {
		verb     authz.Verb
		key, end string
		want     bool
	}{
		{authz.Read, "a", "c", true},
		{authz.Read, "a/", "b5", true},
		{authz.Read, "a", "c\x00", false},
		{authz.Read, "", "b", false},
		{authz.Read, "c", "", false},
		{authz.Read, "b\xff\xff", "", true},
		{authz.Read, "a", "\x00", false},
		{authz.Write, "", "\x00", true},
		{authz.Write, "z", "\x00", true},
		{authz.Read | authz.Write, "a", "b", true},
		{authz.Admin, "a", "", false},
	} {
		if got := authz.Cover(grants, c.verb, []byte(c.key), []byte(c.end)); got != c.want {
			t.Errorf("%s on [%q, %q): %t, want %t", c.verb, c.key, c.end, got, c.want)
		}
	}
}
