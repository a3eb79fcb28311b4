package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// remove deletes and gives how many keys went.
func (g *gateway) remove(t testing.TB, pairs ...string) int64 {
	t.Helper()
	doc := g.do(t, "DELETE", q(pairs...), "").want(t, 200).json(t)
	number, _ := doc["deleted"].(json.Number)
	n, err := number.Int64()
	if err != nil {
		t.Fatalf("deleted: %v in %v", err, doc)
	}
	return n
}

func TestDeletionsOfRanges(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, c := range []struct {
		query []string
		left  []string
	}{
		{[]string{"prefix", "a/"}, []string{"\x01", "a", "b", "\xff", "\xff\xff"}},
		{[]string{"prefix", "\xff"}, []string{"\x01", "a", "a/1", "a/2", "b"}},
		{[]string{"from", "a", "to", "b"}, []string{"\x01", "b", "\xff", "\xff\xff"}},
		{[]string{"to", "b"}, []string{"b", "\xff", "\xff\xff"}},
		{[]string{"from", "b", "all", "true"}, []string{"\x01", "a", "a/1", "a/2"}},
		{[]string{"from", "", "to", "", "all", "1"}, []string{}},
		{[]string{"prefix", "", "all", "true"}, []string{}},
		{[]string{"prefix", "none"}, []string{"\x01", "a", "a/1", "a/2", "b", "\xff", "\xff\xff"}},
		{keyQuery("a/1", "b", "none", "b", "\xff"), []string{"\x01", "a", "a/2", "\xff\xff"}},
	} {
		g.put(t, "\x00reserved", "\x01", "a", "a/1", "a/2", "b", "\xff", "\xff\xff")
		would := g.remove(t, append(slices.Clone(c.query), "dry_run", "true")...)
		n := g.remove(t, c.query...)
		if want := int64(7 - len(c.left)); n != want || would != want {
			t.Errorf("%q: deleted %d, dry run %d; want %d", c.query, n, would, want)
		}
		if diff := cmp.Diff(c.left, g.stored(t, "\x01", clientv3.WithFromKey())); diff != "" {
			t.Errorf("%q: keys left differ (-want +got):\n%s", c.query, diff)
		}
		if r, err := g.oracle.Get(t.Context(), "\x00reserved"); err != nil || r.Count != 1 {
			t.Fatalf("%q took a reserved key: %v %v", c.query, r, err)
		}
	}
}

func TestDeletionsThatNameTooMuchOrNothingAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "a", "\x00r")
	for _, query := range []string{
		"", "all=true", "prefix=", "from=a", "from=", "to=", "from=&to=", "dry_run=true", "max_deleted=5",
		"prefix=a&from=b", "key=a&prefix=a", "key=", "prefix=a&state=true", "prefix=a&max_deleted=10001", "prefix=a&max_deleted=-1",
		"prefix=a&limit=3", "from=b&to=a", "prefix=a&if_mod_revision=3", "prefix=a&if_lock=x", "prefix=a&prev_kv=true",
	} {
		a := g.do(t, "DELETE", "/v1/kv?"+query, "")
		if a.status != 400 {
			t.Errorf("%s: got %d %s, want 400", query, a.status, a.body)
		} else if a.json(t)["outcome"] != "not_applied" {
			t.Errorf("%s: a refused write says not_applied: %s", query, a.body)
		}
	}
	for _, header := range []string{`If-Match: "3"`, "If-Match: *", "If-None-Match: *"} {
		g.do(t, "DELETE", "/v1/kv?prefix=a", "", header).want(t, 400)
	}
	g.do(t, "DELETE", q("prefix", "\x00"), "").problem(t, 403, "reserved")
	g.do(t, "DELETE", q("key", "\x00r"), "").problem(t, 403, "reserved")
	if got, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly()); err != nil || got.Count < 2 {
		t.Errorf("refused deletions left %v (%v), want both keys", got, err)
	}
}

