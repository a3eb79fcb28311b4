package stream_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease begins one on the socket and attaches a key to it.
func (g *gateway) lease(t testing.TB, s *socket, id, key string, ttl int) clientv3.LeaseID {
	t.Helper()
	s.send(`{"op":"lease","id":"%s","ttl":%d}`, id, ttl)
	m := s.kind("lease")
	if m.ID != id || m.TTL != int64(ttl) {
		t.Fatalf("got %s", m.text)
	}
	n, err := strconv.ParseInt(m.Lease, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Put(t.Context(), key, "1", clientv3.WithLease(clientv3.LeaseID(n))); err != nil {
		t.Fatal(err)
	}
	return clientv3.LeaseID(n)
}

// left is how long the lease still has; -1 when it is gone.
func (g *gateway) left(t testing.TB, id clientv3.LeaseID) int64 {
	t.Helper()
	r, err := g.oracle.TimeToLive(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.TTL
}

// A lease lives beyond its time while its socket does, and expires after it.
func TestALeaseLivesAsLongAsItsSocket(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	lease := g.lease(t, s, "l", "a", 2)
	cancelled := g.lease(t, s, "c", "b", 2)
	gone := g.lines(t, "prefix=&events=delete&heartbeat=1")
	gone.created()
	s.send(`{"op":"cancel","id":"c"}`)
	s.want(`{"id":"c","type":"end"}`)
	began := time.Now()
	gone.kind("events") // the cancelled one expires
	if g.left(t, cancelled) != -1 {
		t.Error("a cancelled lease is renewed")
	}
	for time.Since(began) < 4*time.Second { // twice its time
		gone.kind("progress")
	}
	if g.left(t, lease) < 0 {
		t.Fatal("the lease ended although its socket lives")
	}
	s.leave()
	gone.kind("events")
	if g.left(t, lease) != -1 {
		t.Error("the lease outlives its socket and its time")
	}
}

// A lease that is lost is told, and frees its id.
func TestALeaseThatIsLostIsTold(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	lease := g.lease(t, s, "l", "a", 2)
	if _, err := g.oracle.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	s.refused("l", "lease_not_found")
	g.lease(t, s, "l", "a", 2)
	if got := g.hub.Streams(); len(got) != 1 || len(got[0].Leases) != 1 {
		t.Errorf("operators see %+v", got)
	}
	_ = s.conn.Close(websocket.StatusNormalClosure, "")
}

// The longest lease that etcd grants can be kept.
func TestTheLongestLease(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.open(t)
	g.lease(t, s, "l", "a", 9_000_000_000)
	s.send(`{"op":"lease","id":"m","ttl":9000000001}`)
	s.refused("m", "invalid_argument")
}
