package handlers_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// forged is a cursor taken apart, to be put together otherwise.
type forged struct {
	head            []byte // version and hash
	revision, count uint64
	epoch, key      string
}

func takeApart(t testing.TB, text string) forged {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 12 {
		t.Fatalf("the cursor %q is not base64url: %v", text, err)
	}
	f := forged{head: b[:9]}
	b = b[9:]
	var length uint64
	for _, number := range []*uint64{&f.revision, &f.count, &length} {
		v, n := binary.Uvarint(b)
		*number, b = v, b[n:]
	}
	f.epoch, f.key = string(b[:length]), string(b[length:])
	return f
}

func (f forged) text() string {
	b := slices.Clone(f.head)
	b = binary.AppendUvarint(b, f.revision)
	b = binary.AppendUvarint(b, f.count)
	b = binary.AppendUvarint(b, uint64(len(f.epoch)))
	b = append(append(b, f.epoch...), f.key...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestCursorsBelongToTheirList(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, numbered("k/", 20)...)
	first := g.list(t, "prefix", "k/", "limit", "5")
	for _, query := range [][]string{
		{"prefix", "k/0"},
		{"prefix", "k"},
		{},
		{"from", "k/", "to", "k0"},
		{"from", "k/"},
		{"prefix", "k/", "count", "true"},
		{"prefix", "k/", "order", "desc"},
		{"prefix", "k/", "order_by", "value"},
		{"prefix", "k/", "delimiter", "/"},
		{"prefix", "k/", "min_mod_revision", "1"},
		{"prefix", "k/", "revision", "3"},
		{"prefix", "k/", "count_only", "true"},
		{"prefix", "k/", "consistency", "serializable"},
		{"prefix", "k/", "not_older_than", "1"},
	} {
		g.do(t, "GET", q(append(query, "cursor", first.Cursor)...), "").problem(t, 400, "invalid_cursor")
	}
	for _, more := range [][]string{
		{}, {"limit", "7"}, {"encoding", "base64"}, {"keys_only", "true"}, {"limit", "1", "encoding", "json", "keys_only", "true"}, {"timeout", "5"},
	} {
		l := g.list(t, append(more, "prefix", "k/", "cursor", first.Cursor)...)
		if got := keysOf(t, l); got[0] != "k/00005" || l.Revision != first.Revision {
			t.Errorf("%q: got %q at %d, want to go on at k/00005 at %d", more, got, l.Revision, first.Revision)
		}
	}
	encoded := base64.RawURLEncoding.EncodeToString([]byte("k/"))
	g.list(t, "prefix", encoded, "key_encoding", "base64url", "cursor", first.Cursor) // the same range, spelled otherwise
	for _, text := range []string{"x", "AA", "=", first.Cursor + "=", first.Cursor + "\n", first.Cursor[1:], strings.Repeat("A", 4000)} {
		g.do(t, "GET", q("prefix", "k/", "cursor", text), "").problem(t, 400, "invalid_cursor")
	}
}

func TestCursorsAreNeverTrusted(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, append(numbered("k/", 20), "a", "secret", "\x00reserved")...)
	good := takeApart(t, g.list(t, "prefix", "k/", "limit", "5").Cursor)
	if l := g.list(t, "prefix", "k/", "cursor", good.text()); len(l.KVs) != 15 {
		t.Fatalf("a cursor put together again: got %d keys, want 15", len(l.KVs))
	}
	for _, key := range []string{"a", "k", "k0", "secret", "\x00", "\xff", "j\xff", ""} {
		f := good
		f.key = key
		g.do(t, "GET", q("prefix", "k/", "cursor", f.text()), "").problem(t, 400, "invalid_cursor")
	}
	for key, want := range map[string]int{"k/": 20, "k/00018": 1, "k/00018x": 1, "k/\xff": 0} {
		f := good
		f.key = key
		if l := g.list(t, "prefix", "k/", "cursor", f.text()); len(l.KVs) != want {
			t.Errorf("a key of the range, %q: got %d keys, want %d", key, len(l.KVs), want)
		}
	}
	f := good
	f.revision = math.MaxInt64
	g.do(t, "GET", q("prefix", "k/", "cursor", f.text()), "").problem(t, 409, "future_revision")
	for _, revision := range []uint64{0, math.MaxUint64, 1 << 63} {
		f.revision = revision
		g.do(t, "GET", q("prefix", "k/", "cursor", f.text()), "").problem(t, 400, "invalid_cursor")
	}
	f = good
	f.epoch += "0"
	g.do(t, "GET", q("prefix", "k/", "cursor", f.text()), "").problem(t, 409, "epoch_changed")
	desc := takeApart(t, g.list(t, "prefix", "k/", "order", "desc", "limit", "5").Cursor)
	desc.key = "k/none"
	g.do(t, "GET", q("prefix", "k/", "order", "desc", "cursor", desc.text()), "").problem(t, 400, "invalid_cursor")
}

