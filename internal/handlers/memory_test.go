package handlers_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// heap is the live heap in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const (
	manyKeys = 100_000
	// mostGrowth bounds the live heap of gateway, etcd and test together over what was there before; the data itself has
	// 100 MB, and etcd holds a few of its own chunks.
	mostGrowth = 48 << 20
)

// manyValue makes values of 1 KB.
func manyValue(i int) string { return fmt.Sprintf("%01000d", i) }

// Not parallel: it measures the heap of the process.
func TestExportAndImportOf100000KeysNeedConstantMemory(t *testing.T) { //nolint:paralleltest // see above
	b := new(between)
	g := startBetween(t, b)
	g.http = &http.Client{Transport: &http.Transport{}} // the contract's checker would be measured too
	defer g.http.CloseIdleConnections()
	importMany(t, g)
	pairs := make(map[string]string, 1000)
	for i := range manyKeys {
		pairs[fmt.Sprintf("k/%06d", i)] = manyValue(i)
		if len(pairs) == 1000 {
			fill(t, g, pairs)
			clear(pairs)
		}
	}
	for _, b.paged = range []bool{false, true} {
		exportMany(t, g)
	}
}

// importMany imports the keys from a body that is made as it is sent; as a dry run, since etcd keeps the latest requests in
// memory.
func importMany(t *testing.T, g *gateway) {
	t.Helper()
	body := &lines{most: manyKeys}
	before := heap()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/v1/import?dry_run", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	response, err := g.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	report, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Contains(report, fmt.Appendf(nil, `"created":%d`, manyKeys)) {
		t.Fatalf("report: got %.500s (%v)", report, err)
	}
	t.Logf("import: the heap grew by %.1f MiB at most", mebi(body.peak-before))
	if growth := body.peak - before; growth > mostGrowth {
		t.Errorf("import: the heap grew by %d bytes, want %d at most", growth, mostGrowth)
	}
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

// lines is an export that is made while it is read; now and then it looks at the heap.
type lines struct {
	most, n int
	rest    []byte
	peak    int64
}

func (l *lines) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		switch {
		case l.n < l.most:
			l.rest = fmt.Appendf(l.rest[:0], `{"type":"kv","key":"k/%06d","value":"%s"}`+"\n", l.n, manyValue(l.n))
		case l.n == l.most:
			l.rest = fmt.Appendf(l.rest[:0], `{"type":"end","count":%d,"revision":1}`+"\n", l.most)
		default:
			return 0, io.EOF
		}
		if l.n++; l.n%(l.most/10) == 0 {
			l.peak = max(l.peak, heap())
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// exportMany reads the export as it comes.
func exportMany(t *testing.T, g *gateway) {
	t.Helper()
	before, peak := heap(), int64(0)
	response := g.get(t, "/v1/export")
	defer response.Body.Close()
	in := bufio.NewReader(response.Body)
	n := 0
	for ; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		if strings.HasPrefix(line, `{"type":"end"`) {
			break
		}
		if !strings.Contains(line, manyValue(n)) {
			t.Fatalf("line %d: got %.100s", n+1, line)
		}
		if n%(manyKeys/10) == manyKeys/20 {
			peak = max(peak, heap())
		}
	}
	t.Logf("export: the heap grew by %.1f MiB at most", mebi(peak-before))
	if growth := peak - before; n != manyKeys || growth > mostGrowth {
		t.Errorf("export of %d keys: the heap grew by %d bytes, want %d at most", n, growth, mostGrowth)
	}
}
