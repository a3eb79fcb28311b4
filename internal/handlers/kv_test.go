package handlers_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/handlers"
)

// awkward are keys that paths, cleaning, decoding twice or UTF-8 would change, each with a path that names it.
var awkward = []struct{ path, key string }{
	{"app/name", "app/name"},
	{"app%2Fname", "app/name"},
	{"app%252Fname", "app%2Fname"},
	{"/app", "/app"},
	{"%2Fapp", "/app"},
	{"a//b", "a//b"},
	{"a/../b", "a/../b"},
	{"a/./b/", "a/./b/"},
	{"%2e%2e", ".."},
	{"..", ".."},
	{"a%20b", "a b"},
	{"a+b", "a+b"},
	{"a%2Bb", "a+b"},
	{"a;b=c&d", "a;b=c&d"},
	{"a%3Fb%23c", "a?b#c"},
	{"%FF%FE", "\xff\xfe"},
	{"a%00b", "a\x00b"},
	{"%01", "\x01"},
	{"sn%C3%B6", "snö"},
	{"%E2%80%A8", "\u2028"},
	{"a%0D%0Ab", "a\r\nb"},
	{strings.Repeat("k", 4000), strings.Repeat("k", 4000)},
}

func TestAwkwardKeysAreByteExactInThePath(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i, k := range awkward {
		value := fmt.Sprintf("value %d", i)
		put := g.do(t, "PUT", "/v1/kv/"+k.path, `{"value":"`+value+`"}`)
		if put.status != http.StatusOK && put.status != http.StatusCreated {
			t.Fatalf("PUT %q: %d %s", k.path, put.status, put.body)
		}
		stored, err := g.oracle.Get(t.Context(), k.key)
		if err != nil || len(stored.Kvs) != 1 || string(stored.Kvs[0].Value) != value {
			t.Fatalf("PUT %q: etcd has %v (%v), want %q under %q", k.path, stored, err, value, k.key)
		}
		got := g.do(t, "GET", "/v1/kv/"+k.path, "").want(t, 200).json(t)
		if name := keyOf(t, got); name != k.key || got["value"] != value {
			t.Errorf("GET %q: got key %q and value %v, want %q and %q", k.path, name, got["value"], k.key, value)
		}
		raw := g.do(t, "GET", "/v1/raw/"+k.path, "").want(t, 200)
		if string(raw.body) != value {
			t.Errorf("GET raw %q: got %q, want %q", k.path, raw.body, value)
		}
		encoded := base64.RawURLEncoding.EncodeToString([]byte(k.key))
		got = g.do(t, "GET", "/v1/kv/"+encoded+"?key_encoding=base64url", "").want(t, 200).json(t)
		if name := keyOf(t, got); name != k.key {
			t.Errorf("GET %q by base64url: got key %q, want %q", k.key, name, k.key)
		}
	}
}

// keyOf reads the key of an object in either form.
func keyOf(t testing.TB, object map[string]any) string {
	t.Helper()
	if key, ok := object["key"].(string); ok {
		return key
	}
	text, _ := object["key_base64"].(string)
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) == 0 {
		t.Fatalf("the object names no key: %v", object)
	}
	return string(key)
}

func TestEmptyAndReservedKeysAreRefusedForEveryMethod(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, prefix := range []string{"/v1/kv/", "/v1/raw/"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			g.do(t, method, prefix, `{"value":"x"}`, "Content-Type: application/json").problem(t, 400, "invalid_parameter")
			g.do(t, method, prefix+"%00secret", `{"value":"x"}`, "Content-Type: application/json").problem(t, 403, "reserved")
		}
	}
	all, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if all.Count != 0 {
		t.Errorf("refused writes left %d keys", all.Count)
	}
}

