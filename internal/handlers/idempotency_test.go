package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const recordsPrefix = "\x00etcdrest/i/"

func once(key string) string { return "Idempotency-Key: " + key }

// revisionOf is the store's revision.
func revisionOf(t testing.TB, g *gateway) int64 {
	t.Helper()
	got, err := g.oracle.Get(t.Context(), "none")
	if err != nil {
		t.Fatal(err)
	}
	return got.Header.Revision
}

// writesOnce are one write of each kind that takes an Idempotency-Key, in an order in which each changes something.
var writesOnce = []struct {
	name, method, path, body string
	header                   string
	status                   int
}{
	{"create", "PUT", "/v1/kv/a?prev_kv=true", `{"value_json":{"n":1}}`, "", 201},
	{"update", "PUT", "/v1/kv/a?prev_kv=true", `{"value_json":{"n":2}}`, "", 200},
	{"merge patch", "PATCH", "/v1/kv/a", `{"m":[1.50]}`, merge, 200},
	{"JSON patch", "PATCH", "/v1/kv/a", `[{"op":"add","path":"/m/-","value":2}]`, patch6, 200},
	{"raw", "PUT", "/v1/raw/b", "\x00\xff", "Content-Type: application/octet-stream", 201},
	{"txn then", "POST", "/v1/txn", `{"if":[{"key":"b","exists":true}],"then":[{"put":{"key":"c","value":"1"}},{"get":{"key":"c"}}]}`, "", 200},
	{"txn else", "POST", "/v1/txn", `{"if":[{"key":"c","exists":false}],"else":[{"put":{"key":"d","value":"1","ttl":600}}]}`, "", 200},
	{"ttl", "PUT", "/v1/kv/e", `{"value":"1","ttl":600}`, "", 201},
	{"conditional create", "PUT", "/v1/kv/f?if_mod_revision=0", `{"value":"1"}`, "", 201},
	{"conditional update", "PUT", "/v1/kv/f", `{"value":"2"}`, "If-Match: *", 200},
	{"delete", "DELETE", "/v1/kv/a?prev_kv=true", "", "", 200},
	{"delete nothing", "DELETE", "/v1/raw/none", "", "", 200},
	{"delete a range", "DELETE", "/v1/kv?prefix=c&max_deleted=5", "", "", 200},
}

func TestARepeatGetsTheFirstOutcomeAndWritesNothing(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g := startOn(t, etcd)
	firsts := make([]*answer, len(writesOnce))
	for i, w := range writesOnce {
		firsts[i] = g.do(t, w.method, w.path, w.body, w.header, once(strings.ReplaceAll(w.name, " ", "-"))).want(t, w.status)
		if got := firsts[i].header.Get("Idempotency-Replayed"); got != "" {
			t.Errorf("%s: the first outcome says Idempotency-Replayed: %s", w.name, got)
		}
	}
	before, leases := revisionOf(t, g), leaseCount(t, g)
	restarted := startOn(t, etcd)
	for i, w := range writesOnce {
		for name, h := range map[string]*gateway{"the same gateway": g, "another gateway": restarted} {
			again := h.do(t, w.method, w.path, w.body, w.header, once(strings.ReplaceAll(w.name, " ", "-"))).want(t, w.status)
			if diff := cmp.Diff(string(firsts[i].body), string(again.body)); diff != "" {
				t.Errorf("%s, repeated to %s (-first +repeat):\n%s", w.name, name, diff)
			}
			if again.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s, repeated to %s: no Idempotency-Replayed", w.name, name)
			}
			for _, header := range []string{"ETag", "Etcd-Revision", "Content-Type"} {
				if got, want := again.header.Get(header), firsts[i].header.Get(header); got != want {
					t.Errorf("%s, repeated to %s: %s: got %q, want %q", w.name, name, header, got, want)
				}
			}
		}
	}
	if after := revisionOf(t, g); after != before {
		t.Errorf("repeats moved the store from revision %d to %d", before, after)
	}
	if after := leaseCount(t, g); after != leases {
		t.Errorf("repeats made %d leases of %d", after, leases)
	}
}

