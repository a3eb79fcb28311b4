package handlers_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// between is a store that a test looks into: each hook may see, change or replace what passes.
type between struct {
	*etcdclient.Client

	// paged says that there is no RangeStream, as in etcd 3.6.
	paged bool
	// onRange runs before each Range of more than one key; an error replaces the answer.
	onRange func(ctx context.Context, r *wire.RangeRequest) error
	// onTxn runs each transaction.
	onTxn func(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
	// reads are the ranges and streams, in their order.
	mu    sync.Mutex
	reads []wire.RangeRequest
}

func (b *between) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	b.note(r)
	if b.onRange != nil && len(r.End) > 0 {
		if err := b.onRange(ctx, r); err != nil {
			return nil, err
		}
	}
	return b.Client.Range(ctx, r)
}

func (b *between) RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error) {
	if b.paged {
		return nil, problem.New(problem.NotSupported, "the cluster lacks RangeStream")
	}
	b.note(r)
	return b.Client.RangeStream(ctx, r)
}

func (b *between) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	if b.onTxn != nil {
		return b.onTxn(ctx, r)
	}
	return b.Client.Txn(ctx, r)
}

func (b *between) note(r *wire.RangeRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads = append(b.reads, *r)
}

// startBetween runs a gateway whose store has the hooks.
func startBetween(t testing.TB, b *between, adjust ...func(*handlers.Options)) *gateway {
	t.Helper()
	etcd := embedetcd.StartForTest(t)
	return startOver(t, etcd, etcd.Endpoint(), func(c *etcdclient.Client) handlers.Backend {
		b.Client = c
		return b
	}, adjust...)
}

// bothPaths are stores with RangeStream and without, by the name of the path.
func bothPaths() map[string]*between {
	return map[string]*between{"RangeStream": {}, "Range": {paged: true}}
}

// fill puts the pairs by the oracle, in transactions.
func fill(t testing.TB, g *gateway, pairs map[string]string) {
	t.Helper()
	var ops []clientv3.Op
	size := 0
	flush := func() {
		if _, err := g.oracle.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops, size = ops[:0], 0
	}
	for k, v := range pairs {
		if len(ops) == 128 || (size > 0 && size+len(v) > 1<<20) {
			flush()
		}
		ops = append(ops, clientv3.OpPut(k, v))
		size += len(k) + len(v)
	}
	if len(ops) > 0 {
		flush()
	}
}

// contents is the range [from, to) of the store at a revision, 0 for the present, by the oracle.
func contents(t testing.TB, g *gateway, from, to string, revision int64) map[string]string {
	t.Helper()
	answer, err := g.oracle.Get(t.Context(), from, clientv3.WithRange(to), clientv3.WithRev(revision))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		out[string(kv.Key)] = string(kv.Value)
	}
	return out
}

// sameContents compares two stores' contents.
func sameContents(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d keys, want %d", what, len(got), len(want))
	}
	wrong := 0
	for k, v := range want {
		if g, ok := got[k]; (!ok || g != v) && wrong < 5 {
			wrong++
			t.Errorf("%s: key %.60q: got %.60q (there: %t), want %.60q", what, k, g, ok, v)
		}
	}
}

// strange makes thousands of keys and values that text would lose: every byte, every length of broken UTF-8, white space.
func strange(n int) map[string]string {
	random := rand.New(rand.NewPCG(1, 2))
	bytesOf := func(most int) string {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	out := map[string]string{
		"\x01": "", "a": "", "a\x00": "\x00", "a\x00\x00": "null", "\xff": "\xff", "\xff\xff": "{\"a\": 1, \"a\": 2}\n", "snö": " { \"x\" : 1.0 } ",
		"\xed\xa0\x80": "\xed\xa0\x80", "\u2028": "\u2029", "\"\\/\b\f\n\r\t": "\"\\/\b\f\n\r\t\x7f", strings.Repeat("k", 5000): strings.Repeat("\xfe", 100_000),
	}
	for _, k := range awkward {
		out[k.key] = bytesOf(200)
	}
	for i := range n {
		switch k := fmt.Sprintf("%05d", i); i % 3 {
		case 0:
			out["text/"+k] = "value of " + k
		case 1:
			out["\x01"+bytesOf(20)+k] = bytesOf(300)
		default:
			out[bytesOf(3)+"m"+k] = strings.Repeat("é"+k, i%40)
		}
	}
	for k := range out {
		if k[0] == 0 {
			delete(out, k)
		}
	}
	return out
}

func TestExportAndImportIntoAnotherEtcdAreByteExact(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := startBetween(t, b), start(t)
			fill(t, source, strange(4000))
			want := contents(t, source, "\x01", "\x00", 0)
			for i, encoding := range []string{"auto", "base64"} {
				export := source.do(t, "GET", "/v1/export?encoding="+encoding, "").want(t, 200)
				mode := []string{"create", "overwrite"}[i]
				report := target.do(t, "POST", "/v1/import?mode="+mode, string(export.body), ndjson).want(t, 200).lines(t)
				end := report[len(report)-1]
				if len(report) != 1 || end["type"] != "end" || end["applied"] != num(int64(len(want))) || end["lines"] != num(int64(len(want))) {
					t.Fatalf("%s: report: got %d lines, the last %v; want one with %d lines applied", encoding, len(report), end, len(want))
				}
				if got := end[[]string{"created", "overwritten"}[i]]; got != num(int64(len(want))) {
					t.Errorf("%s: got %v", encoding, end)
				}
				sameContents(t, encoding, contents(t, target, "\x01", "\x00", 0), want)
			}
		})
	}
}

