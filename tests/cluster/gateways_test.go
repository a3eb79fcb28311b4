package cluster_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestTerminatedGateway: a gateway gets SIGTERM under load, while writes that have reached etcd wait for a quorum.
//
//   - The calls under way are finished and answered, once the quorum is there; new connections are refused.
//   - It exits with 0.
//   - Nothing acknowledged is lost, and every outcome is true.
func TestTerminatedGatewayFinishesWhatIsUnderWayAndLosesNoWrite(t *testing.T) {
	t.Parallel()
	const waiting = 8
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	gateway, api := startGateway(t, cluster.Endpoints())
	load := startLoad(t, api, "term", 8, 4)
	eventually(t, 20*time.Second, "writers write", func() bool { return load.acks().since(time.Time{}) > 100 })

	leads := leader(t, cluster)
	for _, m := range cluster.Members {
		if m != leads {
			freeze(t, m)
		}
	}
	held := newAPI(t, gateway.API)
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		answers []answer
	)
	for i := range waiting {
		work.Go(func() {
			key := fmt.Sprintf("term/held/%d", i)
			a := held.create(t.Context(), key, key, "?timeout=20")
			load.wrote(key, key, a)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	eventually(t, 10*time.Second, "the writes are under way at etcd", func() bool {
		return metric(t, gateway.Admin, "etcdrest_etcd_in_flight", `class="unary"`) >= waiting+8 // and those of the load
	})
	gateway.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	eventually(t, 10*time.Second, "new connections are refused", func() bool {
		fresh := newAPI(t, gateway.API)
		return fresh.get(ctx, "/livez").err != nil
	})
	for _, m := range cluster.Members {
		m.Thaw()
	}
	work.Wait()
	if code, err := gateway.Wait(ctx); code != 0 || err != nil {
		t.Errorf("got the exit code %d, %v; want 0; its output:\n%s", code, err, gateway.Output())
	}
	load.stop()
	for _, a := range answers {
		if !a.ok() {
			t.Errorf("a write under way was not finished: %v", a)
		}
	}
	if len(answers) != waiting {
		t.Errorf("got %d answers, want %d", len(answers), waiting)
	}
	t.Logf("writes: %v", load.told())
	load.check(t, readBack(t, client, "term/"))
}

// TestTwoGateways: what one gateway has begun another one goes on with.
//
//   - The cursor of a list that one gateway gave continues the list, at its revision, on the other.
//   - The same Idempotency-Key sent to both at once writes once: both answer the same revision, one of them as a replay.
func TestTwoGatewaysShareCursorsAndWriteOnceForOneIdempotencyKey(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, a := startGateway(t, cluster.Endpoints())
	_, b := startGateway(t, cluster.Endpoints())
	pair := []*api{a, b}

	const keys = 45
	var all history
	for i := range keys {
		create(t, pair[i%2], &all, fmt.Sprintf("list/%02d", i))
	}
	var got []string
	query := "/v1/kv?prefix=list/&limit=10"
	path, revision := query, int64(0)
	for page := 0; path != ""; page++ {
		reply := pair[page%2].get(t.Context(), path)
		d := reply.document()
		if !reply.ok() || page > keys {
			t.Fatal(reply)
		}
		if revision == 0 {
			revision = d.Revision
		}
		if d.Revision != revision {
			t.Errorf("page %d is of revision %d, want %d as the first", page, d.Revision, revision)
		}
		for _, kv := range d.KVs {
			got = append(got, kv.Key)
		}
		if path = ""; d.More {
			path = query + "&cursor=" + d.Cursor
		}
		create(t, pair[page%2], &all, fmt.Sprintf("list/%02d-later", page)) // none of them is of that revision
	}
	if len(got) != keys {
		t.Errorf("got %d keys over both gateways, want %d: %q", len(got), keys, got)
	}
	for i, key := range got {
		if want := fmt.Sprintf("list/%02d", i); key != want {
			t.Errorf("key %d is %q, want %q", i, key, want)
		}
	}

	for n := range 40 {
		key := fmt.Sprintf("once/%d", n)
		var (
			both  [2]answer
			ready = make(chan struct{})
			work  sync.WaitGroup
		)
		for i, g := range pair {
			work.Go(func() {
				<-ready
				both[i] = g.put(t.Context(), key, key, "Idempotency-Key: "+key)
			})
		}
		close(ready)
		work.Wait()
		replays := 0
		for _, answer := range both {
			if all.wrote(key, key, answer) != acknowledged {
				t.Errorf("got %v, want success from both", answer)
			}
			if answer.header.Get("Idempotency-Replayed") == "true" {
				replays++
			}
		}
		if x, y := both[0].revision(), both[1].revision(); replays != 1 || x != y || both[0].status != http.StatusCreated {
			t.Errorf("%s: got %d replays, want 1, and the revisions %d and %d, want one: %v; %v", key, replays, x, y, both[0], both[1])
		}
	}
	has := readBack(t, client, "list/")
	maps.Copy(has, readBack(t, client, "once/"))
	all.check(t, has)
}
