package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// body makes an export of n keys by hand, without its end line.
func exported(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"type":"kv","key":"k/%05d","value":"%s"}`+"\n", i, value)
	}
	return b.String()
}

func endLine(n int) string { return fmt.Sprintf(`{"type":"end","count":%d,"revision":9}`+"\n", n) }

// brief is a line of a report in short: its type, line, key and code.
func brief(lines []map[string]any) []string {
	var out []string
	for _, l := range lines {
		switch l["type"] {
		case "fault":
			out = append(out, fmt.Sprint("fault ", l["line"], " ", l["key"], " ", l["code"]))
		case "error":
			e, _ := l["error"].(map[string]any)
			out = append(out, fmt.Sprint("error ", e["code"], " ", e["outcome"], " last ", e["last_line_applied"]))
		default:
			out = append(out, fmt.Sprint("end lines ", l["lines"], " created ", l["created"], " overwritten ", l["overwritten"],
				" skipped ", l["skipped"], " failed ", l["failed"], " leases ", l["leases_dropped"], " last ", l["last_line_applied"]))
		}
	}
	return out
}

func TestAFaultyLineOfAnImportIsReportedAndTheOthersAreTaken(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.MaxValueBytes = 1000 })
	fill(t, g, map[string]string{"exists": "mine"})
	lines := []string{
		`{"type":"kv","key":"good/1","value":"1","create_revision":3,"mod_revision":4,"version":2,"lease":"00000000000000ff"}`,
		`{"type":"kv","key":"exists","value":"theirs"}`,
		`{"type":"kv","key":"bad"`,
		`not json`,
		`{"type":"kv","key":"bad","value":"x","colour":"red"}`,
		`{"type":"kv","key":"bad","value":"x","value":"y"}`,
		`{"type":"kv","key":"bad","value":"x","value_base64":"eA=="}`,
		`{"type":"kv","key":"bad","value":7}`,
		`{"type":"kv","key":"bad","value_base64":"*"}`,
		`{"type":"kv","value":"x"}`,
		`{"type":"kv","key":"","value":"x"}`,
		`{"type":"kv","key":"\u0000etcdrest/epoch","value":"x"}`,
		`{"type":"kv","key":"bad"}`,
		`{"type":"kv","key":"bad","value":"` + strings.Repeat("v", 1001) + `"}`,
		`{"type":"kv","key":"bad","value":"x","count":1}`,
		`{"type":"kv","key":"bad","value":"x","version":-1}`,
		`{"type":"put","key":"bad","value":"x"}`,
		`{"key":"bad","value":"x"}`,
		"{\"type\":\"kv\",\"key\":\"bad\xff\",\"value\":\"x\"}",
		`[]`,
		`{"type":"kv","key":"good/2","value_json":{"a":1.50, "b":[]},"lease":null}` + "\r",
		`{"type":"kv","key_base64":"Z29vZC8z","value_base64":""}`,
	}
	body := strings.Join(lines, "\n\n") + "\n\n" + endLine(len(lines))
	got := g.do(t, "POST", "/v1/import", body, ndjson).want(t, 200).lines(t)
	want := []string{
		"fault 3 exists already_exists",
		"fault 5 <nil> invalid_json",
		"fault 7 <nil> invalid_json",
		"fault 9 <nil> unknown_field",
		"fault 11 <nil> invalid_json",
		"fault 13 <nil> invalid_argument",
		"fault 15 <nil> invalid_json",
		"fault 17 <nil> invalid_argument",
		"fault 19 <nil> invalid_argument",
		"fault 21 <nil> invalid_argument",
		"fault 23 \x00etcdrest/epoch reserved",
		"fault 25 bad invalid_argument",
		"fault 27 bad request_too_large",
		"fault 29 bad invalid_argument",
		"fault 31 <nil> invalid_argument",
		"fault 33 <nil> invalid_argument",
		"fault 35 <nil> invalid_argument",
		"fault 37 <nil> invalid_json",
		"fault 39 <nil> invalid_json",
		"end lines 22 created 3 overwritten 0 skipped 1 failed 18 leases 1 last 43",
	}
	if diff := cmp.Diff(want, brief(got)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	sameContents(t, "store", contents(t, g, "\x01", "\x00", 0), map[string]string{
		"exists": "mine", "good/1": "1", "good/2": `{"a":1.50,"b":[]}`, "good/3": "",
	})
	stored, err := g.oracle.Get(t.Context(), "good/1")
	if err != nil || stored.Kvs[0].Lease != 0 || stored.Kvs[0].Version != 1 {
		t.Errorf("good/1: got %v (%v), want a key without lease", stored, err)
	}
	if detail := fmt.Sprint(got[3]["detail"]); !strings.Contains(detail, `"colour"`) || strings.Contains(detail, "(line ") {
		t.Errorf("detail of a fault: got %q, want the member named, and no line but the report's", detail)
	}
}

func TestImportTakesTheTypesOfNDJSONAndNamesItInOthers(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, media := range []string{"application/x-ndjson", "application/json", "application/x-ndjson; charset=utf-8", ""} {
		g.do(t, "POST", "/v1/import?mode=overwrite", exported(1, "v")+endLine(1), "Content-Type: "+media).want(t, 200)
	}
	doc := g.do(t, "POST", "/v1/import", endLine(0), "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
	if !strings.Contains(fmt.Sprint(doc["detail"]), "application/x-ndjson") {
		t.Errorf("detail: got %v", doc["detail"])
	}
	g.do(t, "POST", "/v1/import?mode=merge", endLine(0), ndjson).problem(t, 400, "invalid_parameter")
	g.do(t, "POST", "/v1/import?dryrun", endLine(0), ndjson).problem(t, 400, "unknown_parameter")
}

func TestACutExportIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	g := start(t)
	broken := `{"type":"error","error":{"type":"/problems/compacted","code":"compacted"}}` + "\n"
	for name, body := range map[string]string{
		"no end line":             exported(10, "v"),
		"empty":                   "",
		"cut in a line":           exported(10, "v") + `{"type":"kv","ke`,
		"cut in the end line":     exported(10, "v") + strings.TrimSuffix(endLine(10), "}\n"),
		"a line lost":             exported(9, "v") + endLine(10),
		"a line too many":         exported(11, "v") + endLine(10),
		"an error line":           exported(10, "v") + broken,
		"an error before the end": exported(10, "v") + broken + endLine(11),
		"two exports in one":      exported(10, "v") + endLine(10) + exported(10, "v") + endLine(10),
	} {
		doc := g.do(t, "POST", "/v1/import", body, ndjson).problem(t, 422, "truncated")
		if doc["outcome"] != "not_applied" {
			t.Errorf("%s: outcome %v", name, doc["outcome"])
		}
		if n := len(contents(t, g, "k/", "k0", 0)); n > 0 {
			t.Fatalf("%s: %d keys were written", name, n)
		}
	}
}

func TestOnlyAWholeSmallExportIsWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, query string
		keys        int
		want        []string
	}{
		"an end without newline": {exported(3, "v") + strings.TrimSpace(endLine(3)), "", 3, []string{"end lines 3 created 3 overwritten 0 skipped 0 failed 0 leases 0 last 3"}},
		"nothing":                {endLine(0), "", 0, []string{"end lines 0 created 0 overwritten 0 skipped 0 failed 0 leases 0 last 0"}},
		"partial":                {exported(3, "v"), "?partial=true", 3, []string{"end lines 3 created 3 overwritten 0 skipped 0 failed 0 leases 0 last 3"}},
		"partial, cut in a line": {exported(3, "v") + `{"type":"kv","key":"k`, "?partial=true", 3, []string{"fault 4 <nil> invalid_json", "end lines 4 created 3 overwritten 0 skipped 0 failed 1 leases 0 last 4"}},
		"partial, nothing":       {"", "?partial=true", 0, []string{"end lines 0 created 0 overwritten 0 skipped 0 failed 0 leases 0 last 0"}},
		"partial, an error line": {exported(3, "v") + `{"type":"error","error":{}}`, "?partial=true", 3, []string{"end lines 3 created 3 overwritten 0 skipped 0 failed 0 leases 0 last 3"}},
		"dry run":                {exported(3, "v") + endLine(3), "?dry_run=true", 0, []string{"end lines 3 created 3 overwritten 0 skipped 0 failed 0 leases 0 last 3"}},
		"a key twice":            {exported(2, "v") + exported(2, "w") + endLine(4), "", 2, []string{"fault 3 k/00000 already_exists", "fault 4 k/00001 already_exists", "end lines 4 created 2 overwritten 0 skipped 2 failed 0 leases 0 last 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			got := g.do(t, "POST", "/v1/import"+c.query, c.body, ndjson).want(t, 200).lines(t)
			if diff := cmp.Diff(c.want, brief(got)); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if n := len(contents(t, g, "k/", "k0", 0)); n != c.keys {
				t.Errorf("the store has %d keys, want %d", n, c.keys)
			}
		})
	}
}

