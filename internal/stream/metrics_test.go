package stream_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// TestWatcherGaugesAreNeverNegative replays the fault that etcd mended in "mvcc: avoid negative watcher count metrics"
// (etcd-io/etcd#11882): there a watch that was cancelled while its stream was closed was subtracted twice. Here cancel, a
// second cancel, Close and an interruption come in every order, one after the other and all at once, while there are
// writes, and the metrics are read all the while.
func TestWatcherGaugesAreNeverNegative(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	writer := clientOf(t, etcd.Endpoint())
	for _, order := range permutations([]string{"cancel", "cancel again", "close", "resume"}) {
		for _, at := range []string{"in turn", "at once"} {
			t.Run(strings.Join(order, ", ")+" "+at, func(t *testing.T) {
				t.Parallel()
				way := newSeverable(t, etcd.Endpoint())
				v := newVantage(t, clientOf(t, way.endpoint), stream.Options{})
				v.replay(t, way, writer, order, at == "at once")
			})
		}
	}
}

// permutations gives the words in every order.
func permutations(words []string) (all [][]string) {
	if len(words) == 0 {
		return [][]string{nil}
	}
	for i, w := range words {
		for _, rest := range permutations(slices.Delete(slices.Clone(words), i, i+1)) {
			all = append(all, append([]string{w}, rest...))
		}
	}
	return all
}

// replay opens watches over every transport and does what the order says.
func (v *vantage) replay(t *testing.T, way *severable, writer *etcdclient.Client, order []string, atOnce bool) {
	t.Helper()
	v.put(t, "k/0", 10)
	socket := v.socket(t)
	watchOver(t, socket, `"op":"watch","id":"a","prefix":"k/"`, `"op":"watch","id":"b","prefix":"k/"`, `"op":"watch","id":"c","key":"k/0","start_revision":1`)
	var work sync.WaitGroup
	for _, transport := range []string{"sse", "ndjson"} {
		in, _ := v.lines(t, "prefix=k/", transport)
		work.Go(func() {
			for in.Scan() {
			}
		})
	}
	work.Go(func() { v.poll(t) })
	v.await(t, "the poll is there", func(m map[string]float64) bool { return m["connections{poll}"] == 1 })
	work.Go(func() {
		for {
			if _, _, err := socket.Read(t.Context()); err != nil {
				return
			}
		}
	})
	over := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { v.observe(t, over) })
	watcher.Go(func() { writeUntil(t, writer, over) })

	cancel := func() {
		_ = socket.Write(t.Context(), websocket.MessageText, []byte(`{"op":"cancel","id":"a"}`)) // the socket may be closed
	}
	steps := map[string]func(){
		"cancel": cancel,
		"cancel again": func() {
			cancel()
			for _, s := range v.hub.Streams() {
				v.hub.End(s.ID)
				v.hub.End(s.ID)
			}
		},
		"close":  v.hub.Close,
		"resume": way.cut,
	}
	for _, name := range order {
		if atOnce {
			work.Go(steps[name])
			continue
		}
		steps[name]()
	}
	work.Wait()
	v.close()
	v.await(t, "every gauge is 0", func(m map[string]float64) bool {
		for name, value := range m {
			state := strings.HasPrefix(name, "connections{") || strings.HasPrefix(name, "watches{") || strings.HasPrefix(name, "catchups{")
			if state || slices.Contains([]string{"feeds", "log_bytes", "lag_revisions_max", "lag_bytes_max", "lag_revisions", "lag_bytes", "etcdrest_etcd_watches"}, name) {
				if value != 0 {
					return false
				}
			}
		}
		return true
	})
	close(over)
	watcher.Wait()
}

// writeUntil writes until it is over.
func writeUntil(t *testing.T, writer *etcdclient.Client, over <-chan struct{}) {
	t.Helper()
	for {
		select {
		case <-over:
			return
		default:
		}
		if _, err := writer.Put(t.Context(), &wire.PutRequest{Key: []byte("k/0"), Value: []byte("v")}); err != nil {
			t.Errorf("put: %v", err)
			return
		}
	}
}

// observe reads the metrics until it is over: no value is negative, and no counter falls.
func (v *vantage) observe(t *testing.T, over <-chan struct{}) {
	t.Helper()
	var before map[string]float64
	for {
		select {
		case <-over:
			return
		default:
		}
		now := v.values(t)
		for name, value := range before {
			if strings.Contains(name, "_total") && now[name] < value {
				t.Errorf("%s fell from %v to %v", name, value, now[name])
			}
		}
		before = now
		_ = v.hub.Streams()
	}
}

