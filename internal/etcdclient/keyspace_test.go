package etcdclient_test

import (
	"bytes"
	"testing"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// in tells whether etcd's range [key, end) holds k, by etcd's own rules for the end.
func in(k, key, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(k, key)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(k, key) >= 0
	default:
		return bytes.Compare(k, key) >= 0 && bytes.Compare(k, end) < 0
	}
}

// checkBounds holds the arithmetic to its two promises, for one probe: a key is in the namespaced range exactly when it
// begins with the prefix and the rest is in the range that was asked for.
func checkBounds(t *testing.T, prefix, key, end, probe []byte) {
	t.Helper()
	if len(key) == 0 || len(probe) == 0 {
		return // etcd has no empty keys
	}
	k, e := etcdclient.Bounds(prefix, key, end)
	for _, candidate := range [][]byte{probe, append(bytes.Clone(prefix), probe...)} {
		rest, has := bytes.CutPrefix(candidate, prefix)
		want := has && len(rest) > 0 && in(rest, key, end)
		if got := in(candidate, k, e); got != want {
			t.Errorf("namespace %q: [%q, %q) became [%q, %q), which holds %q: %v; want %v", prefix, key, end, k, e, candidate, got, want)
		}
	}
}

func TestNamespaceBoundsHoldExactlyTheirKeys(t *testing.T) {
	t.Parallel()
	alphabet := []string{"", "\x00", "a", "b", "\xfe", "\xff", "a\x00", "a\xff", "a\xff\xff", "b\x00", "\xff\x00", "\xff\xff", "\xff\xff\xff"}
	for _, prefix := range alphabet {
		for _, key := range alphabet {
			for _, end := range alphabet {
				for _, probe := range alphabet {
					checkBounds(t, []byte(prefix), []byte(key), []byte(end), []byte(probe))
				}
			}
		}
	}
}

func FuzzNamespaceBounds(f *testing.F) {
	f.Add([]byte("a\xff"), []byte("k"), []byte("\x00"), []byte("b"))
	f.Add([]byte("\xff\xff"), []byte("\x00"), []byte("\x00"), []byte("\xff\xff\xff"))
	f.Add([]byte(""), []byte("a"), []byte("b"), []byte("aa"))
	f.Add([]byte("tenants/1/"), []byte("a"), []byte(""), []byte("a"))
	f.Fuzz(func(t *testing.T, prefix, key, end, probe []byte) {
		checkBounds(t, prefix, key, end, probe)
	})
}
