package etcdclient_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// hold is a server whose first range waits for release.
func hold(t *testing.T) (s *scripted, release func()) {
	t.Helper()
	released := make(chan struct{})
	s = &scripted{}
	s.onRange = func(ctx context.Context) error {
		if s.ranges.Load() > 1 {
			return nil
		}
		select {
		case <-released:
		case <-ctx.Done():
		}
		return nil
	}
	return serve(t, s), sync.OnceFunc(func() { close(released) })
}

func TestReadsOfTheSameRangeShareACall(t *testing.T) {
	t.Parallel()
	s, release := hold(t)
	defer release()
	c := ready(t, []string{s.endpoint})
	const callers = 40
	var readers sync.WaitGroup
	read := func() {
		readers.Go(func() {
			if _, err := c.Range(within(t, 20*time.Second), &wire.RangeRequest{Key: []byte("a"), End: []byte("b"), Limit: 1000}); err != nil {
				t.Errorf("read: %v", err)
			}
		})
	}
	read()
	eventually(t, "the first call is under way", 10*time.Second, func() bool { return s.ranges.Load() == 1 })
	for range callers {
		read()
	}
	// Where that takes long, the first call counts as slow, and another one takes along who is waiting by then.
	eventually(t, "the others have joined", 10*time.Second, func() bool {
		_, waiting := etcdclient.RangeLanes(c)
		return waiting == callers || s.ranges.Load() > 1
	})
	release()
	readers.Wait()
	if n := s.ranges.Load(); n < 2 || n > 8 {
		t.Errorf("%d callers beside one call under way took %d calls; want one more, and few in any case", callers, n-1)
	}
	if n := coalesced(t, c); n < callers/2 {
		t.Errorf("%v reads travelled with others, want most of %d", n, callers)
	}
	if lanes, _ := etcdclient.RangeLanes(c); lanes != 0 {
		t.Errorf("%d lanes are left behind", lanes)
	}
}

// Neither does another range wait for one that is being read, nor the same one with another parameter.
func TestReadsOfOtherRangesDoNotWait(t *testing.T) {
	t.Parallel()
	s, release := hold(t)
	defer release()
	c := ready(t, []string{s.endpoint})
	var first sync.WaitGroup
	first.Go(func() { _, _ = c.Range(t.Context(), &wire.RangeRequest{Key: []byte("a"), End: []byte("b")}) })
	eventually(t, "the first call is under way", 10*time.Second, func() bool { return s.ranges.Load() == 1 })
	for _, r := range []wire.RangeRequest{
		{Key: []byte("a"), End: []byte("c")},
		{Key: []byte("a"), End: []byte("b"), Limit: 10},
		{Key: []byte("a"), End: []byte("b"), Revision: 1},
		{Key: []byte("a"), End: []byte("b"), Serializable: true},
		{Key: []byte("a"), End: []byte("b"), KeysOnly: true},
	} {
		if _, err := c.Range(within(t, 10*time.Second), &r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if n := coalesced(t, c); n != 0 {
		t.Errorf("%v reads travelled with others, want none", n)
	}
	release()
	first.Wait()
}

// A read that hangs does not hold up the same read of others for long.
func TestASlowRangeDoesNotHoldUpTheSameRange(t *testing.T) {
	t.Parallel()
	s, release := hold(t)
	defer release()
	c := ready(t, []string{s.endpoint})
	var first sync.WaitGroup
	r := wire.RangeRequest{Key: []byte("a"), End: []byte("b")}
	first.Go(func() { _, _ = c.Range(t.Context(), &r) })
	eventually(t, "the first call is under way", 10*time.Second, func() bool { return s.ranges.Load() == 1 })
	if _, err := c.Range(within(t, 10*time.Second), &r); err != nil {
		t.Errorf("a read behind one that hangs: %v", err)
	}
	release()
	first.Wait()
}

// Callers inside a namespace and outside of it can share an answer; each gets its own names for the keys.
func TestSharedRangesComeInEachCallersOwnNames(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for i := range 100 {
		put(t, c, fmt.Sprintf("space/%02d", i), fmt.Sprintf("value %d", i))
	}
	inside := c.Namespace([]byte("space/"))
	var readers sync.WaitGroup
	for reader := range 40 {
		readers.Go(func() {
			for range 20 {
				read, r, prefix := c.Range, wire.RangeRequest{Key: []byte("space/0"), End: []byte("space/:")}, "space/"
				if reader%2 == 0 {
					read, r, prefix = inside.Range, wire.RangeRequest{Key: []byte("0"), End: []byte(":")}, ""
				}
				answer, err := read(t.Context(), &r)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				n := 0
				for kv := range answer.KVs.All() {
					if key, value := fmt.Sprintf("%s%02d", prefix, n), fmt.Sprintf("value %d", n); string(kv.Key) != key || !bytes.Equal(kv.Value, []byte(value)) {
						t.Errorf("got %s = %s, want %s = %s", kv.Key, kv.Value, key, value)
					}
					n++
				}
				if n != 100 || answer.Count != 100 || answer.Header.Revision < 101 {
					t.Errorf("got %d keys, count %d, revision %d", n, answer.Count, answer.Header.Revision)
				}
				answer.Free()
			}
		})
	}
	readers.Wait()
	if coalesced(t, c) == 0 {
		t.Error("no read travelled with another, so nothing was shown")
	}
}