func TestMaxDeletedRefusesWhenMoreWouldGo(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, numbered("m/", 10)...)
	for _, query := range [][]string{{"prefix", "m/"}, {"from", "m/", "to", "n"}, keyQuery(numbered("m/", 10)...)} {
		for _, dry := range []string{"true", "false"} {
			doc := g.do(t, "DELETE", q(append(slices.Clone(query), "max_deleted", "9", "dry_run", dry)...), "").problem(t, 412, "too_many_deletes")
			if doc["limit"] != num(9) || doc["outcome"] != "not_applied" {
				t.Errorf("%q: got %v", query, doc)
			}
		}
	}
	if n := len(g.stored(t, "m/", clientv3.WithPrefix())); n != 10 {
		t.Fatalf("refused deletions left %d keys", n)
	}
	g.do(t, "DELETE", q("prefix", "m/", "max_deleted", "0"), "").problem(t, 412, "too_many_deletes")
	if n := g.remove(t, "prefix", "m/0000", "max_deleted", "10"); n != 10 {
		t.Errorf("deleted %d, want 10", n)
	}
	if n := g.remove(t, "prefix", "m/", "max_deleted", "0"); n != 0 {
		t.Errorf("deleted %d of nothing", n)
	}
	if n := g.remove(t, append(keyQuery("x", "y"), "max_deleted", "1")...); n != 0 {
		t.Errorf("absent keys count for nothing: deleted %d", n)
	}
}

// TestMaxDeletedHoldsWhileOthersWrite writes between the count and the deletion: the compare of every mod revision must
// refuse, three times, and then the answer is 409 and nothing is gone.
func TestMaxDeletedHoldsWhileOthersWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		writes         int
		status         int
		deleted, reads int
	}{{0, 200, 5, 1}, {1, 200, 6, 2}, {2, 200, 7, 3}, {3, 409, 0, 3}} {
		t.Run(fmt.Sprint(c.writes), func(t *testing.T) {
			t.Parallel()
			g := start(t)
			store := &tapped{Backend: g.store}
			g = g.through(t, store)
			g.put(t, numbered("m/", 5)...)
			written, txns := 0, 0
			store.before = func(call string) {
				if call != "txn" {
					return
				}
				if txns++; txns%2 == 0 && written < c.writes { // each try counts, then deletes
					written++
					if _, err := g.oracle.Put(context.WithoutCancel(t.Context()), fmt.Sprintf("m/new%d", written), ""); err != nil {
						t.Error(err)
					}
				}
			}
			a := g.do(t, "DELETE", q("prefix", "m/", "max_deleted", "10"), "").want(t, c.status)
			if c.status == 409 {
				if doc := a.problem(t, 409, "conflict"); doc["outcome"] != "not_applied" {
					t.Errorf("got %v", doc)
				}
			} else if got := a.json(t)["deleted"]; got != num(int64(c.deleted)) {
				t.Errorf("deleted %v, want %d", got, c.deleted)
			}
			if txns != 2*c.reads {
				t.Errorf("%d transactions, want %d tries of a count and a deletion", txns, c.reads)
			}
			if n := len(g.stored(t, "m/", clientv3.WithPrefix())); n != 5+c.writes-c.deleted {
				t.Errorf("%d keys are left", n)
			}
		})
	}
}

func TestMaxDeletedNeverDeletesMoreThanCounted(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &tapped{Backend: g.store}
	g = g.through(t, store)
	g.put(t, numbered("m/", 10)...)
	txns := 0
	store.before = func(call string) {
		if call == "txn" {
			if txns++; txns == 2 {
				g.put(t, numbered("m/n", 90)...)
			}
		}
	}
	g.do(t, "DELETE", q("prefix", "m/", "max_deleted", "10"), "").problem(t, 412, "too_many_deletes")
	if n := len(g.stored(t, "m/", clientv3.WithPrefix())); n != 100 {
		t.Errorf("%d keys are left, want all 100", n)
	}
}

