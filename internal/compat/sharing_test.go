package compat_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// eventually waits until the condition holds, asking often.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// oracle is etcd's own client of the gateway's etcd.
func (g *gateway) oracle(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{g.etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t testing.TB, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	r, err := c.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// watchers is how many watches the etcds of this process serve, as their metrics have it.
func (g *gateway) watchers(t testing.TB) (n int) {
	t.Helper()
	a := ask(t, g.etcd.Endpoint(), request{method: http.MethodGet, path: "/metrics"})
	for line := range strings.Lines(a.body) {
		if value, ok := strings.CutPrefix(line, "etcd_debugging_mvcc_watcher_total "); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("etcd's metrics have no watcher_total")
	return 0
}

// lineStream is an answer of lines that goes on.
type lineStream struct {
	t    testing.TB
	what string
	in   *bufio.Reader
	end  func()
}

// open opens a stream by a client of its own, so that it can be left alone.
func open(t testing.TB, method, url, body string, headers ...string) *lineStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	r := httpRequest(ctx, t, method, url, body, headers)
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(64 << 10) // who does not read stalls the gateway soon
		}
		return c, err
	}}
	response, err := transport.RoundTrip(r) //nolint:bodyclose // end closes it
	if err != nil {
		t.Fatal(err)
	}
	s := &lineStream{t: t, what: url + " " + body, in: bufio.NewReaderSize(response.Body, 16<<10)}
	s.end = func() {
		cancel()
		_ = response.Body.Close()
		transport.CloseIdleConnections()
	}
	t.Cleanup(s.end)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("%s: status %d: %s", s.what, response.StatusCode, text)
	}
	return s
}

// watch opens a watch of /v3; options are further members of the request to create it.
func (g *gateway) watch(t testing.TB, base, key, end, options string) *lineStream {
	t.Helper()
	return open(t, http.MethodPost, base+"/v3/watch", createRequest(key, end, options))
}

func createRequest(key, end, options string) string {
	in64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`{"create_request":{"key":%q,"range_end":%q%s}}`, in64([]byte(key)), in64([]byte(end)), options)
}

func (s *lineStream) line() string {
	s.t.Helper()
	line, err := s.in.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%s: got %q, then %v", s.what, line, err)
	}
	return line
}

func (s *lineStream) wants(part string) string {
	s.t.Helper()
	line := s.line()
	if !strings.Contains(line, part) {
		s.t.Fatalf("%s: got %.500s; want %s in it", s.what, line, part)
	}
	return line
}

// response is a line of a watch of /v3.
type response struct {
	Result struct {
		Header          struct{ Revision string }
		Created         bool
		Canceled        bool
		CompactRevision string `json:"compact_revision"`
		CancelReason    string `json:"cancel_reason"`
		Events          []json.RawMessage
	}
	Error json.RawMessage
}

func (s *lineStream) response() (r response) {
	s.t.Helper()
	line := s.line()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		s.t.Fatalf("%v: %.500s", err, line)
	}
	return r
}

// until gives all events up to one of the key that has the mark in it.
func (s *lineStream) until(key, mark string) (events []string) {
	s.t.Helper()
	key = base64.StdEncoding.EncodeToString([]byte(key))
	for {
		r := s.response()
		if len(r.Result.Events) == 0 && !r.Result.Created {
			s.t.Fatalf("%s: got %+v", s.what, r)
		}
		for _, e := range r.Result.Events {
			if events = append(events, string(e)); strings.Contains(string(e), key) && strings.Contains(string(e), mark) {
				return events
			}
		}
	}
}

// Two hundred watches of /v3 and two hundred native ones of one prefix are one watch of etcd, over both forms of /v3.
func TestWatchesOfBothAPIsShareAWatchOfEtcd(t *testing.T) { //nolint:paralleltest // it counts watches
	g := start(t, compat.Options{})
	c := g.oracle(t)
	const n = 200
	eventually(t, "etcd has no watch", func() bool { return g.watchers(t) == 0 }) // those of tests before are gone
	var streams []*lineStream
	for i := range n {
		native := open(t, http.MethodGet, g.url+"/v1/watch?prefix=p/", "")
		native.wants(`"created"`)
		options := []string{``, `,"filters":["NODELETE"]`, `,"watch_id":"7"`, fmt.Sprintf(`,"start_revision":"%d"`, 3)}[i%4]
		v3 := g.watch(t, g.url, "p/", "p0", options)
		v3.wants(`"created":true`)
		streams = append(streams, native, v3)
	}
	socket := dial(t, g.url, "/v3/watch", nil)
	for range 50 {
		say(t, socket, createRequest("p/", "p0", ""))
		hear(t, socket)
	}
	if n := g.watchers(t); n != 1 {
		t.Errorf("the watches are %d of etcd, want 1: %s", n, g.state(t))
	}
	revision := write(t, c, "p/1", "v")
	for _, s := range streams {
		s.wants(fmt.Sprint(revision))
	}
	for range 50 {
		if m := hear(t, socket); !strings.Contains(m, `"events":[{"kv":{"key":"cC8x"`) {
			t.Fatalf("over the socket: got %s", m)
		}
	}
	for _, s := range streams {
		s.end()
	}
	_ = socket.CloseNow()
	eventually(t, "the watch is released", func() bool { return g.watchers(t) == 0 })
}