// poll waits for a change once; the hub may end before there is one.
func (v *vantage) poll(t *testing.T) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.server.URL+"/v1/watch/poll?key=absent", nil)
	if err != nil {
		t.Error(err)
		return
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

func TestMetricsTellWhoWatches(t *testing.T) {
	t.Parallel()
	store, way := watchable(t)
	v := newVantage(t, store, stream.Options{MaxStreams: 7, LogBytes: 4 << 20})
	v.put(t, "k/0", 10)
	socket := v.socket(t)
	watchOver(t, socket, `"op":"watch","id":"a","prefix":"k/"`, `"op":"watch","id":"b","key":"other"`)
	in, body := v.lines(t, "prefix=k/", "sse")
	v.put(t, "k/1", 1000)
	readUntil(in, `"events"`)
	now := v.await(t, "all are up to date", func(m map[string]float64) bool { return m["lag_revisions"] == 0 })
	for name, want := range map[string]float64{
		"connections{websocket}": 1, "connections{sse}": 1, "connections{ndjson}": 0, "connections{poll}": 0, "connections_limit": 7,
		"watches{live}": 3, "watches{catching_up}": 0, "watches{queued}": 0, "watches{snapshot}": 0, "watches{ended}": 0,
		"feeds": 2, "catchups{running}": 0, "lag_bytes": 0, "log_limit_bytes": 4 << 20, "feed_resumes_total": 0,
	} {
		if now[name] != want {
			t.Errorf("%s: got %v, want %v", name, now[name], want)
		}
	}
	if now["log_bytes"] < 1000 || now["sent_bytes_total{sse}"] < 1000 {
		t.Errorf("log_bytes and bytes sent over SSE: got %v and %v, want at least the value of 1000", now["log_bytes"], now["sent_bytes_total{sse}"])
	}

	say(t, socket, `"op":"cancel","id":"a"`)
	_ = body.Close()
	after := v.await(t, "one watch is left", func(m map[string]float64) bool {
		return m["watches{live}"] == 1 && m["connections{sse}"] == 0 && m["watches_ended_total{end}"] == 1
	})
	if after["sent_bytes_total{sse}"] < now["sent_bytes_total{sse}"] {
		t.Errorf("bytes sent over SSE: got %v after the connection has gone, want %v or more", after["sent_bytes_total{sse}"], now["sent_bytes_total{sse}"])
	}
	way.cut()
	v.await(t, "a feed was resumed", func(m map[string]float64) bool { return m["feed_resumes_total"] > 0 })
	problems, err := testutil.CollectAndLint(v.hub)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: got %v, %v; want no problems", problems, err)
	}
}

// Each metric is in the page for operators.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "how-to", "operate-watches.md"))
	if err != nil {
		t.Fatal(err)
	}
	descriptions := make(chan *prometheus.Desc, 100)
	stream.New(nil, nil, stream.Options{}).Describe(descriptions)
	close(descriptions)
	named := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for d := range descriptions {
		name := named.FindStringSubmatch(d.String())[1]
		if !regexp.MustCompile("(?m)^\\|.*`" + name + "[`{]").Match(page) {
			t.Errorf("%s is not in the table of docs/how-to/operate-watches.md", name)
		}
	}
}

// A peer that takes nothing holds its connection's lock for as long as the write time-out; neither metrics nor the list of
// streams may wait for it.
func TestAStalledPeerDoesNotHoldUpOperators(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{WriteTimeout: time.Hour})
	socket := v.socket(t)
	watchOver(t, socket, `"op":"watch","id":"a","prefix":"k/"`)
	v.stall(t)
	began := time.Now()
	streams := v.hub.Streams()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the list of streams took %v", took)
	}
	if len(streams) != 1 || len(streams[0].Watches) != 1 || streams[0].Watches[0].Behind < 2 || streams[0].Watches[0].BehindBytes < 1<<20 || streams[0].SentBytes == 0 {
		t.Errorf("got %+v, want one stream, whose watch is behind by at least 2 revisions and 1 MiB", streams)
	}
	now := v.values(t)
	if now["lag_revisions_max"] < 2 || now["lag_revisions"] != now["lag_revisions_max"] || now["lag_bytes_max"] < 1<<20 {
		t.Errorf("lag: got %v of %v revisions, %v bytes, want at least 2 and 1 MiB", now["lag_revisions_max"], now["lag_revisions"], now["lag_bytes_max"])
	}
}

func TestAPeerThatTakesNothingIsCountedAsSlow(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{WriteTimeout: 100 * time.Millisecond, PingEvery: time.Hour}) // a ping may find it out first
	socket := v.socket(t)
	watchOver(t, socket, `"op":"watch","id":"a","prefix":"k/"`)
	for range 64 {
		v.put(t, "k/big", 1<<20)
		if v.values(t)["watches_ended_total{slow_consumer}"] > 0 {
			break
		}
	}
	v.await(t, "the peer is cut off", func(m map[string]float64) bool {
		return m["watches_ended_total{slow_consumer}"] == 1 && m["connections{websocket}"] == 0 && m["watches{live}"] == 0
	})
}

// stall writes until the watch is behind because its peer takes nothing.
func (v *vantage) stall(t testing.TB) {
	t.Helper()
	for range 64 {
		v.put(t, "k/big", 1<<20)
		if m := v.values(t); m["lag_bytes_max"] >= 3<<20 {
			return
		}
	}
	t.Fatal("the watch never falls behind")
}
