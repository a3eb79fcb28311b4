package handlers_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// tapped is the real store, seen: it counts calls, runs a hook before each, and can do without RangeStream, as etcd did
// before 3.7.
type tapped struct {
	handlers.Backend

	withoutStream bool
	before        func(call string)

	mu    sync.Mutex
	calls map[string]int
}

func (s *tapped) note(call string) {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = make(map[string]int)
	}
	s.calls[call]++
	s.mu.Unlock()
	if s.before != nil {
		s.before(call)
	}
}

// taken gives the counts so far and starts anew.
func (s *tapped) taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *tapped) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	switch {
	case r.CountOnly && len(r.End) > 0:
		s.note("count")
	case len(r.End) == 0:
		s.note("pin")
	default:
		s.note("range")
	}
	return s.Backend.Range(ctx, r)
}

func (s *tapped) RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error) {
	if s.withoutStream {
		return nil, problem.New(problem.NotSupported, "no RangeStream")
	}
	s.note("stream")
	return s.Backend.RangeStream(ctx, r)
}

func (s *tapped) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	s.note("txn")
	return s.Backend.Txn(ctx, r)
}

// through runs a second gateway before the same etcd, over a store of the test's own.
func (g *gateway) through(t testing.TB, store handlers.Backend) *gateway {
	t.Helper()
	api, err := handlers.New(store, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	second := *g
	second.url = server.URL
	return &second
}

// withAndWithoutStreams runs a test with RangeStream and without.
func withAndWithoutStreams(t *testing.T, run func(t *testing.T, g *gateway, store *tapped)) {
	t.Helper()
	for _, path := range []struct {
		name    string
		without bool
	}{{"RangeStream", false}, {"Range", true}} {
		t.Run(path.name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			store := &tapped{Backend: g.store, withoutStream: path.without}
			run(t, g.through(t, store), store)
		})
	}
}

// listed is an answer of GET /v1/kv.
type listed struct {
	Revision int64            `json:"revision"`
	KVs      []map[string]any `json:"kvs"`
	More     bool             `json:"more"`
	Cursor   string           `json:"cursor"`
	Count    *int64           `json:"count"`
	Prefixes []map[string]any `json:"prefixes"`
	Missing  []map[string]any `json:"missing"`
}

// q makes a query of names and values, escaped.
func q(pairs ...string) string {
	parts := make([]string, 0, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		parts = append(parts, pair[0]+"="+url.QueryEscape(pair[1]))
	}
	return "/v1/kv?" + strings.Join(parts, "&")
}

func (g *gateway) list(t testing.TB, pairs ...string) listed {
	t.Helper()
	a := g.do(t, "GET", q(pairs...), "").want(t, 200)
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	var l listed
	if err := d.Decode(&l); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if l.KVs == nil || !bytes.Contains(a.body, []byte(`"more":`)) {
		t.Fatalf("kvs and more must always be there: %s", a.body)
	}
	if l.More != (l.Cursor != "") {
		t.Fatalf("more is %v, cursor %q", l.More, l.Cursor)
	}
	if got := a.header.Get("Etcd-Revision"); got != fmt.Sprint(l.Revision) {
		t.Fatalf("Etcd-Revision: got %s, want the list's %d", got, l.Revision)
	}
	return l
}

// pages reads a list to its end, all of it at one revision; between runs between the pages.
func (g *gateway) pages(t testing.TB, between func(), pairs ...string) []listed {
	t.Helper()
	all := []listed{g.list(t, pairs...)}
	for last := all[0]; last.More; last = all[len(all)-1] {
		if between != nil {
			between()
		}
		all = append(all, g.list(t, append(slices.Clone(pairs), "cursor", last.Cursor)...))
		if got := all[len(all)-1].Revision; got != last.Revision {
			t.Fatalf("page %d is of revision %d, the first of %d", len(all), got, last.Revision)
		}
		if len(all) > 20_000 {
			t.Fatal("the list has no end")
		}
	}
	return all
}

// keysOf are the keys of pages, in order.
func keysOf(t testing.TB, pages ...listed) []string {
	t.Helper()
	keys := []string{}
	for _, p := range pages {
		for _, kv := range p.KVs {
			keys = append(keys, keyOf(t, kv))
		}
	}
	return keys
}

