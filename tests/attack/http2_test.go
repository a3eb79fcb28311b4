package attack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/etcdrest/etcdrest/tests/frames"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// flood is a peer that sends frames of a kind over one connection, as fast as it can.
type flood struct {
	name string
	// most is how many it sends, unless the connection ends before.
	most int
	send func(p *frames.Peer, token string, n int) error
	// closed says that the gateway must have had enough by then. Else it may go on reading, at no cost but the peer's own.
	closed bool
	// deaf says that nothing is read.
	deaf bool
}

// floods are what brought down servers of HTTP/2, by the names of CVEs where they have one.
func floods() []flood {
	open := func(p *frames.Peer, token string) (uint32, error) {
		return p.Open(true, "GET", "/v1/kv?limit=1", "authorization: Bearer "+token)
	}
	long := []byte(strings.Repeat("x", 8<<10))
	return []flood{
		{name: "rapid reset (CVE-2023-44487)", most: 50_000, send: func(p *frames.Peer, token string, _ int) error {
			id, err := open(p, token)
			return errors.Join(err, p.WriteRSTStream(id, http2.ErrCodeCancel))
		}},
		{name: "rapid reset without a token", most: 50_000, send: func(p *frames.Peer, _ string, _ int) error {
			id, err := open(p, "x.y.z")
			return errors.Join(err, p.WriteRSTStream(id, http2.ErrCodeCancel))
		}},
		{name: "resets that the gateway is made to send (CVE-2025-8671)", most: 50_000, send: func(p *frames.Peer, token string, _ int) error {
			id, err := open(p, token)
			return errors.Join(err, p.WriteWindowUpdate(id, 1<<31-1), p.WriteWindowUpdate(id, 1<<31-1))
		}},
		{name: "more streams than are allowed", most: 10_000, send: func(p *frames.Peer, token string, _ int) error {
			_, err := p.Open(true, "GET", "/v1/watch?prefix=k", "authorization: Bearer "+token)
			return err
		}},
		{name: "CONTINUATION without end (CVE-2023-45288)", most: 200, closed: true, send: func(p *frames.Peer, _ string, n int) error {
			if n == 0 {
				_, err := p.OpenWith(p.Headers("GET", "/livez"), false)
				return err
			}
			return p.WriteContinuation(1, false, p.Literal("x-long", string(long)))
		}},
		{name: "empty CONTINUATION", most: 100_000, send: func(p *frames.Peer, _ string, n int) error {
			if n == 0 {
				_, err := p.OpenWith(p.Headers("GET", "/livez"), false)
				return err
			}
			return p.WriteContinuation(1, false, nil)
		}},
		{name: "pings (CVE-2019-9512)", most: 1_000_000, closed: true, deaf: true, send: func(p *frames.Peer, _ string, n int) error {
			return p.WritePing(false, [8]byte{byte(n)})
		}},
		{name: "settings (CVE-2019-9515)", most: 300_000, deaf: true, send: func(p *frames.Peer, _ string, n int) error {
			return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(n)})
		}},
		{name: "empty DATA (CVE-2019-9518)", most: 100_000, send: func(p *frames.Peer, token string, n int) error {
			if n == 0 {
				_, err := p.Open(false, "PUT", "/v1/raw/empty", "authorization: Bearer "+token)
				return err
			}
			return p.WriteData(1, false, nil)
		}},
		{name: "headers without a name (CVE-2019-9516)", most: 20_000, send: func(p *frames.Peer, _ string, _ int) error {
			_, err := p.Open(true, "GET", "/livez", " : ")
			return err
		}},
		{name: "a header that is named again and again", most: 200, send: func(p *frames.Peer, _ string, _ int) error {
			return bomb(p)
		}},
		{name: "priorities and windows", most: 100_000, send: func(p *frames.Peer, _ string, n int) error {
			return errors.Join(p.WritePriority(uint32(2*n+1), http2.PriorityParam{StreamDep: uint32(2*n + 3)}), p.WriteWindowUpdate(0, 1))
		}},
		{name: "bytes that are no frames", most: 1000, closed: true, send: func(p *frames.Peer, _ string, _ int) error {
			_, err := p.Conn.Write(bytes.Repeat([]byte{0xff}, 1024))
			return err
		}},
	}
}