func TestOverwriteReplacesAndKeepsTheOrderOfTheLines(t *testing.T) {
	t.Parallel()
	g := start(t)
	fill(t, g, map[string]string{"k/00000": "old", "k/00001": "old", "other": "kept"})
	dry := g.do(t, "POST", "/v1/import?mode=overwrite&dry_run", exported(300, "v")+endLine(300), ndjson).want(t, 200).lines(t)
	if got, want := brief(dry)[0], "end lines 300 created 298 overwritten 2 skipped 0 failed 0 leases 0 last 300"; got != want {
		t.Errorf("dry run: got %q, want %q", got, want)
	}
	got := g.do(t, "POST", "/v1/import?mode=overwrite", exported(300, "v")+exported(1, "w")+endLine(301), ndjson).want(t, 200).lines(t)
	if got, want := brief(got)[0], "end lines 301 created 298 overwritten 3 skipped 0 failed 0 leases 0 last 301"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	after := contents(t, g, "\x01", "\x00", 0)
	if after["k/00000"] != "w" || after["k/00001"] != "v" || after["other"] != "kept" || len(after) != 301 {
		t.Errorf("store: got %d keys, %q, %q, %q", len(after), after["k/00000"], after["k/00001"], after["other"])
	}
}

// A body that is longer than the limit of JSON bodies is written as it comes, so that the report must say how far.
func TestACutLongExportSaysExactlyHowFarItWasWritten(t *testing.T) {
	t.Parallel()
	small := func(o *handlers.Options) { o.MaxBodyBytes = 2000 }
	for name, c := range map[string]struct{ end, want string }{
		"no end line":   {"", "error truncated"},
		"a line lost":   {endLine(1001), "error truncated"},
		"an error line": {`{"type":"error","error":{"code":"compacted"}}` + "\n", "error truncated"},
		"cut in a line": {`{"type":"kv","ke`, "error truncated"},
		"a second one":  {endLine(1000) + exported(1, "v"), "error invalid_argument"},
		"a long line":   {`{"type":"kv","key":"` + strings.Repeat("k", 2000) + `","value":""}` + "\n" + endLine(1001), "error request_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, small)
			lines := g.do(t, "POST", "/v1/import", exported(1000, "v")+c.end, ndjson).want(t, 200).lines(t)
			got := brief(lines)
			if !strings.HasPrefix(got[len(got)-1], c.want+" not_applied") {
				t.Errorf("report: got %q, want the last to be %s", got, c.want)
			}
			failure := lines[len(lines)-1]["error"].(map[string]any)
			after := contents(t, g, "k/", "k0", 0)
			if failure["last_line_applied"] != num(int64(len(after))) || len(after) < 800 {
				t.Errorf("%d keys were written, and the report says %v", len(after), failure)
			}
			if totals := failure["totals"].(map[string]any); totals["created"] != num(int64(len(after))) {
				t.Errorf("totals: got %v", totals)
			}
			for i := range len(after) { // and they are the first ones
				if _, ok := after[fmt.Sprintf("k/%05d", i)]; !ok {
					t.Fatalf("line %d of the %d was not written", i+1, len(after))
				}
			}
		})
	}
	t.Run("dry run", func(t *testing.T) {
		t.Parallel()
		g := start(t, small)
		g.do(t, "POST", "/v1/import?dry_run", exported(10, strings.Repeat("v", 300)), ndjson).problem(t, 422, "truncated")
	})
}

