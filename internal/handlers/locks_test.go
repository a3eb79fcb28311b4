package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// owner is what the gateway tells of who has a lock or leads, or waits.
type owner struct {
	OwnerKey string `json:"owner_key"`
	Lease    string
	Token    int64 `json:"fencing_token"`
	TTL      int64
	Value    string
}

// owner decodes the answer of who got it.
func (a *answer) owner(t testing.TB) (o owner) {
	t.Helper()
	a.decode(t, &o)
	return o
}

func (a *answer) decode(t testing.TB, to any) {
	t.Helper()
	if err := json.Unmarshal(a.body, to); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// queued waits until so many stand in a queue: it watches etcd itself.
func (g *gateway) queued(t testing.TB, prefix string, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := g.oracle.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	last := int64(-1)
	for range changes {
		r, err := g.oracle.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		if last = r.Count; last == n {
			return
		}
	}
	t.Fatalf("below %s stood %d in the end, want %d", prefix, last, n)
}

// begin sends a request that takes its time; what comes back is its answer, nil when the caller has left.
func (g *gateway) begin(ctx context.Context, t testing.TB, method, path, body string, headers ...string) <-chan *answer {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	out := make(chan *answer, 1)
	go func() { out <- g.send(r) }()
	return out
}

func TestALockHasOneOwnerAtATime(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.do(t, "POST", "/v1/locks/jobs", `{"ttl":60}`).want(t, 201).owner(t)
	if first.TTL != 60 || first.Token == 0 || first.OwnerKey != "jobs/"+strings.TrimLeft(first.Lease, "0") {
		t.Errorf("the owner: got %+v", first)
	}
	doc := g.do(t, "POST", "/v1/locks/jobs", `{"ttl":60}`).problem(t, 409, "lock_held")
	holder := map[string]any{"owner_key": first.OwnerKey, "lease": first.Lease, "fencing_token": num(first.Token)}
	if diff := cmp.Diff(any(holder), doc["holder"]); diff != "" || doc["outcome"] != "not_applied" {
		t.Errorf("the refusal: got %v; holder (-want +got):\n%s", doc, diff)
	}
	if leases := g.do(t, "GET", "/v1/leases", "").json(t)["leases"].([]any); len(leases) != 1 {
		t.Errorf("a lock that is only tried, and held, leaves leases: %v", leases)
	}
	look := g.do(t, "GET", "/v1/locks/jobs", "").want(t, 200).json(t)
	if diff := cmp.Diff(map[string]any{"name": "jobs", "holder": any(holder), "waiters": []any{}}, look); diff != "" {
		t.Errorf("the lock (-want +got):\n%s", diff)
	}
	released := g.do(t, "DELETE", "/v1/locks/jobs?lease="+first.Lease, "").want(t, 200).json(t)
	if released["released"] != true || released["revoked"] != true {
		t.Errorf("release: got %v", released)
	}
	g.do(t, "GET", "/v1/leases/"+first.Lease, "").problem(t, 404, "lease_not_found")
	if again := g.do(t, "DELETE", "/v1/locks/jobs?lease="+first.Lease, "").want(t, 200).json(t); again["released"] != false || again["revoked"] != false {
		t.Errorf("a second release: got %v", again)
	}
	if free := g.do(t, "GET", "/v1/locks/jobs", "").want(t, 200).json(t); free["holder"] != nil {
		t.Errorf("a free lock has the holder %v", free["holder"])
	}
	if second := g.do(t, "POST", "/v1/locks/jobs", `{"ttl":60}`).want(t, 201).owner(t); second.Token <= first.Token {
		t.Errorf("the second owner's token: got %d, want more than %d", second.Token, first.Token)
	}
}

// A lease of the caller's own makes a repeat harmless, and outlives the lock.
func TestALeaseOfOnesOwnHasTheLockOnce(t *testing.T) {
	t.Parallel()
	g := start(t)
	id := g.granted(t)
	body := `{"lease":"` + id + `"}`
	first := g.do(t, "POST", "/v1/locks/own", body).want(t, 201).owner(t)
	second := g.do(t, "POST", "/v1/locks/own", body).want(t, 200).owner(t)
	if first.OwnerKey != second.OwnerKey || first.Token != second.Token || second.TTL == 0 {
		t.Errorf("a repeat: got %+v, want %+v", second, first)
	}
	if r := g.do(t, "DELETE", "/v1/locks/own?lease="+id, "").want(t, 200).json(t); r["released"] != true || r["revoked"] != false {
		t.Errorf("release: got %v", r)
	}
	g.do(t, "GET", "/v1/leases/"+id, "").want(t, 200)
	g.do(t, "POST", "/v1/locks/own", `{"lease":"123"}`).problem(t, 404, "lease_not_found")
	g.do(t, "POST", "/v1/locks/own", `{"lease":"123","wait":1}`).problem(t, 404, "lease_not_found")
}

func TestWaitersGetTheLockInTheirOrder(t *testing.T) {
	t.Parallel()
	g := start(t)
	holder := g.do(t, "POST", "/v1/locks/q", `{"ttl":60}`).want(t, 201).owner(t)
	second := g.begin(t.Context(), t, "POST", "/v1/locks/q", `{"ttl":60,"wait":60}`)
	g.queued(t, "q/", 2)
	leaving, leave := context.WithCancel(t.Context())
	third := g.begin(leaving, t, "POST", "/v1/locks/q", `{"ttl":60,"wait":60}`)
	g.queued(t, "q/", 3)
	fourth := g.begin(t.Context(), t, "POST", "/v1/locks/q", `{"ttl":60,"wait":60}`)
	g.queued(t, "q/", 4)

	var look struct {
		Holder  owner
		Waiters []owner
	}
	g.do(t, "GET", "/v1/locks/q", "").want(t, 200).decode(t, &look)
	if look.Holder.Token != holder.Token || len(look.Waiters) != 3 || look.Waiters[0].Token <= holder.Token || look.Waiters[2].Token <= look.Waiters[1].Token {
		t.Errorf("the queue: got %+v", look)
	}
	leave()
	<-third
	g.queued(t, "q/", 3)
	for i, waiter := range []<-chan *answer{second, fourth} {
		g.do(t, "DELETE", "/v1/locks/q?lease="+holder.Lease, "").want(t, 200)
		a := <-waiter
		if a == nil {
			t.Fatal("a waiter got no answer")
		}
		next := a.want(t, 201).owner(t)
		if want := look.Waiters[2*i]; next.Token != want.Token || next.Lease != want.Lease || next.TTL != 60 {
			t.Errorf("the next owner: got %+v, want %+v", next, want)
		}
		holder = next
	}
	g.queued(t, "q/", 1)
}

// Whoever hangs up leaves the queue, with both kinds of leases; a lease of his own stays his.
func TestACallerThatGoesAwayLeavesTheQueue(t *testing.T) {
	t.Parallel()
	g := start(t)
	own := g.granted(t)
	holder := g.do(t, "POST", "/v1/locks/gone", `{"ttl":60}`).want(t, 201).owner(t)
	for _, body := range []string{`{"ttl":60,"wait":60}`, `{"lease":"` + own + `","wait":60}`} {
		ctx, leave := context.WithCancel(t.Context())
		waiter := g.begin(ctx, t, "POST", "/v1/locks/gone", body)
		g.queued(t, "gone/", 2)
		leave()
		<-waiter
		g.queued(t, "gone/", 1)
	}
	leases, _ := g.do(t, "GET", "/v1/leases", "").want(t, 200).json(t)["leases"].([]any)
	if len(leases) != 2 || !strings.Contains(fmt.Sprint(leases), own) || !strings.Contains(fmt.Sprint(leases), holder.Lease) {
		t.Errorf("leases: got %v, want %s and %s", leases, own, holder.Lease)
	}
}

func TestAWaitThatIsOverNamesTheHolder(t *testing.T) {
	t.Parallel()
	g := start(t)
	holder := g.do(t, "POST", "/v1/locks/w", `{"ttl":60}`).want(t, 201).owner(t)
	own := g.granted(t)
	for _, body := range []string{`{"ttl":60,"wait":1}`, `{"lease":"` + own + `","wait":1}`, `{"lease":"` + own + `"}`} {
		doc := g.do(t, "POST", "/v1/locks/w", body).problem(t, 409, "lock_held")
		if named, _ := doc["holder"].(map[string]any); named["lease"] != holder.Lease || doc["outcome"] != "not_applied" {
			t.Errorf("%s: got %v, want the holder %s", body, doc, holder.Lease)
		}
		g.queued(t, "w/", 1)
	}
	g.do(t, "POST", "/v1/locks/w?timeout=1", `{"ttl":60,"wait":60}`).problem(t, 504, "deadline_exceeded")
	g.queued(t, "w/", 1)
}

// One lease stands once: a second request with it is told so, and leaves the first one's place alone.
func TestAlreadyWaiting(t *testing.T) {
	t.Parallel()
	g := start(t)
	holder := g.do(t, "POST", "/v1/locks/twice", `{"ttl":60}`).want(t, 201).owner(t)
	body := `{"lease":"` + g.granted(t) + `","wait":60}`
	waiter := g.begin(t.Context(), t, "POST", "/v1/locks/twice", body)
	g.queued(t, "twice/", 2)
	g.do(t, "POST", "/v1/locks/twice", body).problem(t, 409, "already_waiting")
	g.do(t, "POST", "/v1/locks/twice", strings.Replace(body, `"wait":60`, `"wait":0`, 1)).problem(t, 409, "already_waiting")
	g.do(t, "DELETE", "/v1/locks/twice?lease="+holder.Lease, "").want(t, 200)
	if a := <-waiter; a == nil || a.status != 201 {
		t.Errorf("the first waiter: got %+v, want 201", a)
	}
}

func TestAPlaceThatIsLostWhileWaitingIsLockLost(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "POST", "/v1/locks/lost", `{"ttl":60}`).want(t, 201)
	for name, lose := range map[string]func(t *testing.T, lease string){
		"the lease is revoked": func(t *testing.T, lease string) {
			t.Helper()
			g.do(t, "DELETE", "/v1/leases/"+lease, "").want(t, 200)
		},
		"somebody releases it": func(t *testing.T, lease string) {
			t.Helper()
			g.do(t, "DELETE", "/v1/locks/lost?lease="+lease, "").want(t, 200)
		},
	} {
		for _, own := range []bool{true, false} {
			body := `{"ttl":60,"wait":60}`
			if own {
				body = `{"lease":"` + g.granted(t) + `","wait":60}`
			}
			waiter := g.begin(t.Context(), t, "POST", "/v1/locks/lost", body)
			g.queued(t, "lost/", 2)
			var look struct{ Waiters []owner }
			g.do(t, "GET", "/v1/locks/lost", "").want(t, 200).decode(t, &look)
			lose(t, look.Waiters[0].Lease)
			a := <-waiter
			if a == nil {
				t.Fatalf("%s: no answer", name)
			}
			if doc := a.problem(t, 409, "lock_lost"); doc["outcome"] != "not_applied" {
				t.Errorf("%s: got %v", name, doc)
			}
			g.queued(t, "lost/", 1)
		}
	}
}