func TestPutTellsCreatedFromUpdated(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	created := first.json(t)
	second := g.do(t, "PUT", "/v1/kv/k?prev_kv=true", `{"value":"2"}`).want(t, 200)
	updated := second.json(t)
	stored, err := g.oracle.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	kv := stored.Kvs[0]
	want := map[string]any{"key": "k", "create_revision": num(kv.CreateRevision), "mod_revision": num(kv.ModRevision), "version": num(2), "created": false}
	prev, _ := updated["prev_kv"].(map[string]any)
	delete(updated, "prev_kv")
	if diff := cmp.Diff(want, updated); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	if prev["value"] != "1" || prev["mod_revision"] != created["mod_revision"] {
		t.Errorf("prev_kv: got %v, want the value 1 at %v", prev, created["mod_revision"])
	}
	if created["created"] != true || created["version"] != num(1) {
		t.Errorf("create: got %v", created)
	}
	if etag, want := second.header.Get("ETag"), fmt.Sprintf(`"%d"`, kv.ModRevision); etag != want {
		t.Errorf("ETag: got %s, want %s", etag, want)
	}
	if got, want := second.header.Get("Etcd-Revision"), fmt.Sprint(kv.ModRevision); got != want {
		t.Errorf("Etcd-Revision: got %s, want %s", got, want)
	}
}

func num(n int64) any { return jsonNumber(fmt.Sprint(n)) }

func TestValuesOfAnyBytes(t *testing.T) {
	t.Parallel()
	g := start(t)
	for name, value := range map[string][]byte{
		"empty": {}, "text": []byte("héllo \u2028 <&> \"\\"), "controls": []byte("\x00\x01\x1f\x7f\r\n"), "binary": {0xff, 0x00, 0xfe},
		"lone surrogate bytes": {0xed, 0xa0, 0x80}, "cut utf-8": []byte("a\xc3"), "json": []byte(`{"b":1.50,"a":[1e3]}`),
	} {
		path := "/v1/kv/" + strings.ReplaceAll(name, " ", "%20")
		encoded := base64.StdEncoding.EncodeToString(value)
		g.do(t, "PUT", path, `{"value_base64":"`+encoded+`"}`).want(t, 201)
		got := g.do(t, "GET", path, "").want(t, 200).json(t)
		if text, ok := got["value"].(string); ok {
			if text != string(value) {
				t.Errorf("%s: value %q, want %q", name, text, value)
			}
		} else if got["value_base64"] != encoded {
			t.Errorf("%s: value_base64 %v, want %s", name, got["value_base64"], encoded)
		}
		if got := g.do(t, "GET", path+"?encoding=base64", "").want(t, 200).json(t); got["value_base64"] != encoded || got["key"] != nil {
			t.Errorf("%s with encoding=base64: got %v", name, got)
		}
		raw := g.do(t, "GET", strings.Replace(path, "/kv/", "/raw/", 1), "").want(t, 200)
		if !bytes.Equal(raw.body, value) {
			t.Errorf("%s raw: got %q, want %q", name, raw.body, value)
		}
	}
	doc := g.do(t, "GET", "/v1/kv/json?encoding=json", "").want(t, 200)
	if want := `"value_json":{"b":1.50,"a":[1e3]}`; !strings.Contains(string(doc.body), want) {
		t.Errorf("encoding=json: got %s, want %s in it", doc.body, want)
	}
}