func TestImportInCreateModeNeverOverwritesWhatOthersWriteMeanwhile(t *testing.T) {
	t.Parallel()
	g := start(t)
	const n = 3000
	stop := make(chan struct{})
	won := make(map[string]bool)
	var work sync.WaitGroup
	work.Go(func() {
		for i := n - 1; i >= 0; i-- {
			select {
			case <-stop:
				return
			default:
			}
			k := fmt.Sprintf("k/%05d", i)
			r, err := g.oracle.Txn(t.Context()).If(clientv3.Compare(clientv3.CreateRevision(k), "=", 0)).Then(clientv3.OpPut(k, "other")).Commit()
			if err != nil {
				t.Error(err)
				return
			}
			if r.Succeeded {
				won[k] = true
			}
		}
	})
	report := g.do(t, "POST", "/v1/import", exported(n, "imported")+endLine(n), ndjson).want(t, 200).lines(t)
	close(stop)
	work.Wait()
	existing := make(map[string]bool)
	for _, l := range report[:len(report)-1] {
		if l["code"] != "already_exists" {
			t.Fatalf("got %v", l)
		}
		existing[l["key"].(string)] = true
	}
	after := contents(t, g, "k/", "k0", 0)
	for i := range n {
		k := fmt.Sprintf("k/%05d", i)
		want := "imported"
		if existing[k] {
			want = "other"
		}
		if after[k] != want || existing[k] != won[k] {
			t.Fatalf("%s: got %q, reported as existing: %t, written by the other: %t", k, after[k], existing[k], won[k])
		}
	}
	if end := report[len(report)-1]; end["skipped"] != num(int64(len(won))) || len(won) == 0 {
		t.Errorf("end: got %v, the other wrote %d", end, len(won))
	}
}

func TestABatchOfUnknownOutcomeStopsTheImportAndNamesItsLines(t *testing.T) {
	t.Parallel()
	b := &between{}
	n := 0
	b.onTxn = func(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
		answer, err := b.Client.Txn(ctx, r)
		if n++; n == 3 { // written, and the answer is lost
			return nil, problem.New(problem.Unavailable, "planted").WithOutcome(problem.Unknown)
		}
		return answer, err
	}
	g := startBetween(t, b)
	lines := g.do(t, "POST", "/v1/import", exported(1000, "v")+endLine(1000), ndjson).want(t, 200).lines(t)
	if got, want := brief(lines), []string{"error unavailable unknown last 254"}; !cmp.Equal(got, want) {
		t.Errorf("report: got %q, want %q", got, want)
	}
	failure := lines[0]["error"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"first_line": num(255), "last_line": num(381)}, failure["in_doubt"]); diff != "" {
		t.Errorf("in_doubt (-want +got):\n%s", diff)
	}
	if got := len(contents(t, g, "k/", "k0", 0)); n != 3 || got != 381 {
		t.Errorf("%d transactions wrote %d keys, want 3 and 381", n, got)
	}
}

func TestABatchThatCertainlyWasNotWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := &between{}
	n := 0
	b.onTxn = func(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
		if n++; n%2 == 1 {
			return nil, problem.New(problem.Overloaded, "planted").WithOutcome(problem.NotApplied)
		}
		return b.Client.Txn(ctx, r)
	}
	g := startBetween(t, b)
	lines := g.do(t, "POST", "/v1/import", exported(200, "v")+endLine(200), ndjson).want(t, 200).lines(t)
	if got := brief(lines)[0]; !strings.HasPrefix(got, "end lines 200 created 200 ") || n != 4 {
		t.Errorf("got %q after %d transactions", got, n)
	}
}

func TestAnImportThatWroteNothingFailsWithAStatus(t *testing.T) {
	t.Parallel()
	b := &between{onTxn: func(context.Context, *wire.TxnRequest) (*wire.TxnResponse, error) {
		return nil, problem.New(problem.NoSpace, "planted").WithOutcome(problem.Unknown)
	}}
	g := startBetween(t, b)
	doc := g.do(t, "POST", "/v1/import", exported(200, "v")+endLine(200), ndjson).problem(t, 507, "no_space")
	if doc["outcome"] != "unknown" || doc["in_doubt"] == nil {
		t.Errorf("got %v", doc)
	}
}