// A lease that the gateway granted outlives a wait that is longer than it, and the new owner has its whole time.
func TestALeaseIsKeptAliveWhileItWaits(t *testing.T) {
	t.Parallel()
	g := start(t)
	holder := g.do(t, "POST", "/v1/locks/slow", `{"ttl":60}`).want(t, 201).owner(t)
	const ttl = 5 // a busy machine must manage to renew within it
	waiter := g.begin(t.Context(), t, "POST", "/v1/locks/slow", `{"ttl":`+strconv.Itoa(ttl)+`,"wait":60}`)
	g.queued(t, "slow/", 2)
	// A lease granted after the waiter's, for longer, tells when the waiter's would be over.
	clock, err := g.oracle.Grant(t.Context(), ttl+3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Put(t.Context(), "clock", "", clientv3.WithLease(clock.ID)); err != nil {
		t.Fatal(err)
	}
	g.queued(t, "clock", 0)
	g.queued(t, "slow/", 2)
	g.do(t, "DELETE", "/v1/locks/slow?lease="+holder.Lease, "").want(t, 200)
	a := <-waiter
	if a == nil {
		t.Fatal("no answer")
	}
	if got := a.want(t, 201).owner(t); got.TTL != ttl {
		t.Errorf("the new owner's time: got %d, want %d", got.TTL, ttl)
	}
}

// The token protects what the lock is for: a write of a former owner is refused.
func TestWritesUnderALockThatIsLostAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := g.do(t, "POST", "/v1/locks/db%2Fmain", `{"ttl":60}`).want(t, 201).owner(t)
	under := func(o owner) string { return fmt.Sprintf("if_lock=%s&fencing_token=%d", o.OwnerKey, o.Token) }
	g.do(t, "PUT", "/v1/kv/db/row?"+under(first), `{"value":"1"}`).want(t, 201)
	g.do(t, "DELETE", "/v1/leases/"+first.Lease, "").want(t, 200) // it expires, say
	second := g.do(t, "POST", "/v1/locks/db%2Fmain", `{"ttl":60}`).want(t, 201).owner(t)
	g.do(t, "PUT", "/v1/kv/db/row?"+under(first), `{"value":"2"}`).problem(t, 409, "lock_lost")
	g.do(t, "DELETE", "/v1/kv/db/row?"+under(first), "").problem(t, 409, "lock_lost")
	stale := owner{OwnerKey: second.OwnerKey, Token: first.Token}
	g.do(t, "PUT", "/v1/kv/db/row?"+under(stale), `{"value":"2"}`).problem(t, 409, "lock_lost")
	g.do(t, "PUT", "/v1/kv/db/row?"+under(second), `{"value":"3"}`).want(t, 200)
}

