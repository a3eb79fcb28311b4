package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// mortal is etcd as a gateway sees it that dies: at a call, which etcd still gets, or does not. Nothing it asks from then on
// arrives, so that it cleans nothing up.
type mortal struct {
	handlers.Backend

	at   string // the call at which it dies
	sent bool   // etcd gets that one
	dead atomic.Bool
}

var errDead = errors.New("the gateway is dead")

// recordLeaseTTL is that of a lease that records hang on.
const recordLeaseTTL = 24*3600 + 600

// dies runs a call; the error is that of a write whose answer was lost.
func (m *mortal) dies(call string, do func() error) error {
	switch {
	case m.dead.Load():
		return context.DeadlineExceeded
	case call != m.at:
		return do()
	}
	if m.sent {
		if err := do(); err != nil {
			return errors.Join(errDead, err)
		}
	}
	m.dead.Store(true)
	return context.DeadlineExceeded
}

// txnKind tells apart the transactions that matter here.
func txnKind(r *wire.TxnRequest) string {
	switch put := r.Then[0].Put; {
	case put == nil:
		return "other"
	case !strings.HasPrefix(string(put.Key), recordsPrefix):
		return "enter"
	case put.IgnoreLease:
		return "settle"
	}
	return "reserve"
}

func (m *mortal) Txn(ctx context.Context, r *wire.TxnRequest) (answer *wire.TxnResponse, err error) {
	err = m.dies(txnKind(r), func() (err error) { answer, err = m.Backend.Txn(ctx, r); return err })
	return answer, err
}

func (m *mortal) LeaseGrant(ctx context.Context, ttl, id int64) (lease etcdclient.Lease, err error) {
	call := "grant"
	if ttl == recordLeaseTTL {
		call = "prepare"
	}
	err = m.dies(call, func() (err error) { lease, err = m.Backend.LeaseGrant(ctx, ttl, id); return err })
	return lease, err
}

func (m *mortal) LeaseRevoke(ctx context.Context, id int64) (h wire.Header, err error) {
	err = m.dies("revoke", func() (err error) { h, err = m.Backend.LeaseRevoke(ctx, id); return err })
	return h, err
}

func (m *mortal) UserAdd(ctx context.Context, name, password string) (h wire.Header, err error) {
	err = m.dies("add", func() (err error) { h, err = m.Backend.UserAdd(ctx, name, password); return err })
	return h, err
}

func (m *mortal) RoleAdd(ctx context.Context, name string) (h wire.Header, err error) {
	err = m.dies("add", func() (err error) { h, err = m.Backend.RoleAdd(ctx, name); return err })
	return h, err
}

func (m *mortal) MemberAdd(ctx context.Context, peers []string, learner bool) (added etcdclient.Member, all []etcdclient.Member, err error) {
	err = m.dies("add", func() (err error) { added, all, err = m.Backend.MemberAdd(ctx, peers, learner); return err })
	return added, all, err
}

// replayed fails the test unless the answer says that it is an earlier one.
func (a *answer) replayed(t testing.TB) *answer {
	t.Helper()
	if a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("no Idempotency-Replayed at %d %s", a.status, a.body)
	}
	return a
}

// lives is how many leases there are that no record hangs on.
func lives(t testing.TB, g *gateway) (n int) {
	t.Helper()
	leases, err := g.oracle.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		status, err := g.oracle.TimeToLive(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.GrantedTTL != recordLeaseTTL {
			n++
		}
	}
	return n
}

// racers sends one request to the gateways by turns, all at once, and gives the answers.
func racers(t testing.TB, n int, gateways []*gateway, method, path, body, key string) []*answer {
	t.Helper()
	answers := make([]*answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = gateways[i%len(gateways)].do(t, method, path, body, once(key)) })
	}
	wg.Wait()
	return answers
}

