package handlers_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	merge  = "Content-Type: application/merge-patch+json"
	patch6 = "Content-Type: application/json-patch+json"
)

func TestPatchKeepsSpellingOrderAndLease(t *testing.T) {
	t.Parallel()
	g := start(t)
	lease, err := g.oracle.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	const stored = "{\n  \"z\": 1.50, \"big\": 12345678901234567890.10,\n \"html\": \"<&>\", \"a\": {\"x\": [1, {\"y\": null}]}, \"gone\": true }"
	put, err := g.oracle.Put(t.Context(), "k", stored, clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	first := g.do(t, "PATCH", "/v1/kv/k?prev_kv=true", `{"gone":null,"a":{"new":2.0},"n":1e3}`, merge).want(t, 200)
	kv := value(t, g, "k")
	if want := `{"z":1.50,"big":12345678901234567890.10,"html":"<&>","a":{"x":[1,{"y":null}],"new":2.0},"n":1e3}`; string(kv.Value) != want {
		t.Errorf("merge patch:\ngot  %s\nwant %s", kv.Value, want)
	}
	if kv.Lease != int64(lease.ID) {
		t.Errorf("lease: got %x, want %x: a patch keeps it", kv.Lease, lease.ID)
	}
	got := first.json(t)
	prev, _ := got["prev_kv"].(map[string]any)
	delete(got, "prev_kv")
	want := map[string]any{
		"key": "k", "create_revision": num(put.Header.Revision), "mod_revision": num(kv.ModRevision), "version": num(2),
		"created": false, "lease": fmt.Sprintf("%016x", lease.ID),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if prev["value"] != stored {
		t.Errorf("prev_kv: got %v", prev)
	}
	if etag := first.header.Get("ETag"); etag != fmt.Sprintf(`"%d"`, kv.ModRevision) {
		t.Errorf("ETag: got %s, want the mod revision %d", etag, kv.ModRevision)
	}
	g.do(t, "PATCH", "/v1/kv/k", `[{"op":"test","path":"/z","value":1.5},{"op":"replace","path":"/z","value":1.500},{"op":"remove","path":"/a/x/0"},{"op":"copy","from":"/n","path":"/m"}]`, patch6+"; charset=utf-8").want(t, 200)
	if want := `{"z":1.500,"big":12345678901234567890.10,"html":"<&>","a":{"x":[{"y":null}],"new":2.0},"n":1e3,"m":1e3}`; string(value(t, g, "k").Value) != want {
		t.Errorf("JSON patch:\ngot  %s\nwant %s", value(t, g, "k").Value, want)
	}
}

// stored is a key as the oracle sees it.
func value(t testing.TB, g *gateway, key string) *wire.KeyValue {
	t.Helper()
	got, err := g.oracle.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return nil
	}
	kv := got.Kvs[0]
	return &wire.KeyValue{Key: kv.Key, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease}
}

func TestPatchRefusals(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.MaxValueBytes = 4096 })
	g.do(t, "PUT", "/v1/kv/json", `{"value_json":{"a":1}}`).want(t, 201)
	for key, text := range map[string]string{"text": "hello", "two": `{"a":1}{}`, "duplicate": `{"a":1,"a":2}`, "empty": "", "bytes": "\"\xff\""} {
		if _, err := g.oracle.Put(t.Context(), key, text); err != nil {
			t.Fatal(err)
		}
		g.do(t, "PATCH", "/v1/kv/"+key, `{}`, merge).problem(t, 422, "not_json")
	}
	before := value(t, g, "json").ModRevision
	g.do(t, "PATCH", "/v1/kv/absent", `{}`, merge).problem(t, 404, "key_not_found")
	for _, header := range []string{"Content-Type: application/json", "Content-Type: text/plain", "X-Nothing: x", "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json-patch+json; charset=latin1"} {
		doc := g.do(t, "PATCH", "/v1/kv/json", `{}`, header).problem(t, 415, "unsupported_media_type")
		if detail := fmt.Sprint(doc["detail"]); !strings.Contains(detail, "merge-patch+json") || !strings.Contains(detail, "json-patch+json") {
			t.Errorf("%s: detail %q must name both media types", header, detail)
		}
	}
	for _, c := range []struct {
		patch, header string
		status        int
		code, pointer string
	}{
		{`{"a":}`, merge, 400, "invalid_json", ""},
		{``, merge, 400, "invalid_json", ""},
		{`{"a":1,"a":2}`, merge, 400, "invalid_json", ""},
		{`{}`, patch6, 400, "invalid_argument", ""},
		{`[{"op":"spam","path":"/a"}]`, patch6, 400, "invalid_argument", "/0/op"},
		{`[{"op":"add","path":"a","value":1}]`, patch6, 400, "invalid_argument", "/0/path"},
		{`[{"op":"test","path":"/a","value":1},{"op":"test","path":"/a","value":2}]`, patch6, 422, "patch_failed", "/1/value"},
		{`[{"op":"remove","path":"/b"}]`, patch6, 422, "patch_failed", "/0/path"},
		{`{"long":"` + strings.Repeat("x", 5000) + `"}`, merge, 413, "request_too_large", ""},
	} {
		doc := g.do(t, "PATCH", "/v1/kv/json", c.patch, c.header).problem(t, c.status, c.code)
		if doc["outcome"] != "not_applied" {
			t.Errorf("%.60s: outcome: got %v", c.patch, doc["outcome"])
		}
		if c.pointer != "" && doc["errors"].([]any)[0].(map[string]any)["pointer"] != c.pointer {
			t.Errorf("%.60s: errors: got %v, want %s", c.patch, doc["errors"], c.pointer)
		}
	}
	dry := g.do(t, "PATCH", "/v1/kv/json?dry_run=true&prev_kv=true", `{"a":2}`, merge).want(t, 200).json(t)
	if dry["dry_run"] != true || dry["created"] != false || fmt.Sprint(dry["version"]) != "2" {
		t.Errorf("dry run: got %v", dry)
	}
	g.do(t, "PATCH", "/v1/kv/json?dry_run=true", `[{"op":"remove","path":"/b"}]`, patch6).problem(t, 422, "patch_failed")
	if after := value(t, g, "json"); after.ModRevision != before {
		t.Errorf("refused patches and dry runs wrote: %s at %d", after.Value, after.ModRevision)
	}
}