// nameOf reads name or name_base64.
func nameOf(t testing.TB, name string, object map[string]any) string {
	t.Helper()
	if text, ok := object[name].(string); ok {
		return text
	}
	text, ok := object[name+"_base64"].(string)
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !ok {
		t.Fatalf("the object has no %s: %v", name, object)
	}
	return string(b)
}

// put writes keys by etcd's own client, 100 at a time, each with its name in the value.
func (g *gateway) put(t testing.TB, keys ...string) {
	t.Helper()
	for part := range slices.Chunk(keys, 100) {
		ops := make([]clientv3.Op, 0, len(part))
		for _, k := range part {
			ops = append(ops, clientv3.OpPut(k, "value of "+k))
		}
		if _, err := g.oracle.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// stored asks etcd's own client for the keys of a range.
func (g *gateway) stored(t testing.TB, key string, opts ...clientv3.OpOption) []string {
	t.Helper()
	r, err := g.oracle.Get(t.Context(), key, opts...)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{}
	for _, kv := range r.Kvs {
		if kv.Key[0] != 0 {
			keys = append(keys, string(kv.Key))
		}
	}
	return keys
}

// numbered are n keys prefix0000….
func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return keys
}

func TestListsOfAPrefixInPages(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		keys := numbered("app/", 25)
		g.put(t, append(keys, "apo", "app0", "zzz")...)
		for limit, want := range map[string][]int{"10": {10, 10, 5}, "5": {5, 5, 5, 5, 5}, "25": {25}, "24": {24, 1}, "26": {26 - 1}, "10000": {25}} {
			all := g.pages(t, nil, "prefix", "app/", "limit", limit)
			var sizes []int
			for _, p := range all {
				sizes = append(sizes, len(p.KVs))
			}
			if diff := cmp.Diff(want, sizes); diff != "" {
				t.Errorf("limit %s: the pages' sizes differ (-want +got):\n%s", limit, diff)
			}
			if diff := cmp.Diff(keys, keysOf(t, all...)); diff != "" {
				t.Errorf("limit %s: keys differ (-want +got):\n%s", limit, diff)
			}
		}
		if l := g.list(t, "prefix", "nothing"); len(l.KVs) != 0 || l.More || l.Count != nil {
			t.Errorf("an empty list: got %+v", l)
		}
	})
}

func TestListPagesArePinnedToOneRevision(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		keys := numbered("p/", 40)
		g.put(t, keys...)
		n := 0
		all := g.pages(t, func() {
			n++
			g.put(t, fmt.Sprintf("p/%05d+new", n), fmt.Sprintf("p/%05d", 39-n)) // appear and change behind the page's end
			if _, err := g.oracle.Delete(t.Context(), fmt.Sprintf("p/%05d", 20+n)); err != nil {
				t.Fatal(err)
			}
		}, "prefix", "p/", "limit", "7")
		if diff := cmp.Diff(keys, keysOf(t, all...)); diff != "" {
			t.Errorf("the list is not of one revision (-want +got):\n%s", diff)
		}
		for _, p := range all {
			for _, kv := range p.KVs {
				if m, _ := kv["mod_revision"].(json.Number).Int64(); m > all[0].Revision {
					t.Errorf("%v was written after the list's revision %d", kv, all[0].Revision)
				}
			}
		}
	})
}

func TestTheFirstPageTellsTheRevisionThatWasReadWhateverItsSize(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		for _, size := range []int{0, 1, 9, 10, 11, 30, 149, 150, 151, 400, 1000, 1001} {
			prefix := fmt.Sprintf("s%d/", size)
			g.put(t, numbered(prefix, size)...)
			r, err := g.oracle.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				t.Fatal(err)
			}
			l := g.list(t, "prefix", prefix)
			if l.Revision != r.Header.Revision || len(l.KVs) != min(size, 1000) || l.More != (size > 1000) {
				t.Errorf("%d keys: got revision %d, %d keys, more %v; want revision %d", size, l.Revision, len(l.KVs), l.More, r.Header.Revision)
			}
		}
	})
}