func TestReadsOfThePast(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201).json(t)["mod_revision"]
	g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`).want(t, 200)
	got := g.do(t, "GET", fmt.Sprintf("/v1/kv/k?revision=%v", first), "").want(t, 200).json(t)
	if got["value"] != "1" {
		t.Errorf("at revision %v: got %v, want 1", first, got["value"])
	}
	g.do(t, "GET", "/v1/kv/k?revision=100000", "").problem(t, 409, "future_revision")
	g.do(t, "POST", "/v1/maintenance/compact", `{"revision":3}`).want(t, 200)
	g.do(t, "GET", fmt.Sprintf("/v1/kv/k?revision=%v", first), "").problem(t, 410, "compacted")
	g.do(t, "POST", "/v1/maintenance/compact", `{"revision":2}`).problem(t, 410, "compacted")
}

func TestRevalidation(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	etag := g.do(t, "GET", "/v1/kv/k", "").want(t, 200).header.Get("ETag")
	for _, tag := range []string{etag, "W/" + etag, "*", `"7777", ` + etag} {
		a := g.do(t, "GET", "/v1/kv/k", "", "If-None-Match: "+tag).want(t, 304)
		if len(a.body) != 0 || a.header.Get("ETag") != etag || a.header.Get("Etcd-Revision") == "" {
			t.Errorf("If-None-Match %s: got headers %v and %d bytes", tag, a.header, len(a.body))
		}
	}
	for _, tag := range []string{`"0"`, `"99"`, `nonsense`, `""`} {
		g.do(t, "GET", "/v1/kv/k", "", "If-None-Match: "+tag).want(t, 200)
	}
	g.do(t, "GET", "/v1/raw/k", "", "If-None-Match: "+etag).want(t, 304)
	head := g.do(t, "HEAD", "/v1/kv/k", "").want(t, 200)
	if head.header.Get("ETag") != etag || len(head.body) != 0 {
		t.Errorf("HEAD: got %v and %q", head.header, head.body)
	}
}

func TestConditionsOfWrites(t *testing.T) {
	t.Parallel()
	g := start(t)
	revision := g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`, "If-None-Match: *").want(t, 201).json(t)["mod_revision"]
	failed := g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`, "If-None-Match: *").problem(t, 412, "precondition_failed")
	current, _ := failed["current"].(map[string]any)
	if current["value"] != "1" || failed["outcome"] != "not_applied" {
		t.Errorf("412: got %v", failed)
	}
	g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`, `If-Match: "99999"`).problem(t, 412, "precondition_failed")
	// One of several tags, a weak one, and the spelling of the query.
	next := g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`, fmt.Sprintf(`If-Match: "99998", W/"%v", "99999"`, revision)).want(t, 200).json(t)["mod_revision"]
	next = g.do(t, "PUT", fmt.Sprintf("/v1/kv/k?if_mod_revision=%v", next), `{"value":"3"}`).want(t, 200).json(t)["mod_revision"]
	g.do(t, "PUT", "/v1/kv/k?if_mod_revision=0", `{"value":"4"}`).problem(t, 412, "precondition_failed")
	g.do(t, "PUT", "/v1/kv/k", `{"value":"4"}`, "If-Match: *").want(t, 200)
	g.do(t, "DELETE", fmt.Sprintf("/v1/kv/k?if_mod_revision=%v", next), "").problem(t, 412, "precondition_failed")
	g.do(t, "DELETE", "/v1/kv/k", "", "If-Match: *").want(t, 200)

	for name, headers := range map[string][]string{
		"both":        {`If-Match: "1"`, "If-None-Match: *"},
		"tag on none": {`If-None-Match: "1"`},
		"no quotes":   {`If-Match: 1`},
		"nine tags":   {`If-Match: "1","2","3","4","5","6","7","8","9"`},
		"empty":       {`If-Match: ,`},
	} {
		a := g.do(t, "PUT", "/v1/kv/k", `{"value":"x"}`, headers...)
		if a.problem(t, 400, "invalid_parameter")["outcome"] != "not_applied" {
			t.Errorf("%s: got %s", name, a.body)
		}
	}
}

// CORRECTNESS 3: etcd's compare mod_revision = 0 is true for an absent key, so "0" would create.
func TestIfMatchOnAnAbsentKeyIs412WithCurrentNull(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, tag := range []string{`"0"`, `"1"`, `*`, `"abc"`, `"-1"`, `"01"`} {
		for _, method := range []string{"PUT", "DELETE"} {
			doc := g.do(t, method, "/v1/kv/absent", `{"value":"x"}`, "If-Match: "+tag, "Content-Type: application/json").
				problem(t, 412, "precondition_failed")
			if current, there := doc["current"]; !there || current != nil {
				t.Errorf("%s If-Match %s: current is %v (there: %v), want null", method, tag, current, there)
			}
		}
	}
	if n := g.do(t, "GET", "/v1/kv/absent", ""); n.status != 404 {
		t.Errorf("a refused write created the key: %s", n.body)
	}
}

func TestDeleteOfAnAbsentKeyIsHarmless(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	first := g.do(t, "DELETE", "/v1/kv/k?prev_kv=true", "").want(t, 200).json(t)
	second := g.do(t, "DELETE", "/v1/kv/k?prev_kv=true", "").want(t, 200).json(t)
	if first["deleted"] != num(1) || first["prev_kv"] == nil || second["deleted"] != num(0) || second["prev_kv"] != nil {
		t.Errorf("got %v, then %v", first, second)
	}
	if first["revision"] != second["revision"] {
		t.Errorf("the second delete moved the revision: %v to %v", first["revision"], second["revision"])
	}
}

func TestFencedWrites(t *testing.T) {
	t.Parallel()
	g := start(t)
	lock, err := g.oracle.Put(t.Context(), "lock/694d", "")
	if err != nil {
		t.Fatal(err)
	}
	token := lock.Header.Revision
	guarded := func(token int64) string { return fmt.Sprintf("/v1/kv/k?if_lock=lock/694d&fencing_token=%d", token) }
	g.do(t, "PUT", guarded(token), `{"value":"1"}`).want(t, 201)
	g.do(t, "PUT", guarded(token)+"&if_mod_revision=0", `{"value":"1"}`).problem(t, 412, "precondition_failed")
	g.do(t, "PUT", guarded(token-1), `{"value":"2"}`).problem(t, 409, "lock_lost")
	if _, err := g.oracle.Delete(t.Context(), "lock/694d"); err != nil {
		t.Fatal(err)
	}
	lost := g.do(t, "PUT", guarded(token), `{"value":"3"}`).problem(t, 409, "lock_lost")
	if lost["outcome"] != "not_applied" {
		t.Errorf("lock_lost: outcome %v", lost["outcome"])
	}
	g.do(t, "PUT", "/v1/kv/k?if_lock=lock/694d", `{"value":"4"}`).problem(t, 400, "invalid_parameter")
	if v := g.do(t, "GET", "/v1/kv/k", "").want(t, 200).json(t)["value"]; v != "1" {
		t.Errorf("value: got %v, want 1", v)
	}
}

func TestTTLOnAPut(t *testing.T) {
	t.Parallel()
	g := start(t)
	put := g.do(t, "PUT", "/v1/kv/k", `{"value":"1","ttl":60}`).want(t, 201).json(t)
	if put["ttl"] != num(60) || put["lease"] == nil {
		t.Fatalf("put with ttl: got %v", put)
	}
	got := g.do(t, "GET", "/v1/kv/k", "").want(t, 200).json(t)
	if got["lease"] != put["lease"] {
		t.Errorf("lease: got %v, want %v", got["lease"], put["lease"])
	}
	kept := g.do(t, "PUT", "/v1/kv/k", `{"value":"2","ignore_lease":true}`).want(t, 200).json(t)
	if kept["lease"] != put["lease"] {
		t.Errorf("ignore_lease: got %v, want %v", kept["lease"], put["lease"])
	}
	if detached := g.do(t, "PUT", "/v1/kv/k", `{"value":"3"}`).want(t, 200).json(t); detached["lease"] != nil {
		t.Errorf("a put without lease keeps %v, want it detached as in etcd", detached["lease"])
	}
	touched := g.do(t, "PUT", "/v1/kv/k", `{"ignore_value":true,"ttl":30}`).want(t, 200).json(t)
	if v := g.do(t, "GET", "/v1/kv/k", "").json(t)["value"]; v != "3" || touched["lease"] == nil {
		t.Errorf("ignore_value: value %v with lease %v", v, touched["lease"])
	}
}

// CORRECTNESS 3: the lease is revoked only after a definite not_applied.
func TestTheLeaseOfARefusedPutIsRevoked(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"2","ttl":600}`, "If-None-Match: *").problem(t, 412, "precondition_failed")
	g.do(t, "PUT", "/v1/kv/absent", `{"ignore_value":true,"ttl":600}`).problem(t, 404, "key_not_found")
	leases, err := g.oracle.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(leases.Leases) != 0 {
		t.Errorf("refused puts left %d leases", len(leases.Leases))
	}
}

