package etcdclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestWatchDeliversWholeRevisionsWithWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	put(t, c, "a", "0") // revision 2
	request := all(2)
	request.PrevKV = true
	r, _ := watch(t, c, request)
	if _, err := c.Txn(within(t, 5*time.Second), &wire.TxnRequest{Then: []wire.Op{ // 3
		{Put: &wire.PutRequest{Key: []byte("a"), Value: []byte("1")}}, {Put: &wire.PutRequest{Key: []byte("b"), Value: []byte("1")}},
	}}); err != nil {
		t.Fatal(err)
	}
	deleteRange(t, c, "a", "c") // 4
	r.untilReached(4)
	type event struct{ what, prev string }
	want := map[int64][]event{2: {{"put a=0", ""}}, 3: {{"put a=1", "a=0"}, {"put b=1", ""}}, 4: {{"delete a=", "a=1"}, {"delete b=", "b=1"}}}
	for _, change := range r.changes {
		size := 0
		var got []event
		for _, e := range change.Events {
			kind, prev := "put", ""
			if e.Delete {
				kind = "delete"
			}
			if e.PrevKV != nil {
				prev = fmt.Sprintf("%s=%s", e.PrevKV.Key, e.PrevKV.Value)
			}
			got = append(got, event{fmt.Sprintf("%s %s=%s", kind, e.KV.Key, e.KV.Value), prev})
			size += len(e.KV.Key) + len(e.KV.Value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want[change.Revision]) {
			t.Errorf("revision %d: got %v, want %v", change.Revision, got, want[change.Revision])
		}
		if change.Size < size {
			t.Errorf("revision %d: a size of %d for %d bytes of keys and values", change.Revision, change.Size, size)
		}
	}
	if len(r.changes) != len(want) {
		t.Errorf("%d changes, want %d", len(r.changes), len(want))
	}
}

func TestWatchWithinANamespaceSeesOnlyItsKeys(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	ns := c.Namespace([]byte("ns/"))
	for name, request := range map[string]etcdclient.WatchRequest{
		"all": all(1), "from the first key": {End: []byte("\x00"), Revision: 1}, "one": keyed("k", 1), "range": {Key: []byte("a"), End: []byte("z"), Revision: 1},
	} {
		for _, key := range []string{"k", "ns", "ns0", "ns.", "m/k"} {
			put(t, c, key, "foreign")
		}
		last := put(t, c, "ns/k", "v").Header.Revision
		request.PrevKV = true
		r, _ := watch(t, ns, request)
		r.untilReached(last)
		for _, change := range r.changes {
			for _, e := range change.Events {
				if string(e.KV.Key) != "k" || string(e.KV.Value) != "v" || e.PrevKV != nil && string(e.PrevKV.Key) != "k" {
					t.Errorf("%s: got %q=%q", name, e.KV.Key, e.KV.Value)
				}
			}
		}
	}
}

func TestWatchesShareStreamsAndAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	const n = 300
	c, _ := embedded(t)
	var recorders []*recorder
	var watches []*etcdclient.Watch
	for i := range n {
		r, w := watch(t, c, keyed(fmt.Sprint("k", i), 1))
		recorders, watches = append(recorders, r), append(watches, w)
	}
	for _, r := range recorders {
		r.untilCreated(1)
	}
	if got := count(t, c, "watches"); got != n {
		t.Errorf("%v watches, want %d", got, n)
	}
	if got := count(t, c, "watch_streams"); got != 5 { // 64 on each
		t.Errorf("%v streams for %d watches, want 5", got, n)
	}
	apart, lonely := watch(t, c, etcdclient.WatchRequest{Key: []byte("k"), Revision: 1, Alone: true})
	apart.untilCreated(1)
	if got := count(t, c, "watch_streams"); got != 6 {
		t.Errorf("%v streams, want one more for the watch that is alone", got)
	}
	for i := range n {
		put(t, c, fmt.Sprint("k", i), "v")
	}
	for i, r := range recorders {
		r.until("its change", 10*time.Second, func() bool { return len(r.changes) == 1 })
		if key := string(r.changes[0].Events[0].KV.Key); key != fmt.Sprint("k", i) {
			t.Errorf("watch %d got a change of %s", i, key)
		}
	}
	for _, w := range append(watches, lonely) {
		w.Stop()
	}
	if got := count(t, c, "watches"); got != 0 {
		t.Errorf("%v watches after they were stopped", got)
	}
	eventually(t, "the streams are closed", 5*time.Second, func() bool { return count(t, c, "watch_streams") == 0 })
}

