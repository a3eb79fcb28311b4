package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// apart has every read be a call of its own, for tests that count calls.
func apart(c *etcdclient.Config) { c.DisableCoalescing = true }

// coalesced gives how many reads have travelled with others.
func coalesced(t testing.TB, c *etcdclient.Client) float64 {
	t.Helper()
	return gauge(t, c, "etcdrest_etcd_coalesced_reads_total")
}

func TestReadsThatArriveTogetherTravelTogetherAndGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for i := range 100 {
		put(t, c, fmt.Sprintf("lane/%d", i), fmt.Sprintf("value %d", i))
	}
	inside := c.Namespace([]byte("lane/"))
	var readers sync.WaitGroup
	for reader := range 64 {
		readers.Go(func() {
			for i := range 50 {
				n := (reader*7 + i) % 120 // from 100 on they do not exist
				var answer *wire.RangeResponse
				var err error
				key := fmt.Sprintf("lane/%d", n)
				if reader%4 == 0 {
					key = key[len("lane/"):]
					answer, err = inside.Range(t.Context(), &wire.RangeRequest{Key: []byte(key)})
				} else {
					answer, err = c.Range(t.Context(), &wire.RangeRequest{Key: []byte(key), KeysOnly: reader%4 == 1, Serializable: reader%4 == 2})
				}
				if err != nil {
					t.Errorf("read %s: %v", key, err)
					return
				}
				kv, ok := answer.KVs.First()
				switch want := fmt.Sprintf("value %d", n); {
				case ok != (n < 100):
					t.Errorf("key %s: found is %v", key, ok)
				case !ok:
				case string(kv.Key) != key || (reader%4 == 1) != (len(kv.Value) == 0) || len(kv.Value) > 0 && string(kv.Value) != want:
					t.Errorf("key %s: got %s = %q, want %q", key, kv.Key, kv.Value, want)
				}
				if answer.Header.ClusterID == 0 || answer.Header.MemberID == 0 || answer.Header.Revision < 101 || ok && answer.Count != 1 {
					t.Errorf("key %s: header %+v, count %d", key, answer.Header, answer.Count)
				}
				answer.Free()
			}
		})
	}
	readers.Wait()
	if n := coalesced(t, c); n < 500 {
		t.Errorf("of 3200 reads by 64 readers %v travelled with others, want most of them", n)
	}
}

// A read that begins after a write was acknowledged sees it, however many reads it travels with.
func TestCoalescedReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	_, s := embedded(t)
	for name, end := range map[string]string{"one key": "", "range": "range0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			readWhileWriting(t, ready(t, []string{s.Endpoint()}), name, end)
		})
	}
}

// readWhileWriting has many read the key, alone or in the range up to end, while it counts up.
func readWhileWriting(t *testing.T, c *etcdclient.Client, key, end string) {
	t.Helper()
	var written atomic.Int64
	put(t, c, key, "0")
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 32 {
		readers.Go(func() {
			for ctx.Err() == nil {
				floor := written.Load()
				answer, err := c.Range(t.Context(), &wire.RangeRequest{Key: []byte(key), End: []byte(end)})
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				kv, _ := answer.KVs.First()
				var got int64
				if _, err := fmt.Sscan(string(kv.Value), &got); err != nil || got < floor {
					t.Errorf("read %q (%v) after %d was acknowledged", kv.Value, err, floor)
					return
				}
				answer.Free()
			}
		})
	}
	for i := range int64(300) {
		put(t, c, key, fmt.Sprint(i))
		written.Store(i)
	}
	stop()
	readers.Wait()
	if coalesced(t, c) == 0 {
		t.Error("no read travelled with another, so nothing was shown")
	}
}

// CORRECTNESS 8: one denied key denies the group, so the group is asked again in halves.
func TestADeniedReadDoesNotDenyItsCompanions(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t)
	enableAuth(t, s)
	c := ready(t, []string{s.Endpoint()}, user("app", "apppw"))
	var readers sync.WaitGroup
	for reader := range 40 {
		readers.Go(func() {
			for range 20 {
				key, allowed := "app/a", reader%5 != 0
				if !allowed {
					key = fmt.Sprintf("closed/%d", reader)
				}
				_, err := c.Range(t.Context(), &wire.RangeRequest{Key: []byte(key)})
				if allowed && err != nil || !allowed && !errors.Is(err, rpctypes.ErrPermissionDenied) {
					t.Errorf("read %s: got %v", key, err)
				}
			}
		})
	}
	readers.Wait()
}

func TestACallerThatLeavesDoesNotTakeItsCompanionsAlong(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	put(t, c, "k", "v")
	var callers sync.WaitGroup
	for caller := range 60 {
		callers.Go(func() {
			for i := range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				if caller%3 == 0 {
					go cancel()
				}
				answer, err := c.Range(ctx, &wire.RangeRequest{Key: fmt.Appendf(nil, "k%d", i%2)})
				if err != nil && (caller%3 != 0 || !errors.Is(err, context.Canceled)) {
					t.Errorf("caller %d: %v", caller, err)
				}
				if err == nil {
					answer.Free()
				}
				cancel()
			}
		})
	}
	callers.Wait()
}

// A key whose value is large goes alone from then on, so that it does not delay those that would travel with it.
func TestLargeValuesGoAlone(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	put(t, c, "large", strings.Repeat("x", 100_000))
	read := func() {
		var readers sync.WaitGroup
		for range 32 {
			readers.Go(func() {
				answer, err := c.Range(t.Context(), &wire.RangeRequest{Key: []byte("large")})
				if err != nil || answer.KVs.Len() != 1 {
					t.Errorf("read: %v", err)
					return
				}
				answer.Free()
			})
		}
		readers.Wait()
	}
	read()
	before := coalesced(t, c)
	read()
	if after := coalesced(t, c); after != before {
		t.Errorf("%v reads of a large value travelled together", after-before)
	}
}

// A server that hangs on the lane's calls does not hold up the reads behind them: slow calls stop to count.
func TestSlowCallsDoNotHoldUpTheLane(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var hung atomic.Int64
	s := serve(t, &scripted{onRange: func(ctx context.Context) error {
		if hung.Add(1) > 2 {
			return nil
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	}})
	c := ready(t, []string{s.endpoint})
	var slow sync.WaitGroup
	for i := range 2 {
		slow.Go(func() { _, _ = c.Range(t.Context(), &wire.RangeRequest{Key: fmt.Appendf(nil, "slow%d", i)}) })
	}
	eventually(t, "two calls hang", 5*time.Second, func() bool { return hung.Load() == 2 })
	started := time.Now()
	if _, err := c.Range(within(t, 10*time.Second), &wire.RangeRequest{Key: []byte("quick")}); err != nil {
		t.Errorf("a read behind two hanging ones: %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("a read behind two hanging ones took %v", took)
	}
	close(release)
	slow.Wait()
}

func TestCloseEndsQueuedReads(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{onRange: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	c := ready(t, []string{s.endpoint})
	var readers sync.WaitGroup
	var ended atomic.Int64
	for i := range 20 {
		readers.Go(func() {
			if _, err := c.Range(t.Context(), &wire.RangeRequest{Key: fmt.Appendf(nil, "k%d", i)}); err == nil {
				t.Error("a read of a closed client succeeded")
			}
			ended.Add(1)
		})
	}
	eventually(t, "reads are under way", 5*time.Second, func() bool { return s.ranges.Load() >= 2 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
}
