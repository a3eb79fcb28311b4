package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// b64 is how /v3 writes bytes.
func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// overwrites are writes without a condition, whose answers do not tell where their keys stood, over the keys a to e, which exist, and n,
// which does not.
func overwrites() []struct{ method, path, body string } {
	put := func(key string) string {
		return `{"request_put":{"key":"` + b64(key) + `","value":"` + b64("v") + `"}}`
	}
	del := func(key string) string { return `{"request_delete_range":{"key":"` + b64(key) + `"}}` }
	read := func(key string) string { return `{"request_range":{"key":"` + b64(key) + `"}}` }
	return []struct{ method, path, body string }{
		{"PUT", "/v1/kv/a", `{"value":"2"}`},
		{"PUT", "/v1/raw/a", "3"},
		{"POST", "/v1/txn", `{"then":[{"put":{"key":"a","value":"4"}},{"get":{"key":"a"}},{"delete":{"key":"b"}},{"put":{"key":"n","value":"1"}}]}`},
		{"POST", "/v1/txn", `{"if":[{"key":"a","exists":false}],"then":[{"put":{"key":"c","value":"2"}}],"else":[{"txn":{"if":[{"key":"n","exists":true}],"then":[{"put":{"key":"c","value":"3"}},{"get":{"key":"c"}}]}},{"get":{"key":"d"}},{"put":{"key":"d","value":"2"}}]}`},
		{"POST", "/v1/import?mode=overwrite", `{"type":"kv","key":"c","value":"9"}` + "\n" + `{"type":"end","count":1,"revision":9}` + "\n"},
		{"DELETE", "/v1/kv/d", ""},
		{"POST", "/v3/kv/put", `{"key":"` + b64("a") + `","value":"` + b64("5") + `"}`},
		{"POST", "/v3/kv/put", `{"key":"` + b64("a") + `","ignore_value":true}`},
		{"POST", "/v3/kv/put", `{"key":"` + b64("absent") + `","ignore_value":true}`},
		{"POST", "/v3/kv/put", `{"key":"` + b64("a") + `","lease":"77"}`},
		{"POST", "/v3/kv/put", `{"key":""}`},
		{"POST", "/v3/kv/deleterange", `{"key":"` + b64("e") + `"}`},
		{"POST", "/v3/kv/deleterange", `{"key":"` + b64("e") + `"}`},
		{"POST", "/v3/kv/txn", `{"success":[` + put("a") + `,` + read("a") + `,` + del("n") + `]}`},
		{"POST", "/v3/kv/txn", `{"compare":[{"key":"` + b64("a") + `","target":"VERSION","version":"1"}],"success":[` + put("x") + `],"failure":[{"request_txn":{"success":[` + put("c") + `]}},` + read("a") + `,` + put("a") + `]}`},
		{"POST", "/v3/kv/txn", `{"success":[` + put("a") + `,` + put("a") + `]}`},
		{"POST", "/v3/kv/txn", `{"success":[` + strings.Repeat(read("a")+",", 126) + put("a") + `]}`},
		{"POST", "/v3/kv/txn", `{"success":[` + strings.Repeat(read("c")+",", 127) + put("a") + `]}`},
	}
}