func TestWrongBodies(t *testing.T) {
	t.Parallel()
	g := start(t)
	for name, c := range map[string]struct {
		body, code string
		status     int
	}{
		"typo":             {`{"valeu":"x"}`, "unknown_field", 400},
		"none":             {`{}`, "invalid_argument", 400},
		"null":             {`{"value":null}`, "invalid_argument", 400},
		"two forms":        {`{"value":"x","value_base64":"eA=="}`, "invalid_argument", 400},
		"duplicate":        {`{"value":"x","value":"y"}`, "invalid_json", 400},
		"trailing":         {`{"value":"x"} {}`, "invalid_json", 400},
		"invalid utf-8":    {"{\"value\":\"\xff\"}", "invalid_json", 400},
		"lone surrogate":   {`{"value":"\ud800"}`, "invalid_json", 400},
		"wrong type":       {`{"value":1}`, "invalid_json", 400},
		"ttl of zero":      {`{"value":"x","ttl":0}`, "invalid_argument", 400},
		"ttl fraction":     {`{"value":"x","ttl":1.5}`, "invalid_json", 400},
		"ttl and lease":    {`{"value":"x","ttl":5,"lease":"1"}`, "invalid_argument", 400},
		"lease not hex":    {`{"value":"x","lease":"xyz"}`, "invalid_argument", 400},
		"unknown lease":    {`{"value":"x","lease":"77"}`, "lease_not_found", 404},
		"empty body":       {``, "invalid_json", 400},
		"value and ignore": {`{"value":"x","ignore_value":true}`, "invalid_argument", 400},
		"bad base64":       {`{"value_base64":"e"}`, "invalid_argument", 400},
	} {
		doc := g.do(t, "PUT", "/v1/kv/k", c.body)
		if doc.status != c.status || doc.json(t)["code"] != c.code {
			t.Errorf("%s: got %d %s, want %d %s", name, doc.status, doc.body, c.status, c.code)
		} else if doc.json(t)["outcome"] != "not_applied" {
			t.Errorf("%s: outcome %v", name, doc.json(t)["outcome"])
		}
	}
	g.do(t, "GET", "/v1/kv/k", "").problem(t, 404, "key_not_found")
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, ok := range []string{"application/json", "application/json; charset=utf-8", "application/vnd.x+json", "application/x-www-form-urlencoded"} {
		a := g.do(t, "PUT", "/v1/kv/k", `{"value":"x"}`, "Content-Type: "+ok)
		if a.status > 201 {
			t.Errorf("%s: got %d %s", ok, a.status, a.body)
		}
	}
	for _, bad := range []string{"text/plain", "multipart/form-data; boundary=x", "application/json; charset=latin1", "nonsense"} {
		g.do(t, "PUT", "/v1/kv/k", `{"value":"x"}`, "Content-Type: "+bad).problem(t, 415, "unsupported_media_type")
	}
	g.do(t, "PUT", "/v1/kv/k", "x", "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
	g.do(t, "PUT", "/v1/raw/k", "x", "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
}

func TestLimitsOfBodies(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.MaxBodyBytes, o.MaxValueBytes = 1000, 100 })
	doc := g.do(t, "PUT", "/v1/kv/k", `{"value":"`+strings.Repeat("x", 1000)+`"}`).problem(t, 413, "request_too_large")
	if doc["limit"] != num(1000) {
		t.Errorf("limit: got %v, want 1000", doc["limit"])
	}
	g.do(t, "PUT", "/v1/kv/k", `{"value":"`+strings.Repeat("x", 101)+`"}`).problem(t, 413, "request_too_large")
	g.do(t, "PUT", "/v1/raw/k", strings.Repeat("x", 101)).problem(t, 413, "request_too_large")
	g.do(t, "PUT", "/v1/raw/k", strings.Repeat("x", 100)).want(t, 201)

	large := start(t)
	large.do(t, "PUT", "/v1/raw/k", strings.Repeat("x", 1<<20)).want(t, 201)
	large.do(t, "PUT", "/v1/raw/k", strings.Repeat("x", 1_800_000)).problem(t, 413, "request_too_large")
}

