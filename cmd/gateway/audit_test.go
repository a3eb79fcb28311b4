package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// auditLine is a line of the audit log.
type auditLine struct {
	RequestID string `json:"request_id"`
	Principal string
	Remote    string
	Operation string
	RPC       string
	Event     string
	Ops       []auditOp
	Lease     string
	TTL       int64
	Details   map[string]string
	Outcome   string
	Error     string
	Status    int
	Revision  int64
}

type auditOp struct {
	Op        string
	Key       string
	KeyBase64 string `json:"key_base64"`
	End       string `json:"range_end"`
	Lease     string
	Before    *int64 `json:"mod_revision_before"`
	Deleted   *int64
}

// auditLines reads the audit log, whose every line is one document.
func auditLines(t *testing.T, file string) []auditLine {
	t.Helper()
	var all []auditLine
	for _, text := range fileLines(t, file) {
		var line auditLine
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		all = append(all, line)
	}
	return all
}

func fileLines(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) == 0 {
		return nil
	}
	if !strings.HasSuffix(string(content), "\n") {
		t.Fatalf("the log does not end with a newline: %.200q", content)
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

// of gives the lines of one request.
func of(lines []auditLine, id string) (own []auditLine) {
	for _, l := range lines {
		if l.RequestID == id {
			own = append(own, l)
		}
	}
	return own
}

const (
	secretValue    = "VALUE-that-no-log-may-hold" //nolint:gosec // it protects nothing
	secretPassword = "PASSWORD-that-no-log-may-hold"
)

// auditedWrites is a request for each route that writes, in an order in which they make sense.
func auditedWrites() []struct{ operation, path, body string } {
	const v = `{"value":"` + secretValue + `"}`
	return []struct{ operation, path, body string }{
		{"putKey", "/v1/kv/audited/k", v},
		{"patchKey", "/v1/kv/audited/json", `{"a":"` + secretValue + `"}`},
		{"putRaw", "/v1/raw/audited/raw", secretValue},
		{"txn", "/v1/txn", `{"then":[{"put":{"key":"audited/t","value":"` + secretValue + `"}},{"delete":{"key":"audited/k"}}]}`},
		{"importKeys", "/v1/import", `{"type":"kv","key":"audited/i","value":"` + secretValue + `"}` + "\n" + `{"type":"end","count":1,"revision":9}` + "\n"},
		{"grantLease", "/v1/leases", `{"ttl":60,"id":"1234"}`},
		{"keepLease", "/v1/leases/1234/keepalive", ""},
		{"keepLeases", "/v1/leases/keepalive", `{"ids":["1234"]}`},
		{"acquireLock", "/v1/locks/lock", `{"ttl":60}`},
		{"releaseLock", "/v1/locks/lock?lease=1234", ""},
		{"campaign", "/v1/elections/vote", `{"ttl":60,"value":"` + secretValue + `"}`},
		{"proclaim", "/v1/elections/vote?lease=1234", v},
		{"resign", "/v1/elections/vote?lease=1234", ""},
		{"endLease", "/v1/leases/1234", ""},
		{"deleteKey", "/v1/kv/audited/json", ""},
		{"deleteRaw", "/v1/raw/audited/raw", ""},
		{"deleteKeys", "/v1/kv?prefix=audited/&max_deleted=100", ""},
		{"compact", "/v1/maintenance/compact", `{"revision":2}`},
		{"renewEpoch", "/v1/maintenance/epoch", ""},
		{"defragment", "/v1/maintenance/defragment", ""},
		{"downgrade", "/v1/maintenance/downgrade", `{"action":"validate","version":"3.6"}`},
		{"addMember", "/v1/cluster/members", `{"peer_urls":["no url"]}`},
		{"updateMember", "/v1/cluster/members/1", `{"peer_urls":["http://127.0.0.1:1"]}`},
		{"removeMember", "/v1/cluster/members/1", ""},
		{"promoteMember", "/v1/cluster/members/1/promote", ""},
		{"moveLeader", "/v1/cluster/leader", `{"member":"1"}`},
		{"disarmAlarms", "/v1/cluster/alarms", ""},
		{"addUser", "/v1/users", `{"name":"eve","password":"` + secretPassword + `"}`},
		{"setPassword", "/v1/users/eve/password", `{"password":"` + secretPassword + `"}`},
		{"addRole", "/v1/roles", `{"name":"reader"}`},
		{"grantPermission", "/v1/roles/reader/permissions", `{"prefix":"audited/","permission":"read"}`},
		{"grantRole", "/v1/users/eve/roles/reader", ""},
		{"login", "/v1/auth/login", `{"name":"eve","password":"` + secretPassword + `"}`},
		{"revokeRole", "/v1/users/eve/roles/reader", ""},
		{"revokePermission", "/v1/roles/reader/permissions?prefix=audited/", ""},
		{"deleteRole", "/v1/roles/reader", ""},
		{"deleteUser", "/v1/users/eve", ""},
		{"enableAuth", "/v1/auth/enable", ""},
		{"disableAuth", "/v1/auth/disable", ""},
		{"issueTicket", "/v1/auth/tickets", `{"path":"/v1/watch"}`},
		{"endStream", "/v1/gateway/streams/1", ""},
	}
}

// TestEveryWriteRouteLeavesALineInTheAuditLog walks the routing table: a route that writes and has no request here fails.
func TestEveryWriteRouteLeavesALineInTheAuditLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	g := dev(t, "--audit-log="+file)
	methods := writeRoutes(t)
	for _, w := range auditedWrites() {
		method, known := methods[w.operation]
		if !known {
			t.Errorf("%s is no route that writes; take it out of the test", w.operation)
			continue
		}
		delete(methods, w.operation)
		headers := []string{"X-Request-Id", w.operation}
		if w.operation == "patchKey" {
			headers = append(headers, "Content-Type", "application/merge-patch+json")
			call(t, nil, http.MethodPut, g.api+w.path, `{"value_json":{}}`)
		}
		if w.operation == "importKeys" {
			headers = append(headers, "Content-Type", "application/x-ndjson")
		}
		a := call(t, nil, method, g.api+w.path, w.body, headers...)
		own := of(auditLines(t, file), w.operation) // the line is there before the answer
		if len(own) == 0 {
			t.Errorf("%s: got %d %s and no line in the audit log", w.operation, a.status, a.body)
			continue
		}
		if a.status < 300 && own[0].RPC == "" && w.operation != "disarmAlarms" { // there is no alarm
			t.Errorf("%s succeeded with %d, but the log names no call of etcd: %+v", w.operation, a.status, own)
		}
		for _, l := range own {
			if l.Operation != w.operation || l.Remote == "" || l.Outcome == "" {
				t.Errorf("%s: the line lacks something: %+v", w.operation, l)
			}
		}
	}
	for operation := range methods {
		t.Errorf("the route %s writes, and the test has no request for it: add one, and see that it leaves a line", operation)
	}
	wantNoSecrets(t, file)
}