// bomb asks with a header of a kilobyte that is in the table of compression, and names it ten thousand times in a byte each.
func bomb(p *frames.Peer) error {
	const newest = "\xbe" // the index of what was put into the table last
	block := append(p.Headers("GET", "/livez", "x-bomb: "+strings.Repeat("b", 1000)), strings.Repeat(newest, 10_000)...)
	_, err := p.OpenWith(block, true)
	return err
}

// TestFloodsOfFramesHurtNobody is G5: peers over TLS that send frames which cost them little, as many as they can, while a good
// tenant is answered throughout. Each connection is closed where there is a bound, and nothing is left of any afterwards.
func TestFloodsOfFramesHurtNobody(t *testing.T) { //nolint:paralleltest // it measures memory
	cert, key := harness.Certificate(t)
	s := startSite(t, "--tls-cert="+cert, "--tls-key="+key)
	quiet := s.tenant(alice)
	quiet.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, "put", 201)
	client.CloseIdleConnections()
	before, rss := s.goroutines(t), s.resident(t)
	for _, f := range floods() {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		var all sync.WaitGroup
		results := make([]int, 4)
		for i := range results {
			all.Go(func() { results[i] = f.run(ctx, t, s) })
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		n, longest := 0, time.Duration(0)
		for flooding := true; flooding; n++ {
			a := quiet.do(t, "GET", "/v1/kv/k", "").want(t, "a good tenant beside "+f.name, 200)
			longest = max(longest, a.took)
			select {
			case <-done:
				flooding = false
			default:
			}
		}
		cancel()
		grown := s.resident(t) - rss
		t.Logf("%-60s %v frames; a good tenant meanwhile: %d requests, the longest %v; %d MiB more", f.name, results, n, longest.Round(time.Millisecond), grown>>20)
		if grown > grows {
			t.Errorf("%s: the gateway has grown by %d MiB", f.name, grown>>20)
		}
		s.settles(t, f.name, before)
	}
}

// grows is what four floods at a time may add to the gateway's memory: buffers, and what the collector leaves until later. It is 15 to
// 50 MiB; it was up to 420 when each stream that was reset was kept for the time that a write has.
const grows = 256 << 20

// run floods over one connection, and gives how many frames it got rid of.
func (f flood) run(ctx context.Context, t *testing.T, s *site) (sent int) {
	t.Helper()
	p, err := frames.Dial(ctx, s.gateway.API)
	if err != nil {
		t.Errorf("%s: %v", f.name, err)
		return 0
	}
	defer p.Conn.Close()
	deadline, _ := ctx.Deadline()
	_ = p.Conn.SetDeadline(deadline) // fails only on a closed connection
	ended := make(chan error, 1)
	if !f.deaf {
		go func() {
			_, err := io.Copy(io.Discard, p.Conn)
			ended <- err
		}()
	}
	token := s.issuer.token(alice, nil)
	for ; sent < f.most && err == nil; sent++ {
		err = f.send(p, token, sent)
	}
	if f.closed && err == nil && !f.deaf { // what was written may wait in buffers
		err = <-ended
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("%s: after %d frames the connection is neither read nor closed", f.name, sent)
	case f.closed && f.deaf && err == nil:
		t.Errorf("%s: %d frames were taken, and the connection is open", f.name, sent)
	}
	return sent
}

// settles waits until the gateway has nothing left of those that are gone.
func (s *site) settles(t *testing.T, what string, before int) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-again.C {
		client.CloseIdleConnections()
		goroutines, watching := s.goroutines(t), s.metric(t, "etcdrest_stream_connections")
		if goroutines <= before+10 && watching == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d goroutines, %d before; %v watch", what, goroutines, before, watching)
		}
	}
}

func (s *site) resident(t *testing.T) int64 {
	t.Helper()
	u, err := s.gateway.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u.RSS
}
