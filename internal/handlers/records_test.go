package handlers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// granter grants leases numbered from 1, each after a second.
type granter struct {
	handlers.Store
	granted int64
	ttl     int64
}

func (g *granter) LeaseGrant(_ context.Context, ttl, _ int64) (etcdclient.Lease, error) {
	pass(time.Second)
	g.granted++
	g.ttl = ttl
	return etcdclient.Lease{ID: g.granted, TTL: ttl}, nil
}

func TestARecordLeaseTakesRecordsForFiveMinutesAndOutlivesTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &granter{}
		lease := handlers.RecordLeases(store)
		take := func(want int64) {
			t.Helper()
			if got, err := lease(t.Context()); err != nil || got != want {
				t.Errorf("at %v: got lease %d (%v), want %d", time.Since(begin), got, err, want)
			}
		}
		take(1)
		pass(5 * time.Minute)
		take(1)
		pass(time.Second)
		take(2)
		if last := 24*time.Hour + 5*time.Minute; time.Duration(store.ttl)*time.Second < last+4*time.Minute {
			t.Errorf("a lease lives %d s, and its last record until %v after it was granted", store.ttl, last)
		}
		// Callers that find no lease wait for one grant, or leave when their time is up.
		pass(6 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		done := make(chan int64)
		for range 10 {
			go func() {
				id, err := lease(t.Context())
				if err != nil {
					t.Errorf("lease: %v", err)
				}
				done <- id
			}()
		}
		synctest.Wait()
		if _, err := lease(ctx); err == nil {
			t.Error("a caller whose time was up got a lease")
		}
		for range 10 {
			if id := <-done; id != 3 {
				t.Errorf("waited for a grant and got lease %d, want 3", id)
			}
		}
	})
}

// pass lets time pass in a synctest bubble, where it costs none.
func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the bubble's clock is what is waited for

// begin is when time begins in a synctest bubble.
var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