func TestWatchesAreSpreadOverTheConnectionsBeforeTheyShare(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	first, _ := watch(t, c, keyed("k", 1))
	first.untilCreated(1)
	eventually(t, "the connections for watches are open", 5*time.Second, func() bool {
		return gauge(t, c, "etcdrest_etcd_connections", "class", "watch") == 2
	})
	for n := 2; n < 6; n++ {
		r, _ := watch(t, c, keyed("k", 1))
		r.untilCreated(1)
		if got := count(t, c, "watch_streams"); got != 2 {
			t.Errorf("%v streams for %d watches over two connections, want 2", got, n)
		}
	}
}

// fill puts n values of a megabyte under the prefix big/.
func fill(t testing.TB, c *etcdclient.Client, n int) {
	t.Helper()
	value := bytes.Repeat([]byte("v"), 1<<20)
	for i := range n {
		put(t, c, fmt.Sprintf("big/%02d", i), string(value))
	}
}

func TestWatchRevisionOfTwentyMegabytesArrivesWhole(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	fill(t, c, 20)
	at := deleteRange(t, c, "big/", "big0") // one revision; what was there is 20 MiB
	put(t, c, "big/after", "v")
	r, _ := watch(t, c, etcdclient.WatchRequest{Key: []byte("big/"), End: []byte("big0"), Revision: at, PrevKV: true})
	r.untilReached(at + 1)
	if len(r.changes) != 2 || len(r.changes[0].Events) != 20 {
		t.Fatalf("got %d changes, the first with %d events; want 2, and 20 in the first", len(r.changes), len(r.changes[0].Events))
	}
	for i, e := range r.changes[0].Events {
		if e.PrevKV == nil || len(e.PrevKV.Value) != 1<<20 || string(e.KV.Key) != fmt.Sprintf("big/%02d", i) {
			t.Errorf("event %d is %q", i, e.KV.Key)
		}
	}
	if size := r.changes[0].Size; size < 20<<20 || size > 21<<20 {
		t.Errorf("its size is %d; want 20 MiB and a little", size)
	}
}

func TestWatchEndsAtARevisionThatIsTooLarge(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	fill(t, c, 5)
	at := deleteRange(t, c, "big/", "big0")
	put(t, c, "big/after", "v")
	other, _ := watch(t, c, keyed("big/after", 1))
	r, _ := watch(t, c, etcdclient.WatchRequest{
		Key: []byte("big/"), End: []byte("big0"), Revision: at - 1, PrevKV: true, MaxRevisionBytes: 4 << 20,
	})
	e := r.untilEnded()
	if e.Name != etcdclient.NameRevisionTooLarge || e.Revision != at || e.Limit != 4<<20 || e.Problem().Code != problem.RevisionTooLarge ||
		e.Problem().Extra["revision"] != at {
		t.Errorf("got %+v; want revision %d to be too large", e, at)
	}
	if len(r.changes) != 1 || r.changes[0].Revision != at-1 {
		t.Errorf("%d changes came; want the one before", len(r.changes))
	}
	other.untilReached(at + 1) // the others on the stream go on
}

func TestWatchOfACompactedStartEndsAndTellsWhereTheLogBegins(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for range 10 {
		put(t, c, "k", "v")
	}
	if _, err := c.Compact(within(t, 5*time.Second), 8, false); err != nil {
		t.Fatal(err)
	}
	other, asking := watch(t, c, keyed("k", 9))
	r, _ := watch(t, c, keyed("k", 3))
	e := r.untilEnded()
	if !errors.Is(e, etcdclient.ErrCompacted) || e.CompactRevision != 8 || e.Problem().Code != problem.Compacted || e.Problem().Extra["compact_revision"] != int64(8) {
		t.Errorf("got %+v; want compacted at 8", e)
	}
	if len(r.changes) != 0 {
		t.Errorf("%d changes came", len(r.changes))
	}
	other.untilReached(11)
	asking.RequestProgress() // etcd certifies nothing on a stream that has a watch it dropped: it must have been cancelled
	other.until("progress", 5*time.Second, func() bool { return len(other.progress) > 0 })
}

func TestWatchOfAnInvalidRangeEndsAndOthersGoOn(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	other, _ := watch(t, c, keyed("k", 1))
	for name, request := range map[string]etcdclient.WatchRequest{
		"empty range": {Key: []byte("b"), End: []byte("a"), Revision: 1},
		"revision 0":  {Key: []byte("b")},
		"too large":   {Key: make([]byte, 3<<20), Revision: 1},
	} {
		r, _ := watch(t, c, request)
		if code := r.untilEnded().Problem().Code; code != problem.InvalidArgument && code != problem.RequestTooLarge {
			t.Errorf("%s: got %v", name, code)
		}
	}
	other.untilReached(put(t, c, "k", "v").Header.Revision)
	if len(other.lost) > 0 {
		t.Errorf("the other watch was interrupted: %v", other.lost)
	}
}

