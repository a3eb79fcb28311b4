package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// pair is two equal clusters: one asked through etcd's own JSON gateway, the other through ours.
type pair struct {
	theirs, ours string
	// tokens are those that the two issued, by the user's name: a request names one as <token:name>.
	tokens [2]map[string]string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	theirs, ours := embedetcd.StartForTest(t), start(t, compat.Options{})
	if _, err := ours.epochs.Current(t.Context()); err != nil { // which writes it, as the first watch would
		t.Fatal(err)
	}
	copyEpoch(t, ours.etcd.Endpoint(), theirs.Endpoint())
	return &pair{
		theirs: theirs.Endpoint(), ours: ours.url,
		tokens: [2]map[string]string{{}, {}},
	}
}

// copyEpoch gives the other cluster the one key that the gateway has written into its own.
func copyEpoch(t *testing.T, from, to string) {
	t.Helper()
	const key = "\x00etcdrest/epoch"
	var clients [2]*clientv3.Client
	for i, endpoint := range []string{from, to} {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[i] = c
	}
	kv, err := clients[0].Get(t.Context(), key)
	if err != nil || len(kv.Kvs) != 1 || kv.Header.Revision != 2 {
		t.Fatalf("the epoch: %v, %v", kv, err)
	}
	if _, err := clients[1].Put(t.Context(), key, string(kv.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
}

// same sends the request both ways and fails the test unless the answers are the same but for what is mended.
func (p *pair) same(t *testing.T, q request) (theirs, ours answer) {
	t.Helper()
	theirs, ours = ask(t, p.theirs, p.filled(q, 0)), ask(t, p.ours, p.filled(q, 1))
	want, got := seen(t, theirs, q), seen(t, ours, q)
	want.body = mended(t, want.body)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outside{})); diff != "" {
		t.Errorf("%s %s %.300s %v (-etcd's +ours):\n%s", q.method, q.path, q.body, q.headers, diff)
	}
	return theirs, ours
}

func (p *pair) filled(q request, side int) request {
	headers := make([]string, len(q.headers))
	for i, h := range q.headers {
		for name, token := range p.tokens[side] {
			h = strings.ReplaceAll(h, "<token:"+name+">", token)
		}
		headers[i] = h
	}
	q.headers = headers
	return q
}

// outside is what callers can lean on.
type outside struct {
	status       int
	contentType  string
	metadata     string
	authenticate string
	chunked      bool
	trailer      http.Header
	body         string
}

// changing is what two clusters cannot have in common.
var changing = regexp.MustCompile(`"(raft_term|raftTerm|token|dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|storageVersion)":"[^"]+"|http://127\.0\.0\.1:\d+`)

// drawn are ids of leases that etcd draws, keyed the keys, some of which are made of them.
var (
	drawn = regexp.MustCompile(`"(ID|lease)":"\d{17,}"`)
	keyed = regexp.MustCompile(`"key":"([A-Za-z0-9+/=]+)"`)
	made  = regexp.MustCompile(`/[0-9a-f]{14,16}$`)
)

// running is what is left of a minute.
var running = regexp.MustCompile(`"TTL":"(5\d|60)"`)

func withoutDrawn(key string) string {
	name, err := base64.StdEncoding.DecodeString(keyed.FindStringSubmatch(key)[1])
	if err != nil || !made.Match(name) {
		return key
	}
	return `"key":"` + string(made.ReplaceAll(name, []byte("/…"))) + `"`
}

func seen(t *testing.T, a answer, q request) outside {
	t.Helper()
	for _, ours := range []string{"Content-Encoding", "Cache-Control", "Etcd-Revision"} {
		if a.header.Get(ours) != "" {
			t.Errorf("%s: /v3 has %s: %v", q.path, ours, a.header)
		}
	}
	o := outside{
		status: a.status, contentType: a.header.Get("Content-Type"), metadata: a.header.Get("Grpc-Metadata-Content-Type"),
		authenticate: a.header.Get("Www-Authenticate"), trailer: a.trailer, chunked: a.chunked,
	}
	o.body = changing.ReplaceAllString(a.body, `"$1":"…"`)
	o.body = drawn.ReplaceAllString(o.body, `"$1":"…"`)
	o.body = running.ReplaceAllString(o.body, `"TTL":"…"`)
	o.body = keyed.ReplaceAllStringFunc(o.body, withoutDrawn)
	return o
}