func TestCursorsWorkOnAnyGateway(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, numbered("k/", 20)...)
	first := g.list(t, "prefix", "k/", "limit", "5", "count", "true")
	other := startOn(t, g.etcd)
	second := other.list(t, "prefix", "k/", "count", "true", "cursor", first.Cursor)
	if got := keysOf(t, first, second); len(got) != 20 || *second.Count != 20 || second.Revision != first.Revision {
		t.Errorf("got %d keys, count %d; want the rest of the list", len(got), *second.Count)
	}
}

func TestCursorsOfAnotherEpochAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.put(t, numbered("k/", 20)...)
	first := g.list(t, "prefix", "k/", "limit", "5")
	g.do(t, "POST", "/v1/maintenance/epoch", "").want(t, 200)
	g.do(t, "GET", q("prefix", "k/", "cursor", first.Cursor), "").problem(t, 409, "epoch_changed")
	if l := g.list(t, "prefix", "k/", "limit", "5"); len(g.list(t, "prefix", "k/", "cursor", l.Cursor).KVs) != 15 {
		t.Error("a cursor of the new epoch does not lead on")
	}
}

// FuzzCursor sends any text as a cursor: it is refused, or leads into the range that the request names and nowhere else.
func FuzzCursor(f *testing.F) {
	etcd := embedetcd.StartForTest(f)
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = store.Close() })
	api, err := handlers.New(store, handlers.Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range []string{"a", "k/1", "k/2", "k/3", "k/4\xff", "l", "\x00x"} {
		if _, err := store.Put(f.Context(), &wire.PutRequest{Key: []byte(key)}); err != nil {
			f.Fatal(err)
		}
	}
	get := func(t testing.TB, query string) (int, listed) {
		t.Helper()
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/kv?prefix=k/"+query, nil))
		var l listed
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		return w.Code, l
	}
	_, first := get(f, "&limit=1")
	good := takeApart(f, first.Cursor)
	for _, change := range []func(*forged){
		func(*forged) {}, func(c *forged) { c.key = "l" }, func(c *forged) { c.key = "k/3" }, func(c *forged) { c.revision = 1 },
		func(c *forged) { c.count = math.MaxUint64 }, func(c *forged) { c.epoch = "" }, func(c *forged) { c.key = "\x00x" },
	} {
		c := good
		change(&c)
		f.Add(c.text())
	}
	f.Add("")
	f.Add("AQ")
	f.Add("not base64url!")
	f.Fuzz(func(t *testing.T, text string) {
		status, l := get(t, "&limit=2&cursor="+url.QueryEscape(text))
		if !slices.Contains([]int{200, 400, 409, 410}, status) {
			t.Fatalf("cursor %q: status %d", text, status)
		}
		for _, key := range keysOf(t, l) {
			if !strings.HasPrefix(key, "k/") {
				t.Errorf("cursor %q led out of the range, to %q", text, key)
			}
		}
	})
}