func TestPatchConditionsRefuseAtOnceWithWhatIsThere(t *testing.T) {
	t.Parallel()
	g := start(t)
	etag := g.do(t, "PUT", "/v1/kv/k", `{"value":"{}"}`).want(t, 201).header.Get("ETag")
	g.do(t, "PATCH", "/v1/kv/k", `{"a":1}`, merge, "If-Match: "+etag).want(t, 200)
	store := &tap{Backend: g.store}
	h := g.through(t, store)
	doc := h.do(t, "PATCH", "/v1/kv/k", `{"a":2}`, merge, "If-Match: "+etag).problem(t, 412, "precondition_failed")
	if current, _ := doc["current"].(map[string]any); current["value"] != `{"a":1}` {
		t.Errorf("current: got %v", doc["current"])
	}
	if n := len(store.txns); n != 1 {
		t.Errorf("a precondition that cannot hold any more was tried %d times, want once", n)
	}
	// A condition comes before what is wrong with the value.
	h.do(t, "PATCH", "/v1/kv/k", `[{"op":"remove","path":"/nothing"}]`, patch6, "If-Match: "+etag).problem(t, 412, "precondition_failed")
	if doc := h.do(t, "PATCH", "/v1/kv/none", `{}`, merge, "If-Match: *").problem(t, 412, "precondition_failed"); doc["current"] != nil {
		t.Errorf("absent key: current: got %v, want null", doc["current"])
	}
	h.do(t, "PATCH", "/v1/kv/k", `{}`, merge, "If-None-Match: *").problem(t, 412, "precondition_failed")
	h.do(t, "PATCH", "/v1/kv/k?if_mod_revision=1", `{}`, merge).problem(t, 412, "precondition_failed")
	lock, err := g.oracle.Put(t.Context(), "lock", "owner")
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, "PATCH", fmt.Sprintf("/v1/kv/k?if_lock=lock&fencing_token=%d", lock.Header.Revision), `{"b":1}`, merge).want(t, 200)
	h.do(t, "PATCH", fmt.Sprintf("/v1/kv/k?if_lock=lock&fencing_token=%d", lock.Header.Revision+1), `{"b":2}`, merge).problem(t, 409, "lock_lost")
}

