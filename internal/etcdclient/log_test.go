package etcdclient_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// logger is what both forms of the client offer.
type logger interface {
	Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error)
	Changed(ctx context.Context, key, end []byte, from int64) error
}

func TestLogGivesEveryChangeOfAKeyUpToARevision(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	put(t, c, "ns/k", "1") // revision 2
	put(t, c, "ns/other", "x")
	put(t, c, "ns/k", "2")                                                                                       // 4
	if _, err := c.DeleteRange(within(t, 5*time.Second), &wire.DeleteRequest{Key: []byte("ns/k")}); err != nil { // 5
		t.Fatal(err)
	}
	put(t, c, "ns/k", "3") // 6
	for name, way := range map[string]struct {
		client logger
		key    string
	}{"client": {c, "ns/k"}, "namespaced": {c.Namespace([]byte("ns/")), "k"}} {
		var got []wire.Event
		take := func(e wire.Event) { got = append(got, e) }
		if compacted, err := way.client.Log(within(t, 20*time.Second), []byte(way.key), 1, 5, take); err != nil || compacted != 0 {
			t.Fatalf("%s: log: %d, %v", name, compacted, err)
		}
		want := []struct {
			deleted  bool
			value    string
			revision int64
		}{{false, "1", 2}, {false, "2", 4}, {true, "", 5}}
		if len(got) != len(want) {
			t.Fatalf("%s: %d events, want %d: %v", name, len(got), len(want), got)
		}
		for i, w := range want {
			e := got[i]
			if e.Delete != w.deleted || string(e.KV.Key) != way.key || string(e.KV.Value) != w.value || e.KV.ModRevision != w.revision {
				t.Errorf("%s: event %d: got %+v, want %+v", name, i, e, w)
			}
		}
	}
	if _, err := c.Compact(within(t, 5*time.Second), 4, false); err != nil {
		t.Fatal(err)
	}
	compacted, err := c.Log(within(t, 20*time.Second), []byte("ns/k"), 1, 6, func(wire.Event) { t.Error("an event of a compacted start") })
	if err != nil || compacted != 4 {
		t.Errorf("a compacted start: got %d, %v; want 4", compacted, err)
	}
}

func TestChangedReturnsWithTheFirstChange(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	put(t, c, "ns/k", "1") // revision 2
	for name, way := range map[string]struct {
		client logger
		key    string
	}{"client": {c, "ns/k"}, "namespaced": {c.Namespace([]byte("ns/")), "k"}} {
		if err := way.client.Changed(within(t, 10*time.Second), []byte(way.key), nil, 2); err != nil {
			t.Errorf("%s: a change of the past: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := way.client.Changed(ctx, []byte(way.key), nil, 1000); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: no change: got %v, want the deadline", name, err)
		}
		cancel()
	}
	put(t, c, "ns/k", "2")
	if _, err := c.Compact(within(t, 5*time.Second), 3, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Changed(within(t, 10*time.Second), []byte("ns/k"), nil, 1); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a compacted start: got %v, want ErrCompacted", err)
	}
}