func TestWatchProgressIsCertifiedOnRequest(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	var watches []*etcdclient.Watch
	var recorders []*recorder
	for i := range 10 {
		r, w := watch(t, c, keyed(fmt.Sprint("idle", i), 1))
		recorders, watches = append(recorders, r), append(watches, w)
	}
	at := put(t, c, "elsewhere", "v").Header.Revision
	for range 100 {
		for _, w := range watches {
			w.RequestProgress()
		}
	}
	for _, r := range recorders {
		r.until("progress", 10*time.Second, func() bool { return len(r.progress) > 0 && r.progress[len(r.progress)-1] >= at })
		if n := r.get(func() int { return len(r.progress) }); n > 10 {
			t.Errorf("%d progress calls for requests of a moment", n)
		}
	}
}

func TestWatchGoesOnAfterItsConnectionsAreCutAgainAndAgain(t *testing.T) {
	t.Parallel()
	direct, s := embedded(t)
	ways := []*icebox{freezer(t, s.Endpoint()), freezer(t, s.Endpoint())}
	c := ready(t, []string{ways[0].endpoint, ways[1].endpoint})
	const writes = 400
	var recorders []*recorder
	for range 20 {
		r, w := watch(t, c, etcdclient.WatchRequest{Key: []byte("k"), End: []byte("l"), Revision: 2, Alone: len(recorders)%7 == 0})
		w.RequestProgress()
		recorders = append(recorders, r)
	}
	recorders[0].untilCreated(1)
	for i := range writes {
		put(t, direct, fmt.Sprint("k", i), "v")
		if i%50 == 25 {
			ways[i/50%2].cut()
		}
	}
	interrupted := 0
	for _, r := range recorders {
		r.untilReached(writes + 1)
		if len(r.changes) != writes {
			t.Errorf("%d changes; want each of %d once", len(r.changes), writes)
		}
		interrupted += len(r.lost)
	}
	if interrupted == 0 || gauge(t, c, "etcdrest_etcd_watch_resumes_total") == 0 {
		t.Error("no watch was interrupted: the test proves nothing")
	}
	if n := count(t, c, "watches"); n != 20 {
		t.Errorf("%v watches, want 20", n)
	}
}

func TestWatchThatBlocksAloneHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	blocked := newRecorder(t, 2)
	blocked.block = make(chan struct{})
	request := all(2)
	request.Alone = true
	w := c.Watch(request, blocked)
	defer close(blocked.block)
	defer w.Stop()
	others, _ := watch(t, c, all(2))
	value := string(bytes.Repeat([]byte("v"), 512<<10))
	var last int64
	for range 20 { // far more than a stream holds
		last = put(t, c, "k", value).Header.Revision
	}
	others.untilReached(last)
}

func TestWatchThatIsDeniedEndsAndOthersOfItsStreamGoOn(t *testing.T) {
	t.Parallel()
	_, s := embedded(t)
	enableAuth(t, s)
	c := ready(t, []string{s.Endpoint()}, user("app", "apppw"))
	mine, _ := watch(t, c, keyed("app/k", 1))
	mine.untilCreated(1)
	denied, _ := watch(t, c, keyed("theirs/k", 1))
	e := denied.untilEnded()
	if !errors.Is(e, rpctypes.ErrPermissionDenied) || e.Problem().Code != problem.PermissionDenied {
		t.Errorf("got %+v; want permission_denied", e)
	}
	// The user's token becomes invalid: what is watched goes on, and new watches get a new one.
	root := official(t, clientv3.Config{Endpoints: []string{s.Endpoint()}, Username: "root", Password: "rootpw"})
	ctx := within(t, 20*time.Second)
	if _, err := root.UserDelete(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := root.UserAdd(ctx, "app", "apppw"); err != nil {
		t.Fatal(err)
	}
	if _, err := root.UserGrantRole(ctx, "app", "app"); err != nil {
		t.Fatal(err)
	}
	var recorders []*recorder
	for range 30 {
		r, _ := watch(t, c, keyed("app/k", 1))
		recorders = append(recorders, r)
	}
	for _, r := range recorders {
		r.untilCreated(1)
	}
	if n := gauge(t, c, "etcdrest_etcd_token_refreshes_total"); n != 2 {
		t.Errorf("%v authentications, want 2: the first, and one renewal for 30 watches", n)
	}
	mine.untilReached(put(t, c, "app/k", "v").Header.Revision)
	if len(mine.lost) > 0 {
		t.Errorf("the watch that was there was interrupted: %v", mine.lost)
	}
}

// This is in the spirit of etcd #11882, where cancelling a watch while its client closes counted it down twice.
func TestWatchGaugesAreNeverNegativeAndEndAtZero(t *testing.T) { //nolint:paralleltest // etcd counts its watchers per process
	watchers := func() float64 { return etcdGauge(t, "etcd_debugging_mvcc_watcher_total") }
	s := embedetcd.StartForTest(t)
	before := watchers()
	for round := range 10 {
		way := freezer(t, s.Endpoint())
		c := ready(t, []string{way.endpoint, s.Endpoint()})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 25 {
					w := c.Watch(etcdclient.WatchRequest{Key: []byte("k"), Revision: 1, Alone: rand.IntN(8) == 0}, new(quiet))
					w.RequestProgress()
					if rand.IntN(4) > 0 {
						wg.Go(w.Stop)
					}
					if rand.IntN(4) > 0 {
						wg.Go(w.Stop)
					}
				}
			})
		}
		wg.Go(func() {
			for range 50 {
				count(t, c, "watches")
				count(t, c, "watch_streams")
			}
		})
		wg.Go(way.cut)
		if round%2 == 0 {
			wg.Wait()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if n, m := count(t, c, "watches"), count(t, c, "watch_streams"); n != 0 || m != 0 {
			t.Errorf("round %d: after Close %v watches and %v streams", round, n, m)
		}
	}
	eventually(t, "etcd has no watcher left", 10*time.Second, func() bool { return watchers() == before })
}

