package handlers_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// history writes keys so that versions, revisions and values repeat and differ from the keys' own order.
func history(t testing.TB, g *gateway, r *rand.Rand) {
	t.Helper()
	for range 12 {
		var ops []clientv3.Op
		used := map[string]bool{}
		for range 6 { // several keys a revision: ties
			k := fmt.Sprintf("o/%c%c", 'a'+rune(r.IntN(5)), 0xf0+rune(r.IntN(6)))
			if used[k] {
				continue
			}
			used[k] = true
			if r.IntN(6) == 0 {
				ops = append(ops, clientv3.OpDelete(k))
			} else {
				ops = append(ops, clientv3.OpPut(k, fmt.Sprint(r.IntN(4))))
			}
		}
		if _, err := g.oracle.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// orders are the ways to compare two keys of the oracle.
var orders = map[string]func(a, b *mvccpb.KeyValue) int{
	"key":             func(a, b *mvccpb.KeyValue) int { return cmp.Compare(string(a.Key), string(b.Key)) },
	"version":         func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.Version, b.Version) },
	"create_revision": func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) },
	"mod_revision":    func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) },
	"value":           func(a, b *mvccpb.KeyValue) int { return cmp.Compare(string(a.Value), string(b.Value)) },
}

func TestOrdersAreDeterministicWithTiesByKey(t *testing.T) {
	t.Parallel()
	g := start(t)
	history(t, g, rand.New(rand.NewPCG(1, 2)))
	all, err := g.oracle.Get(t.Context(), "o/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for by, compare := range orders {
		for _, direction := range []string{"asc", "desc"} {
			want := slices.Clone(all.Kvs) // in the order of the keys
			slices.SortStableFunc(want, func(a, b *mvccpb.KeyValue) int {
				if direction == "desc" {
					return -compare(a, b)
				}
				return compare(a, b)
			})
			for _, more := range [][]string{{}, {"limit", "7"}, {"limit", "1", "keys_only", "true"}, {"limit", "4", "count", "true"}} {
				query := append([]string{"prefix", "o/", "order_by", by, "order", direction}, more...)
				pages := g.pages(t, func() { g.put(t, "o/later", "o/zz") }, query...)
				for i, key := range keysOf(t, pages...) {
					if i >= len(want) || key != string(want[i].Key) {
						t.Fatalf("%q: place %d has %q; want the order\n%v", query, i, key, want)
					}
				}
				if got := keysOf(t, pages...); len(got) != len(want) {
					t.Errorf("%q: got %d keys, want %d", query, len(got), len(want))
				}
				if _, err := g.oracle.Delete(t.Context(), "o/later", clientv3.WithRange("o/z\xff\xff")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestRevisionFiltersAgreeWithTheOfficialClient(t *testing.T) {
	t.Parallel()
	g := start(t)
	r := rand.New(rand.NewPCG(3, 4))
	history(t, g, r)
	for range 60 {
		query, opts := []string{"prefix", "o/", "count", "true"}, []clientv3.OpOption{clientv3.WithPrefix()}
		for name, option := range map[string]func(int64) clientv3.OpOption{
			"min_mod_revision": clientv3.WithMinModRev, "max_mod_revision": clientv3.WithMaxModRev,
			"min_create_revision": clientv3.WithMinCreateRev, "max_create_revision": clientv3.WithMaxCreateRev,
		} {
			if r.IntN(2) == 0 {
				revision := 1 + r.Int64N(14)
				query, opts = append(query, name, fmt.Sprint(revision)), append(opts, option(revision))
			}
		}
		want := g.stored(t, "o/", opts...)
		pages := g.pages(t, nil, append(query, "limit", fmt.Sprint(1+r.IntN(9)))...)
		if diff := gocmp.Diff(want, keysOf(t, pages...)); diff != "" || *pages[0].Count != int64(len(want)) {
			t.Errorf("%q: keys differ, count %d (-want +got):\n%s", query, *pages[0].Count, diff)
		}
	}
}

func TestTheNewestKeyIsOneQuery(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "n/a", "n/b")
	g.put(t, "n/a")
	l := g.list(t, "prefix", "n/", "order_by", "mod_revision", "order", "desc", "limit", "1")
	if got := keysOf(t, l); len(got) != 1 || got[0] != "n/a" || !l.More {
		t.Errorf("got %+v, want n/a and more", l)
	}
	if v, _ := l.KVs[0]["version"].(json.Number); v != "2" {
		t.Errorf("got version %v, want 2", v)
	}
}

func TestOtherOrdersTakeAtMostTenThousandKeys(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &tapped{Backend: g.store}
	g = g.through(t, store)
	g.put(t, numbered("many/", 10_000)...)
	if l := g.list(t, "prefix", "many/", "order", "desc", "limit", "10000", "keys_only", "true"); len(l.KVs) != 10_000 || l.More {
		t.Errorf("10,000 keys: got %d, more %v", len(l.KVs), l.More)
	}
	g.put(t, "many/one-more")
	store.taken()
	for _, query := range [][]string{{"order", "desc"}, {"order_by", "value"}, {"min_mod_revision", "2"}, {"count_only", "true", "max_create_revision", "3"}} {
		doc := g.do(t, "GET", q(append(query, "prefix", "many/", "limit", "1")...), "").problem(t, 413, "result_too_large")
		if doc["limit"] != num(10_000) {
			t.Errorf("%q: got %v, want the limit", query, doc)
		}
	}
	if calls := store.taken(); calls["range"]+calls["stream"] > 0 {
		t.Errorf("a range that is too large was read: %v", calls)
	}
	if l := g.list(t, "prefix", "many/", "order", "asc", "order_by", "key", "limit", "10000"); len(l.KVs) != 10_000 || !l.More {
		t.Errorf("the keys' own order has no such bound: got %d keys, more %v", len(l.KVs), l.More)
	}
}