func TestRawMetadata(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/raw/a%20%C3%B6/b?ttl=60", "<script>").want(t, 201)
	a := g.do(t, "GET", "/v1/raw/a%20%C3%B6/b", "").want(t, 200)
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
		"Etcd-Key": "a%20%C3%B6/b", "Etcd-Version": "1",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if a.header.Get("Etcd-Lease") == "" || a.header.Get("Etcd-Mod-Revision") != a.header.Get("Etcd-Create-Revision") {
		t.Errorf("metadata: %v", a.header)
	}
	g.do(t, "PUT", "/v1/raw/e", "").want(t, 201)
	if e := g.do(t, "GET", "/v1/raw/e", "").want(t, 200); len(e.body) != 0 {
		t.Errorf("an empty value: got %q", e.body)
	}
	g.do(t, "PUT", "/v1/raw/k?lease=zz", "x").problem(t, 400, "invalid_parameter")
	g.do(t, "PUT", "/v1/raw/k?lease=77", "x").problem(t, 404, "lease_not_found")
}

func TestDryRunsWriteNothing(t *testing.T) {
	t.Parallel()
	g := start(t)
	before := g.do(t, "GET", "/v1/kv?prefix=", "").want(t, 200).header.Get("Etcd-Revision")
	dry := g.do(t, "PUT", "/v1/kv/k?dry_run=true", `{"value":"1","ttl":60}`).want(t, 200).json(t)
	if dry["created"] != true || dry["dry_run"] != true {
		t.Errorf("dry put: got %v", dry)
	}
	g.do(t, "PUT", "/v1/kv/k?dry_run", `{"value":"1","lease":"77"}`).problem(t, 404, "lease_not_found")
	g.do(t, "PUT", "/v1/kv/k?dry_run", `{"value":"1"}`, "If-Match: *").problem(t, 412, "precondition_failed")
	if d := g.do(t, "DELETE", "/v1/kv/k?dry_run", "").want(t, 200).json(t); d["deleted"] != num(0) {
		t.Errorf("dry delete: got %v", d)
	}
	if after := g.do(t, "GET", "/v1/kv?prefix=", "").want(t, 200).header.Get("Etcd-Revision"); after != before {
		t.Errorf("dry runs moved the store from %s to %s", before, after)
	}
}

