package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestCutConnections: every connection between gateway and members is cut after a few writes, in the middle of a request or
// after its answer was swallowed, while four kinds of writers work: plain puts, conditional creates, transactions, and
// puts that are repeated with their Idempotency-Key until they are acknowledged.
//
//   - A write that was applied is never told not_applied, and one that was acknowledged is there.
//   - The gateway never repeats a write that may have left: nothing is there twice.
//   - A write that is repeated with its Idempotency-Key until it succeeds is there once.
//   - A read that answers is no older than what was told before it.
//   - The test saw what it is about: writes told unknown of which some were applied and some were not.
func TestCutConnectionsNeverMakeAnAppliedWriteNotAppliedNorWriteItTwice(t *testing.T) {
	t.Parallel()
	const longest, fewest = 40 * time.Second, 15
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	var (
		cutters   []*cutter
		endpoints []string
	)
	for _, m := range cluster.Members {
		p := startCutter(t, m.Endpoint)
		cutters, endpoints = append(cutters, p), append(endpoints, p.endpoint)
	}
	_, api := startGateway(t, strings.Join(endpoints, ","))
	for _, p := range cutters {
		p.armed.Store(true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	calls := t.Context()
	var (
		all  history
		work sync.WaitGroup
	)
	writer := func(kind string, write func(key, value string) answer) {
		work.Go(func() {
			each(ctx, pace, func(n int) {
				key := fmt.Sprintf("cut/%s/%d", kind, n)
				all.wrote(key, key, write(key, key))
			})
		})
	}
	for i := range 2 {
		writer(fmt.Sprint("put", i), func(key, value string) answer { return api.put(calls, key, value) })
		writer(fmt.Sprint("create", i), func(key, value string) answer { return api.create(calls, key, value, "?timeout=2") })
		writer(fmt.Sprint("txn", i), func(key, value string) answer {
			body := fmt.Sprintf(`{"then":[{"put":{"key":%q,"value":%q}}]}`, key, value)
			return api.call(calls, http.MethodPost, "/v1/txn?timeout=2", body)
		})
		work.Go(func() { // repeats each write until it is acknowledged, and one more time
			each(ctx, pace, func(n int) {
				key := fmt.Sprintf("cut/once%d/%d", i, n)
				acked := 0
				for try := 0; acked < 2 && try < 200; try++ {
					if all.wrote(key, key, api.put(calls, key, key, "Idempotency-Key: "+key)) == acknowledged {
						acked++
					}
				}
				if acked < 2 {
					t.Errorf("%s: not acknowledged twice by 200 tries", key)
				}
			})
		})
	}
	for range 2 {
		work.Go(func() {
			each(ctx, pace, func(int) {
				if key := all.latest(); key != "" {
					all.saw(key, api.get(calls, "/v1/kv/"+key+"?timeout=2")) // it may fail, but not be wrong
				}
			})
		})
	}
	lost := func() (applied, not int) {
		all.mu.Lock()
		doubtful := map[string]bool{}
		for _, w := range all.writes {
			if !strings.HasPrefix(w.key, "cut/once") {
				doubtful[w.key] = w.told == unknown
			}
		}
		all.mu.Unlock()
		has := readBack(t, client, "cut/")
		for key, unknown := range doubtful {
			if _, there := has[key]; there && unknown {
				applied++
			} else if unknown {
				not++
			}
		}
		return applied, not
	}
	each(ctx, 200*time.Millisecond, func(int) {
		if applied, not := lost(); applied >= fewest && not >= fewest {
			cancel()
		}
	})
	work.Wait()
	applied, not := lost()
	if applied < fewest || not < fewest {
		t.Errorf("got %d writes told unknown that were applied and %d that were not, want %d of each", applied, not, fewest)
	}
	var cut, swallowed int64
	for _, p := range cutters {
		p.armed.Store(false)
		cut, swallowed = cut+p.cut.Load(), swallowed+p.swallowed.Load()
	}
	t.Logf("%d connections cut, %d swallowed; writes: %v; unknown and applied: %d, unknown and not: %d",
		cut, swallowed, all.told(), applied, not)
	all.check(t, readBack(t, client, "cut/"))
}