// quiet is a Watcher that minds nothing.
type quiet struct{}

func (*quiet) Created()                    {}
func (*quiet) Changes([]etcdclient.Change) {}
func (*quiet) Progress(int64)              {}
func (*quiet) Lost(error)                  {}
func (*quiet) Ended(error)                 {}

func TestStoppedWatchesLeaveEtcdWhileTheStreamGoesOn(t *testing.T) { //nolint:paralleltest // etcd counts its watchers per process
	watchers := func() float64 { return etcdGauge(t, "etcd_debugging_mvcc_watcher_total") }
	c, _ := embedded(t)
	r, _ := watch(t, c, keyed("k", 1))
	r.untilCreated(1)
	before := watchers()
	for range 200 { // stopped before, while and after etcd accepts them
		w := c.Watch(keyed("k", 1), new(quiet))
		if rand.IntN(2) == 0 {
			w.RequestProgress()
		}
		w.Stop()
	}
	var later []*etcdclient.Watch
	for range 50 {
		other, w := watch(t, c, keyed("k", 1))
		other.untilCreated(1)
		later = append(later, w)
	}
	if n := watchers(); n < before+50 {
		t.Errorf("%v watchers in etcd, want 50 more than %v", n, before)
	}
	for _, w := range later {
		w.Stop()
		w.Stop()
	}
	eventually(t, "the stopped watches have left etcd", 10*time.Second, func() bool { return watchers() == before })
	if len(r.lost) > 0 {
		t.Errorf("the watch that stayed was interrupted: %v", r.lost)
	}
}

func TestCloseEndsEveryWatch(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t)
	c := ready(t, []string{s.Endpoint()})
	var recorders []*recorder
	for i := range 100 {
		request := keyed("k", 1)
		request.Alone = i%10 == 0
		r := newRecorder(t, 1)
		c.Watch(request, r)
		recorders = append(recorders, r)
	}
	recorders[99].untilCreated(1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i, r := range recorders {
		if len(r.ended) != 1 || asError(t, r.ended[0]).Name != etcdclient.NameClosed {
			t.Errorf("watch %d: ended %v; want once, by the client's end", i, r.ended)
		}
	}
	late := newRecorder(t, 1)
	c.Watch(keyed("k", 1), late).Stop()
	if e := late.untilEnded(); e.Name != etcdclient.NameClosed {
		t.Errorf("a watch of a closed client: %+v", e)
	}
}

func TestStopFromInsideAWatcher(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	s := &stopper{done: make(chan struct{})}
	s.mu.Lock()
	s.watch = c.Watch(keyed("k", 1), s)
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		t.Fatal("Stop from inside Created did not return")
	}
	put(t, c, "k", "v")
	if n := count(t, c, "watches"); n != 0 {
		t.Errorf("%v watches", n)
	}
}

// stopper stops its watch as soon as it is created.
type stopper struct {
	quiet
	mu    sync.Mutex
	watch *etcdclient.Watch
	done  chan struct{}
}

func (s *stopper) Created() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.Stop()
	close(s.done)
}
