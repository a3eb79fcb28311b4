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

func TestTxnAnswersEveryFieldAlways(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`).want(t, 201)
	got := g.do(t, "POST", "/v1/txn", `{
		"if":[{"key":"a","value":"1"},{"key":"b","exists":false}],
		"then":[
			{"put":{"key":"b","value":"2"}},
			{"put":{"key":"a","value":"3","prev_kv":true}},
			{"get":{"prefix":"none/"}},
			{"get":{"key":"b"}},
			{"delete":{"key":"zzz"}},
			{"delete":{"prefix":"none/","prev_kv":true}},
			{"txn":{"if":[{"key":"b","exists":true}],"then":[],"else":[{"get":{"prefix":"","count_only":true}}]}}
		],
		"else":[{"get":{"key":"a"}}]}`).want(t, 200)
	revision := got.header.Get("Etcd-Revision")
	want := `{"succeeded":true,"revision":` + revision + `,"results":[` +
		`{"put":{}},` +
		`{"put":{"prev_kv":{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1}}},` +
		`{"get":{"kvs":[],"more":false,"count":0}},` +
		`{"get":{"kvs":[{"key":"b","value":"2","create_revision":` + revision + `,"mod_revision":` + revision + `,"version":1}],"more":false,"count":1}},` +
		`{"delete":{"deleted":0}},{"delete":{"deleted":0,"prev_kvs":[]}},` +
		`{"txn":{"succeeded":false,"results":[{"get":{"kvs":[],"more":false,"count":2}}]}}]}` + "\n"
	if diff := cmp.Diff(want, string(got.body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	got = g.do(t, "POST", "/v1/txn?encoding=base64", `{"if":[{"key_base64":"YQ==","op":"ne","value_json":3}],"else":[{"get":{"key":"a","keys_only":true}}]}`).want(t, 200)
	if !strings.HasPrefix(string(got.body), `{"succeeded":false,`) || !strings.Contains(string(got.body), `"kvs":[{"key_base64":"YQ==","create_revision"`) {
		t.Errorf("else branch: got %s", got.body)
	}
}

func TestTxnConditionsMeanWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	g := start(t)
	lease, err := g.oracle.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Put(t.Context(), "p/a", "m", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	put, err := g.oracle.Put(t.Context(), "p/b", "m")
	if err != nil {
		t.Fatal(err)
	}
	revision := put.Header.Revision
	for condition, want := range map[string]bool{
		`{"key":"p/a","exists":true}`:                                             true,
		`{"key":"p/a","exists":false}`:                                            false,
		`{"key":"none","exists":false}`:                                           true,
		`{"key":"none","exists":true}`:                                            false,
		`{"prefix":"p/","exists":true}`:                                           true,
		`{"prefix":"none/","exists":true}`:                                        false,
		`{"prefix":"none/","exists":false}`:                                       true,
		`{"key":"none","mod_revision":0}`:                                         true,
		`{"key":"none","value":""}`:                                               false,
		`{"key":"none","op":"ne","value":"x"}`:                                    false,
		`{"key":"p/a","value":"m"}`:                                               true,
		`{"key":"p/a","op":"gt","value":"l"}`:                                     true,
		`{"key":"p/a","op":"lt","value":"n"}`:                                     true,
		`{"key":"p/a","op":"ne","value":"m"}`:                                     false,
		`{"prefix":"p/","value":"m"}`:                                             true,
		`{"prefix":"p/","op":"gt","version":1}`:                                   false,
		`{"from":"p/a","to":"p/c","version":1}`:                                   true,
		fmt.Sprintf(`{"key":"p/b","mod_revision":%d}`, revision):                  true,
		fmt.Sprintf(`{"key":"p/b","op":"lt","create_revision":%d}`, revision):     false,
		fmt.Sprintf(`{"prefix":"p/","op":"lt","mod_revision":%d}`, revision+1):    true,
		fmt.Sprintf(`{"key":"p/a","lease":"%x"}`, int64(lease.ID)):                true,
		`{"key":"p/b","lease":"0"}`:                                               true,
		`{"key":"p/a","op":"ne","lease":"0000000000000000"}`:                      true,
		`{"key":"p/a","value":"m","version":null}`:                                true,
		`{"key_base64":"cC9h","value_base64":"bQ=="}`:                             true,
		`{"from":"p/b","value":"m"}`:                                              true,
		fmt.Sprintf(`{"key":"p/b","op":"gt","mod_revision":%d}`, int64(1)<<62):    false,
		fmt.Sprintf(`{"key":"p/b","op":"eq","create_revision":%d}`, revision):     true,
		fmt.Sprintf(`{"from":"p/a","to":"p/b","op":"ne","version":%d}`, int64(1)): false,
	} {
		got := g.do(t, "POST", "/v1/txn", `{"if":[`+condition+`]}`).want(t, 200).json(t)
		if got["succeeded"] != want {
			t.Errorf("%s: got %v, want %v", condition, got["succeeded"], want)
		}
		if results, ok := got["results"].([]any); !ok || len(results) != 0 {
			t.Errorf("%s: results: got %v, want none", condition, got["results"])
		}
	}
}

func TestTxnRefusalsNameThePlace(t *testing.T) {
	t.Parallel()
	g := start(t)
	deep := strings.Repeat(`{"then":[{"txn":`, 64) + `{}` + strings.Repeat(`}]}`, 64)
	for _, c := range []struct {
		body    string
		status  int
		code    string
		pointer string
	}{
		{`{"then":[{"put":{"key":"","value":"x"}}]}`, 400, "invalid_argument", "/then/0/put/key"},
		{`{"then":[{"put":{"value":"x"}}]}`, 400, "invalid_argument", "/then/0/put/key"},
		{`{"then":[{"put":{"key":"a"}}]}`, 400, "invalid_argument", "/then/0/put/value"},
		{`{"then":[{"put":{"key":"a","value":"x","value_base64":"eA=="}}]}`, 400, "invalid_argument", "/then/0/put/value_base64"},
		{`{"then":[{"put":{"key":"a","value":"x","ignore_value":true}}]}`, 400, "invalid_argument", "/then/0/put/ignore_value"},
		{`{"then":[{"put":{"key":"a","value":"x","ttl":5,"lease":"1"}}]}`, 400, "invalid_argument", "/then/0/put/lease"},
		{`{"then":[{"put":{"key":"a","value":"x","lease":"0"}}]}`, 400, "invalid_argument", "/then/0/put/lease"},
		{`{"then":[{"put":{"key":"a","value":"x","ttl":0}}]}`, 400, "invalid_argument", "/then/0/put/ttl"},
		{`{"else":[{"get":{"key":"a"}},{"get":{}}]}`, 400, "invalid_argument", "/else/1/get"},
		{`{"then":[{"get":{"key":"a","prefix":"b"}}]}`, 400, "invalid_argument", "/then/0/get"},
		{`{"then":[{"get":{"prefix":"b","limit":0}}]}`, 400, "invalid_argument", "/then/0/get/limit"},
		{`{"then":[{"get":{"prefix":"b","order_by":"size"}}]}`, 400, "invalid_argument", "/then/0/get/order_by"},
		{`{"then":[{"get":{"from":"b","to":"a"}}]}`, 400, "invalid_argument", "/then/0/get/to"},
		{`{"then":[{}]}`, 400, "invalid_argument", "/then/0"},
		{`{"then":[{"get":{"key":"a"},"put":{"key":"a","value":""}}]}`, 400, "invalid_argument", "/then/0"},
		{`{"then":[{"get":null}]}`, 400, "invalid_argument", "/then/0"},
		{`{"then":[{"patch":{}}]}`, 400, "unknown_field", "/then/0/patch"},
		{`{"than":[]}`, 400, "unknown_field", "/than"},
		{`{"if":[{"key":"a"}]}`, 400, "invalid_argument", "/if/0"},
		{`{"if":[{"key":"a","version":1,"exists":true}]}`, 400, "invalid_argument", "/if/0"},
		{`{"if":[{"key":"a","exists":true,"op":"ne"}]}`, 400, "invalid_argument", "/if/0/op"},
		{`{"if":[{"key":"a","version":1,"op":"le"}]}`, 400, "invalid_argument", "/if/0/op"},
		{`{"if":[{"version":1}]}`, 400, "invalid_argument", "/if/0"},
		{`{"if":[{"key":"","version":1}]}`, 400, "invalid_argument", "/if/0/key"},
		{`{"if":[{"key":"a","lease":"xyz"}]}`, 400, "invalid_argument", "/if/0/lease"},
		{`{"then":[{"delete":{"prefix":""}}]}`, 400, "invalid_argument", "/then/0/delete/all"},
		{`{"then":[{"delete":{"from":"a"}}]}`, 400, "invalid_argument", "/then/0/delete/all"},
		{`{"then":[{"txn":{"then":[{"put":{"key_base64":"!","value":""}}]}}]}`, 400, "invalid_argument", "/then/0/txn/then/0/put/key_base64"},
		{`{"then":[{"put":{"key":"\u0000x","value":"x"}}]}`, 403, "reserved", "/then/0/put/key"},
		{`{"then":[{"get":{"key":"\u0000x"}}]}`, 403, "reserved", "/then/0/get/key"},
		{`{"then":[{"get":{"prefix":"\u0000etcdrest/"}}]}`, 403, "reserved", "/then/0/get/prefix"},
		{`{"then":[{"delete":{"to":"\u0000z"}}]}`, 403, "reserved", "/then/0/delete/to"},
		{`{"if":[{"key":"\u0000x","exists":true}]}`, 403, "reserved", "/if/0/key"},
		{`{"then":[{"put":{"key":"a","value":"1"}},{"put":{"key":"a","value":"2"}}]}`, 422, "duplicate_key", "/then/1/put/key"},
		{`{"else":[{"delete":{"prefix":"a"}},{"txn":{"else":[{"put":{"key":"ab","value":"2"}}]}}]}`, 422, "duplicate_key", "/else/1/txn/else/0/put/key"},
		{`{"then":[{"delete":{"from":"a","all":true}},{"put":{"key":"b","value":""}}]}`, 422, "duplicate_key", "/then/1/put/key"},
		{deep, 400, "invalid_argument", ""},
		{`{"then":[{"put":{"key":"a","value":"` + strings.Repeat("x", 2<<20+1) + `"}}]}`, 413, "request_too_large", "/then/0/put/value"},
	} {
		doc := g.do(t, "POST", "/v1/txn", c.body).problem(t, c.status, c.code)
		if doc["outcome"] != "not_applied" {
			t.Errorf("%.80s: outcome: got %v, want not_applied", c.body, doc["outcome"])
		}
		if faults, _ := doc["errors"].([]any); c.pointer != "" {
			if len(faults) != 1 || faults[0].(map[string]any)["pointer"] != c.pointer {
				t.Errorf("%.80s: errors: got %v, want one at %s", c.body, faults, c.pointer)
			}
		}
	}
	g.do(t, "POST", "/v1/txn?consistency=serializable", `{"then":[{"put":{"key":"a","value":""}}]}`).problem(t, 400, "invalid_parameter")
	g.do(t, "POST", "/v1/txn?serializable", `{}`).problem(t, 400, "unknown_parameter")
	if all, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly()); err != nil || all.Count != 0 {
		t.Errorf("refused transactions left %v keys (%v)", all, err)
	}
}

func TestTxnOfMoreOperationsThanEtcdAllowsNamesTheLimit(t *testing.T) {
	t.Parallel()
	g := start(t)
	list := func(n int) string {
		return `{"then":[` + strings.TrimSuffix(strings.Repeat(`{"get":{"key":"a"}},`, n), ",") + `]}`
	}
	g.do(t, "POST", "/v1/txn", list(128)).want(t, 200)
	doc := g.do(t, "POST", "/v1/txn", list(129)).problem(t, 422, "too_many_operations")
	if fmt.Sprint(doc["limit"]) != "128" || doc["outcome"] != "not_applied" {
		t.Errorf("got %v, want the limit 128", doc)
	}
	// Each level of nesting takes from what is left for the ones inside.
	g.do(t, "POST", "/v1/txn", `{"then":[{"txn":`+list(127)+`}]}`).want(t, 200)
	g.do(t, "POST", "/v1/txn", `{"then":[{"txn":`+list(128)+`}]}`).problem(t, 422, "too_many_operations")
	g.do(t, "POST", "/v1/txn", list(10_001)).problem(t, 422, "too_many_operations")
}

func TestTxnRangesNeverReachTheReservedKeys(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, key := range []string{"\x00etcdrest/x", "\x00", "\x01", "a", "\xff\xff"} {
		if _, err := g.oracle.Put(t.Context(), key, "v"); err != nil {
			t.Fatal(err)
		}
	}
	got := g.do(t, "POST", "/v1/txn", `{"then":[{"get":{"prefix":""}},{"get":{"from":""}},{"get":{"to":"b"}},{"get":{"prefix_base64":"/w=="}}]}`).want(t, 200).json(t)
	var counts []string
	for _, r := range got["results"].([]any) {
		counts = append(counts, fmt.Sprint(r.(map[string]any)["get"].(map[string]any)["count"]))
	}
	if diff := cmp.Diff([]string{"3", "3", "2", "1"}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	got = g.do(t, "POST", "/v1/txn", `{"then":[{"delete":{"prefix":"","all":true}}]}`).want(t, 200).json(t)
	if want := `[map[delete:map[deleted:3]]]`; fmt.Sprint(got["results"]) != want {
		t.Errorf("delete: got %v, want %s", got["results"], want)
	}
	if left, err := g.oracle.Get(t.Context(), "\x00", clientv3.WithFromKey()); err != nil || left.Count != 2 {
		t.Errorf("left: got %v (%v), want the 2 reserved keys", left, err)
	}
}

// tap keeps the transactions that pass through to the real store.
type tap struct {
	handlers.Backend
	mu   sync.Mutex
	txns []*wire.TxnRequest
}

func (s *tap) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	s.mu.Lock()
	s.txns = append(s.txns, r)
	s.mu.Unlock()
	return s.Backend.Txn(ctx, r)
}

func (s *tap) last() *wire.TxnRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.txns[len(s.txns)-1]
}

// etcd answers a transaction whose branches are both empty without asking a quorum.
func TestATransactionWithEmptyBranchesIsNotServedStale(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &tap{Backend: g.store}
	h := g.through(t, store)
	for _, body := range []string{`{}`, `{"if":[{"key":"a","exists":true}]}`, `{"if":[],"then":[],"else":[]}`} {
		got := h.do(t, "POST", "/v1/txn", body).want(t, 200).json(t)
		if results, ok := got["results"].([]any); !ok || len(results) != 0 {
			t.Errorf("%s: results: got %v, want none: the hidden read must not show", body, got["results"])
		}
		sent := store.last()
		for name, branch := range map[string][]wire.Op{"then": sent.Then, "else": sent.Else} {
			if len(branch) != 1 || branch[0].Range == nil || branch[0].Range.Serializable || !branch[0].Range.CountOnly {
				t.Errorf("%s: sent %s %v, want one linearizable count-only get", body, name, branch)
			}
		}
		h.do(t, "POST", "/v1/txn?consistency=serializable", body).want(t, 200)
		if sent := store.last(); len(sent.Then)+len(sent.Else) != 0 {
			t.Errorf("%s: serializable: sent %v, want empty branches", body, sent)
		}
	}
	h.do(t, "POST", "/v1/txn?consistency=serializable", `{"then":[{"get":{"key":"a"}}]}`).want(t, 200)
	if sent := store.last(); !sent.Then[0].Range.Serializable {
		t.Errorf("serializable: sent %+v", sent.Then[0].Range)
	}
	h.do(t, "POST", "/v1/txn?not_older_than=1000", `{"then":[{"get":{"key":"a"}}]}`).problem(t, 409, "future_revision")
}

func TestTxnPutWithTTLGrantsAndGivesBackWhatNoPutTook(t *testing.T) {
	t.Parallel()
	g := start(t)
	got := g.do(t, "POST", "/v1/txn", `{
		"then":[{"put":{"key":"a","value":"1","ttl":600}},{"txn":{"if":[{"key":"none","exists":true}],"then":[{"put":{"key":"b","value":"1","ttl":600}}]}}],
		"else":[{"put":{"key":"a","value":"2","ttl":600}}]}`).want(t, 200).json(t)
	put := got["results"].([]any)[0].(map[string]any)["put"].(map[string]any)
	stored, err := g.oracle.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%016x", stored.Kvs[0].Lease); put["lease"] != want || fmt.Sprint(put["ttl"]) != "600" {
		t.Errorf("put: got %v, want lease %s and ttl 600", put, want)
	}
	if n := leaseCount(t, g); n != 1 {
		t.Errorf("leases: got %d, want only the one in use", n)
	}
	// A definite refusal gives all of them back.
	g.do(t, "POST", "/v1/txn", `{"then":[{"put":{"key":"c","value":"1","ttl":600}},{"put":{"key":"d","value":"1","lease":"7777"}}]}`).
		problem(t, 404, "lease_not_found")
	if n := leaseCount(t, g); n != 1 {
		t.Errorf("leases after a refusal: got %d, want 1", n)
	}
	g.do(t, "POST", "/v1/txn", `{"then":[`+strings.TrimSuffix(strings.Repeat(`{"put":{"key":"c","value":"1","ttl":600}},`, 17), ",")+`]}`).
		problem(t, 400, "invalid_argument")
}

func leaseCount(t testing.TB, g *gateway) int {
	t.Helper()
	leases, err := g.oracle.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(leases.Leases)
}

func TestTxnDryRunSaysWhatWouldHappenAndWritesNothing(t *testing.T) {
	t.Parallel()
	g := start(t)
	before := g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`).want(t, 201).header.Get("Etcd-Revision")
	answer := g.do(t, "POST", "/v1/txn?dry_run=true", `{
		"if":[{"key":"a","exists":true}],
		"then":[
			{"put":{"key":"a","value":"2","prev_kv":true}},{"put":{"key":"b","value":"2","prev_kv":true,"ttl":60}},
			{"delete":{"prefix":"x"}},{"get":{"key":"a","keys_only":true}},
			{"txn":{"if":[{"key":"a","value":"1"}],"then":[{"delete":{"key":"q","prev_kv":true}}]}}
		]}`).want(t, 200)
	kv := `{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1}`
	want := `{"succeeded":true,"revision":` + before + `,"results":[{"put":{"prev_kv":` + kv + `}},{"put":{}},{"delete":{"deleted":0}},` +
		`{"get":{"kvs":[` + strings.Replace(kv, `"value":"1",`, "", 1) + `],"more":false,"count":1}},` +
		`{"txn":{"succeeded":true,"results":[{"delete":{"deleted":0,"prev_kvs":[]}}]}}],"dry_run":true}` + "\n"
	if diff := cmp.Diff(want, string(answer.body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	// It refuses what the transaction would be refused for.
	g.do(t, "POST", "/v1/txn?dry_run", `{"then":[{"put":{"key":"z","value":""}},{"txn":{"then":[{"delete":{"prefix":"z"}}]}}]}`).problem(t, 422, "duplicate_key")
	g.do(t, "POST", "/v1/txn?dry_run", `{"then":[{"put":{"key":"z","ignore_value":true}}]}`).problem(t, 404, "key_not_found")
	g.do(t, "POST", "/v1/txn?dry_run", `{"then":[{"put":{"key":"z","value":"","lease":"77"}}]}`).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/txn?dry_run", `{"then":[{"delete":{"key":"z"}},{"put":{"key":"z","value":""}}]}`).problem(t, 422, "duplicate_key")
	after, err := g.oracle.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(after.Header.Revision) != before || leaseCount(t, g) != 0 {
		t.Errorf("after dry runs: revision %d and %d leases, want %s and none", after.Header.Revision, leaseCount(t, g), before)
	}
}

// An order other than by ascending key makes etcd sort the whole range while it applies the transaction.
func TestTxnGetInAnotherOrderIsBounded(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i := 0; i < 10_010; i += 110 {
		var ops []clientv3.Op
		for j := range 110 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("n/%05d", i+j), ""))
		}
		if _, err := g.oracle.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	doc := g.do(t, "POST", "/v1/txn", `{"else":[{"get":{"prefix":"n/","order":"desc","limit":1}}]}`).problem(t, 413, "result_too_large")
	if fmt.Sprint(doc["limit"]) != "10000" || doc["outcome"] != "not_applied" {
		t.Errorf("got %v, want the limit 10000", doc)
	}
	got := g.do(t, "POST", "/v1/txn", `{"then":[{"get":{"prefix":"n/0","order":"desc","limit":1}},{"get":{"prefix":"n/","limit":1}},{"get":{"prefix":"n/","keys_only":true}}]}`).want(t, 200).json(t)
	for i, want := range []struct {
		first string
		n     int
		count string
	}{{"n/09999", 1, "10000"}, {"n/00000", 1, "10010"}, {"n/00000", 1000, "10010"}} {
		get := got["results"].([]any)[i].(map[string]any)["get"].(map[string]any)
		kvs := get["kvs"].([]any)
		if first := keyOf(t, kvs[0].(map[string]any)); first != want.first || len(kvs) != want.n || fmt.Sprint(get["count"]) != want.count || get["more"] != true {
			t.Errorf("get %d: first %s, %d kvs, count %v, more %v; want %+v", i, first, len(kvs), get["count"], get["more"], want)
		}
	}
}