// mended gives an error of etcd's the members that ours has besides, and leaves everything else alone.
func mended(t *testing.T, body string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(body) {
		var doc struct {
			Code    int
			Message *string
			Error   *struct {
				Code    int
				Message string
			}
		}
		end := line[len(strings.TrimSuffix(line, "\n")):]
		switch err := json.Unmarshal([]byte(line), &doc); {
		case err == nil && doc.Error != nil:
			status := map[int]int{3: 400, 7: 403, 16: 401, 2: 500}[doc.Error.Code]
			b.WriteString(encoded(t, map[string]any{"error": streamError{
				doc.Error.Code, doc.Error.Code, status, http.StatusText(status), doc.Error.Message,
			}}) + end)
		case err == nil && doc.Message != nil:
			b.WriteString(encoded(t, callError{*doc.Message, doc.Code, *doc.Message}) + end)
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

type callError struct {
	Error   string `json:"error"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type streamError struct {
	GRPCCode   int    `json:"grpc_code"`
	Code       int    `json:"code"`
	HTTPCode   int    `json:"http_code"`
	HTTPStatus string `json:"http_status"`
	Message    string `json:"message"`
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// paths are all routes of etcd's gateway; idle ones leave nothing behind and end when asked with nothing.
var paths = []struct {
	path string
	idle bool
}{
	{"/v3/kv/range", true},
	{"/v3/kv/put", true},
	{"/v3/kv/deleterange", true},
	{"/v3/kv/txn", true},
	{"/v3/kv/compaction", true},
	{"/v3/lease/grant", false},
	{"/v3/lease/revoke", true},
	{"/v3/kv/lease/revoke", true},
	{"/v3/lease/timetolive", true},
	{"/v3/kv/lease/timetolive", true},
	{"/v3/lease/leases", false}, // what a grant of nothing leaves expires at either when it does
	{"/v3/kv/lease/leases", false},
	{"/v3/cluster/member/add", false},
	{"/v3/cluster/member/remove", true},
	{"/v3/cluster/member/update", true},
	{"/v3/cluster/member/list", true},
	{"/v3/cluster/member/promote", true},
	{"/v3/maintenance/alarm", true},
	{"/v3/maintenance/status", true},
	{"/v3/maintenance/defragment", true},
	{"/v3/maintenance/hash", false},
	{"/v3/maintenance/hashkv", true},
	{"/v3/maintenance/snapshot", false},
	{"/v3/maintenance/transfer-leadership", true},
	{"/v3/maintenance/downgrade", true},
	{"/v3/auth/enable", true},
	{"/v3/auth/disable", true},
	{"/v3/auth/status", true},
	{"/v3/auth/authenticate", true},
	{"/v3/auth/user/add", true},
	{"/v3/auth/user/get", true},
	{"/v3/auth/user/list", true},
	{"/v3/auth/user/delete", true},
	{"/v3/auth/user/changepw", true},
	{"/v3/auth/user/grant", true},
	{"/v3/auth/user/revoke", true},
	{"/v3/auth/role/add", true},
	{"/v3/auth/role/get", true},
	{"/v3/auth/role/list", true},
	{"/v3/auth/role/delete", true},
	{"/v3/auth/role/grant", true},
	{"/v3/auth/role/revoke", true},
	{"/v3/lock/lock", false},
	{"/v3/lock/unlock", true},
	{"/v3/election/campaign", false},
	{"/v3/election/proclaim", true},
	{"/v3/election/leader", true},
	{"/v3/election/observe", false},
	{"/v3/election/resign", true},
}

// Every route answers what is wrong, and what says nothing, as etcd's own does.
func TestEveryRouteTakesAndRefusesTheSame(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, at := range paths {
		for _, wrong := range []string{`{`, `[]`, `"x"`, `7`, `{"a"}`, `value=`, "\x00", `{"header":`, `nul`} {
			p.same(t, post(at.path, wrong))
		}
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH"} {
			p.same(t, request{method: method, path: at.path, body: "{}"})
		}
		p.same(t, post(at.path+"/", "{}"))
		p.same(t, post(at.path+"x", "{}"))
		p.same(t, post(at.path, "{}", "Grpc-Timeout: abc"))
		p.same(t, post(at.path, "{}", "Content-Type: application/x-www-form-urlencoded", "X-Http-Method-Override: GET"))
		if !at.idle {
			continue
		}
		for _, nothing := range []string{``, `{}`, `{"a":1,"a":2}`, ` { "no_such_field" : [ 1 ] } trailing`} {
			p.same(t, post(at.path, nothing))
		}
		p.same(t, post(at.path+"?no=such&query;=%zz", "{}", "Content-Type: text/plain", "Accept: text/html"))
		p.same(t, post(strings.Replace(at.path, "/v3/", "/v3beta/", 1), "{}"))
	}
}
