package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keyQuery(keys ...string) []string {
	pairs := make([]string, 0, 2*len(keys))
	for _, k := range keys {
		pairs = append(pairs, "key", k)
	}
	return pairs
}

func TestSingleKeysAreOneReadInTheRequestsOrder(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &tapped{Backend: g.store}
	g = g.through(t, store)
	g.put(t, "a", "b/c", "\xff\xfe", "a//b")
	store.taken()
	l := g.list(t, keyQuery("\xff\xfe", "none", "a", "\xffno", "b/c", "a", "a//b", "none")...)
	if diff := cmp.Diff([]string{"\xff\xfe", "a", "b/c", "a//b"}, keysOf(t, l)); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	var missing []string
	for _, m := range l.Missing {
		missing = append(missing, keyOf(t, m))
	}
	if diff := cmp.Diff([]string{"none", "\xffno"}, missing); diff != "" {
		t.Errorf("missing keys differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"txn": 1}, store.taken()); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
	l = g.list(t, append(keyQuery("a", "b"), "encoding", "base64", "keys_only", "true")...)
	if len(l.KVs) != 1 || l.KVs[0]["key_base64"] != "YQ==" || l.KVs[0]["value_base64"] != nil || l.Missing[0]["key_base64"] != "Yg==" {
		t.Errorf("base64 without values: got %+v", l)
	}
	past := g.list(t, "key", "a").Revision
	g.put(t, "late")
	l = g.list(t, append(keyQuery("a", "late"), "revision", fmt.Sprint(past))...)
	if len(l.KVs) != 1 || len(l.Missing) != 1 || l.Revision != past {
		t.Errorf("at a past revision: got %+v", l)
	}
}

func TestUpToAHundredAndTwentyEightKeys(t *testing.T) {
	t.Parallel()
	g := start(t)
	keys := numbered("k", 129)
	g.put(t, keys...)
	if l := g.list(t, keyQuery(keys[:128]...)...); !slices.Equal(keysOf(t, l), keys[:128]) {
		t.Errorf("128 keys: got %d", len(l.KVs))
	}
	g.do(t, "GET", q(keyQuery(keys...)...), "").problem(t, 400, "invalid_parameter")
	g.do(t, "GET", "/v1/kv?key=", "").problem(t, 400, "invalid_parameter")
	g.do(t, "GET", "/v1/kv?key=a&key=%00b", "").problem(t, 403, "reserved")
	g.put(t, "\x00b")
	if l := g.list(t, "key", "\x00b", "state", "true"); len(l.KVs) != 1 {
		t.Errorf("a reserved key with state: got %+v", l)
	}
	long := strings.Repeat("x", 3000)
	g.put(t, long)
	if l := g.list(t, "key", long, "key", "snö"); len(l.KVs) != 1 || l.Missing[0]["key"] != "snö" {
		t.Errorf("awkward keys: got %d, missing %v", len(l.KVs), l.Missing)
	}
}
