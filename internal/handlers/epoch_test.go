package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/loopback"
)

const epochKey = "\x00etcdrest/epoch"

// restartable is an etcd that can be stopped, have its folder replaced, and be started again at the same address.
type restartable struct {
	dir, address string
	server       *embedetcd.Server
}

func startRestartable(t testing.TB) *restartable {
	t.Helper()
	r := &restartable{dir: t.TempDir()}
	var err error
	if r.address, err = loopback.LastingAddress(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	t.Cleanup(func() { r.server.Close() })
	return r
}

func (r *restartable) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var err error
	if r.server, err = embedetcd.Start(ctx, embedetcd.Options{Dir: r.dir, Listen: r.address, Fast: true}); err != nil {
		t.Fatal(err)
	}
}

// restart stops etcd, does what is to be done while it is stopped, and starts it again.
func (r *restartable) restart(t testing.TB, stopped func()) {
	t.Helper()
	r.server.Close()
	if stopped != nil {
		stopped()
	}
	r.start(t)
}

// data is the folder that etcd itself keeps.
func (r *restartable) data() string { return filepath.Join(r.dir, "etcd") }

func epochOf(t testing.TB, g *gateway) string {
	t.Helper()
	epoch, ok := g.do(t, "GET", "/version", "").want(t, 200).json(t)["epoch"].(string)
	if !ok {
		t.Fatal("/version names no epoch")
	}
	return epoch
}

// eventually asks until the answer is yes: what it waits for takes seconds by design.
func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-deadline:
			t.Fatalf("after 20 s still not: %s", what)
		case <-tick.C:
		}
	}
}

type storedEpoch struct {
	ID         string   `json:"id"`
	Cluster    string   `json:"cluster_id"`
	Term       uint64   `json:"raft_term"`
	Index      uint64   `json:"raft_index"`
	Revision   int64    `json:"revision"`
	Supersedes []string `json:"supersedes"`
}

