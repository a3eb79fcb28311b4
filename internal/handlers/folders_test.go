package handlers_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// level is what a listing with a delimiter must show: worked out key by key.
func level(keys []string, prefix, delimiter string) (kvs, folders []string) {
	kvs, folders = []string{}, []string{}
	for _, k := range keys {
		head, _, found := strings.Cut(k[len(prefix):], delimiter)
		switch folder := prefix + head + delimiter; {
		case !found:
			kvs = append(kvs, k)
		case len(folders) == 0 || folders[len(folders)-1] != folder:
			folders = append(folders, folder)
		}
	}
	return kvs, folders
}

func foldersOf(t testing.TB, pages ...listed) []string {
	t.Helper()
	folders := []string{}
	for _, p := range pages {
		for _, f := range p.Prefixes {
			folders = append(folders, nameOf(t, "prefix", f))
		}
	}
	return folders
}

func TestFoldersOfOneLevel(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		g.put(t, slices.Concat(numbered("top/big/", 300), numbered("top/big/deep/", 50), []string{
			"top", "top/", "top/a", "top/b/1", "top/b/2", "top/big", "top/c//x", "top/d/", "top/z", "tops/x",
		})...)
		l := g.list(t, "prefix", "top/", "delimiter", "/")
		if diff := cmp.Diff([]string{"top/", "top/a", "top/big", "top/z"}, keysOf(t, l)); diff != "" {
			t.Errorf("keys differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"top/b/", "top/big/", "top/c/", "top/d/"}, foldersOf(t, l)); diff != "" {
			t.Errorf("folders differ (-want +got):\n%s", diff)
		}
		for limit := 1; limit < 9; limit++ {
			pages := g.pages(t, func() { g.put(t, "top/big/new", "top/newer") }, "prefix", "top/", "delimiter", "/", "limit", fmt.Sprint(limit))
			for i, p := range pages {
				if n := len(p.KVs) + len(p.Prefixes); n > limit || (n < limit && i < len(pages)-1) {
					t.Errorf("limit %d counts keys and folders: page %d has %d", limit, i+1, n)
				}
			}
			if got := append(keysOf(t, pages...), foldersOf(t, pages...)...); len(got) != 8 {
				t.Errorf("limit %d: got %q", limit, got)
			}
			if _, err := g.oracle.Txn(t.Context()).Then(clientv3.OpDelete("top/big/new"), clientv3.OpDelete("top/newer")).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFoldersAgreeWithEveryKeyOfTheOfficialClient(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		r := rand.New(rand.NewPCG(5, 6))
		set := map[string]bool{}
		for range 250 {
			k := randomKey(r)
			set[k] = true
			if r.IntN(25) == 0 { // a folder that is worth a jump
				for i := range 60 {
					set[fmt.Sprintf("%s/%02d", k, i)] = true
				}
			}
		}
		g.put(t, slices.Collect(maps.Keys(set))...)
		for range 50 {
			prefix, delimiter := "", []string{"/", "\xff", "a", "ab", "\x00", "/\xff"}[r.IntN(6)]
			if r.IntN(3) > 0 {
				if prefix = randomKey(r); prefix[0] == 0 {
					continue
				}
				prefix = prefix[:r.IntN(min(len(prefix), 2)+1)]
			}
			kvs, folders := level(g.stored(t, prefix, clientv3.WithPrefix()), prefix, delimiter)
			query := []string{"prefix", prefix, "delimiter", delimiter, "limit", fmt.Sprint(5 + r.IntN(60))}
			pages := g.pages(t, nil, query...)
			if diff := cmp.Diff(kvs, keysOf(t, pages...)); diff != "" {
				t.Fatalf("%q: keys differ (-want +got):\n%s", query, diff)
			}
			if diff := cmp.Diff(folders, foldersOf(t, pages...)); diff != "" {
				t.Fatalf("%q: folders differ (-want +got):\n%s", query, diff)
			}
		}
	})
}

func TestFoldersOfARangeAreThoseAtTheTop(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "a/1", "a/5", "a/6", "b", "c/1", "d/1")
	pages := g.pages(t, nil, "from", "a/5", "to", "d/", "delimiter", "/", "limit", "1")
	if diff := cmp.Diff([]string{"a/", "c/"}, foldersOf(t, pages...)); diff != "" {
		t.Errorf("folders differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, keysOf(t, pages...)); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
}

func TestFoldersCostCallsByFolderAndNotByKey(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, store *tapped) {
		t.Helper()
		const folders = 20
		var small, large []string
		for f := range folders {
			small = append(small, numbered(fmt.Sprintf("small/%02d/", f), 100)...)
			large = append(large, numbered(fmt.Sprintf("large/%02d/", f), 1000)...)
		}
		g.put(t, slices.Concat(small, large)...)
		calls := map[string]int{}
		for _, prefix := range []string{"small/", "large/"} {
			store.taken()
			l := g.list(t, "prefix", prefix, "delimiter", "/", "keys_only", "true")
			if len(l.Prefixes) != folders || l.More {
				t.Fatalf("%s: got %d folders, more %v", prefix, len(l.Prefixes), l.More)
			}
			for _, n := range store.taken() {
				calls[prefix] += n
			}
		}
		if calls["large/"] != calls["small/"] || calls["large/"] > 4*folders {
			t.Errorf("ten times the keys in %d folders: %d calls, then %d; want as many", folders, calls["small/"], calls["large/"])
		}
	})
}

func TestAtMostAThousandJumpsACallThenACursor(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &tapped{Backend: g.store}
	g = g.through(t, store)
	const folders = 1_010
	var keys []string
	for f := range folders {
		keys = append(keys, numbered(fmt.Sprintf("%04d/", f), 34)...)
	}
	g.put(t, keys...)
	store.taken()
	first := g.list(t, "delimiter", "/", "limit", "10000", "keys_only", "true")
	if c := store.taken(); c["stream"]+c["range"] > 1_005 || !first.More || len(first.Prefixes) < 800 {
		t.Errorf("%v, %d folders, more %v; want a page that ends after 1,000 calls", c, len(first.Prefixes), first.More)
	} else if c["stream"] > 40 { // the digits of the names lead from relative to relative
		t.Errorf("%d of the jumps were streams that were given up, want few: each was sent far ahead of what was taken", c["stream"])
	}
	second := g.list(t, "delimiter", "/", "limit", "10000", "keys_only", "true", "cursor", first.Cursor)
	if n := len(first.Prefixes) + len(second.Prefixes); n != folders || second.More {
		t.Errorf("both pages: %d folders, more %v; want %d", n, second.More, folders)
	}
}
