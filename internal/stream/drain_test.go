package stream_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A gateway that goes away says so to everybody, each with another time to come back.
func TestDrainSaysGoodbye(t *testing.T) {
	t.Parallel()
	g := start(t)
	streams := make([]*subscription, 0, 20)
	for range 10 {
		streams = append(streams, g.lines(t, "prefix=a"), g.sse(t, "prefix=a"))
	}
	last := g.put(t, "a", "1")
	for _, s := range streams {
		s.created()
		s.kind("events")
	}
	s := g.open(t)
	for _, id := range []string{"v", "w"} {
		s.send(`{"op":"watch","id":"%s","key":"a"}`, id)
		s.kind("created")
	}
	url := g.dial(t, "key=a")
	url.kind("created")
	idle := g.open(t)
	polled := make(chan *answer, 1)
	go func() { polled <- g.get(t, "/v1/watch/poll?key=a&wait=60") }()
	eventually(t, "all are there", func() bool { return len(g.hub.Streams()) == 24 })
	drained := make(chan bool)
	go func() { drained <- g.hub.Drain(within(t)) }()
	waits := make(map[int64]bool)
	for _, s := range streams {
		p := s.fails("draining")
		if p.Revision != last || p.RetryAfterMS <= 0 || p.RetryAfterMS > 5000 {
			t.Errorf("got %+v", p)
		}
		waits[p.RetryAfterMS] = true
	}
	if len(waits) < 10 {
		t.Errorf("%d clients are told %d different times", len(streams), len(waits))
	}
	for range 2 {
		if m := s.kind("error"); m.Error.Code != "draining" {
			t.Errorf("got %s", m.text)
		}
	}
	s.closed(websocket.StatusGoingAway)
	url.refused("0", "draining")
	url.closed(websocket.StatusGoingAway)
	idle.refused("", "draining")
	idle.closed(websocket.StatusGoingAway)
	(<-polled).problem(t, 503, "draining")
	if !<-drained {
		t.Error("Drain has given up")
	}
	g.get(t, "/v1/watch?prefix=a").problem(t, 503, "draining")
	late := g.sse(t, "prefix=a")
	late.fails("draining")
	if _, status, err := g.tryDial(t, "", subprotocol); err == nil || status != http.StatusServiceUnavailable {
		t.Errorf("a socket: got %d, %v", status, err)
	}
}

// Whoever never reads does not hold up a drain beyond its time, and is cut.
func TestDrainGivesUpOnPeersThatDoNotRead(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.fill(t, 300, 10_000) // more than the sockets hold
	line, socket := g.lines(t, "prefix=a&snapshot=true"), g.open(t)
	socket.send(`{"op":"watch","id":"w","prefix":"a","snapshot":true}`)
	socket.kind("created")
	line.created()
	g.stuck(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if g.hub.Drain(ctx) {
		t.Error("Drain says that all have gone")
	}
	g.hub.Close()
	var last message
	for m := range line.messages { // what had been sent
		last = m
	}
	if line.err == nil && last.Type != "error" {
		t.Errorf("the stream of lines ended cleanly after %.100s", last.text)
	}
	for range socket.messages {
	}
	if websocket.CloseStatus(socket.err) != -1 {
		t.Errorf("the socket was cut, and has the status %d", websocket.CloseStatus(socket.err))
	}
	eventually(t, "nobody is left", func() bool { return len(g.hub.Streams()) == 0 && g.hub.LogBytes() == 0 })
}

// stuck waits until n streams have sent something, and then nothing for a while.
func (g *gateway) stuck(t testing.TB, n int) {
	t.Helper()
	var sent int64
	same := 0
	eventually(t, "the streams are stuck", func() bool {
		streams, now := g.hub.Streams(), int64(0)
		for _, s := range streams {
			now += s.SentBytes
		}
		if same++; now != sent || now == 0 || len(streams) != n {
			sent, same = now, 0
		}
		return same > 60
	})
}

// An operator ends one stream, and nobody else.
func TestAnOperatorEndsAStream(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.lines(t, "prefix=a&prev_kv=true")
	first.created()
	s := g.open(t)
	s.send(`{"op":"watch","id":"w","from_base64":"gA=="}`)
	s.kind("created")
	listed := g.hub.Streams()
	if len(listed) != 2 || listed[0].Transport != "ndjson" || listed[1].Transport != "websocket" {
		t.Fatalf("got %+v", listed)
	}
	w := listed[0].Watches[0]
	if w.Key != "a" || w.End != "b" || w.State != "live" || w.NextRevision != g.revision+1 || w.Behind != 0 {
		t.Errorf("got %+v", w)
	}
	if w := listed[1].Watches[0]; w.ID != "w" || string(w.KeyBase64) != "\x80" {
		t.Errorf("got %+v", w)
	}
	for _, id := range []string{"", "x", "0", "99999"} {
		if g.hub.End(id) {
			t.Errorf("there is no stream %q", id)
		}
	}
	if !g.hub.End(listed[0].ID) {
		t.Fatal("the stream is not found")
	}
	first.fails("draining")
	s.send(`{"op":"ping"}`)
	s.want(`{"type":"pong"}`)
	if !g.hub.End(listed[1].ID) {
		t.Fatal("the socket is not found")
	}
	s.refused("w", "draining")
	s.closed(websocket.StatusGoingAway)
}

// A new epoch ends every watch within six seconds, and what begins then is of the new one.
func TestANewEpochEndsEveryWatch(t *testing.T) {
	t.Parallel()
	g := start(t)
	line, s := g.lines(t, "prefix="), g.open(t)
	last := line.created().Revision
	s.send(`{"op":"watch","id":"w","key":"a"}`)
	s.kind("created")
	began := time.Now()
	response := g.send(t, http.MethodPost, "/v1/maintenance/epoch")
	_ = response.Body.Close()
	if p := line.fails("epoch_changed"); p.Revision < last {
		t.Errorf("revision: got %d", p.Revision)
	}
	s.refused("w", "epoch_changed")
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("it took %v", d)
	}
	s.send(`{"op":"watch","id":"w","key":"a"}`)
	if m := s.kind("created"); m.Epoch == g.epoch || !strings.Contains(m.Epoch, ".") {
		t.Errorf("the new epoch: got %s", m.text)
	}
	s.send(`{"op":"watch","id":"old","key":"a","epoch":"%s"}`, g.epoch)
	s.refused("old", "epoch_changed")
}

// Another gateway's new epoch is noticed as soon: it is looked for every few seconds.
func TestANewEpochOfAnotherGatewayEndsEveryWatch(t *testing.T) {
	t.Parallel()
	g := start(t)
	other := start(t, func(s *setup) { s.etcd = g.etcd })
	if other.epoch != g.epoch {
		t.Fatalf("two gateways of one etcd have the epochs %s and %s", g.epoch, other.epoch)
	}
	line := g.lines(t, "prefix=")
	line.created()
	began := time.Now()
	response := other.send(t, http.MethodPost, "/v1/maintenance/epoch")
	_ = response.Body.Close()
	line.fails("epoch_changed")
	if d := time.Since(began); d > 8*time.Second { // 6, and what a busy machine adds
		t.Errorf("it took %v", d)
	}
}