func TestALeaseIsGrantedOnce(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g, other := startOn(t, etcd), startOn(t, etcd)
	first := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, once("k")).want(t, 201)
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first says that it is a repeat")
	}
	id := first.json(t)["id"].(string)
	for name, h := range map[string]*gateway{"the same gateway": g, "another": other} {
		again := h.do(t, "POST", "/v1/leases", `{"ttl":600}`, once("k")).want(t, 201).replayed(t)
		left, _ := again.json(t)["ttl"].(jsonNumber).Int64()
		if again.json(t)["id"] != id || again.header.Get("Location") != first.header.Get("Location") || left < 500 || left > 600 {
			t.Errorf("%s: got %s at %q, want the lease %s with the time it has left", name, again.body, again.header.Get("Location"), id)
		}
		h.do(t, "POST", "/v1/leases", `{"ttl":601}`, once("k")).problem(t, 422, "idempotency_key_reused")
	}
	if n := lives(t, g); n != 1 {
		t.Errorf("%d leases, want 1", n)
	}
	g.do(t, "DELETE", "/v1/leases/"+id, "").want(t, 200)
	doc := other.do(t, "POST", "/v1/leases", `{"ttl":600}`, once("k")).replayed(t).problem(t, 404, "lease_not_found")
	if doc["outcome"] != "not_applied" || !strings.Contains(fmt.Sprint(doc["detail"]), id) || lives(t, g) != 0 {
		t.Errorf("after the lease has ended: got %v, want no other", doc)
	}
}

func TestTwoGatewaysRacingForOneLeaseGrantOne(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	gateways := []*gateway{startOn(t, etcd), startOn(t, etcd)}
	for round := range 5 {
		ids := make(map[string]int)
		for _, a := range racers(t, 20, gateways, "POST", "/v1/leases", `{"ttl":600}`, fmt.Sprint(round)) {
			switch {
			case a == nil:
			case a.status == 409:
				a.problem(t, 409, "idempotency_in_progress")
			default:
				ids[a.want(t, 201).json(t)["id"].(string)]++
			}
		}
		if len(ids) != 1 || lives(t, gateways[0]) != round+1 {
			t.Errorf("round %d: answered %v, and there are %d leases, want one each round", round, ids, lives(t, gateways[0]))
		}
	}
}

func TestALeaseWhoseGatewayDiedIsGrantedOnce(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g := startOn(t, etcd)
	n := 0
	for _, at := range []string{"reserve", "grant", "settle"} {
		for _, sent := range []bool{false, true} {
			key := fmt.Sprintf("%s-%t", at, sent)
			dying := g.through(t, &mortal{Backend: g.store, at: at, sent: sent})
			first := dying.do(t, "POST", "/v1/leases", `{"ttl":600}`, once(key))
			if (first.status == 201) != (at == "settle") {
				t.Errorf("%s: the first was answered %d", key, first.status)
			}
			second := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, once(key)).want(t, 201).json(t)["id"]
			third := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, once(key)).want(t, 201).replayed(t).json(t)["id"]
			if n++; second != third || lives(t, g) != n {
				t.Errorf("%s: leases %v and %v, and %d of them, want one each time", key, second, third, lives(t, g))
			}
			if first.status == 201 && first.json(t)["id"] != second {
				t.Errorf("%s: the first got %s, the repeat %v", key, first.body, second)
			}
		}
	}
}