func TestListsOfShortRangesTakeOneCall(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, numbered("short/", 150)...)
	g.put(t, numbered("long/", 2000)...)
	for _, c := range []struct {
		without       bool
		query         []string
		first, second map[string]int
	}{
		{false, []string{"prefix", "short/"}, map[string]int{"stream": 1}, map[string]int{"range": 1}},
		{true, []string{"prefix", "short/"}, map[string]int{"range": 1}, map[string]int{"range": 1}},
		{false, []string{"prefix", "short/", "delimiter", "1"}, map[string]int{"stream": 1}, map[string]int{"stream": 1}},
		{false, []string{"prefix", "short/", "count", "true"}, map[string]int{"stream": 1, "count": 1}, map[string]int{"range": 1}},
		// What is longer than a glimpse is known to be so the second time.
		{false, []string{"prefix", "long/", "limit", "2000"}, map[string]int{"stream": 2, "pin": 1}, map[string]int{"range": 1}},
		{false, []string{"prefix", "long/", "delimiter", "none", "limit", "2000"}, map[string]int{"stream": 2, "pin": 1}, map[string]int{"stream": 1, "pin": 1}},
		{true, []string{"prefix", "long/", "limit", "2000"}, map[string]int{"range": 4}, map[string]int{"range": 1}},
	} {
		store := &tapped{Backend: g.store, withoutStream: c.without}
		through := g.through(t, store)
		for i, want := range []map[string]int{c.first, c.second} {
			store.taken()
			l := through.list(t, c.query...)
			if diff := cmp.Diff(want, store.taken()); diff != "" || l.More {
				t.Errorf("%q, without RangeStream %v, time %d: more %v, calls differ (-want +got):\n%s", c.query, c.without, i+1, l.More, diff)
			}
		}
	}
}

func TestAWrongGuessOfARangesSizeOnlyCostsTime(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		all := numbered("g/", 4200)
		for _, size := range []int{3, 4200, 2, 300, 4200, 0, 4001, 1} { // what was seen last time is always wrong
			if _, err := g.oracle.Delete(t.Context(), "g/", clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
			g.put(t, all[:size]...)
			for _, more := range [][]string{{}, {"count", "true"}, {"limit", "10000"}, {"limit", "2"}} {
				l := g.list(t, append([]string{"prefix", "g/"}, more...)...)
				limit := 1000
				if len(more) == 2 && more[0] == "limit" {
					_, _ = fmt.Sscan(more[1], &limit)
				}
				if want := all[:min(size, limit)]; !slices.Equal(keysOf(t, l), want) || l.More != (size > limit) || (l.Count != nil && *l.Count != int64(size)) {
					t.Errorf("%d keys, %q: got %d keys, more %v, count %v", size, more, len(l.KVs), l.More, l.Count)
				}
			}
		}
	})
}

func TestNoListCountsUnlessAsked(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, store *tapped) {
		t.Helper()
		g.put(t, numbered("c/", 30)...)
		store.taken()
		g.pages(t, nil, "prefix", "c/", "limit", "9")
		g.pages(t, nil, "prefix", "c/", "limit", "9", "delimiter", "/")
		if n := store.taken()["count"]; n != 0 {
			t.Errorf("lists without count were counted %d times", n)
		}
		all := g.pages(t, func() { g.put(t, "c/later") }, "prefix", "c/", "limit", "9", "count", "true")
		if n := store.taken()["count"]; n > 1 || len(all) != 4 {
			t.Errorf("a list of %d pages with count was counted %d times, want once at most", len(all), n)
		}
		for i, p := range all {
			if p.Count == nil || *p.Count != 30 {
				t.Errorf("page %d: count %v, want 30 as at the list's revision", i+1, p.Count)
			}
		}
	})
}

func TestCountOnly(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, append(numbered("c/", 12), "\x00reserved", "d")...)
	for _, c := range []struct {
		query []string
		want  int64
	}{
		{[]string{"prefix", "c/", "count_only", "true"}, 12},
		{[]string{"count_only", "1", "limit", "1"}, 13},
		{[]string{"from", "c/00005", "to", "d", "count_only", "true"}, 7},
		{[]string{"prefix", "none", "count_only", "true", "count", "true"}, 0},
		{[]string{"prefix", "c/", "count_only", "true", "min_mod_revision", "1"}, 12},
		{[]string{"prefix", "c/", "count_only", "true", "max_mod_revision", "1"}, 0},
	} {
		l := g.list(t, c.query...)
		if l.Count == nil || *l.Count != c.want || len(l.KVs) != 0 || l.More {
			t.Errorf("%v: got %+v, want the count %d and nothing else", c.query, l, c.want)
		}
	}
	past := g.list(t, "prefix", "c/", "count_only", "true").Revision
	g.put(t, "c/more")
	if l := g.list(t, "prefix", "c/", "count_only", "true", "revision", fmt.Sprint(past)); *l.Count != 12 || l.Revision != past {
		t.Errorf("count at a past revision: got %d at %d, want 12 at %d", *l.Count, l.Revision, past)
	}
}

