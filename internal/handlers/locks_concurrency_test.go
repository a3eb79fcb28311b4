package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// session is one of etcd's Go package concurrency.
func (g *gateway) session(t testing.TB) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(g.oracle, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the server may be gone
	return s
}

// The gateway and etcd's own Mutex wait for each other.
func TestLocksAreThoseOfThePackageConcurrency(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.session(t)
	mutex := concurrency.NewMutex(s, "both")
	if err := mutex.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc := g.do(t, "POST", "/v1/locks/both", `{"ttl":60}`).problem(t, 409, "lock_held")
	if named, _ := doc["holder"].(map[string]any); named["owner_key"] != mutex.Key() || named["lease"] != fmt.Sprintf("%016x", int64(s.Lease())) {
		t.Errorf("the holder: got %v, want %s", doc["holder"], mutex.Key())
	}
	waiter := g.begin(t.Context(), t, "POST", "/v1/locks/both", `{"ttl":60,"wait":60}`)
	g.queued(t, "both/", 2)
	if err := mutex.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := <-waiter
	if a == nil {
		t.Fatal("no answer")
	}
	mine := a.want(t, 201).owner(t)
	if err := mutex.TryLock(t.Context()); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("TryLock while the gateway's caller has it: got %v, want %v", err, concurrency.ErrLocked)
	}
	locked := make(chan error, 1)
	go func() { locked <- mutex.Lock(t.Context()) }()
	g.queued(t, "both/", 2)
	g.do(t, "DELETE", "/v1/locks/both?lease="+mine.Lease, "").want(t, 200)
	if err := <-locked; err != nil {
		t.Fatalf("Lock after the release: %v", err)
	}
	// With the session's own lease the lock is had already.
	if got := g.do(t, "POST", "/v1/locks/both", fmt.Sprintf(`{"lease":"%x"}`, int64(s.Lease()))).want(t, 200).owner(t); got.OwnerKey != mutex.Key() {
		t.Errorf("the owner's key: got %s, want %s", got.OwnerKey, mutex.Key())
	}
}

// Callers of the gateway and of the package concurrency take turns in one lock, and never two at a time. Tokens grow.
func TestNoTwoHaveTheLock(t *testing.T) {
	t.Parallel()
	const callers, rounds = 4, 5
	g := start(t)
	var inside, last atomic.Int64
	critical := func(token int64) {
		if n := inside.Add(1); n != 1 {
			t.Errorf("%d have the lock", n)
		}
		if before := last.Swap(token); before >= token {
			t.Errorf("the token %d comes after %d", token, before)
		}
		inside.Add(-1)
	}
	var all sync.WaitGroup
	for range callers {
		s := g.session(t)
		all.Go(func() {
			for range rounds {
				m := concurrency.NewMutex(s, "one")
				if err := m.Lock(t.Context()); err != nil {
					t.Errorf("Lock: %v", err)
					return
				}
				got, err := g.oracle.Get(t.Context(), m.Key())
				if err != nil || len(got.Kvs) != 1 {
					t.Errorf("the owner's key: %v", err)
					return
				}
				critical(got.Kvs[0].CreateRevision)
				if err := m.Unlock(t.Context()); err != nil {
					t.Errorf("Unlock: %v", err)
				}
			}
		})
		all.Go(func() {
			for range rounds {
				a := <-g.begin(t.Context(), t, "POST", "/v1/locks/one", `{"ttl":60,"wait":120}`)
				if a == nil || a.status != 201 {
					t.Errorf("a caller of the gateway: got %+v, want 201", a)
					return
				}
				o := a.owner(t)
				critical(o.Token)
				if a := <-g.begin(t.Context(), t, "DELETE", "/v1/locks/one?lease="+o.Lease, ""); a == nil || a.status != 200 {
					t.Errorf("release: got %+v", a)
				}
			}
		})
	}
	all.Wait()
	g.queued(t, "one/", 0)
	leases, err := g.oracle.Leases(t.Context())
	if err != nil || len(leases.Leases) != callers { // those of the sessions
		t.Errorf("leases left: %v (%v), want %d", leases, err, callers)
	}
}

// absentMinded does a write and loses the answer.
type absentMinded struct {
	*etcdclient.Client

	revokes bool
}

func (s absentMinded) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	answer, err := s.Client.Txn(ctx, r)
	if err != nil || len(r.Then) == 0 || r.Then[0].Put == nil {
		return answer, err
	}
	answer.Free()
	return nil, context.DeadlineExceeded
}

func (s absentMinded) LeaseRevoke(ctx context.Context, id int64) (wire.Header, error) {
	if !s.revokes {
		return wire.Header{}, context.DeadlineExceeded
	}
	return s.Client.LeaseRevoke(ctx, id)
}