func TestWaitAnswersAsSoonAsTheKeyChanges(t *testing.T) {
	t.Parallel()
	g := start(t)
	put := g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	after := put.header.Get("Etcd-Revision")

	// Already changed after an older revision: at once.
	g.do(t, "GET", "/v1/kv/k?wait=30&after=1", "").want(t, 200)

	type result struct {
		a    *answer
		took time.Duration
	}
	wait := func(path string) chan result {
		out := make(chan result, 1)
		go func() {
			started := time.Now()
			a := g.do(t, "GET", path, "")
			out <- result{a, time.Since(started)}
		}()
		return out
	}
	pending := wait("/v1/kv/k?wait=30&after=" + after)
	g.do(t, "PUT", "/v1/kv/other", `{"value":"x"}`).want(t, 201) // another key wakes nobody
	g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`).want(t, 200)
	got := <-pending
	if got.a.want(t, 200).json(t)["value"] != "2" || got.took > 10*time.Second {
		t.Errorf("wait: got %s after %v", got.a.body, got.took)
	}

	after = got.a.header.Get("Etcd-Revision")
	pending = wait("/v1/raw/k?wait=30&after=" + after)
	g.do(t, "DELETE", "/v1/kv/k", "").want(t, 200)
	(<-pending).a.problem(t, 404, "key_not_found")

	// Gone since `after`: at once. Absent and unchanged: 304 when the time is over.
	g.do(t, "GET", "/v1/kv/k?wait=30&after="+after, "").problem(t, 404, "key_not_found")
	quiet := g.do(t, "GET", "/v1/kv/never?wait=1", "").want(t, 304)
	revision := quiet.header.Get("Etcd-Revision")
	if revision == "" {
		t.Fatalf("304 names no Etcd-Revision: %v", quiet.header)
	}
	pending = wait("/v1/kv/never?wait=30&after=" + revision)
	g.do(t, "PUT", "/v1/kv/never", `{"value":"now"}`).want(t, 201)
	if got := <-pending; got.a.want(t, 200).json(t)["value"] != "now" {
		t.Errorf("wait on an absent key: got %s", got.a.body)
	}
	g.do(t, "GET", "/v1/kv/k?after=5", "").problem(t, 400, "invalid_parameter")
	g.do(t, "GET", "/v1/kv/k?wait=1&after=5&revision=3", "").problem(t, 400, "invalid_parameter")
}

// A key that was created and deleted again after `after` has changed, though both ends look alike.
func TestWaitSeesAChangeThatCancelsItself(t *testing.T) {
	t.Parallel()
	g := start(t)
	after := g.do(t, "PUT", "/v1/kv/x", `{"value":"1"}`).want(t, 201).header.Get("Etcd-Revision")
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.do(t, "DELETE", "/v1/kv/k", "").want(t, 200)
	g.do(t, "GET", "/v1/kv/k?wait=30&after="+after, "").problem(t, 404, "key_not_found")
}
