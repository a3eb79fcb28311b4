package stream_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// change is one revision of a range, with its events spelled out.
type change struct {
	Revision int64
	Events   []string
}

// history is what etcd's own client sees of the keys with the prefix from one revision up to another: the truth that
// streams are held against.
func (g *gateway) history(t testing.TB, prefix string, from, to int64) []change {
	t.Helper()
	ctx := within(t)
	var all []change
	for r := range g.oracle.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV(), clientv3.WithProgressNotify(), clientv3.WithFragment()) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			if e.Kv.ModRevision > to {
				return all
			}
			if n := len(all); n == 0 || all[n-1].Revision != e.Kv.ModRevision {
				all = append(all, change{Revision: e.Kv.ModRevision})
			}
			last := &all[len(all)-1]
			last.Events = append(last.Events, spell(e))
		}
		if n := len(all); n > 0 && all[n-1].Revision == to {
			return all
		}
	}
	t.Fatalf("the history ends before revision %d: %v", to, ctx.Err())
	return nil
}

// spell gives an event of etcd's client.
func spell(e *clientv3.Event) string {
	if e.Type == clientv3.EventTypeDelete {
		return fmt.Sprintf("delete %q", e.Kv.Key)
	}
	return fmt.Sprintf("put %q=%q %d/%d/%d lease %x", e.Kv.Key, e.Kv.Value, e.Kv.CreateRevision, e.Kv.ModRevision, e.Kv.Version, e.Kv.Lease)
}

// spelled gives an event of the gateway's.
func (e *event) spelled() string {
	key, value := e.KV.bytes()
	if e.Type == "delete" {
		return fmt.Sprintf("delete %q", key)
	}
	lease, _ := strconv.ParseInt("0"+e.KV.Lease, 16, 64)
	return fmt.Sprintf("put %q=%q %d/%d/%d lease %x", key, value, e.KV.CreateRevision, e.KV.ModRevision, e.KV.Version, lease)
}

// bytes gives key and value in whichever form they came.
func (kv *keyValue) bytes() (key, value []byte) {
	if key = kv.KeyBase64; key == nil {
		key = []byte(kv.Key)
	}
	if value = kv.ValueBase64; value == nil {
		value = []byte(kv.Value)
	}
	return key, value
}

// change gives a message of events as the truth is spelled.
func (m *message) change() change {
	c := change{Revision: m.Revision}
	for i := range m.Events {
		c.Events = append(c.Events, m.Events[i].spelled())
	}
	return c
}

// until takes messages until the revision is covered, and gives the changes; progress must not lie.
func (s *subscription) until(to int64) (all []change) {
	s.t.Helper()
	floor := int64(0)
	for floor < to {
		m := s.next()
		switch m.Type {
		case "events":
			if m.Revision <= floor {
				s.t.Fatalf("revision %d comes after %d was said to be complete", m.Revision, floor)
			}
			all = append(all, m.change())
		case "progress":
			if m.Revision < floor {
				s.t.Fatalf("progress goes back from %d to %d", floor, m.Revision)
			}
		default:
			s.t.Fatalf("a message of type %s: %s", m.Type, m.text)
		}
		floor = m.Revision
	}
	return all
}

// same fails the test unless the changes are the truth.
func same(t testing.TB, what string, got, want []change) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the changes differ (-want +got):\n%.3000s", what, diff)
	}
}

// after gives the part of a history from a revision on.
func after(all []change, from int64) []change {
	for i, c := range all {
		if c.Revision >= from {
			return all[i:]
		}
	}
	return nil
}

// scribble writes n revisions of keys with the prefix a/: puts, deletions, transactions, and other keys in between. It gives
// the last revision, which is one of the prefix.
func (g *gateway) scribble(t testing.TB, seed uint64, n int) (last int64) {
	t.Helper()
	const prefix = "a/"
	random := rand.New(rand.NewPCG(seed, seed))
	key := func() string { return prefix + strconv.Itoa(random.IntN(12)) }
	for i := range n {
		value := fmt.Sprintf("%d %s", i, bytes.Repeat([]byte("x"), random.IntN(200)))
		switch random.IntN(6) {
		case 0:
			g.remove(t, key())
		case 1:
			first, second := key(), key()
			ops := []clientv3.Op{clientv3.OpPut(first, value), clientv3.OpPut("elsewhere", value)}
			if second != first {
				ops = append(ops, clientv3.OpDelete(second))
			}
			g.txn(t, ops...)
		case 2:
			g.put(t, "elsewhere", value)
		default:
			g.put(t, key(), value)
		}
	}
	return g.put(t, prefix+"last", strconv.Itoa(n))
}