const ndjson = "Content-Type: application/x-ndjson"

func TestExportReadsItsRevisionLinearizablyFirstAndPassesIt(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startBetween(t, b)
			fill(t, g, map[string]string{"a": "1", "b": "2"})
			b.mu.Lock()
			b.reads = nil
			b.mu.Unlock()
			a := g.do(t, "GET", "/v1/export", "").want(t, 200)
			end := a.lines(t)[2]
			if end["type"] != "end" || end["count"] != num(2) || a.header.Get("Etcd-Revision") != fmt.Sprint(end["revision"]) {
				t.Errorf("got end %v and revision %q", end, a.header.Get("Etcd-Revision"))
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.reads) != 2 || b.reads[0].Serializable || len(b.reads[0].End) != 0 || fmt.Sprint(b.reads[1].Revision) != fmt.Sprint(end["revision"]) {
				t.Errorf("reads: got %+v; want one of a single key, linearizable, and one of the range at its revision", b.reads)
			}
			if got := a.header.Get("Content-Type"); got != "application/x-ndjson" {
				t.Errorf("Content-Type: got %q", got)
			}
		})
	}
}

func TestExportStaysAtOneRevisionWhileWritersChangeTheRange(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startBetween(t, b)
			pairs := make(map[string]string)
			for i := range 5000 {
				pairs[fmt.Sprintf("k/%05d", i)] = strings.Repeat("v", 200)
			}
			fill(t, g, pairs)
			stop := make(chan struct{})
			var work sync.WaitGroup
			var writes atomic.Int64
			for w := range 2 {
				work.Go(func() {
					for i := w; ; i += 7 {
						select {
						case <-stop:
							return
						default:
						}
						k := fmt.Sprintf("k/%05d", i%6000)
						if i%3 == 0 {
							_, _ = g.oracle.Delete(t.Context(), k)
						} else {
							_, _ = g.oracle.Put(t.Context(), k, fmt.Sprint(i))
						}
						writes.Add(1)
					}
				})
			}
			for range 3 {
				before := writes.Load()
				lines := g.do(t, "GET", "/v1/export?prefix=k/", "").want(t, 200).lines(t)
				during := writes.Load() - before
				end := lines[len(lines)-1]
				revision, _ := end["revision"].(jsonNumber).Int64()
				got := make(map[string]string)
				for _, l := range lines[:len(lines)-1] {
					got[l["key"].(string)] = l["value"].(string)
				}
				sameContents(t, "export", got, contents(t, g, "k/", "k0", revision))
				if end["count"] != num(int64(len(got))) || during == 0 {
					t.Errorf("end: got %v for %d keys, with %d writes meanwhile", end, len(got), during)
				}
			}
			close(stop)
			work.Wait()
		})
	}
}

func TestExportReopensBehindTheLastKeyAfterAnError(t *testing.T) {
	t.Parallel()
	t.Run("Range", func(t *testing.T) {
		t.Parallel()
		n := 0
		b := &between{paged: true}
		b.onRange = func(context.Context, *wire.RangeRequest) error {
			if n++; n%2 == 0 {
				return problem.New(problem.Unavailable, "planted")
			}
			return nil
		}
		g := startBetween(t, b)
		wholeExport(t, g, 1000)
		if n < 6 {
			t.Errorf("got %d pages, want some that failed", n)
		}
	})
	t.Run("RangeStream", func(t *testing.T) {
		t.Parallel()
		etcd := embedetcd.StartForTest(t)
		cut := newCutter(t, etcd.Endpoint())
		g := startOver(t, etcd, "http://"+cut.address, func(c *etcdclient.Client) handlers.Backend { return c })
		cut.after.Store(2 << 20)
		wholeExport(t, g, 10_000)
		if cut.cuts.Load() == 0 {
			t.Error("the connection was never cut, so nothing was shown")
		}
	})
}