// scribble writes n revisions of keys with the prefix p/: puts, deletions, transactions, and other keys in between.
func scribble(t testing.TB, c *clientv3.Client, random *rand.Rand, n int) {
	t.Helper()
	key := func() string { return fmt.Sprintf("p/%d", random.IntN(9)) }
	for i := range n {
		var err error
		switch value := fmt.Sprint(i); random.IntN(5) {
		case 0:
			_, err = c.Delete(t.Context(), key())
		case 1:
			_, err = c.Delete(t.Context(), "p/", clientv3.WithRange("p/4"))
		case 2:
			_, err = c.Txn(t.Context()).Then(clientv3.OpPut("p/a", value), clientv3.OpPut("p/\xff", "\x80"), clientv3.OpDelete("p/3")).Commit()
		case 3:
			_, err = c.Put(t.Context(), "elsewhere", value)
		default:
			_, err = c.Put(t.Context(), key(), value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever its options, a watch of /v3 has the same events as one of the JSON gateway of the same etcd: those that share, those that
// begin in the past, and those that do not fit.
func TestSharedWatchesHaveTheEventsOfEtcds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		g := startWith(t, embedetcd.StartForTest(t), compat.Options{}, setup{feeds: stream.Options{FeedBytes: 4000}})
		if _, err := g.epochs.Current(t.Context()); err != nil { // the first watch would write it
			t.Fatal(err)
		}
		c := g.oracle(t)
		random := rand.New(rand.NewPCG(seed, 3))
		scribble(t, c, random, 60)
		type both struct{ theirs, ours *lineStream }
		var watches []both
		begin := func(key, end, options string) {
			b := both{g.watch(t, g.etcd.Endpoint(), key, end, options), g.watch(t, g.url, key, end, options)}
			want, got := b.theirs.wants(`"created":true`), b.ours.wants(`"created":true`)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: its creation (-etcd's +ours):\n%s", b.ours.what, diff)
			}
			watches = append(watches, b)
		}
		some := func() {
			for _, r := range [][2]string{{"p/", "p0"}, {"p/a", ""}, {"", "\x00"}, {"p/2", "\x00"}} {
				for _, options := range []string{
					``, `,"prev_kv":true`, `,"filters":["NOPUT"]`, `,"filters":[1]`, `,"filters":[7]`, `,"watch_id":"-3"`, `,"progress_notify":true`,
					`,"fragment":true,"prev_kv":true`, `,"start_revision":"1"`, fmt.Sprintf(`,"start_revision":%d,"prev_kv":true`, 2+random.IntN(50)),
					fmt.Sprintf(`,"start_revision":%d,"filters":["NODELETE"]`, 2+random.IntN(50)),
				} {
					begin(r[0], r[1], options)
				}
			}
		}
		some()
		scribble(t, c, random, 60)
		some()
		scribble(t, c, random, 30)
		write(t, c, "p/a", "the end")
		deleted, err := c.Delete(t.Context(), "p/", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		last := write(t, c, "p/a", "and more")
		for _, b := range watches {
			mark := fmt.Sprintf(`"mod_revision":"%d"`, last)
			if strings.Contains(b.ours.what, "NOPUT") {
				mark = fmt.Sprintf(`"mod_revision":"%d"`, deleted.Header.Revision)
			}
			want, got := b.theirs.until("p/a", mark), b.ours.until("p/a", mark)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d: %s (-etcd's +ours):\n%.2000s", seed, b.ours.what, diff)
			}
		}
		for _, b := range watches {
			b.theirs.end()
			b.ours.end()
		}
	}
}

// A watch of /v3 that does not read holds up nobody, and has missed nothing when it reads on: from the log, from a catch-up, or from a
// stream of its own where it is too far behind for those.
//
//nolint:paralleltest // it counts watches
func TestASlowReaderHarmsNobody(t *testing.T) {
	for name, o := range map[string]stream.Options{
		"by a catch-up":          {FeedBytes: 1 << 18},
		"by a stream of its own": {FeedBytes: 1 << 18, MaxCatchupRevisions: 20},
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, embedetcd.StartForTest(t), compat.Options{WriteTimeout: time.Hour}, setup{feeds: o})
			c := g.oracle(t)
			var slow, quick []*lineStream
			for range 3 {
				for _, s := range []*[]*lineStream{&slow, &quick} {
					w := g.watch(t, g.url, "p/", "p0", "")
					w.wants(`"created":true`)
					*s = append(*s, w)
				}
			}
			native := open(t, http.MethodGet, g.url+"/v1/watch?prefix=p/", "")
			native.wants(`"created"`)
			const n = 100
			value := strings.Repeat("x", 64<<10)
			first := int64(0)
			for i := range n {
				revision := write(t, c, "p/1", value)
				if i == 0 {
					first = revision
				}
				for _, s := range append(quick, native) {
					s.wants(fmt.Sprint(revision))
				}
			}
			for _, s := range slow {
				next := first
				for next < first+n {
					r := s.response()
					if len(r.Result.Events) == 0 {
						t.Fatalf("after revision %d: got %+v", next-1, r)
					}
					for _, e := range r.Result.Events {
						if want := fmt.Sprintf(`"mod_revision":"%d"`, next); !strings.Contains(string(e), want) {
							t.Fatalf("got %.200s, want %s", e, want)
						}
						next++
					}
				}
			}
			last := write(t, c, "p/1", "and on it goes")
			for _, s := range append(slow, quick...) {
				s.wants(fmt.Sprint(last))
			}
			want := 1
			if o.MaxCatchupRevisions > 0 {
				want += len(slow)
			}
			eventually(t, fmt.Sprint("the watches of etcd are ", want), func() bool { return g.watchers(t) == want })
		})
	}
}