// meddler writes the key just before each transaction that would, as long as it is told to.
type meddler struct {
	handlers.Backend
	oracle *clientv3.Client
	mu     sync.Mutex
	times  int
	value  string
	// instead, when set, is what a transaction that writes gives.
	instead error
}

func (s *meddler) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	if writesKey(r.Then) {
		s.mu.Lock()
		s.times--
		meddle, instead := s.times >= 0, s.instead
		s.mu.Unlock()
		if instead != nil {
			return nil, instead
		}
		if meddle {
			if _, err := s.oracle.Put(ctx, "k", s.value); err != nil {
				return nil, err
			}
		}
	}
	return s.Backend.Txn(ctx, r)
}

func writesKey(ops []wire.Op) bool {
	for _, op := range ops {
		if op.Put != nil && string(op.Put.Key) == "k" || op.Txn != nil && (writesKey(op.Txn.Then) || writesKey(op.Txn.Else)) {
			return true
		}
	}
	return false
}

func TestPatchIsAppliedToWhatOthersWrote(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, c := range []struct {
		name   string
		times  int
		query  string
		status int
		code   string
	}{
		{"15 others", 15, "", 200, ""},
		{"16 others", 16, "", 409, "conflict"},
		{"a condition that others break", 1, "?if_mod_revision=MOD", 412, "precondition_failed"},
		{"a condition that stays true", 3, "", 200, ""},
	} {
		put, err := g.oracle.Put(t.Context(), "k", `{"mine":0}`)
		if err != nil {
			t.Fatal(err)
		}
		store := &meddler{Backend: g.store, oracle: g.oracle, times: c.times, value: `{"theirs":1}`}
		path := "/v1/kv/k" + strings.Replace(c.query, "MOD", fmt.Sprint(put.Header.Revision), 1)
		headers := []string{merge}
		if c.name == "a condition that stays true" {
			headers = append(headers, "If-Match: *")
		}
		got := g.through(t, store).do(t, "PATCH", path, `{"mine":1}`, headers...)
		if c.code != "" {
			if doc := got.problem(t, c.status, c.code); doc["outcome"] != "not_applied" {
				t.Errorf("%s: outcome %v, want not_applied", c.name, doc["outcome"])
			}
			continue
		}
		got.want(t, c.status)
		if kv := value(t, g, "k"); string(kv.Value) != `{"theirs":1,"mine":1}` {
			t.Errorf("%s: got %s, want both changes", c.name, kv.Value)
		}
	}
	// Gone meanwhile.
	store := &deleter{Backend: g.store, oracle: g.oracle}
	g.through(t, store).do(t, "PATCH", "/v1/kv/k", `{"mine":1}`, merge).problem(t, 404, "key_not_found")
}

// deleter deletes the key just before a transaction that writes it.
type deleter struct {
	handlers.Backend
	oracle *clientv3.Client
}

func (s *deleter) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	if writesKey(r.Then) {
		if _, err := s.oracle.Delete(ctx, "k"); err != nil {
			return nil, err
		}
	}
	return s.Backend.Txn(ctx, r)
}

func TestPatchStopsAtAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"{}"}`).want(t, 201)
	store := &meddler{Backend: g.store, times: 100, instead: context.DeadlineExceeded}
	doc := g.through(t, store).do(t, "PATCH", "/v1/kv/k", `{"a":1}`, merge).problem(t, 504, "deadline_exceeded")
	if doc["outcome"] != "unknown" || store.times != 99 {
		t.Errorf("outcome %v after %d tries, want unknown after 1", doc["outcome"], 100-store.times)
	}
}

func TestConcurrentPatchesLoseNothing(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"{}"}`).want(t, 201)
	const writers = 8
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			status := 409
			for status == 409 { // more than 16 others came first
				status = g.do(t, "PATCH", "/v1/kv/k", fmt.Sprintf(`{"w%d":%d}`, i, i), merge).status
			}
		})
	}
	wg.Wait()
	got := g.do(t, "GET", "/v1/kv/k?encoding=json", "").want(t, 200).json(t)
	if doc, _ := got["value_json"].(map[string]any); len(doc) != writers {
		t.Errorf("got %v, want the members of %d writers", doc, writers)
	}
	if fmt.Sprint(got["version"]) != fmt.Sprint(writers+1) {
		t.Errorf("version: got %v, want %d", got["version"], writers+1)
	}
}
