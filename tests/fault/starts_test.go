package fault_test

import (
	"fmt"
	"net/http"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestStartsThatCannotBeKeptAreRefused: compacted, in the future, of another epoch; on every transport, by the same status
// or, on a socket, the same problem.
func TestStartsThatCannotBeKeptAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	g := startGateway(t, s)
	for i := range 20 {
		if _, err := s.client.Put(t.Context(), "p/1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	const compacted = 10
	at, err := s.client.Compact(t.Context(), compacted, clientv3.WithCompactPhysical())
	if err != nil {
		t.Fatal(err)
	}
	view := history.View{Key: "p/", Prefix: true}
	for _, transport := range kinds(g) {
		r := refused(t, transport, subscribe.Ask{View: view, Start: 3})
		if r.Status != http.StatusGone || r.Code != "compacted" || r.CompactRevision != compacted {
			t.Errorf("%s, a compacted start: got %v, want 410 compacted with %d", transport, r, compacted)
		}
		r = refused(t, transport, subscribe.Ask{View: view, Start: at.Header.Revision + 1_000_000})
		if r.Status != http.StatusConflict || r.Code != "future_revision" {
			t.Errorf("%s, a start in the future: got %v, want 409 future_revision", transport, r)
		}
		feed := open(t, transport, subscribe.Ask{View: view, Start: compacted})
		if m := next(t, feed, history.Events); m.Revision != compacted {
			t.Errorf("%s, the oldest revision there is: got %d, want %d", transport, m.Revision, compacted)
		}
	}
	for _, transport := range elsewhere(g) {
		r := refused(t, transport, subscribe.Ask{View: view, Start: compacted})
		if r.Status != http.StatusConflict || r.Code != "epoch_changed" {
			t.Errorf("%s, another epoch: got %v, want 409 epoch_changed", transport, r)
		}
	}
}

// elsewhere are transports that come from another store.
func elsewhere(g *harness.Gateway) []subscribe.Transport {
	at := subscribe.Gateway{URL: g.API, Epoch: "cdf818194e3a8c32.5f0b3c2a9d7e4411"}
	return []subscribe.Transport{
		subscribe.WebSocket{Gateway: at},
		subscribe.WebSocket{Gateway: at, ByMessage: true},
		subscribe.NDJSON{Gateway: at},
		subscribe.NewSSE(at),
		subscribe.Poll{Gateway: at},
	}
}