func TestAnExportThatEtcdStallsIsOpenedAgainElsewhere(t *testing.T) {
	t.Parallel()
	t.Run("Range", func(t *testing.T) {
		t.Parallel()
		n := 0
		b := &between{paged: true}
		b.onRange = func(ctx context.Context, _ *wire.RangeRequest) error {
			if n++; n == 3 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		wholeExport(t, startBetween(t, b, func(o *handlers.Options) { o.RequestTimeout = 500 * time.Millisecond }), 200)
	})
	t.Run("RangeStream", func(t *testing.T) {
		t.Parallel()
		etcd := embedetcd.StartForTest(t)
		cut := newCutter(t, etcd.Endpoint())
		cut.silence = make(chan struct{})
		t.Cleanup(func() { close(cut.silence) })
		b := new(between)
		g := startOver(t, etcd, "http://"+cut.address, func(c *etcdclient.Client) handlers.Backend {
			b.Client = c
			return b
		}, func(o *handlers.Options) { o.RequestTimeout = 3 * time.Second })
		cut.after.Store(2 << 20)
		wholeExport(t, g, 3000)
		opened := 0
		for _, r := range b.reads {
			if r.Revision > 0 {
				opened++
			}
		}
		if cut.cuts.Load() == 0 || opened < 2 {
			t.Errorf("%d connections fell silent and the range was opened %d times, so nothing was shown", cut.cuts.Load(), opened)
		}
	})
}

func TestAnExportLivesAsLongAsItMakesProgressUnlessATimeoutIsAskedFor(t *testing.T) {
	t.Parallel()
	b := &between{paged: true}
	b.onRange = func(ctx context.Context, _ *wire.RangeRequest) error {
		select {
		case <-time.After(200 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g := startBetween(t, b, func(o *handlers.Options) { o.RequestTimeout = 500 * time.Millisecond })
	wholeExport(t, g, 1000) // 7 pages, so longer than the default time-out and than timeout=1
	lines := g.do(t, "GET", "/v1/export?timeout=1", "").want(t, 200).lines(t)
	last := lines[len(lines)-1]
	if failure, _ := last["error"].(map[string]any); last["type"] != "error" || failure["code"] != "deadline_exceeded" {
		t.Errorf("timeout=1: the last line is %v", last)
	}
}

// wholeExport fills n keys of 1 KiB, exports them and fails the test unless every one came once, in order.
func wholeExport(t *testing.T, g *gateway, n int) {
	t.Helper()
	pairs := make(map[string]string)
	for i := range n {
		pairs[fmt.Sprintf("k/%06d", i)] = strings.Repeat("v", 1000) + fmt.Sprint(i)
	}
	fill(t, g, pairs)
	lines := g.do(t, "GET", "/v1/export", "").want(t, 200).lines(t)
	if len(lines) != n+1 || lines[n]["type"] != "end" || lines[n]["count"] != num(int64(n)) {
		t.Fatalf("got %d lines, the last %.300v; want %d and an end", len(lines), lines[len(lines)-1], n+1)
	}
	for i, l := range lines[:n] {
		if k := fmt.Sprintf("k/%06d", i); l["key"] != k || l["value"] != pairs[k] {
			t.Fatalf("line %d: got key %v, want %s with its value", i+1, l["key"], k)
		}
	}
}

// cutter is a TCP proxy that cuts a connection once so many bytes have come back over it, or lets one fall silent.
type cutter struct {
	address string
	after   atomic.Int64 // 0: never
	cuts    atomic.Int64
	// silence makes the first cut a connection that stays open and says nothing more, until the test ends.
	silence chan struct{}
}

func newCutter(t *testing.T, endpoint string) *cutter {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{address: listener.Addr().String()}
	var work sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		work.Wait()
	})
	target := strings.TrimPrefix(endpoint, "http://")
	work.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(out, in); _ = out.Close(); _ = in.Close() })
			work.Go(func() { c.back(in, out); _ = out.Close(); _ = in.Close() })
		}
	})
	return c
}