// A watch that is left behind a compaction ends as etcd ends it.
func TestASlowReaderIsToldOfACompaction(t *testing.T) {
	t.Parallel()
	g := startWith(t, embedetcd.StartForTest(t), compat.Options{WriteTimeout: time.Hour}, setup{feeds: stream.Options{FeedBytes: 1 << 18}})
	c := g.oracle(t)
	s := g.watch(t, g.url, "p/", "p0", "")
	s.wants(`"created":true`)
	value := strings.Repeat("x", 64<<10)
	last := int64(0)
	for range 100 {
		last = write(t, c, "p/1", value)
	}
	if _, err := c.Compact(t.Context(), last, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	r := s.response()
	for len(r.Result.Events) > 0 {
		r = s.response()
	}
	if !r.Result.Canceled || r.Result.CompactRevision != fmt.Sprint(last) || r.Result.Header.Revision != "" {
		t.Errorf("got %+v, want the end with compact_revision %d", r, last)
	}
	if rest, err := io.ReadAll(s.in); err != nil || len(rest) > 0 {
		t.Errorf("behind the end: got %q, %v", rest, err)
	}
}

// A request for progress is answered once everything up to then has been told, by shared watches, by others, and by both.
func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	g := start(t, compat.Options{})
	c := g.oracle(t)
	for name, creates := range map[string][]string{
		"none":   nil,
		"shared": {createRequest("p/", "p0", ""), createRequest("q", "", "")},
		"own":    {createRequest("p/", "p0", `,"fragment":true`)},
		"both":   {createRequest("p/", "p0", ""), createRequest("p/", "p0", `,"fragment":true`)},
	} {
		socket := dial(t, g.url, "/v3/watch", nil)
		if creates == nil {
			say(t, socket, `{"progress_request":{}}`) // etcd says nothing to that
			say(t, socket, createRequest("q", "", ""))
			if m := hear(t, socket); !strings.Contains(m, `"created":true`) {
				t.Errorf("without a watch: got %s", m)
			}
			continue
		}
		for _, create := range creates {
			say(t, socket, create)
			if m := hear(t, socket); !strings.Contains(m, `"created":true`) {
				t.Fatalf("%s: got %s", name, m)
			}
		}
		revision := write(t, c, "elsewhere", "x")
		say(t, socket, `{"progress_request":{}}`)
		if m := hear(t, socket); !strings.Contains(m, `"watch_id":"-1"`) || !strings.Contains(m, fmt.Sprintf(`"revision":"%d"`, revision)) {
			t.Errorf("%s: got %s, want progress up to %d", name, m, revision)
		}
	}
}