func TestTheQueryOfARepeatMayBeOrderedAnotherWay(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a%2Fb?prev_kv&encoding=base64", `{"value":"1"}`, once("k")).want(t, 201)
	again := g.do(t, "PUT", "/v1/kv/a/b?encoding=base64&timeout=20&prev_kv=true", `{"value":"1"}`, once("k")).want(t, 201)
	if again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the same request in another spelling is not a repeat")
	}
}

func TestAnotherRequestWithAUsedKeyIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("k")).want(t, 201)
	before := revisionOf(t, g)
	for _, c := range []struct{ method, path, body, header string }{
		{"PUT", "/v1/kv/a", `{"value":"2"}`, ""},
		{"PUT", "/v1/kv/b", `{"value":"1"}`, ""},
		{"PUT", "/v1/kv/a?prev_kv=true", `{"value":"1"}`, ""},
		{"PUT", "/v1/raw/a", `{"value":"1"}`, ""},
		{"PUT", "/v1/kv/a", `{"value":"1"}`, `If-Match: "2"`},
		{"PUT", "/v1/kv/a", `{"value":"1"}`, `If-None-Match: *`},
		{"PATCH", "/v1/kv/a", `{"value":"1"}`, merge},
		{"DELETE", "/v1/kv/a", "", ""},
		{"DELETE", "/v1/kv?key=a", "", ""},
		{"POST", "/v1/txn", `{"then":[{"put":{"key":"a","value":"1"}}]}`, ""},
	} {
		g.do(t, c.method, c.path, c.body, c.header, once("k")).problem(t, 422, "idempotency_key_reused")
	}
	g.do(t, "PATCH", "/v1/kv/j", `[]`, merge, once("p")).problem(t, 404, "key_not_found")
	if after := revisionOf(t, g); after != before {
		t.Errorf("refused requests moved the store from revision %d to %d", before, after)
	}
	g.do(t, "PUT", "/v1/kv/a", `{"value":"2"}`, once("another")).want(t, 200)
}

