package compat_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// gateway is ours in front of an etcd, behind the door of the API.
type gateway struct {
	url    string
	etcd   *embedetcd.Server
	compat *compat.Gateway
	api    http.Handler
	hub    *stream.Hub
	epochs *epoch.Keeper
}

// feeds is how the gateway has /v3 share the watches of etcd.
type feeds struct{ *stream.Hub }

// Follow implements compat.Feeds.
func (f feeds) Follow(ctx context.Context, key, end []byte, start int64, prevKV bool, wake func()) (compat.Feed, wire.Header, error) {
	follower, header, err := f.Hub.Follow(ctx, key, end, start, prevKV, wake)
	if err != nil {
		return nil, header, err
	}
	return follower, header, nil
}

// start runs a gateway for the length of the test.
func start(t testing.TB, o compat.Options) *gateway {
	t.Helper()
	return startOn(t, embedetcd.StartForTest(t), o)
}

func startOn(t testing.TB, etcd *embedetcd.Server, o compat.Options, adjust ...func(*etcdclient.Config)) *gateway {
	t.Helper()
	return startWith(t, etcd, o, setup{}, adjust...)
}

// startBehind is startOn behind a gate that knows the callers.
func startBehind(t testing.TB, etcd *embedetcd.Server, gate func(*etcdclient.Client) *authz.Gate) *gateway {
	t.Helper()
	return startWith(t, etcd, compat.Options{}, setup{gate: gate})
}

// setup is what a test can choose besides: the gate, and the options of the feeds, or none, which leaves the store alone.
type setup struct {
	feedless bool
	gate     func(*etcdclient.Client) *authz.Gate
	feeds    stream.Options
}

func startWith(t testing.TB, etcd *embedetcd.Server, o compat.Options, s setup, adjust ...func(*etcdclient.Config)) *gateway {
	t.Helper()
	config := etcdclient.Config{Endpoints: []string{etcd.Endpoint()}}
	for _, f := range adjust {
		f(&config)
	}
	client, err := etcdclient.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := client.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	epochs := epoch.New(client)
	hub := stream.New(client, epochs, s.feeds)
	if o.Feeds == nil && !s.feedless {
		o.Feeds = feeds{hub}
	}
	doors := handlers.Options{Watches: hub, Epoch: epochs}
	if s.gate != nil {
		made := s.gate(client)
		doors.Gate, o.Gate = made, made
	}
	v3, err := compat.New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	doors.Compat = v3
	api, err := handlers.New(client, doors)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(api)
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(panics{t}, nil), slog.LevelError)
	server.Start()
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() { hub.Run(running) })
	t.Cleanup(func() {
		v3.Close()
		hub.Close()
		stop()
		work.Wait()
		browser.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
		_ = client.Close()
	})
	return &gateway{url: server.URL, etcd: etcd, compat: v3, api: api, hub: hub, epochs: epochs}
}

// panics takes the log of a server, and fails the test for what must not be in it.
type panics struct{ t testing.TB }

// Write implements io.Writer.
func (p panics) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "panic") {
		p.t.Errorf("the server says: %s", b)
	}
	return len(b), nil
}

// answer is what came back; lines are those of a stream.
type answer struct {
	status  int
	header  http.Header
	chunked bool
	trailer http.Header
	body    string
	// ended says that the answer came to its end by itself.
	ended bool
}

// request is one request to /v3. Headers are "Name: value".
type request struct {
	method, path, body string
	headers            []string
	// lines is how many lines of a stream to read; 0 reads to the end.
	lines int
}

var browser = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// httpRequest makes a request; headers are as "Name: value".
func httpRequest(ctx context.Context, t testing.TB, method, url, body string, headers []string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// ask sends a request and reads its answer.
func ask(t testing.TB, base string, q request) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	response, err := browser.Do(httpRequest(ctx, t, q.method, base+q.path, q.body, q.headers))
	if err != nil {
		t.Fatalf("%s %s %.200s: %v", q.method, q.path, q.body, err)
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header, chunked: len(response.TransferEncoding) > 0}
	if q.lines == 0 {
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("%s %s %.200s: read the answer: %v", q.method, q.path, q.body, err)
		}
		a.body, a.ended, a.trailer = string(b), true, response.Trailer
		return a
	}
	in := bufio.NewReader(response.Body)
	for range q.lines {
		line, err := in.ReadString('\n')
		if a.body += line; err != nil {
			t.Fatalf("%s %s %.200s: got %q, then %v", q.method, q.path, q.body, a.body, err)
		}
	}
	return a
}

// tokenOf reads the token that authentication gave.
func tokenOf(t testing.TB, body string) string {
	t.Helper()
	var doc struct{ Token string }
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("not an object: %v: %s", err, body)
	}
	return doc.Token
}

func post(path, body string, headers ...string) request {
	return request{method: http.MethodPost, path: path, body: body, headers: headers}
}