func TestNamesOfLocks(t *testing.T) {
	t.Parallel()
	g := start(t)
	for path, prefix := range map[string]string{
		"/v1/locks/a%2Fb": "a/b/", "/v1/locks/a%252Fb": "a%2Fb/", "/v1/locks/%C3%A4%20": "ä /",
		"/v1/locks/Li4?key_encoding=base64url": "../", "/v1/locks/_wA?key_encoding=base64url": "\xff\x00/",
	} {
		o := g.do(t, "POST", path, `{"ttl":60}`).want(t, 201)
		g.queued(t, prefix, 1)
		if doc := o.json(t); prefix[0] == 0xff && (doc["name_base64"] != "/wA=" || doc["owner_key_base64"] == nil) {
			t.Errorf("a name of bytes: got %v", doc)
		}
	}
	g.do(t, "POST", "/v1/locks/a/b", `{"ttl":60}`).problem(t, 404, "route_not_found")
	g.do(t, "POST", "/v1/locks/%00x", `{"ttl":60}`).problem(t, 403, "reserved")
	g.do(t, "GET", "/v1/locks/%00x", "").problem(t, 403, "reserved")
}

func TestLocksAreReadStrictly(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, tt := range []struct{ method, path, body, code string }{
		{"POST", "/v1/locks/x", `{}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"wait":1}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"ttl":1,"lease":"1"}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"lease":"0"}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"ttl":0}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"ttl":1,"wait":301}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"ttl":1,"wait":-1}`, "invalid_argument"},
		{"POST", "/v1/locks/x", `{"ttl":1,"value":"x"}`, "unknown_field"},
		{"POST", "/v1/locks/x?wait=1", `{"ttl":1}`, "unknown_parameter"},
		{"DELETE", "/v1/locks/x", "", "invalid_parameter"},
		{"DELETE", "/v1/locks/x?lease=0", "", "invalid_parameter"},
		{"DELETE", "/v1/locks/x?lease=xyz", "", "invalid_parameter"},
	} {
		doc := g.do(t, tt.method, tt.path, tt.body)
		if doc.status != 400 || doc.json(t)["code"] != tt.code {
			t.Errorf("%s %s %s: got %d %.200s, want 400 %s", tt.method, tt.path, tt.body, doc.status, doc.body, tt.code)
		}
	}
	g.queued(t, "x/", 0)
}