func TestDeletionsUnderALock(t *testing.T) {
	t.Parallel()
	g := start(t)
	lock, err := g.oracle.Put(t.Context(), "lock/1", "me")
	if err != nil {
		t.Fatal(err)
	}
	token, wrong := fmt.Sprint(lock.Header.Revision), fmt.Sprint(lock.Header.Revision+7)
	for _, more := range [][]string{{"prefix", "d/"}, {"prefix", "d/", "max_deleted", "10"}, keyQuery(numbered("d/", 3)...), {"prefix", "d/", "dry_run", "true"}} {
		g.put(t, numbered("d/", 3)...)
		query := slices.Concat(more, []string{"if_lock", "lock/1", "fencing_token"})
		g.do(t, "DELETE", q(append(query, wrong)...), "").problem(t, 409, "lock_lost")
		if n := len(g.stored(t, "d/", clientv3.WithPrefix())); n != 3 {
			t.Errorf("%q: %d keys are left after a lost lock", more, n)
		}
		if n := g.remove(t, append(query, token)...); n != 3 {
			t.Errorf("%q: deleted %d, want 3", more, n)
		}
	}
	g.do(t, "DELETE", q("prefix", "d/", "if_lock", "lock/none", "fencing_token", token), "").problem(t, 409, "lock_lost")
}

func TestARepeatedDeletionOfARangeGetsTheFirstOutcome(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i, more := range [][]string{{"prefix", "d/"}, {"prefix", "d/", "max_deleted", "5"}, keyQuery(numbered("d/", 3)...)} {
		g.put(t, numbered("d/", 3)...)
		id := fmt.Sprintf("Idempotency-Key: delete-%d", i)
		if doc := g.do(t, "DELETE", q(more...), "", id).want(t, 200).json(t); doc["deleted"] != num(3) {
			t.Errorf("%q: got %v, want 3 deleted", more, doc)
		}
		g.put(t, numbered("d/", 20)...) // more than max_deleted: what counts is the first time
		again := g.do(t, "DELETE", q(more...), "", id).want(t, 200)
		if doc := again.json(t); doc["deleted"] != num(3) || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%q again: got %v, want the first outcome", more, doc)
		}
		if n := len(g.stored(t, "d/", clientv3.WithPrefix())); n != 20 {
			t.Errorf("%q: the repeat left %d keys, want 20", more, n)
		}
		g.remove(t, "prefix", "d/")
	}
}

func TestDeletionOfRandomRangesAgreesWithTheOfficialClient(t *testing.T) {
	t.Parallel()
	g := start(t)
	r := rand.New(rand.NewPCG(8, 9))
	for range 60 {
		set := map[string]bool{}
		for range 30 {
			set[randomKey(r)] = true
		}
		g.put(t, slices.Collect(maps.Keys(set))...)
		reserved, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithRange("\x01"), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		prefix := strings.TrimLeft(randomKey(r), "\x00")
		if prefix == "" {
			continue
		}
		prefix = prefix[:1+r.IntN(min(2, len(prefix)))]
		all := g.stored(t, "\x01", clientv3.WithFromKey())
		gone := g.stored(t, prefix, clientv3.WithPrefix())
		if n := g.remove(t, "prefix", prefix); n != int64(len(gone)) {
			t.Fatalf("prefix %q: deleted %d, want %d", prefix, n, len(gone))
		}
		want := slices.DeleteFunc(all, func(k string) bool { return slices.Contains(gone, k) })
		if diff := cmp.Diff(want, g.stored(t, "\x01", clientv3.WithFromKey())); diff != "" {
			t.Fatalf("prefix %q: keys left differ (-want +got):\n%s", prefix, diff)
		}
		after, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithRange("\x01"), clientv3.WithCountOnly())
		if err != nil || after.Count < reserved.Count {
			t.Fatalf("reserved keys: %d, then %d (%v)", reserved.Count, after.Count, err)
		}
	}
}