// writeRoutes gives the methods of the routes that write by their operations.
func writeRoutes(t *testing.T) map[string]string {
	t.Helper()
	client, err := etcdclient.New(etcdclient.Config{Endpoints: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	api, err := handlers.New(client, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Drain()
	methods := make(map[string]string)
	for _, r := range api.Routes() {
		if r.Writes {
			methods[r.Operation] = r.Method
		}
	}
	return methods
}

func wantNoSecrets(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{secretValue, secretPassword} {
		if strings.Contains(string(content), secret) {
			t.Errorf("the log holds %s:\n%s", secret, content)
		}
	}
}

// v3Reads are the calls of etcd's gateway that change nothing.
var v3Reads = map[string]bool{
	"Range": true, "Watch": true, "LeaseTimeToLive": true, "LeaseLeases": true, "MemberList": true, "Status": true, "Hash": true,
	"HashKV": true, "Snapshot": true, "AuthStatus": true, "UserGet": true, "UserList": true, "RoleGet": true, "RoleList": true,
	"Leader": true, "Observe": true,
}

// TestEveryWriteOfV3LeavesALineInTheAuditLog walks the methods of etcd's services that have a path.
func TestEveryWriteOfV3LeavesALineInTheAuditLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	g := dev(t, "--audit-log="+file)
	bodies := map[string]string{
		"Put":                `{"key":"YQ==","value":"` + secretValue[:20] + `"}`,
		"DeleteRange":        `{"key":"YQ=="}`,
		"Txn":                `{"success":[{"requestPut":{"key":"YQ==","value":"dg=="}}]}`,
		"LeaseGrant":         `{"TTL":"60","ID":"7"}`,
		"LeaseKeepAlive":     `{"ID":"7"}`,
		"LeaseRevoke":        `{"ID":"7"}`,
		"Alarm":              `{"action":"DEACTIVATE","alarm":"NOSPACE"}`,
		"MemberAdd":          `{"peerURLs":["no url"]}`,
		"UserAdd":            `{"name":"eve","password":"` + secretPassword + `"}`,
		"UserChangePassword": `{"name":"eve","password":"` + secretPassword + `"}`,
		"Authenticate":       `{"name":"eve","password":"` + secretPassword + `"}`,
		"Lock":               `{"name":"bG9jaw=="}`,
		"Campaign":           `{"name":"ZWxlY3Rpb24=","lease":"8"}`,
		"Proclaim":           `{"leader":{"name":"ZWxlY3Rpb24=","key":"YQ=="}}`,
		"Resign":             `{"leader":{"name":"ZWxlY3Rpb24=","key":"YQ=="}}`,
		"Unlock":             `{"key":"bG9jaw=="}`,
	}
	call(t, nil, http.MethodPost, g.api+"/v3/lease/grant", `{"TTL":"60","ID":"8"}`)
	seen := 0
	for name, path := range v3Paths() {
		if v3Reads[name] {
			continue
		}
		seen++
		body := bodies[name]
		if body == "" {
			body = "{}"
		}
		a := call(t, nil, http.MethodPost, g.api+path, body, "X-Request-Id", name)
		own := of(auditLines(t, file), name)
		if len(own) == 0 || own[0].RPC == "" || own[0].Outcome == "" {
			t.Errorf("%s: got %d %s and the lines %+v, want one that names the call and its outcome", path, a.status, a.body, own)
		}
		if a.status == http.StatusOK && own[0].Outcome != "applied" && name != "DeleteRange" && name != "LeaseKeepAlive" { // of which 200 says little
			t.Errorf("%s: got 200 %s and outcome %s, want applied", path, a.body, own[0].Outcome)
		}
	}
	if seen < 25 {
		t.Errorf("only %d methods of etcd's services were tried", seen)
	}
	wantNoSecrets(t, file)
}

// v3Paths gives the path of each method that etcd's own gateway serves.
func v3Paths() map[string]string {
	paths := make(map[string]string)
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_rpc_proto, lock.File_v3lock_proto,
		election.File_v3election_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				rule, ok := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
				if ok && rule.GetPost() != "" {
					paths[string(methods.Get(j).Name())] = rule.GetPost()
				}
			}
		}
	}
	return paths
}