func (c *cutter) back(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for sent := int64(0); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		sent += int64(n)
		if after := c.after.Load(); after > 0 && sent > after {
			if c.cuts.Add(1) == 1 && c.silence != nil {
				<-c.silence
			}
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestACompactionOnTheWayEndsAnExportWithAnErrorLineAndNoEnd(t *testing.T) {
	t.Parallel()
	t.Run("Range", func(t *testing.T) {
		t.Parallel()
		b := &between{paged: true}
		g := startBetween(t, b)
		pairs := make(map[string]string)
		for i := range 100 {
			pairs[fmt.Sprintf("k/%03d", i)] = "v"
		}
		fill(t, g, pairs)
		n := 0
		b.onRange = func(context.Context, *wire.RangeRequest) error {
			if n++; n == 2 {
				compactNow(t, g)
			}
			return nil
		}
		lines := g.do(t, "GET", "/v1/export", "").want(t, 200).lines(t)
		cutExport(t, lines)
		if len(lines) != 11 {
			t.Errorf("got %d lines, want the first page of 10 and the error", len(lines))
		}
		report := g.do(t, "POST", "/v1/import", jsonLines(t, lines), ndjson).problem(t, 422, "truncated")
		if report["outcome"] != "not_applied" {
			t.Errorf("import of a cut export: outcome %v", report["outcome"])
		}
	})
	t.Run("RangeStream", func(t *testing.T) {
		t.Parallel()
		g := start(t)
		pairs := make(map[string]string)
		for i := range 2000 { // more than the sockets and windows between hold
			pairs[fmt.Sprintf("k/%05d", i)] = strings.Repeat("v", 20<<10)
		}
		fill(t, g, pairs)
		response := g.get(t, "/v1/export")
		defer response.Body.Close()
		var head bytes.Buffer
		if _, err := io.CopyN(&head, response.Body, 10); err != nil {
			t.Fatal(err)
		}
		compactNow(t, g)
		rest, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		cutExport(t, (&answer{body: append(head.Bytes(), rest...)}).lines(t))
	})
}

// get opens an answer whose body the test reads as it likes.
func (g *gateway) get(t testing.TB, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := g.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// compactNow writes once and compacts everything before it.
func compactNow(t testing.TB, g *gateway) int64 {
	t.Helper()
	put, err := g.oracle.Put(t.Context(), "compaction", "now")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Compact(t.Context(), put.Header.Revision); err != nil {
		t.Fatal(err)
	}
	return put.Header.Revision
}

func cutExport(t *testing.T, lines []map[string]any) {
	t.Helper()
	last := lines[len(lines)-1]
	failure, _ := last["error"].(map[string]any)
	if last["type"] != "error" || failure["code"] != "compacted" {
		t.Errorf("the last line: got %.300v, want an error line of code compacted", last)
	}
	for _, l := range lines[:len(lines)-1] {
		if l["type"] != "kv" {
			t.Errorf("got a line %v", l)
		}
	}
}

func TestARefusedExportHasAStatus(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startBetween(t, b)
			fill(t, g, map[string]string{"a": "1", "b": "2"})
			compacted := compactNow(t, g)
			for _, c := range []struct {
				query  string
				status int
				code   string
			}{
				{"revision=1", 410, "compacted"},
				{fmt.Sprintf("revision=%d", compacted+1000), 409, "future_revision"},
				{fmt.Sprintf("not_older_than=%d", compacted+1000), 409, "future_revision"},
				{"prefix=%00x", 403, "reserved"},
				{"prefix=a&from=b", 400, "invalid_parameter"},
				{"prefixx=a", 400, "unknown_parameter"},
				{"revision=0", 400, "invalid_parameter"},
				{"encoding=xml", 400, "invalid_parameter"},
			} {
				g.do(t, "GET", "/v1/export?"+c.query, "").problem(t, c.status, c.code)
			}
			if a := g.do(t, "HEAD", "/v1/export", "").want(t, 200); len(a.body) != 0 || a.header.Get("Etcd-Revision") == "" {
				t.Errorf("HEAD: got %d bytes, headers %v", len(a.body), a.header)
			}
			empty := g.do(t, "GET", "/v1/export?prefix=none", "").want(t, 200).lines(t)
			if len(empty) != 1 || empty[0]["type"] != "end" || empty[0]["count"] != num(0) {
				t.Errorf("an empty range: got %v", empty)
			}
			past := g.do(t, "GET", fmt.Sprintf("/v1/export?revision=%d&keys_only&consistency=serializable", compacted), "").want(t, 200).lines(t)
			if len(past) != 4 || past[0]["value"] != nil || past[0]["key"] != "a" || past[3]["revision"] != num(compacted) {
				t.Errorf("keys_only at a past revision: got %v", past)
			}
		})
	}
}

func TestReservedKeysAreNotExported(t *testing.T) {
	t.Parallel()
	g := start(t)
	fill(t, g, map[string]string{"\x00etcdrest/x": "secret", "\x01": "1", "z": "2"})
	lines := g.do(t, "GET", "/v1/export?encoding=base64", "").want(t, 200).lines(t)
	if len(lines) != 3 || lines[0]["key_base64"] != base64.StdEncoding.EncodeToString([]byte{1}) {
		t.Errorf("got %v", lines)
	}
}

// jsonLines writes the lines again as NDJSON.
func jsonLines(t testing.TB, lines []map[string]any) string {
	t.Helper()
	var out bytes.Buffer
	for _, l := range lines {
		out.WriteString(toJSON(t, l))
		out.WriteByte('\n')
	}
	return out.String()
}