func TestWhatWroteNothingIsNotRecorded(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"{}"}`, once("k"), `If-Match: "7"`).problem(t, 412, "precondition_failed")
	g.do(t, "PUT", "/v1/kv/a", `{"value":"{}","lease":"77"}`, once("k")).problem(t, 404, "lease_not_found")
	g.do(t, "PATCH", "/v1/kv/a", `{}`, merge, once("k")).problem(t, 404, "key_not_found")
	g.do(t, "PUT", "/v1/kv/a?dry_run=true", `{"value":"{}"}`, once("k")).want(t, 200)
	g.do(t, "POST", "/v1/txn", `{"then":[{"get":{"key":"a"}}]}`, once("k")).want(t, 200)
	g.do(t, "PUT", "/v1/kv/a", `{}`, once("k")).problem(t, 400, "invalid_argument")
	if n := recordCount(t, g); n != 0 {
		t.Errorf("records: got %d, want none", n)
	}
	g.do(t, "PUT", "/v1/kv/a", `{"value":"{}"}`, once("k")).want(t, 201)
	g.do(t, "PATCH", "/v1/kv/a", `[{"op":"remove","path":"/x"}]`, patch6, once("p")).problem(t, 422, "patch_failed")
	g.do(t, "PATCH", "/v1/kv/a", `[{"op":"add","path":"/x","value":1}]`, patch6, once("p")).want(t, 200)
	if n := recordCount(t, g); n != 2 {
		t.Errorf("records: got %d, want 2", n)
	}
}

func recordCount(t testing.TB, g *gateway) int { t.Helper(); return len(recordsOf(t, g)) }

// recordsOf reads the records with the oracle.
func recordsOf(t testing.TB, g *gateway) []*wire.KeyValue {
	t.Helper()
	got, err := g.oracle.Get(t.Context(), recordsPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var out []*wire.KeyValue
	for _, kv := range got.Kvs {
		out = append(out, value(t, g, string(kv.Key)))
	}
	return out
}

// Two gateways, and one that starts in between, are raced with one key: one request writes, the others repeat it.
func TestTwoGatewaysRacingWithOneKeyWriteOnce(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g := startOn(t, etcd)
	gateways := []*gateway{g, startOn(t, etcd)}
	for round, w := range []struct{ method, path, body, header string }{
		{"PUT", "/v1/kv/race0", `{"value":"1"}`, ""},
		{"PUT", "/v1/kv/race1", `{"value":"1","ttl":600}`, ""},
		{"POST", "/v1/txn", `{"if":[{"key":"race2","exists":false}],"then":[{"put":{"key":"race2","value":"1","ttl":600}}],"else":[{"put":{"key":"race2","value":"2"}}]}`, ""},
		{"PATCH", "/v1/kv/race3", `{"n":1}`, merge},
	} {
		key := fmt.Sprintf("race%d", round)
		if w.method == "PATCH" {
			g.do(t, "PUT", "/v1/kv/"+key, `{"value":"{}"}`).want(t, 201)
		}
		const racers = 50
		answers := make([]*answer, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() { answers[i] = gateways[i%2].do(t, w.method, w.path, w.body, w.header, once(key)) })
		}
		wg.Wait()
		firsts := 0
		for _, a := range answers {
			switch {
			case a == nil: // its request has failed the test
			case a.status == 409:
				doc := a.problem(t, 409, "idempotency_in_progress")
				if doc["outcome"] != "not_applied" || doc["retryable"] != true || a.header.Get("Retry-After") == "" {
					t.Errorf("in progress: got %v with headers %v", doc, a.header)
				}
			case a.status >= 300:
				t.Errorf("%s: got %d %s", key, a.status, a.body)
			case a.header.Get("Idempotency-Replayed") == "":
				firsts++
			}
		}
		if firsts != 1 {
			t.Errorf("%s: %d requests say that they wrote, want 1", key, firsts)
		}
		want := int64(1)
		if w.method == "PATCH" {
			want = 2
		}
		kv := value(t, g, key)
		if kv == nil || kv.Version != want {
			t.Errorf("%s: got %+v, want version %d", key, kv, want)
		}
		late := startOn(t, etcd).do(t, w.method, w.path, w.body, w.header, once(key))
		if late.status >= 300 || late.header.Get("Idempotency-Replayed") != "true" || late.header.Get("Etcd-Revision") != fmt.Sprint(kv.ModRevision) {
			t.Errorf("%s, repeated to a gateway that started afterwards: %d %s %v", key, late.status, late.body, late.header)
		}
	}
	// No lease of a request that lost is left: those of the two gateways' records, and of two keys.
	if n := leaseCount(t, g); n != 4 {
		t.Errorf("leases: got %d, want 4", n)
	}
}

// forgetful loses what it is told to lose.
type forgetful struct {
	handlers.Backend
	// answers says that full answers cannot be added to records.
	answers bool
	// silent says that etcd does the write and its answer is lost.
	silent bool
	// entered and proceed, when set, hold a write up.
	entered, proceed chan struct{}
}

func (s *forgetful) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	attaches := len(r.Then) == 1 && r.Then[0].Put != nil && r.Then[0].Put.IgnoreLease && strings.HasPrefix(string(r.Then[0].Put.Key), recordsPrefix)
	if attaches && s.answers {
		return nil, context.DeadlineExceeded
	}
	if s.entered != nil && !attaches {
		select {
		case s.entered <- struct{}{}:
		default:
		}
		select {
		case <-s.proceed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	answer, err := s.Backend.Txn(ctx, r)
	if s.silent && !attaches && len(r.Then) == 1 && r.Then[0].Txn != nil {
		return nil, context.DeadlineExceeded
	}
	return answer, err
}

func TestARepeatBeforeTheFullAnswerIsKeptSaysWhatFollowsFromTheRecord(t *testing.T) {
	t.Parallel()
	g := start(t)
	lost := g.through(t, &forgetful{Backend: g.store, answers: true})
	for _, w := range writesOnce {
		first := lost.do(t, w.method, w.path, w.body, w.header, once(strings.ReplaceAll(w.name, " ", "-"))).want(t, w.status)
		before := revisionOf(t, g)
		again := g.do(t, w.method, w.path, w.body, w.header, once(strings.ReplaceAll(w.name, " ", "-"))).want(t, w.status)
		want, got := first.json(t), again.json(t)
		if got["replayed"] != true || got["partial"] != true || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: got %s, want it marked replayed and partial", w.name, again.body)
		}
		delete(got, "replayed")
		delete(got, "partial")
		delete(want, "prev_kv") // what was read is not known any more
		if want["results"] != nil {
			want["results"] = []any{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-first +repeat):\n%s", w.name, diff)
		}
		for _, header := range []string{"ETag", "Etcd-Revision"} {
			if a, b := first.header.Get(header), again.header.Get(header); a != b {
				t.Errorf("%s: %s: first %q, repeat %q", w.name, header, a, b)
			}
		}
		if after := revisionOf(t, g); after != before {
			t.Errorf("%s: the repeat wrote", w.name)
		}
	}
}

func TestARetryAfterAnUnknownOutcomeFindsOutWhatHappened(t *testing.T) {
	t.Parallel()
	g := start(t)
	silent := g.through(t, &forgetful{Backend: g.store, silent: true})
	doc := silent.do(t, "PUT", "/v1/kv/a", `{"value":"1","ttl":600}`, once("k")).problem(t, 504, "deadline_exceeded")
	if doc["outcome"] != "unknown" || doc["lease"] == nil {
		t.Errorf("got %v, want the outcome unknown and the lease named", doc)
	}
	again := g.do(t, "PUT", "/v1/kv/a", `{"value":"1","ttl":600}`, once("k")).want(t, 201).json(t)
	if again["partial"] != true || again["lease"] != doc["lease"] || fmt.Sprint(again["ttl"]) != "600" {
		t.Errorf("retry: got %v, want the first outcome with lease %v", again, doc["lease"])
	}
	if kv := value(t, g, "a"); kv.Version != 1 {
		t.Errorf("version: got %d, want 1: written once", kv.Version)
	}
}

func TestARepeatOfWhatIsUnderWayIsToldToWait(t *testing.T) {
	t.Parallel()
	g := start(t)
	store := &forgetful{Backend: g.store, entered: make(chan struct{}, 1), proceed: make(chan struct{})}
	slow := g.through(t, store)
	done := make(chan *answer, 1)
	go func() {
		defer close(done) // also when the request fails the test
		done <- slow.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("k"))
	}()
	<-store.entered
	slow.do(t, "PUT", "/v1/kv/a?timeout=3", `{"value":"1"}`, once("k")).problem(t, 409, "idempotency_in_progress")
	close(store.proceed)
	first := <-done
	if first == nil {
		t.Fatal("the first request failed")
	}
	first.want(t, 201)
	if again := slow.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("k")).want(t, 201); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the repeat after the first is no repeat")
	}
}

func TestIdempotencyKeysAreCheckedWhereTheyWork(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, key := range []string{"", " ", "a b", strings.Repeat("k", 129), "snö", "a\tb"} {
		g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once(key)).problem(t, 400, "invalid_parameter")
	}
	g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("a"), once("b")).problem(t, 400, "invalid_parameter")
	for _, key := range []string{"!", `"6f1c0d52-7f5b-4a43-8f3e-0b8f6f0f2a11"`, strings.Repeat("k", 128)} {
		g.do(t, "DELETE", "/v1/kv/a", "", once(key)).want(t, 200)
	}
	for _, route := range []struct{ method, path string }{
		{"GET", "/v1/kv/a"}, {"HEAD", "/v1/kv/a"}, {"GET", "/v1/kv"}, {"POST", "/v1/import"}, {"POST", "/v1/maintenance/compact"}, {"GET", "/v1/export"},
	} {
		a := g.do(t, route.method, route.path, "", once("k"))
		if a.want(t, 400); route.method == "HEAD" {
			continue
		}
		if doc := a.problem(t, 400, "invalid_parameter"); !strings.Contains(fmt.Sprint(doc["detail"]), "PUT, PATCH and DELETE") {
			t.Errorf("%s %s: got %v, want where it works", route.method, route.path, doc["detail"])
		}
	}
}

func TestATransactionWithAnIdempotencyKeyHasAtMost125Operations(t *testing.T) {
	t.Parallel()
	g := start(t)
	body := func(n int) string {
		var puts []string
		for i := range n {
			puts = append(puts, fmt.Sprintf(`{"put":{"key":"k%d","value":""}}`, i))
		}
		return `{"if":[{"key":"none","exists":false}],"then":[` + strings.Join(puts, ",") + `]}`
	}
	doc := g.do(t, "POST", "/v1/txn", body(126), once("a")).problem(t, 422, "too_many_operations")
	if fmt.Sprint(doc["limit"]) != "125" || doc["outcome"] != "not_applied" {
		t.Errorf("got %v, want the limit 125", doc)
	}
	g.do(t, "POST", "/v1/txn", body(125), once("a")).want(t, 200)
	g.do(t, "POST", "/v1/txn", body(126)).want(t, 200)
}

func TestAnAnswerAbove64KiBIsNotKeptWhole(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/big", `{"value":"`+strings.Repeat("x", 64<<10)+`"}`).want(t, 201)
	const body = `{"then":[{"put":{"key":"a","value":"1"}},{"get":{"key":"big"}}]}`
	g.do(t, "POST", "/v1/txn", body, once("k")).want(t, 200)
	if again := g.do(t, "POST", "/v1/txn", body, once("k")).want(t, 200).json(t); again["partial"] != true || again["succeeded"] != true {
		t.Errorf("got %v, want a partial answer", again)
	}
}

// A lease a record would be a lease a write; a lease with very many records would stop all writes when it ends.
func TestRecordsShareLeasesOfAtMost500RecordsThatOutliveThem(t *testing.T) {
	t.Parallel()
	g := start(t)
	var wg sync.WaitGroup
	next := make(chan int, 502)
	for i := range cap(next) {
		next <- i
	}
	close(next)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				g.do(t, "PUT", fmt.Sprintf("/v1/kv/k%d", i%8), `{"value":"1"}`, once(fmt.Sprint(i)))
			}
		})
	}
	wg.Wait()
	leases, err := g.oracle.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, lease := range leases.Leases {
		status, err := g.oracle.TimeToLive(t.Context(), lease.ID, clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		if status.GrantedTTL != 24*3600+600 || len(status.Keys) > 500 {
			t.Errorf("lease: %d s for %d records, want a day and ten minutes for at most 500", status.GrantedTTL, len(status.Keys))
		}
		total += len(status.Keys)
	}
	if len(leases.Leases) != 2 || total != 502 {
		t.Errorf("got %d leases with %d records, want 2 with 502", len(leases.Leases), total)
	}
}

// A change of leader extends leases, so a record can be there long after its time.
func TestExpiresAtDecidesAndNotTheLease(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("k")).want(t, 201)
	kv := recordsOf(t, g)[0]
	var record map[string]any
	if err := json.Unmarshal(kv.Value, &record); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(time.Unix(int64(record["expires_at"].(float64)), 0)); left < 23*time.Hour+59*time.Minute || left > 24*time.Hour {
		t.Errorf("expires_at is %v from now, want 24 h", left)
	}
	record["expires_at"] = time.Now().Add(-time.Second).Unix()
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Put(t.Context(), string(kv.Key), string(text), clientv3.WithIgnoreLease()); err != nil {
		t.Fatal(err)
	}
	again := g.do(t, "PUT", "/v1/kv/a", `{"value":"another"}`, once("k")).want(t, 200)
	if again.header.Get("Idempotency-Replayed") != "" {
		t.Error("an expired record was repeated")
	}
	if now := recordsOf(t, g); len(now) != 1 || fmt.Sprint(now[0].CreateRevision) != again.header.Get("Etcd-Revision") {
		t.Errorf("records: got %+v, want one created at the write's revision %s", now, again.header.Get("Etcd-Revision"))
	}
}

func TestALostRecordLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"1"}`, once("one")).want(t, 201)
	if _, err := g.oracle.Revoke(t.Context(), clientv3.LeaseID(recordsOf(t, g)[0].Lease)); err != nil {
		t.Fatal(err)
	}
	g.do(t, "PUT", "/v1/kv/a", `{"value":"2","lease":"77"}`, once("two")).problem(t, 404, "lease_not_found")
	g.do(t, "PUT", "/v1/kv/a", `{"value":"2"}`, once("two")).want(t, 200)
	g.do(t, "PUT", "/v1/kv/a", `{"value":"3","lease":"77"}`, once("three")).problem(t, 404, "lease_not_found")
	if n := recordCount(t, g); n != 1 {
		t.Errorf("records: got %d, want 1", n)
	}
}