func TestALeaseOfAChosenIDIsAnybodys(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"7"}`, once("k")).want(t, 201)
	g.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"7"}`, once("k")).want(t, 201).replayed(t)
	g.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"7"}`, once("other")).problem(t, 409, "already_exists")
	if n := recordCount(t, g); n != 1 {
		t.Errorf("records: got %d, want 1: what was refused is not recorded", n)
	}
	dying := g.through(t, &mortal{Backend: g.store, at: "grant", sent: true})
	dying.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"8"}`, once("dying")).problem(t, 504, "deadline_exceeded")
	doc := g.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"8"}`, once("dying")).problem(t, 409, "already_exists")
	if doc["outcome"] != "unknown" || !strings.Contains(fmt.Sprint(doc["hint"]), "first request") {
		t.Errorf("got %v, want it said that it may be the first request's", doc)
	}
}

func TestALeaseOfANamespaceIsGrantedOnce(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, tenant())
	a := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, as("a"), once("k")).want(t, 201).json(t)["id"]
	if again := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, as("a"), once("k")).want(t, 201).replayed(t).json(t)["id"]; again != a {
		t.Errorf("got %v, then %v", a, again)
	}
	b := g.do(t, "POST", "/v1/leases", `{"ttl":600}`, as("b"), once("k")).want(t, 201).json(t)["id"]
	if b == a {
		t.Error("two tenants got one lease")
	}
	for who, id := range map[string]any{"a": a, "b": b} {
		g.do(t, "GET", fmt.Sprintf("/v1/leases/%v", id), "", as(who)).want(t, 200)
	}
	g.do(t, "GET", fmt.Sprintf("/v1/leases/%v", a), "", as("b")).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/leases", `{"ttl":600,"id":"7"}`, as("a"), once("c")).problem(t, 403, "permission_denied")
	o := g.do(t, "POST", "/v1/locks/l", `{"ttl":600}`, as("a"), once("l")).want(t, 201).owner(t)
	if again := g.do(t, "POST", "/v1/locks/l", `{"ttl":600}`, as("a"), once("l")).want(t, 201).replayed(t).owner(t); again.Token != o.Token {
		t.Errorf("the lock: got token %d, then %d", o.Token, again.Token)
	}
}

// takes sends what takes a lock, or leads, and gives who then does.
func (g *gateway) takes(t testing.TB, path, body, key string) owner {
	t.Helper()
	return g.do(t, "POST", path, body, once(key)).want(t, 201).owner(t)
}

// places are the two kinds of queues; the body is what is asked beside ttl or lease.
var places = map[string]string{"/v1/locks/q": "", "/v1/elections/q": `,"value":"me"`}

func TestAPlaceIsTakenOnce(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		etcd := embedetcd.StartForTest(t)
		g, other := startOn(t, etcd), startOn(t, etcd)
		body := `{"ttl":600` + more + `}`
		first := g.takes(t, path, body, "k")
		before := revisionOf(t, g)
		for _, h := range []*gateway{g, other} {
			again := h.do(t, "POST", path, body, once("k")).want(t, 201).replayed(t).owner(t)
			if again.Token != first.Token || again.OwnerKey != first.OwnerKey || again.TTL < 500 {
				t.Errorf("%s: got %+v, want %+v again", path, again, first)
			}
		}
		g.do(t, "POST", path, `{"ttl":601`+more+`}`, once("k")).problem(t, 422, "idempotency_key_reused")
		g.do(t, "POST", path, body, once("another")).problem(t, 409, "lock_held")
		if after := revisionOf(t, g); after != before || lives(t, g) != 1 || recordCount(t, g) != 1 {
			t.Errorf("%s: repeats and refusals moved the store from %d to %d, with %d leases and %d records", path, before, after, lives(t, g), recordCount(t, g))
		}
		g.do(t, "DELETE", path+"?lease="+first.Lease, "").want(t, 200)
		doc := other.do(t, "POST", path, body, once("k")).replayed(t).problem(t, 409, "lock_lost")
		if doc["outcome"] != "not_applied" || !strings.Contains(fmt.Sprint(doc["detail"]), fmt.Sprint(first.Token)) {
			t.Errorf("%s: after it was given up: got %v", path, doc)
		}
		if next := g.takes(t, path, body, "another"); next.Token <= first.Token {
			t.Errorf("%s: what was refused is to be had with the same key: got token %d after %d", path, next.Token, first.Token)
		}
	}
}

func TestAPlaceWhoseGatewayDiedIsTakenOnce(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		etcd := embedetcd.StartForTest(t)
		g := startOn(t, etcd)
		body := `{"ttl":600` + more + `}`
		for _, at := range []string{"reserve", "grant", "enter", "settle"} {
			for _, sent := range []bool{false, true} {
				key := fmt.Sprintf("%s-%t", at, sent)
				dying := g.through(t, &mortal{Backend: g.store, at: at, sent: sent})
				first := dying.do(t, "POST", path, body, once(key))
				if first.status != 201 && first.json(t)["outcome"] != "unknown" && at != "reserve" {
					t.Errorf("%s, %s: the first was told %s", path, key, first.body)
				}
				second := g.takes(t, path, body, key)
				third := g.do(t, "POST", path, body, once(key)).want(t, 201).replayed(t).owner(t)
				if second.Token != third.Token || lives(t, g) != 1 {
					t.Errorf("%s, %s: tokens %d and %d, and %d leases, want one", path, key, second.Token, third.Token, lives(t, g))
				}
				if first.status == 201 && first.owner(t).Token != second.Token {
					t.Errorf("%s, %s: the first has token %d, its repeat %d", path, key, first.owner(t).Token, second.Token)
				}
				g.do(t, "DELETE", "/v1/leases/"+second.Lease, "").want(t, 200)
			}
		}
	}
}

// TestARepeatGoesOnWaitingAtTheSamePlace: the first request's caller leaves, and its place is not given up.
func TestARepeatGoesOnWaitingAtTheSamePlace(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		etcd := embedetcd.StartForTest(t)
		g, other := startOn(t, etcd), startOn(t, etcd)
		holder := g.do(t, "POST", path, `{"ttl":600`+more+`}`).want(t, 201).owner(t)
		body := `{"ttl":60,"wait":60` + more + `}`
		leaving, leave := context.WithCancel(t.Context())
		firstLeft := g.begin(leaving, t, "POST", path, body, once("k"))
		g.queued(t, "q/", 2)
		behind := g.begin(t.Context(), t, "POST", path, `{"ttl":60,"wait":60`+more+`}`)
		g.queued(t, "q/", 3)
		var queue struct{ Waiters, Candidates []owner }
		g.do(t, "GET", path, "").want(t, 200).decode(t, &queue)
		place := slices.Concat(queue.Waiters, queue.Candidates)[0]
		record := recordsOf(t, g)[0]
		repeat := other.begin(t.Context(), t, "POST", path, body, once("k"))
		g.changed(t, record)
		leave()
		<-firstLeft
		third := g.do(t, "POST", path, `{"ttl":1`+more+`}`) // the queue is as it was
		third.problem(t, 409, "lock_held")
		g.do(t, "DELETE", path+"?lease="+holder.Lease, "").want(t, 200)
		a := <-repeat
		if a == nil {
			t.Fatal("no answer")
		}
		mine := a.want(t, 201).replayed(t).owner(t)
		if mine.Token != place.Token || mine.OwnerKey != place.OwnerKey {
			t.Errorf("%s: the repeat got %+v, want the first request's place %+v", path, mine, place)
		}
		g.do(t, "DELETE", path+"?lease="+mine.Lease, "").want(t, 200)
		if last := (<-behind).want(t, 201).owner(t); last.Token <= mine.Token {
			t.Errorf("%s: the one behind has token %d and the repeat %d: it lost its place", path, last.Token, mine.Token)
		}
	}
}

// TestAPlaceOutlivesTheGatewayThatStops: a rolling restart costs nobody who repeats his request his place.
func TestAPlaceOutlivesTheGatewayThatStops(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		g := start(t)
		holder := g.do(t, "POST", path, `{"ttl":600`+more+`}`).want(t, 201).owner(t)
		own := g.do(t, "POST", "/v1/leases", `{"ttl":600}`).want(t, 201).json(t)["id"].(string)
		api, err := handlers.New(g.store, handlers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(api)
		defer server.Close()
		stopping := *g
		stopping.url = server.URL
		bodies := []string{`{"ttl":60,"wait":60` + more + `}`, `{"lease":"` + own + `","wait":60` + more + `}`}
		waits := make([]<-chan *answer, len(bodies))
		for i, body := range bodies {
			waits[i] = stopping.begin(t.Context(), t, "POST", path, body, once(fmt.Sprint(i)))
			g.queued(t, "q/", int64(2+i))
		}
		var queue struct{ Waiters, Candidates []owner }
		g.do(t, "GET", path, "").want(t, 200).decode(t, &queue)
		standing := slices.Concat(queue.Waiters, queue.Candidates)
		api.Drain()
		for i := range bodies {
			a := <-waits[i]
			if a == nil {
				t.Fatal("no answer")
			}
			if doc := a.problem(t, 503, "draining"); doc["outcome"] != "unknown" || !strings.Contains(fmt.Sprint(doc["hint"]), "Idempotency-Key") {
				t.Errorf("%s: got %v, want it said how to go on", path, doc)
			}
			waits[i] = g.begin(t.Context(), t, "POST", path, bodies[i], once(fmt.Sprint(i)))
		}
		g.do(t, "DELETE", path+"?lease="+holder.Lease, "").want(t, 200)
		for i := range bodies {
			a := <-waits[i]
			if a == nil {
				t.Fatal("no answer")
			}
			got := a.want(t, 201).replayed(t).owner(t)
			if got.Token != standing[i].Token {
				t.Errorf("%s: the repeat has token %d, want the place %d", path, got.Token, standing[i].Token)
			}
			g.do(t, "DELETE", path+"?lease="+got.Lease, "").want(t, 200)
		}
	}
}

// TestAPlaceThatNobodyKnowsOfIsFoundByTheRepeat: the answer to the one that entered was lost.
func TestAPlaceThatNobodyKnowsOfIsFoundByTheRepeat(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		g := start(t)
		holder := g.do(t, "POST", path, `{"ttl":600`+more+`}`).want(t, 201).owner(t)
		own := g.do(t, "POST", "/v1/leases", `{"ttl":600}`).want(t, 201).json(t)["id"].(string)
		body := `{"lease":"` + own + `","wait":30` + more + `}`
		lost := g.through(t, entersSilently{g.store})
		if doc := lost.do(t, "POST", path, body, once("k")).problem(t, 504, "deadline_exceeded"); doc["outcome"] != "unknown" {
			t.Errorf("%s: got %v", path, doc)
		}
		repeat := g.begin(t.Context(), t, "POST", path, body, once("k"))
		g.do(t, "DELETE", path+"?lease="+holder.Lease, "").want(t, 200)
		a := <-repeat
		if a == nil {
			t.Fatal("no answer")
		}
		a.want(t, 201).replayed(t)
	}
}

type entersSilently struct{ handlers.Backend }

func (s entersSilently) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	answer, err := s.Backend.Txn(ctx, r)
	if err == nil && len(r.Then) > 0 && txnKind(r) == "enter" {
		return nil, context.DeadlineExceeded
	}
	return answer, err
}

// changed waits until a record is another one.
func (g *gateway) changed(t testing.TB, record *wire.KeyValue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for r := range g.oracle.Watch(ctx, string(record.Key), clientv3.WithRev(record.ModRevision+1)) {
		if len(r.Events) > 0 {
			return
		}
	}
	t.Fatal("the record stayed as it was")
}

func TestTwoGatewaysRacingForOnePlaceTakeOne(t *testing.T) {
	t.Parallel()
	for path, more := range places {
		etcd := embedetcd.StartForTest(t)
		gateways := []*gateway{startOn(t, etcd), startOn(t, etcd)}
		for round := range 3 {
			tokens, lease := make(map[int64]int), ""
			for _, a := range racers(t, 20, gateways, "POST", path, `{"ttl":600,"wait":30`+more+`}`, fmt.Sprint(round)) {
				switch {
				case a == nil:
				case a.status == 409:
					a.problem(t, 409, "idempotency_in_progress")
				default:
					o := a.want(t, 201).owner(t)
					tokens[o.Token]++
					lease = o.Lease
				}
			}
			if len(tokens) != 1 || lives(t, gateways[0]) != 1 {
				t.Fatalf("%s: tokens %v and %d leases, want one", path, tokens, lives(t, gateways[0]))
			}
			gateways[0].do(t, "DELETE", "/v1/leases/"+lease, "").want(t, 200)
		}
	}
}

func TestALeaseOfOnesOwnTakesAPlaceOnce(t *testing.T) {
	t.Parallel()
	g := start(t)
	lease := g.do(t, "POST", "/v1/leases", `{"ttl":600}`).want(t, 201).json(t)["id"].(string)
	first := g.takes(t, "/v1/locks/q", `{"lease":"`+lease+`"}`, "k")
	if again := g.do(t, "POST", "/v1/locks/q", `{"lease":"`+lease+`"}`, once("k")).want(t, 201).replayed(t).owner(t); again.Token != first.Token {
		t.Errorf("got token %d, then %d", first.Token, again.Token)
	}
	g.do(t, "POST", "/v1/locks/q", `{"lease":"`+lease+`"}`, once("has-it-already")).want(t, 200)
	if n := recordCount(t, g); n != 1 {
		t.Errorf("%d records, want 1: a lock that the lease has already is not taken", n)
	}
	// A leader that campaigns again tells a value, and that happens once as well.
	body := `{"lease":"` + lease + `","value":"1"}`
	g.takes(t, "/v1/elections/e", body, "e")
	body = strings.Replace(body, `"1"`, `"2"`, 1)
	for range 3 {
		g.do(t, "POST", "/v1/elections/e", body, once("e2")).want(t, 200)
	}
	if kv := value(t, g, "e/"+strings.TrimLeft(lease, "0")); kv == nil || kv.Version != 2 || string(kv.Value) != "2" {
		t.Errorf("the leader's key: got %+v, want the value 2, told once", kv)
	}
	// Its gateway dies, and the place of the caller's own lease is found again.
	dying := g.through(t, &mortal{Backend: g.store, at: "enter", sent: true})
	dying.do(t, "POST", "/v1/locks/r", `{"lease":"`+lease+`"}`, once("r")).want(t, 504)
	taken := value(t, g, "r/"+strings.TrimLeft(lease, "0"))
	if second := g.takes(t, "/v1/locks/r", `{"lease":"`+lease+`"}`, "r"); second.Token != taken.CreateRevision {
		t.Errorf("got token %d, want %d", second.Token, taken.CreateRevision)
	}
}

// additions are the calls that etcd cannot do twice with the effect of once.
var additions = map[string]string{
	"/v1/users":           `{"name":"alice","password":"secret"}`,
	"/v1/roles":           `{"name":"reader"}`,
	"/v1/cluster/members": `{"peer_urls":["http://127.0.0.1:1"],"learner":true}`,
}

func TestWhatIsAddedIsAddedOnce(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g, other := startOn(t, etcd), startOn(t, etcd)
	for path, body := range additions {
		first := g.do(t, "POST", path, body, once(path)).want(t, 201)
		for _, h := range []*gateway{g, other} {
			again := h.do(t, "POST", path, body, once(path)).want(t, 201).replayed(t)
			if string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: got %s at %q, want %s at %q", path, again.body, again.header.Get("Location"), first.body, first.header.Get("Location"))
			}
		}
		g.do(t, "POST", path, strings.Replace(body, "e", "3", 1), once(path)).want(t, 422)
		g.do(t, "POST", path, body, once(path+"2")).problem(t, 409, "already_exists")
	}
	g.do(t, "POST", "/v1/users", `{"name":"alice","password":"guess"}`, once("/v1/users")).problem(t, 422, "idempotency_key_reused")
	if n := recordCount(t, g); n != len(additions) {
		t.Errorf("%d records, want %d: what is refused is not recorded", n, len(additions))
	}
	// What is refused can be tried again with the same key.
	g.do(t, "DELETE", "/v1/users/alice", "").want(t, 204)
	g.do(t, "POST", "/v1/users", additions["/v1/users"], once("/v1/users2")).want(t, 201)
}

// TestWhatMayHaveBeenAddedIsNotAddedAgain: its gateway died, or got no answer.
func TestWhatMayHaveBeenAddedIsNotAddedAgain(t *testing.T) {
	t.Parallel()
	g := start(t)
	for path, body := range additions {
		dying := g.through(t, &mortal{Backend: g.store, at: "add", sent: true})
		if doc := dying.do(t, "POST", path, body, once(path)).problem(t, 504, "deadline_exceeded"); doc["outcome"] != "unknown" {
			t.Errorf("%s: got %v, want its outcome unknown", path, doc)
		}
		// While that request may be under way elsewhere, and when that cannot be any more.
		if doc := g.do(t, "POST", path, body, once(path)).problem(t, 409, "idempotency_in_progress"); doc["retryable"] != true {
			t.Errorf("%s: got %v", path, doc)
		}
	}
	overdue(t, g)
	for path, body := range additions {
		for range 2 {
			doc := g.do(t, "POST", path, body, once(path)).replayed(t).problem(t, 409, "idempotency_unknown")
			if doc["outcome"] != "unknown" || doc["hint"] == nil {
				t.Errorf("%s: got %v, want the outcome unknown, and what to do", path, doc)
			}
		}
		g.do(t, "POST", path, body, once(path+"2")).problem(t, 409, "already_exists")
	}

	// A gateway that lives knows at once that it got no answer.
	lost := g.through(t, &forgetful{Backend: addsSilently{g.store}})
	lost.do(t, "POST", "/v1/roles", `{"name":"silent"}`, once("silent")).problem(t, 504, "deadline_exceeded")
	g.do(t, "POST", "/v1/roles", `{"name":"silent"}`, once("silent")).replayed(t).problem(t, 409, "idempotency_unknown")
}

type addsSilently struct{ handlers.Backend }

func (a addsSilently) RoleAdd(ctx context.Context, name string) (wire.Header, error) {
	if _, err := a.Backend.RoleAdd(ctx, name); err != nil {
		return wire.Header{}, err
	}
	return wire.Header{}, context.DeadlineExceeded
}

// overdue lets the time pass in which the requests of the records may be under way.
func overdue(t testing.TB, g *gateway) {
	t.Helper()
	for _, kv := range recordsOf(t, g) {
		var record map[string]any
		if err := json.Unmarshal(kv.Value, &record); err != nil {
			t.Fatal(err)
		}
		until, _ := record["until"].(float64)
		if left := time.Until(time.Unix(int64(until), 0)); left < 25*time.Second || left > 40*time.Second {
			t.Errorf("until is %v from now, want the time of the request and some seconds", left)
		}
		record["until"] = time.Now().Add(-time.Second).Unix()
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.oracle.Put(t.Context(), string(kv.Key), string(text), clientv3.WithIgnoreLease()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoGatewaysRacingToAddAUserAddOne(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	firsts := 0
	for _, a := range racers(t, 20, []*gateway{startOn(t, etcd), startOn(t, etcd)}, "POST", "/v1/users", additions["/v1/users"], "k") {
		switch {
		case a == nil:
		case a.status == 409:
			a.problem(t, 409, "idempotency_in_progress")
		case a.want(t, 201).header.Get("Idempotency-Replayed") == "":
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("%d say that they added the user, want 1", firsts)
	}
}

// TestARecordDoesNotGiveAPasswordAway: the same request under another key has another hash, so that one table of guesses
// does not serve for two.
func TestARecordDoesNotGiveAPasswordAway(t *testing.T) {
	t.Parallel()
	g := start(t)
	hashes := make(map[string]bool)
	for _, key := range []string{"a", "b"} {
		g.do(t, "POST", "/v1/users", additions["/v1/users"], once(key)).want(t, 201)
		g.do(t, "DELETE", "/v1/users/alice", "").want(t, 204)
	}
	for _, kv := range recordsOf(t, g) {
		var record struct{ Request string }
		if err := json.Unmarshal(kv.Value, &record); err != nil {
			t.Fatal(err)
		}
		hashes[record.Request] = true
		if strings.Contains(string(kv.Value), "secret") {
			t.Errorf("the record holds the password: %s", kv.Value)
		}
	}
	if len(hashes) != 2 {
		t.Errorf("two records of one request: %d hashes, want 2", len(hashes))
	}
}