func TestListFormsOfKeysAndValues(t *testing.T) {
	t.Parallel()
	g := start(t)
	if _, err := g.oracle.Put(t.Context(), "f/\xff", `{"a": 1}`); err != nil {
		t.Fatal(err)
	}
	get := func(pairs ...string) map[string]any {
		l := g.list(t, append([]string{"prefix", "f/"}, pairs...)...)
		if len(l.KVs) != 1 {
			t.Fatalf("got %v", l.KVs)
		}
		return l.KVs[0]
	}
	if kv := get(); kv["key_base64"] != "Zi//" || kv["value"] != `{"a": 1}` {
		t.Errorf("auto: got %v", kv)
	}
	if kv := get("encoding", "base64"); kv["value_base64"] != "eyJhIjogMX0=" {
		t.Errorf("base64: got %v", kv)
	}
	if kv := get("encoding", "json"); fmt.Sprint(kv["value_json"]) != "map[a:1]" {
		t.Errorf("json: got %v", kv)
	}
	if kv := get("keys_only", "true"); kv["value"] != nil || kv["mod_revision"] == nil || kv["version"] != num(1) {
		t.Errorf("keys_only: got %v, want the metadata without the value", kv)
	}
	encoded := base64.RawURLEncoding.EncodeToString([]byte("f/\xff"))
	if l := g.list(t, "prefix", encoded, "key_encoding", "base64url"); len(l.KVs) != 1 {
		t.Errorf("a prefix by base64url: got %v", l.KVs)
	}
}

func TestWrongListQueriesAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "a")
	for _, query := range []string{
		"prefix=a&from=b", "prefix=a&to=b", "from=b&to=a", "from=a&to=a", "key=a&prefix=b", "key=a&from=b",
		"limit=0", "limit=10001", "limit=x", "limit=", "order=up", "order_by=lease", "revision=0", "revision=-1",
		"delimiter=", "delimiter=/&order=desc", "delimiter=/&count_only", "delimiter=/&min_mod_revision=3",
		"prefix=a&prefix=b", "cursor=", "min_mod_revision=0", "encoding=xml", "consistency=none", "not_older_than=0",
		"prefix=%2", "prefix=_w&key_encoding=base64url&from=", "prefix=_w%3D%3D&key_encoding=base64url", "key=a&limit=3", "key=a&order=desc",
		"key=a&count", "key=a&cursor=x", "key=a&delimiter=/",
	} {
		a := g.do(t, "GET", "/v1/kv?"+query, "")
		if a.status != 400 {
			t.Errorf("%s: got %d %s, want 400", query, a.status, a.body)
		}
	}
	doc := g.do(t, "GET", "/v1/kv?limt=3&prefix=a&from=b", "").problem(t, 400, "invalid_parameter")
	if faults, _ := doc["errors"].([]any); len(faults) != 2 {
		t.Errorf("every fault is named at once: got %v", doc["errors"])
	}
	g.do(t, "GET", "/v1/kv?perfix=a", "").problem(t, 400, "unknown_parameter")
}