// etcd refuses the whole transaction when the user may not write the record; a write without it would break the promise.
func TestWithoutTheRightToWriteRecordsAKeyIsRefusedAndNothingWritten(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g := startOn(t, etcd)
	grant := func(user string, prefixes ...string) {
		t.Helper()
		for _, step := range []func() error{
			func() error { _, err := g.oracle.RoleAdd(t.Context(), user); return err },
			func() error { _, err := g.oracle.UserAdd(t.Context(), user, "secret"); return err },
			func() error { _, err := g.oracle.UserGrantRole(t.Context(), user, user); return err },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		for _, prefix := range prefixes {
			if _, err := g.oracle.RoleGrantPermission(t.Context(), user, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
				t.Fatal(err)
			}
		}
	}
	grant("app", "app/")
	grant("full", "app/", "\x00etcdrest/")
	grant("reader", "app/")
	if _, err := g.oracle.RoleGrantPermission(t.Context(), "reader", "\x00etcdrest/", clientv3.GetPrefixRangeEnd("\x00etcdrest/"), clientv3.PermissionType(clientv3.PermRead)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.UserAdd(t.Context(), "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.UserGrantRole(t.Context(), "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := func(user string) *gateway {
		store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}, Username: user, Password: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return g.through(t, store)
	}
	for _, user := range []string{"app", "reader"} {
		h := as(user)
		doc := h.do(t, "PUT", "/v1/kv/app/a", `{"value":"1"}`, once("k")).problem(t, 501, "idempotency_unavailable")
		if doc["outcome"] != "not_applied" {
			t.Errorf("%s: outcome: got %v", user, doc["outcome"])
		}
		h.do(t, "GET", "/v1/kv/app/a", "").problem(t, 404, "key_not_found")
		h.do(t, "PUT", "/v1/kv/other", `{"value":"1"}`).problem(t, 403, "permission_denied")
	}
	full := as("full")
	full.do(t, "PUT", "/v1/kv/other", `{"value":"1"}`, once("k")).problem(t, 403, "permission_denied")
	full.do(t, "PUT", "/v1/kv/app/a", `{"value":"1"}`, once("k")).want(t, 201)
	full.do(t, "PUT", "/v1/kv/app/a", `{"value":"1"}`, once("k")).want(t, 201)
	// The epoch, too, needs the state prefix: without it, it is the cluster's id alone.
	alone, _ := as("app").do(t, "GET", "/version", "").want(t, 200).json(t)["epoch"].(string)
	kept, _ := full.do(t, "GET", "/version", "").want(t, 200).json(t)["epoch"].(string)
	if len(alone) != 16 || !strings.HasPrefix(kept, alone+".") || len(kept) != 33 {
		t.Errorf("epochs: got %q without and %q with the state prefix, want the cluster's id and the same with a number", alone, kept)
	}
	as("app").do(t, "POST", "/v1/maintenance/epoch", "").problem(t, 403, "permission_denied")
}
