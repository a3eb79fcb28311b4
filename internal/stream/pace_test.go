package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// A reader that catches up and never comes closer, although all was there for it to read, ends as too slow; one that comes
// closer stays, however slowly, and so does one that only waits for etcd.
func TestAReaderThatNeverComesCloserIsTooSlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change int64 // of the distance, a second
		full   bool
		slow   bool
	}{
		{"falls behind", 1, true, true},
		{"keeps its distance", 0, true, true},
		{"comes closer", -1, true, false},
		{"waits for etcd", 1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var p stream.Pace
				lag, err := int64(1000), error(nil)
				for range 35 {
					if err = p.Judge(lag, c.full); err != nil {
						break
					}
					lag += c.change
					<-time.After(time.Second)
				}
				if slow := err != nil && problem.From(err).Code == problem.SlowConsumer; slow != c.slow {
					t.Errorf("got %v, want too slow: %v", err, c.slow)
				}
			})
		})
	}
}

// Whoever comes to a full queue of catch-ups waits for room in it, and is served.
func TestThereAreOnlySoManyCatchUps(t *testing.T) {
	t.Parallel()
	g := start(t)
	const watches = 150 // of as many ranges
	for i := range watches {
		g.put(t, "a/"+key(i), "1")
	}
	s := g.open(t)
	for i := range watches {
		s.send(`{"op":"watch","id":"%d","key":"a/%s","start_revision":1}`, i, key(i))
	}
	seen := make(map[string]bool)
	for len(seen) < watches {
		if m := s.next(); m.Type == "events" {
			seen[m.ID] = true
		} else if m.Type != "created" && m.Type != "progress" {
			t.Fatalf("got %s", m.text)
		}
		if n := g.hub.Catchups(); n > 64 {
			t.Fatalf("%d catch-ups", n)
		}
	}
}

// key spells a number as a key.
func key(i int) string { return string(rune('a'+i/26)) + string(rune('a'+i%26)) }
