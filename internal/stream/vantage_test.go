package stream_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// vantage is where an operator stands: a hub behind a server, whose metrics can be read.
type vantage struct {
	hub      *stream.Hub
	server   *httptest.Server
	store    *etcdclient.Client
	registry *prometheus.Registry
	close    func() // once; the test's end calls it too
}

// newVantage serves a hub for the length of the test.
func newVantage(t testing.TB, store *etcdclient.Client, o stream.Options) *vantage {
	t.Helper()
	epochs := epoch.New(store)
	hub := stream.New(store, epochs, o)
	api, err := handlers.New(store, handlers.Options{Watches: hub, Epoch: epochs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { hub.Run(ctx) })
	v := &vantage{hub: hub, server: httptest.NewServer(api), store: store, registry: prometheus.NewPedanticRegistry()}
	v.registry.MustRegister(hub, store)
	v.close = sync.OnceFunc(func() {
		hub.Close()
		v.server.Close()
		cancel()
		work.Wait()
	})
	t.Cleanup(v.close)
	return v
}

// watchable gives a client of an etcd of the test's own, through a way that can be cut.
func watchable(t testing.TB) (*etcdclient.Client, *severable) {
	t.Helper()
	way := newSeverable(t, embedetcd.StartForTest(t).Endpoint())
	return clientOf(t, way.endpoint), way
}

// clientOf gives a client for the length of the test.
func clientOf(t testing.TB, endpoint string) *etcdclient.Client {
	t.Helper()
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := store.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return store
}

// values reads the metrics, as name{label value}, and fails the test when a value is negative.
func (v *vantage) values(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := v.registry.Gather()
	if err != nil {
		t.Errorf("gather: %v", err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if value < 0 {
				t.Errorf("%s is %v: a metric fell below zero", name, value)
			}
			values[strings.TrimPrefix(name, "etcdrest_stream_")] = value
		}
	}
	return values
}

// await reads the metrics until they are as they should be.
func (v *vantage) await(t testing.TB, what string, ok func(map[string]float64) bool) map[string]float64 {
	t.Helper()
	for began := time.Now(); ; {
		values := v.values(t)
		if ok(values) {
			return values
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("never: %s; the metrics are %v", what, values)
		}
	}
}

// lines begins a watch over a plain answer and gives its lines once the first has come.
func (v *vantage) lines(t testing.TB, query, transport string) (*bufio.Scanner, io.Closer) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.server.URL+"/v1/watch?stream="+transport+"&"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("watch %s: got %v, %v; want 200", query, answer, err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 16<<20)
	readUntil(in, `"created"`)
	return in, answer.Body
}

// readUntil reads lines up to one that holds the text.
func readUntil(in *bufio.Scanner, text string) {
	for in.Scan() {
		if strings.Contains(in.Text(), text) {
			return
		}
	}
}

// socket opens a WebSocket, whose peer has a small buffer.
func (v *vantage) socket(t testing.TB) *websocket.Conn {
	t.Helper()
	dialer := &net.Dialer{}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(16 << 10)
		}
		return c, err
	}}
	c, answer, err := websocket.Dial(t.Context(), v.server.URL+"/v1/watch", &websocket.DialOptions{
		Subprotocols: []string{"etcdrest.v1"}, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		_ = answer.Body.Close()
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// watchOver begins watches on the socket and waits until each is created; messages are without their braces.
func watchOver(t testing.TB, c *websocket.Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		say(t, c, m)
	}
	for created := 0; created < len(messages); {
		_, m, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m), `"created"`) {
			created++
		}
	}
}

func say(t testing.TB, c *websocket.Conn, message string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("{"+message+"}")); err != nil {
		t.Fatal(err)
	}
}

func (v *vantage) put(t testing.TB, key string, size int) {
	t.Helper()
	if _, err := v.store.Put(t.Context(), &wire.PutRequest{Key: []byte(key), Value: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
}

// severable passes connections on, and can cut those there are.
type severable struct {
	endpoint string
	to       string
	work     sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
}

func newSeverable(t testing.TB, to string) *severable {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &severable{endpoint: "http://" + l.Addr().String(), to: strings.TrimPrefix(to, "http://")}
	s.work.Go(func() { s.accept(t.Context(), l) })
	t.Cleanup(func() {
		_ = l.Close()
		s.cut()
		s.work.Wait()
	})
	return s
}

func (s *severable) accept(ctx context.Context, l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		s.mu.Lock()
		s.open = append(s.open, in, out)
		s.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			s.work.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

// cut closes every connection there is; new ones are taken.
func (s *severable) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}
