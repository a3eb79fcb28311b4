package fault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

// TestDrainingTellsEveryoneAndEndsInTime: SIGTERM with a hundred streams open, and one whose client never reads.
//
//   - Every stream ends with `draining`, where to resume, and how long to wait; those times differ. Sockets close with 1001.
//   - The gateway exits with 0 within its grace, whatever that one client does.
//   - Another gateway goes on where they were.
func TestDrainingTellsEveryoneAndEndsInTime(t *testing.T) {
	t.Parallel()
	const (
		n     = 100
		grace = 5 * time.Second
	)
	s := newStage(t, 1)
	g := startGateway(t, s, fmt.Sprintf("--shutdown-grace=%.0f", grace.Seconds()))
	view := history.View{Key: "p/", Prefix: true, KeysOnly: true}
	feeds, ends := make([]subscribe.Feed, n), make([]error, n)
	together(t, n, func(i int) {
		feeds[i] = open(t, kinds(g)[i%4], subscribe.Ask{View: view})
		next(t, feeds[i], history.Created)
	})
	deaf := open(t, subscribe.WebSocket{Gateway: subscribe.Gateway{URL: g.API, ReadBuffer: 4 << 10}},
		subscribe.Ask{View: history.View{Key: "p/", Prefix: true}})
	next(t, deaf, history.Created)
	value := strings.Repeat("x", 1<<20)
	var at int64
	for range 16 { // more than the sockets' buffers hold
		put, err := s.client.Put(t.Context(), "p/1", value)
		if err != nil {
			t.Fatal(err)
		}
		at = put.Header.Revision
	}
	together(t, n, func(i int) {
		for seen := int64(0); seen < at; {
			seen = next(t, feeds[i], history.Events).Revision
		}
	})
	told := time.Now()
	g.Signal(syscall.SIGTERM)
	together(t, n, func(i int) {
		for ends[i] == nil { // a heartbeat may come before
			_, ends[i] = feeds[i].Next()
		}
	})
	waits := map[int64]bool{}
	for i, end := range ends {
		refusal, ok := errors.AsType[*subscribe.RefusalError](end)
		if !ok || refusal.Code != "draining" || refusal.Revision < at || refusal.RetryAfterMS <= 0 {
			t.Errorf("stream %d ended with %v, want draining with a time to wait and a revision from %d on", i, end, at)
			continue
		}
		waits[refusal.RetryAfterMS] = true
		if _, after := feeds[i].Next(); (i%4 == 0 || i%4 == 3) && websocket.CloseStatus(after) != websocket.StatusGoingAway {
			t.Errorf("socket %d was closed by %v, want 1001", i, after)
		}
	}
	if len(waits) < n/2 {
		t.Errorf("%d streams were told only %d different times to come back", n, len(waits))
	}
	code, err := g.Wait(within(t, 2*grace))
	if took := time.Since(told); err != nil || code != 0 || took > grace+time.Second {
		t.Errorf("the gateway ended after %v with %d, %v; want 0 within %v; its output:\n%s", took, code, err, grace, g.Output())
	} else {
		t.Logf("drained and gone after %v", took)
	}
	resumed(t, s, view, at)
}

// resumed wants the next gateway to go on behind the revision at.
func resumed(t *testing.T, s *stage, view history.View, at int64) {
	t.Helper()
	other := startGateway(t, s)
	put, err := s.client.Put(context.WithoutCancel(t.Context()), "p/1", "again")
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range kinds(other) {
		if m := next(t, open(t, transport, subscribe.Ask{View: view, Start: at + 1}), history.Events); m.Revision != put.Header.Revision {
			t.Errorf("%s: resumed at revision %d, want %d", transport, m.Revision, put.Header.Revision)
		}
	}
}
