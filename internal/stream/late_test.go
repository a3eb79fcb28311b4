package stream_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// A writer that was about to read a cursor which its connection had just let go of put it into a catch-up, for ever: a watch
// at etcd and one of the 64 places were lost each time.
func TestACursorThatWasLetGoOfJoinsNoCatchup(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	v.put(t, "k", 1)
	v.put(t, "k", 1)
	if err := v.hub.ReadLate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if n := v.hub.Catchups(); n != 0 {
		t.Errorf("catch-ups: got %d, want none", n)
	}
}

// etcd's answer that was under way while a feed was closed went into its log, and stayed on the account of all logs.
func TestADeliveryToAClosedFeedHoldsNoMemory(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	if held := v.hub.DeliverLate("k"); held != 0 {
		t.Errorf("bytes held: got %d, want 0", held)
	}
}

// A watch that began while the hub was closed opened a feed that nobody ended.
func TestAClosedHubOpensNoFeed(t *testing.T) {
	t.Parallel()
	store, _ := watchable(t)
	v := newVantage(t, store, stream.Options{})
	v.hub.Close()
	for i := range 20 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.server.URL+"/v1/watch?key=k"+strconv.Itoa(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := v.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a watch at a closed hub: got %d, want 503", answer.StatusCode)
		}
	}
	if m := v.values(t); m["feeds"] != 0 || m["etcdrest_etcd_watches"] != 0 {
		t.Errorf("feeds and watches at etcd: got %v and %v, want none", m["feeds"], m["etcdrest_etcd_watches"])
	}
}
