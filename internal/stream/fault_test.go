package stream_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// Whatever happens between gateway and etcd, every subscriber gets every revision, once and in order.
func TestCutsUpstreamLoseNothing(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	p := newProxy(t, etcd.Endpoint())
	g := start(t, func(s *setup) { s.etcd, s.endpoint = etcd, "http://"+p.address })
	socket := g.open(t)
	socket.send(`{"op":"watch","id":"w","prefix":"a/"}`)
	streams := []*subscription{g.lines(t, "prefix=a/"), g.sse(t, "prefix=a/&prev_kv=true"), socket.subscription}
	for _, s := range streams {
		s.created()
	}
	past := g.lines(t, "prefix=a/&start_revision=1")
	past.created()
	streams = append(streams, past)
	var last int64
	for i := range uint64(5) {
		g.scribble(t, i, 30)
		p.cut()
		last = g.scribble(t, i+10, 30)
	}
	truth := g.history(t, "a/", 1, last)
	for i, s := range streams {
		same(t, fmt.Sprint("stream ", i), s.until(last), truth)
	}
}

// A gateway that cannot reach etcd says so to who begins a watch, and those under way go on when etcd is back.
func TestAnEtcdThatIsSilentForAWhile(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	p := newProxy(t, etcd.Endpoint())
	g := start(t, func(s *setup) { s.etcd, s.endpoint = etcd, "http://"+p.address })
	s := g.lines(t, "prefix=a/&heartbeat=1")
	s.created()
	p.freeze()
	last := g.scribble(t, 1, 20)
	sse := g.sse(t, "prefix=a/")
	m := sse.kind("error")
	if m.Error.Status < 500 || !m.Error.Retryable {
		t.Errorf("got %s", m.text)
	}
	sse.over()
	s.kind("progress") // the connection lives
	p.thaw()
	same(t, "behind the silence", s.until(last), g.history(t, "a/", 1, last))
}

// Peers that are gone, however they went, leave nothing behind.
func TestPeersThatAreGoneAreLetGo(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{PingEvery: time.Second, WriteTimeout: 2 * time.Second} })
	gone := func(name string) {
		t.Helper()
		eventually(t, name+" is let go", func() bool {
			return g.hub.Cursors() == 0 && len(g.hub.Streams()) == 0 && g.hub.Feeds() == 0
		})
	}
	begin := func() *socket {
		s := g.open(t)
		s.send(`{"op":"watch","id":"w","key":"a"}`)
		s.kind("created")
		return s
	}
	fin := begin()
	_ = fin.raw.Close()
	gone("FIN")
	rst := begin()
	_ = rst.raw.(*net.TCPConn).SetLinger(0)
	_ = rst.raw.Close()
	gone("RST")
	line := g.lines(t, "key=a")
	line.created()
	line.leave()
	gone("a stream of lines")

	p := newProxy(t, g.url)
	direct := g.url
	g.url = "http://" + p.address
	begin()
	line = g.lines(t, "key=a&heartbeat=1")
	line.created()
	g.url = direct
	p.freeze()
	eventually(t, "a silent socket is let go", func() bool {
		for _, s := range g.hub.Streams() {
			if s.Transport == "websocket" {
				return false
			}
		}
		return true
	})
	p.cut()
	p.thaw()
	gone("a silent stream of lines")
}

// A peer that takes nothing is cut after the write time-out; the others of its feed notice nothing.
func TestAPeerThatTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options.WriteTimeout = time.Second })
	g.fill(t, 200, 10_000)
	streams := []*subscription{g.lines(t, "prefix=a/&snapshot=true"), g.dial(t, "prefix=a/&snapshot=true", subprotocol).subscription}
	for _, s := range streams {
		s.created()
	}
	quick := g.lines(t, "prefix=a/")
	quick.created()
	eventually(t, "they are cut", func() bool { return len(g.hub.Streams()) == 1 })
	for _, s := range streams {
		last := message{}
		for m := range s.messages {
			last = m
		}
		if last.Type != "snapshot" || s.err == nil {
			t.Errorf("the end: %v after %.100s", s.err, last.text)
		}
	}
	r := g.put(t, "a/1", "1")
	if m := quick.kind("events"); m.Revision != r {
		t.Errorf("got %s", m.text)
	}
}

// Subscribers that come, stall and leave at random during writes: all that stay get exactly what happened, and nothing is left.
func TestManySubscribersThatComeStallAndLeave(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) { s.options = stream.Options{FeedBytes: 20 << 10, CatchupBytes: 10 << 10} })
	begun := g.scribble(t, 1, 50)
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		results = make(map[int64][][]change)
	)
	wrote := make(chan int64, 1)
	go func() { wrote <- g.scribble(t, 2, 400) }()
	target := make(chan struct{})
	var last int64
	for i := range 60 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 3 { // comes and leaves
				s := g.lines(t, "prefix=a/&heartbeat=1")
				for range random.IntN(20) {
					select {
					case <-target: // what is left to come are heartbeats
					default:
						s.next()
					}
				}
				s.leave()
			}
			from := 1 + random.Int64N(begun)
			var s *subscription
			if i%2 == 0 {
				s = g.lines(t, fmt.Sprintf("prefix=a/&start_revision=%d", from))
			} else {
				s = g.dial(t, fmt.Sprintf("prefix=a/&start_revision=%d", from), subprotocol).subscription
			}
			s.created()
			<-target // stalls until all has been written
			got := s.until(last)
			mu.Lock()
			defer mu.Unlock()
			results[from] = append(results[from], got)
		})
	}
	last = <-wrote
	close(target)
	work.Wait()
	truth := g.history(t, "a/", 1, last)
	for from, all := range results {
		for _, got := range all {
			same(t, fmt.Sprint("from ", from), got, after(truth, from))
		}
	}
	for _, s := range g.hub.Streams() {
		g.hub.End(s.ID)
	}
	eventually(t, "nothing is left", func() bool {
		return len(g.hub.Streams()) == 0 && g.hub.Feeds() == 0 && g.hub.Catchups() == 0 && g.hub.LogBytes() == 0 && g.hub.RunningCatchups() == 0
	})
}