func TestReservedKeysAreInNoNativeRange(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		g.put(t, "\x00", "\x00etcdrest/x", "\x00\xff", "\x01", "a")
		for _, query := range [][]string{{}, {"prefix", ""}, {"from", ""}, {"from", "\x00a"}, {"to", "b"}, {"from", "\x00", "to", "b"}} {
			l := g.list(t, append(query, "count", "true")...)
			if diff := cmp.Diff([]string{"\x01", "a"}, keysOf(t, l)); diff != "" || *l.Count != 2 {
				t.Errorf("%q: keys differ, count %d (-want +got):\n%s", query, *l.Count, diff)
			}
		}
		for _, query := range [][]string{{"prefix", "\x00"}, {"prefix", "\x00etcdrest/"}, {"to", "\x00"}, {"from", "\x00a", "to", "\x01"}, {"key", "\x00x"}} {
			g.do(t, "GET", q(query...), "").problem(t, 403, "reserved")
		}
		want := g.stored(t, "\x01", clientv3.WithFromKey())
		for _, query := range [][]string{{"state", "true"}, {"state", "true", "from", "\x00"}, {"state", "true", "prefix", ""}} {
			keys := keysOf(t, g.list(t, query...))
			if !slices.Contains(keys, "\x00") || !slices.Contains(keys, "\x00etcdrest/x") || !slices.Contains(keys, want[len(want)-1]) {
				t.Errorf("%q: got %q, want the reserved keys too", query, keys)
			}
		}
		if got := keysOf(t, g.list(t, "state", "true", "prefix", "\x00\xff")); !slices.Equal(got, []string{"\x00\xff"}) {
			t.Errorf("a reserved prefix with state: got %q", got)
		}
		g.do(t, "GET", q("state", "true", "to", "\x00"), "").want(t, 400)
	})
}

func TestToOfOneNULByteIsABoundAndNotAnOpenEnd(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, "a", "b")
	g.do(t, "GET", "/v1/kv?to=%00", "").problem(t, 403, "reserved")
	g.do(t, "GET", "/v1/kv?from=a&to=%00", "").problem(t, 400, "invalid_parameter")
	g.do(t, "DELETE", "/v1/kv?to=%00", "").problem(t, 403, "reserved")
	if got := g.stored(t, "a", clientv3.WithFromKey()); len(got) != 2 {
		t.Errorf("keys left: %q", got)
	}
}

func TestAListOverACompactedRevisionIs410(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		g.put(t, numbered("k/", 30)...)
		first := g.list(t, "prefix", "k/", "limit", "10")
		g.put(t, "k/x", "other")
		r, err := g.oracle.Put(t.Context(), "k/y", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.oracle.Compact(t.Context(), r.Header.Revision); err != nil {
			t.Fatal(err)
		}
		g.do(t, "GET", q("prefix", "k/", "limit", "10", "cursor", first.Cursor), "").problem(t, 410, "compacted")
		g.do(t, "GET", q("prefix", "k/", "revision", fmt.Sprint(first.Revision)), "").problem(t, 410, "compacted")
		g.do(t, "GET", q("prefix", "k/", "order", "desc", "revision", fmt.Sprint(first.Revision)), "").problem(t, 410, "compacted")
		g.do(t, "GET", q("key", "k/x", "revision", fmt.Sprint(first.Revision)), "").problem(t, 410, "compacted")
		g.do(t, "GET", q("prefix", "k/", "revision", fmt.Sprint(r.Header.Revision+1000)), "").problem(t, 409, "future_revision")
	})
}

func TestAListOfThePresentOutlivesACompaction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query  []string
		call   string // the read that is overtaken: what the one before it has seen is compacted
		number int
	}{
		{[]string{"limit", "200"}, "stream", 2}, // the first stream is the glimpse
		{[]string{"limit", "200", "count", "true"}, "stream", 1},
		{[]string{"order", "desc"}, "range", 1},
	} {
		t.Run(strings.Join(c.query, " "), func(t *testing.T) {
			t.Parallel()
			g := start(t)
			g.put(t, numbered("k/", 1000)...)
			store := &tapped{Backend: g.store}
			n := 0
			store.before = func(call string) {
				if call != c.call {
					return
				}
				if n++; n != c.number {
					return
				}
				r, err := g.oracle.Put(t.Context(), "k/00000", "new")
				if err == nil {
					_, err = g.oracle.Compact(t.Context(), r.Header.Revision)
				}
				if err != nil {
					t.Error(err)
				}
			}
			l := g.through(t, store).list(t, append([]string{"prefix", "k/"}, c.query...)...)
			if n <= c.number || len(l.KVs) < 200 || l.KVs[0]["value"] == nil {
				t.Errorf("%d reads, %d keys; want a whole page after one more read", n, len(l.KVs))
			}
		})
	}
}