func TestTheAuditLogSaysFromWhereToWhere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	g := dev(t, "--audit-log="+file)
	do := func(id, method, path, body string, headers ...string) (answer, []auditLine) {
		t.Helper()
		a := call(t, nil, method, g.api+path, body, append(headers, "X-Request-Id", id)...)
		return a, of(auditLines(t, file), id)
	}
	revision := func(a answer) int64 {
		t.Helper()
		var doc struct {
			Mod int64 `json:"mod_revision"`
		}
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Mod == 0 {
			t.Fatalf("no mod_revision in %d %s", a.status, a.body)
		}
		return doc.Mod
	}
	one := func(lines []auditLine) (auditLine, auditOp) {
		t.Helper()
		if len(lines) != 1 || len(lines[0].Ops) != 1 {
			t.Fatalf("got %+v, want one line with one operation", lines)
		}
		return lines[0], lines[0].Ops[0]
	}
	before := func(op auditOp) int64 {
		if op.Before == nil {
			return -1
		}
		return *op.Before
	}

	created, lines := do("create", "PUT", "/v1/kv/a/b", `{"value":"1"}`)
	line, op := one(lines)
	if line.Outcome != "applied" || line.Revision != revision(created) || op.Op != "put" || op.Key != "a/b" || before(op) != 0 {
		t.Errorf("a created key: got %+v, want put a/b applied, from 0 to %d", line, revision(created))
	}
	changed, lines := do("change", "PUT", "/v1/kv/a/b", `{"value":"2"}`, "If-Match", created.header.Get("Etag"))
	line, op = one(lines)
	if before(op) != revision(created) || line.Revision != revision(changed) {
		t.Errorf("a changed key: got %+v %+v, want from %d to %d", line, op, revision(created), revision(changed))
	}
	refused, lines := do("refused", "PUT", "/v1/kv/a/b", `{"value":"3"}`, "If-Match", created.header.Get("Etag"))
	line, op = one(lines)
	if refused.status != 412 || line.Outcome != "not_applied" || line.Revision != 0 || op.Key != "a/b" {
		t.Errorf("a refused write: got %d and %+v, want 412, not_applied and what it was for", refused.status, line)
	}
	_, lines = do("leased", "PUT", "/v1/kv/leased", `{"value":"1","ttl":60}`)
	if len(lines) != 2 || lines[0].RPC != "Lease/LeaseGrant" || lines[0].TTL != 60 || lines[1].Ops[0].Lease != lines[0].Lease {
		t.Errorf("a key with a ttl: got %+v, want the lease granted and the key attached to it", lines)
	}
	_, lines = do("binary", "PUT", "/v1/kv/%ff%00", `{"value":"1"}`)
	if _, op = one(lines); op.KeyBase64 != "/wA=" || op.Key != "" {
		t.Errorf("a key that is no text: got %+v, want key_base64 /wA=", op)
	}
	_, lines = do("range", "DELETE", "/v1/kv?prefix=a/&max_deleted=9", "")
	line, op = one(lines)
	if op.Op != "delete" || op.Key != "a/" || op.End != "a0" || op.Deleted == nil || *op.Deleted != 1 || line.Outcome != "applied" {
		t.Errorf("a deleted range: got %+v, want a/ to a0, 1 deleted", line)
	}
	_, lines = do("txn", "POST", "/v1/txn", `{"if":[{"key":"no","exists":true}],"then":[{"put":{"key":"x","value":"1"}}],"else":[{"put":{"key":"y","value":"1"}},{"get":{"key":"z"}}]}`)
	if _, op = one(lines); op.Key != "y" {
		t.Errorf("a transaction: got %+v, want the write of the branch that ran", op)
	}
	if _, lines = do("invalid", "PUT", "/v1/kv/a", `{"valeu":"1"}`); len(lines) != 1 || lines[0].Outcome != "not_applied" || lines[0].Error != "unknown_field" || lines[0].Status != 400 {
		t.Errorf("a request that cannot be used: got %+v, want a line of its own", lines)
	}
	if _, lines = do("read", "GET", "/v1/kv/leased", ""); len(lines) != 0 {
		t.Errorf("a read: got %+v, want no line", lines)
	}
	v3, lines := do("v3", "POST", "/v3/kv/put", `{"key":"bGVhc2Vk","value":"dg==","prev_kv":true}`)
	if line, op = one(lines); v3.status != 200 || op.Key != "leased" || before(op) <= 0 || line.Operation != "v3" || line.RPC != "KV/Put" {
		t.Errorf("a put of /v3: got %+v", line)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: got %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestAWriteIsRefusedWhileItCannotBeRecorded(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	g := dev(t, "--audit-log=/dev/full")
	call(t, nil, http.MethodPut, g.api+"/v1/kv/first", `{"value":"1"}`) // how it is found out
	a := call(t, nil, http.MethodPut, g.api+"/v1/kv/second", `{"value":"1"}`)
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"code":"overloaded"`) || !strings.Contains(a.body, `"outcome":"not_applied"`) || a.header.Get("Retry-After") == "" {
		t.Errorf("a write: got %d %s, want 503 not_applied", a.status, a.body)
	}
	if a := call(t, nil, http.MethodGet, g.api+"/v1/kv/second", ""); a.status != http.StatusNotFound {
		t.Errorf("what was refused: got %d, want 404; and reads go on", a.status)
	}
	g.log.waitFor(t, "the audit log cannot be written")

	lax := dev(t, "--audit-log=/dev/full", "--audit-failure=continue")
	for range 2 {
		if a := call(t, nil, http.MethodPut, lax.api+"/v1/kv/k", `{"value":"1"}`); a.status >= 300 {
			t.Errorf("with --audit-failure=continue: got %d %s", a.status, a.body)
		}
	}
	if lost := metric(t, lax, `etcdrest_audit_log_lines_total{result="lost"}`); lost < 2 {
		t.Errorf("lost lines: got %v, want those of both writes", lost)
	}
}