func TestALineThatEtcdRefusesIsFoundAmongTheOthersOfItsBatch(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.MaxRequestBytes = 64 << 10 })
	for _, mode := range []string{"create", "overwrite"} {
		g := startOn(t, etcd)
		var body strings.Builder
		for i := range 100 {
			size := 2000
			if i == 37 || i == 90 {
				size = 100 << 10
			}
			fmt.Fprintf(&body, `{"type":"kv","key":"%s/%03d","value":"%s"}`+"\n", mode, i, strings.Repeat("v", size))
		}
		lines := g.do(t, "POST", "/v1/import?mode="+mode, body.String()+endLine(100), ndjson).want(t, 200).lines(t)
		want := []string{
			"fault 38 " + mode + "/037 request_too_large", "fault 91 " + mode + "/090 request_too_large",
			"end lines 100 created 98 overwritten 0 skipped 0 failed 2 leases 0 last 100",
		}
		if diff := cmp.Diff(want, brief(lines)); diff != "" {
			t.Errorf("%s: report (-want +got):\n%s", mode, diff)
		}
	}
}

func TestAServerThatTakesFewerOperationsGetsSmallerBatches(t *testing.T) {
	t.Parallel()
	b := &between{}
	largest := 0
	b.onTxn = func(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
		if len(r.Then) > 10 {
			return nil, problem.New(problem.TooManyOperations, "planted").WithOutcome(problem.NotApplied)
		}
		largest = max(largest, len(r.Then))
		return b.Client.Txn(ctx, r)
	}
	g := startBetween(t, b)
	lines := g.do(t, "POST", "/v1/import?mode=overwrite", exported(500, "v")+endLine(500), ndjson).want(t, 200).lines(t)
	if got := brief(lines)[0]; !strings.HasPrefix(got, "end lines 500 created 500 ") || largest > 10 || largest < 5 {
		t.Errorf("got %q with up to %d operations", got, largest)
	}
}

// The report of a body that is long and full of faults is longer than what is held back, so it is sent while the body is
// being read; net/http would discard the rest of the body then.
func TestALongReportIsSentWhileTheBodyIsRead(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.MaxBodyBytes = 1 << 20 })
	const n = 20_000
	body := exported(n, strings.Repeat("v", 100)) + endLine(n)
	first := g.do(t, "POST", "/v1/import", body, ndjson).want(t, 200).lines(t)
	if got := brief(first)[0]; !strings.HasPrefix(got, fmt.Sprintf("end lines %d created %d ", n, n)) {
		t.Fatalf("got %q", got)
	}
	again := g.do(t, "POST", "/v1/import", body, ndjson).want(t, 200)
	if len(again.body) < 2<<20 {
		t.Errorf("the report has %d bytes, too few to show anything", len(again.body))
	}
	lines := again.lines(t)
	if len(lines) != n+1 || lines[n]["type"] != "end" || lines[n]["skipped"] != num(n) {
		t.Fatalf("got %d lines, the last %v", len(lines), lines[len(lines)-1])
	}
	for i, l := range lines[:n] {
		if l["line"] != num(int64(i+1)) || l["key"] != fmt.Sprintf("k/%05d", i) {
			t.Fatalf("line %d of the report: got %v", i+1, l)
		}
	}
}

func TestAnImportLivesAsLongAsItsBodyComes(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *handlers.Options) { o.RequestTimeout = 400 * time.Millisecond })
	send := func(query string, pieces []string, pause time.Duration) *answer {
		out, in := io.Pipe()
		var work sync.WaitGroup
		work.Go(func() {
			for _, p := range pieces {
				if _, err := io.WriteString(in, p); err != nil {
					return // the gateway has given up
				}
				<-time.After(pause) // the waiting is what is tested
			}
			_ = in.Close()
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/v1/import"+query, out)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		response, err := g.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		work.Wait()
		return &answer{status: response.StatusCode, header: response.Header, body: b}
	}
	slow := send("", []string{exported(1, "v"), "\n", "\n", "\n", "\n", "\n", "\n", endLine(1)}, 100*time.Millisecond).want(t, 200)
	if got := brief(slow.lines(t))[0]; !strings.HasPrefix(got, "end lines 1 created 1 ") {
		t.Errorf("a body that kept coming for longer than the default time-out: got %q", got)
	}
	stalled := send("", []string{exported(1, "v"), endLine(1)}, time.Second).problem(t, 504, "deadline_exceeded")
	if stalled["outcome"] != "not_applied" {
		t.Errorf("a body that stalled: got %v", stalled)
	}
}