func TestNotOlderThanOfLists(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		g.put(t, numbered("k/", 20)...)
		now := g.list(t, "prefix", "k/").Revision
		for _, mode := range []string{"linearizable", "serializable"} {
			for _, more := range [][]string{{}, {"order", "desc"}, {"delimiter", "/"}, {"count_only", "true"}, {"limit", "3"}} {
				query := append([]string{"prefix", "k/", "consistency", mode}, more...)
				g.do(t, "GET", q(append(query, "not_older_than", fmt.Sprint(now+1000))...), "").problem(t, 409, "future_revision")
				g.list(t, append(query, "not_older_than", fmt.Sprint(now))...)
			}
			g.do(t, "GET", q("key", "k/00001", "consistency", mode, "not_older_than", fmt.Sprint(now+1000)), "").problem(t, 409, "future_revision")
			if l := g.list(t, "key", "k/00001", "consistency", mode, "not_older_than", fmt.Sprint(now)); len(l.KVs) != 1 {
				t.Errorf("%s: got %v", mode, l.KVs)
			}
			if all := g.pages(t, nil, "prefix", "k/", "limit", "6", "consistency", mode); len(keysOf(t, all...)) != 20 {
				t.Errorf("%s: got %q", mode, keysOf(t, all...))
			}
		}
	})
}

func TestLargeValuesEndAPageEarly(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		g.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // the contract's checker is slow on such bodies
		value := strings.Repeat("v", 1<<20)
		for i := range 36 {
			if _, err := g.oracle.Put(t.Context(), fmt.Sprintf("big/%02d", i), value); err != nil {
				t.Fatal(err)
			}
		}
		all := g.pages(t, nil, "prefix", "big/")
		if len(all) != 2 || len(keysOf(t, all...)) != 36 || len(all[0].KVs) < 30 {
			t.Errorf("got %d pages with %d keys, the first with %d; want the first cut at 32 MiB", len(all), len(keysOf(t, all...)), len(all[0].KVs))
		}
	})
}

// randomKey is a short key of few and awkward bytes, so that prefixes and neighbours abound.
func randomKey(r *rand.Rand) string {
	alphabet := []byte{0x00, 0x01, '/', 'a', 'b', 0x7f, 0xc3, 0xfe, 0xff, 0xff}
	b := make([]byte, 1+r.IntN(5))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// TestListsAgreeWithTheOfficialClient compares random ranges of random keys, over all pages, with what etcd's own client
// gives for them.
func TestListsAgreeWithTheOfficialClient(t *testing.T) {
	t.Parallel()
	withAndWithoutStreams(t, func(t *testing.T, g *gateway, _ *tapped) {
		t.Helper()
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 7))
			if _, err := g.oracle.Delete(t.Context(), "\x01", clientv3.WithFromKey()); err != nil {
				t.Fatal(err)
			}
			set := make(map[string]bool)
			for range 40 << seed {
				set[randomKey(r)] = true
			}
			g.put(t, slices.Collect(maps.Keys(set))...)
			for range 30 {
				compareLists(t, g, r)
			}
		}
	})
}

func compareLists(t *testing.T, g *gateway, r *rand.Rand) {
	t.Helper()
	var query, want []string
	switch r.IntN(4) {
	case 0:
		prefix := randomKey(r)
		if prefix = prefix[:r.IntN(len(prefix))+1]; prefix[0] == 0 {
			return
		}
		query, want = []string{"prefix", prefix}, g.stored(t, prefix, clientv3.WithPrefix())
	case 1:
		from, to := randomKey(r), randomKey(r)
		if from >= to || to <= "\x01" {
			return
		}
		query, want = []string{"from", from, "to", to}, g.stored(t, from, clientv3.WithRange(to))
	case 2:
		from := randomKey(r)
		query, want = []string{"from", from}, g.stored(t, from, clientv3.WithFromKey())
	default:
		want = g.stored(t, "\x01", clientv3.WithFromKey())
	}
	query = append(query, "limit", fmt.Sprint(3+r.IntN(60)), "count", "true", "keys_only", fmt.Sprint(r.IntN(2) == 0))
	all := g.pages(t, nil, query...)
	if diff := cmp.Diff(want, keysOf(t, all...)); diff != "" {
		t.Fatalf("%q: keys differ from etcd's (-want +got):\n%s", query, diff)
	}
	if *all[0].Count != int64(len(want)) {
		t.Fatalf("%q: count %d, want %d", query, *all[0].Count, len(want))
	}
	if l := g.list(t, append(query[:len(query)-6:len(query)-6], "count_only", "true")...); *l.Count != int64(len(want)) {
		t.Fatalf("%q: count_only %d, want %d", query, *l.Count, len(want))
	}
}