func storedEpochOf(t testing.TB, g *gateway) (s storedEpoch) {
	t.Helper()
	kv := value(t, g, epochKey)
	if kv == nil {
		t.Fatal("the epoch is not kept in etcd")
	}
	if err := json.Unmarshal(kv.Value, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheEpochIsCreatedOnceAndSharedByAllGateways(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	gateways := make([]*gateway, 4)
	for i := range gateways {
		gateways[i] = startOn(t, etcd)
	}
	epochs := make([]string, 40)
	var wg sync.WaitGroup
	for i := range epochs {
		wg.Go(func() { epochs[i] = epochOf(t, gateways[i%len(gateways)]) })
	}
	wg.Wait()
	kept := storedEpochOf(t, gateways[0])
	status, err := gateways[0].oracle.Status(t.Context(), etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%016x.%s", status.Header.ClusterId, kept.ID)
	for i, epoch := range epochs {
		if epoch != want {
			t.Errorf("call %d: got %s, want %s", i, epoch, want)
		}
	}
	if len(kept.ID) != 16 || kept.Term != status.RaftTerm || kept.Index == 0 || kept.Index > status.RaftIndex || kept.Revision == 0 {
		t.Errorf("kept: got %+v with the log at (%d, %d)", kept, status.RaftTerm, status.RaftIndex)
	}
	if kv := value(t, gateways[0], epochKey); kv.Version != 1 {
		t.Errorf("the state was written %d times, want once", kv.Version)
	}
}

// The state of an older copy of the data folder names the same epoch, and the raft term is higher after every start: that
// revisions have gone back is what shows it.
func TestARestoreOfAnOlderFolderChangesTheEpoch(t *testing.T) {
	t.Parallel()
	etcd := startRestartable(t)
	g, other := startOn(t, etcd.server), startOn(t, etcd.server)
	for i := range 5 {
		g.do(t, "PUT", fmt.Sprintf("/v1/kv/k/%d", i), `{"value":"before"}`).want(t, 201)
	}
	first := epochOf(t, g)
	if got := epochOf(t, other); got != first {
		t.Fatalf("two gateways, two epochs: %s and %s", first, got)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	etcd.restart(t, func() {
		if err := os.CopyFS(backup, os.DirFS(etcd.data())); err != nil {
			t.Fatal(err)
		}
	})
	for _, h := range []*gateway{g, other} {
		eventually(t, "the gateway reaches etcd again", func() bool { return h.do(t, "PUT", "/v1/kv/k/9", `{"value":"after"}`).status < 300 })
		if got := epochOf(t, h); got != first {
			t.Fatalf("a mere restart changed the epoch from %s to %s", first, got)
		}
	}
	cursor, _ := g.do(t, "GET", "/v1/kv?prefix=k/&limit=2", "").want(t, 200).json(t)["cursor"].(string)
	for i := range 20 {
		g.do(t, "PUT", fmt.Sprintf("/v1/kv/k/%d", i), `{"value":"lost"}`)
		other.do(t, "GET", "/v1/kv/k/0", "").want(t, 200)
	}

	etcd.restart(t, func() {
		if err := os.RemoveAll(etcd.data()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(etcd.data(), os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
	})
	etcd.restart(t, nil) // one more term: the log is further by that than the gateways know, and only its revisions are not
	eventually(t, "the gateway reaches etcd again", func() bool { return g.do(t, "GET", "/v1/kv/k/0", "").status == 200 })
	second := epochOf(t, g)
	if second == first || !strings.HasPrefix(second, first[:17]) {
		t.Errorf("after the restore: got %s, want another epoch of the same cluster than %s", second, first)
	}
	g.do(t, "GET", "/v1/kv?prefix=k/&limit=2&cursor="+cursor, "").problem(t, 409, "epoch_changed")
	// The other gateway remembers the lost history too. It adopts the new epoch and does not begin one of its own.
	eventually(t, "the other gateway reaches etcd again", func() bool { return other.do(t, "GET", "/v1/kv/k/0", "").status == 200 })
	if got := epochOf(t, other); got != second {
		t.Errorf("the other gateway: got %s, want %s", got, second)
	}
	if got := epochOf(t, startOn(t, etcd.server)); got != second {
		t.Errorf("a new gateway: got %s, want %s", got, second)
	}
	if got := epochOf(t, g); got != second {
		t.Errorf("the first gateway: got %s, want %s still", got, second)
	}
}

// A restore by etcd's own tool keeps the cluster's id and begins the raft log again, so that even a gateway that has seen
// nothing of the former history notices.
func TestARestoreFromASnapshotChangesTheEpochForANewGateway(t *testing.T) {
	t.Parallel()
	etcd := startRestartable(t)
	g := startOn(t, etcd.server)
	for i := range 100 {
		if _, err := g.oracle.Put(t.Context(), fmt.Sprintf("k/%d", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	first := epochOf(t, g)
	file := filepath.Join(t.TempDir(), "snapshot.db")
	tool := snapshot.NewV3(zap.NewNop())
	if _, err := tool.Save(t.Context(), clientv3.Config{Endpoints: []string{etcd.server.Endpoint()}}, file); err != nil {
		t.Fatal(err)
	}
	etcd.restart(t, func() {
		if err := os.RemoveAll(etcd.data()); err != nil {
			t.Fatal(err)
		}
		peer := "http://127.0.0.1:0"
		if err := tool.Restore(snapshot.RestoreConfig{
			SnapshotPath: file, Name: "etcdrest", OutputDataDir: etcd.data(), PeerURLs: []string{peer},
			InitialCluster: "etcdrest=" + peer, InitialClusterToken: "etcd-cluster",
		}); err != nil {
			t.Fatal(err)
		}
	})
	fresh := startOn(t, etcd.server)
	if kept := storedEpochOf(t, fresh); first != kept.Cluster+"."+kept.ID {
		t.Fatalf("the snapshot holds the epoch %+v, want %s", kept, first)
	}
	second := epochOf(t, fresh)
	if second == first || second[:16] != first[:16] {
		t.Errorf("after the restore: got %s, want another epoch of the same cluster than %s", second, first)
	}
	if kept := storedEpochOf(t, fresh); len(kept.Supersedes) != 1 || kept.Supersedes[0] != first[17:] {
		t.Errorf("supersedes: got %v, want %s", kept.Supersedes, first[17:])
	}
	eventually(t, "the former gateway adopts it", func() bool { return epochOf(t, g) == second })
}

func TestTheStateIsRefreshedWhenTheTermChanges(t *testing.T) {
	t.Parallel()
	etcd := startRestartable(t)
	g := startOn(t, etcd.server)
	first := epochOf(t, g)
	before := storedEpochOf(t, g)
	etcd.restart(t, nil)
	eventually(t, "the gateway reaches etcd again", func() bool { return g.do(t, "GET", "/v1/kv/none", "").status == 404 })
	if got := epochOf(t, g); got != first {
		t.Errorf("epoch: got %s, want %s", got, first)
	}
	if after := storedEpochOf(t, g); after.Term <= before.Term || after.Index <= before.Index || after.ID != before.ID {
		t.Errorf("state: got %+v, want it beyond %+v", after, before)
	}
}

func TestARenewedEpochReachesEveryGateway(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g, other := startOn(t, etcd), startOn(t, etcd)
	first := epochOf(t, g)
	if got := epochOf(t, other); got != first {
		t.Fatalf("two gateways, two epochs: %s and %s", first, got)
	}
	answer := g.do(t, "POST", "/v1/maintenance/epoch", "").want(t, 200)
	second, _ := answer.json(t)["epoch"].(string)
	if second == first || second != epochOf(t, g) {
		t.Errorf("renewed: got %s after %s, and %s in /version", second, first, epochOf(t, g))
	}
	if kv := value(t, g, epochKey); answer.header.Get("Etcd-Revision") != fmt.Sprint(kv.ModRevision) {
		t.Errorf("Etcd-Revision: got %s, want %d", answer.header.Get("Etcd-Revision"), kv.ModRevision)
	}
	third, _ := g.do(t, "POST", "/v1/maintenance/epoch", "{}").want(t, 200).json(t)["epoch"].(string)
	eventually(t, "the other gateway knows it", func() bool {
		got := epochOf(t, other)
		if got != first && got != third {
			t.Fatalf("the other gateway: got %s, want %s or %s", got, first, third)
		}
		return got == third
	})
	g.do(t, "POST", "/v1/maintenance/epoch", `{"why":1}`).problem(t, 400, "unknown_field")
	g.do(t, "POST", "/v1/maintenance/epoch?force", "").problem(t, 400, "unknown_parameter")
	// State that somebody has deleted is a history that cannot be vouched for.
	if _, err := g.oracle.Delete(t.Context(), epochKey); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a new epoch", func() bool { return epochOf(t, other) != third })
	eventually(t, "both agree on it", func() bool { return epochOf(t, g) == epochOf(t, other) })
}

// Answers overtake one another, and serializable ones are old: neither is another history.
func TestOvertakingAnswersDoNotChangeTheEpoch(t *testing.T) {
	t.Parallel()
	g := start(t)
	first := epochOf(t, g)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 40 {
				path := fmt.Sprintf("/v1/kv/k%d", (i+n)%5)
				switch n % 4 {
				case 0:
					g.do(t, "PUT", path, `{"value":"1"}`)
				case 1:
					g.do(t, "GET", path, "")
				case 2:
					g.do(t, "GET", path+"?consistency=serializable", "")
				default:
					if got := epochOf(t, g); got != first {
						t.Errorf("epoch: got %s, want %s", got, first)
					}
				}
			}
		})
	}
	wg.Wait()
	if kv := value(t, g, epochKey); kv.Version != 1 {
		t.Errorf("the state was written %d times, want once", kv.Version)
	}
}