// When nobody knows whether the key was written, revoking the lease that was granted for it makes sure that it is not: it
// goes with the lease, and cannot be written without. With a lease of the caller's the outcome stays unknown.
func TestALockWhoseOutcomeIsUnknownIsGivenUpWithItsLease(t *testing.T) {
	t.Parallel()
	g := start(t)
	lossy := g.through(t, absentMinded{g.store, true})
	if doc := lossy.do(t, "POST", "/v1/locks/doubt", `{"ttl":60}`).problem(t, 504, "deadline_exceeded"); doc["outcome"] != "not_applied" {
		t.Errorf("with a lease of the gateway's: got %v", doc)
	}
	g.queued(t, "doubt/", 0)
	own := g.granted(t)
	if doc := lossy.do(t, "POST", "/v1/locks/doubt", `{"lease":"`+own+`"}`).problem(t, 504, "deadline_exceeded"); doc["outcome"] != "unknown" {
		t.Errorf("with a lease of the caller's: got %v", doc)
	}
	g.do(t, "POST", "/v1/locks/doubt", `{"lease":"`+own+`"}`).want(t, 200) // the repeat tells
	g.do(t, "DELETE", "/v1/locks/doubt?lease="+own, "").want(t, 200)

	stuck := g.through(t, absentMinded{g.store, false})
	doc := stuck.do(t, "POST", "/v1/locks/doubt", `{"ttl":60}`).problem(t, 504, "deadline_exceeded")
	if doc["outcome"] != "unknown" || doc["lease"] == nil {
		t.Errorf("when the lease cannot be revoked: got %v", doc)
	}
}

// slowToAnswer has done a write, and answers once the caller has left.
type slowToAnswer struct {
	*etcdclient.Client

	written, left chan struct{}
}

func (s slowToAnswer) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	answer, err := s.Client.Txn(ctx, r)
	if err != nil || len(r.Then) == 0 || r.Then[0].Put == nil {
		return answer, err
	}
	close(s.written)
	<-s.left
	if ctx.Err() != nil {
		answer.Free()
		return nil, ctx.Err()
	}
	return answer, nil
}

// A caller that leaves between the write of its key and the answer to that left a place behind that nobody gave up.
func TestACallerThatLeavesWhileItEntersLeavesTheQueue(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "POST", "/v1/locks/early", `{"ttl":60}`).want(t, 201)
	for _, body := range []string{`{"ttl":60,"wait":60}`, `{"lease":"` + g.granted(t) + `","wait":60}`} {
		slow := slowToAnswer{g.store, make(chan struct{}), make(chan struct{})}
		api, err := handlers.New(slow, handlers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { close(slow.left) })
			api.ServeHTTP(w, r)
		}))
		second := *g
		second.url = server.URL
		ctx, leave := context.WithCancel(t.Context())
		waiter := second.begin(ctx, t, "POST", "/v1/locks/early", body)
		<-slow.written
		leave()
		<-waiter
		g.queued(t, "early/", 1)
		server.Close()
	}
}

// A gateway that stops lets go of what waits there, and leaves no one behind in the queue.
func TestDrainingLeavesTheQueue(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "POST", "/v1/locks/drain", `{"ttl":60}`).want(t, 201)
	api, err := handlers.New(g.store, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	second := *g
	second.url = server.URL
	waiter := second.begin(t.Context(), t, "POST", "/v1/locks/drain", `{"ttl":60,"wait":60}`)
	g.queued(t, "drain/", 2)
	api.Drain()
	a := <-waiter
	if a == nil {
		t.Fatal("no answer")
	}
	if doc := a.problem(t, http.StatusServiceUnavailable, "draining"); doc["outcome"] != "not_applied" {
		t.Errorf("got %v", doc)
	}
	g.queued(t, "drain/", 1)
}

// A name above a large folder is no queue: to find its oldest key etcd would sort the folder while every write waits.
func TestALargeFolderIsNoQueue(t *testing.T) {
	t.Parallel()
	g := start(t)
	const keys, batch = 10_001, 100
	for from := 0; from < keys; from += batch {
		var puts []clientv3.Op
		for i := from; i < min(from+batch, keys); i++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("folder/%x", i), ""))
		}
		if _, err := g.oracle.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range [][3]string{
		{"POST", "/v1/locks/folder", `{"ttl":60}`},
		{"GET", "/v1/locks/folder"},
		{"GET", "/v1/elections/folder"},
		{"POST", "/v1/elections/folder", `{"ttl":60,"value":"x"}`},
		{"PUT", "/v1/elections/folder?lease=1", `{"value":"x"}`},
	} {
		g.do(t, call[0], call[1], call[2]).problem(t, 413, "result_too_large")
	}
	if _, err := g.oracle.Delete(t.Context(), "folder/0"); err != nil {
		t.Fatal(err)
	}
	doc := g.do(t, "GET", "/v1/locks/folder", "").want(t, 200).json(t)
	if waiters, _ := doc["waiters"].([]any); len(waiters) != 9999 || doc["holder"] == nil {
		t.Errorf("a queue of 10,000: got the holder %v and %d waiters", doc["holder"], len(waiters))
	}
}