// Whether somebody records it or not, an answer is the same; and where each key stood is told of all that was written.
func TestTheAuditLogTellsWhereOverwrittenKeysStood(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	recorded, plain := dev(t, "--audit-log="+file), dev(t)
	for _, g := range []*running{recorded, plain} {
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			call(t, nil, http.MethodPut, g.api+"/v1/kv/"+key, `{"value":"1"}`)
		}
	}
	ids := regexp.MustCompile(`"(cluster_id|member_id|request_id|raft_term)":"[0-9a-f]+",?`)
	for i, w := range overwrites() {
		id := fmt.Sprintf("w%d", i)
		got := call(t, nil, w.method, recorded.api+w.path, w.body, "X-Request-Id", id)
		want := call(t, nil, w.method, plain.api+w.path, w.body, "X-Request-Id", id)
		if got.status != want.status || ids.ReplaceAllString(got.body, "") != ids.ReplaceAllString(want.body, "") {
			t.Errorf("%.200s %.200s\nrecorded: %d %s\n   plain: %d %s", w.path, w.body, got.status, got.body, want.status, want.body)
		}
		for _, line := range of(auditLines(t, file), id) {
			for _, op := range line.Ops {
				full := strings.Count(w.body, "request_") == 128 // there is no room to look
				if unknown := op.Before == nil; line.Outcome == "applied" && unknown != full {
					t.Errorf("%.200s %.200s: %s %s: where it stood is told: %v", w.path, w.body, op.Op, op.Key, !unknown)
				}
				if strings.HasPrefix(w.path, "/v3/kv/put") && line.RPC != "KV/Put" {
					t.Errorf("%s: the log calls it %s", w.path, line.RPC)
				}
			}
		}
	}
	for _, id := range []string{"once", "again"} { // the record of an Idempotency-Key is in the same transaction
		do := func(g *running) answer {
			return call(t, nil, http.MethodPut, g.api+"/v1/kv/a", `{"value":"once"}`, "X-Request-Id", id, "Idempotency-Key", "k")
		}
		if got, want := do(recorded), do(plain); got.status != want.status || got.body != want.body || got.header.Get("Idempotency-Replayed") != want.header.Get("Idempotency-Replayed") {
			t.Errorf("%s: recorded: %d %s\n plain: %d %s", id, got.status, got.body, want.status, want.body)
		}
	}
	for _, line := range of(auditLines(t, file), "once") {
		for _, op := range line.Ops {
			if op.Before == nil || op.Key == "a" && *op.Before == 0 {
				t.Errorf("with an Idempotency-Key: got %+v, want where %q stood", line, op.Key)
			}
		}
	}
	check := func(id, key string, want int64) {
		t.Helper()
		for _, line := range of(auditLines(t, file), id) {
			for _, op := range line.Ops {
				if op.Key == key && op.Before != nil && *op.Before == want {
					return
				}
			}
		}
		t.Errorf("%s: no line says that %s stood at %d: %+v", id, key, want, of(auditLines(t, file), id))
	}
	// The epoch may have been written before, so what counts are differences from the key a.
	first := of(auditLines(t, file), "w0")
	if len(first) != 1 || len(first[0].Ops) != 1 || first[0].Ops[0].Before == nil {
		t.Fatalf("got %+v", first)
	}
	base := *first[0].Ops[0].Before
	check("w1", "a", base+5) // b, c, d and e were made in between
	check("w2", "a", base+6)
	check("w2", "b", base+1)
	check("w2", "n", 0)
	check("w3", "c", base+2)
	check("w3", "d", base+3)
	check("w4", "c", base+8)
	check("w5", "d", base+8)
	check("w11", "e", base+4)
}

// To look, etcd demands a right to read: who has none writes all the same, and the log does not tell where the key stood.
func TestWhoMayOnlyWriteWritesUnderAnAuditLog(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.RoleAdd(t.Context(), "blind"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RoleGrantPermission(t.Context(), "blind", "app/", "app0", clientv3.PermissionType(clientv3.PermWrite)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserAdd(t.Context(), "blind", "blindpw"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserGrantRole(t.Context(), "blind", "blind"); err != nil {
		t.Fatal(err)
	}
	enableAuth(t, etcd)
	dir := t.TempDir()
	file := filepath.Join(dir, "audit")
	g := start(t, "serve", "--endpoints="+etcd.Endpoint(), "--etcd-user=blind", "--etcd-password-file="+writeIn(t, dir, "password", "blindpw"), "--audit-log="+file)
	for i, path := range []string{"/v1/txn", "/v3/kv/put"} {
		body := []string{`{"then":[{"put":{"key":"app/k","value":"1"}}]}`, `{"key":"` + b64("app/k") + `"}`}[i]
		if a := call(t, nil, http.MethodPost, g.api+path, body, "X-Request-Id", path); a.status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", path, a.status, a.body)
		}
		lines := of(auditLines(t, file), path)
		if len(lines) != 1 || lines[0].Outcome != "applied" || len(lines[0].Ops) != 1 || lines[0].Ops[0].Before != nil {
			t.Errorf("%s: got %+v, want one line that does not tell where the key stood", path, lines)
		}
	}
}
