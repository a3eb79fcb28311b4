package cluster_test

import (
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestKilledLeaders: the leader is killed (SIGKILL) four times, and started again on its data, while eight writers create
// keys and four readers read what was acknowledged last, through the gateway and beside it through etcd's official client.
//
//   - No acknowledged write is lost, none that was told not_applied is there, and nothing was written twice.
//   - No linearizable read is older than what had been told before it began.
//   - The longest time without an acknowledged write is at most a second longer than the official client's. Both are
//     either etcd's election or the callers' own 2 s: what a follower has sent to the dead leader is never answered.
func TestKilledLeadersLoseNoWriteAndStopWritersNoLongerThanTheOfficialClient(t *testing.T) { //nolint:paralleltest // it measures
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	load := startLoad(t, api, "crash", 8, 4)
	theirs := officialLoad(t, client, "official", 8)
	var ours, official time.Duration
	for round := range 4 {
		flowing := time.Now()
		eventually(t, 20*time.Second, "writers write", func() bool {
			return load.acks().since(flowing) > 100 && theirs.since(flowing) > 100
		})
		victim := leader(t, cluster)
		killed := time.Now()
		if err := victim.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		elected := leader(t, cluster)
		after := time.Now()
		eventually(t, 20*time.Second, "writers write again", func() bool {
			return load.acks().since(after) > 100 && theirs.since(after) > 100
		})
		until := time.Now()
		gap, theirGap := load.acks().longestGap(killed, until), theirs.longestGap(killed, until)
		ours, official = max(ours, gap), max(official, theirGap)
		t.Logf("round %d: no write for %v, the official client's for %v; a new leader after %v", round, gap, theirGap, after.Sub(killed))
		restart(t, victim)
		if elected.ID == victim.ID {
			t.Fatal("the member that was killed leads")
		}
	}
	if ours > official+time.Second {
		t.Errorf("got no write for %v, want at most a second more than the official client's %v", ours, official)
	}
	load.stop()
	t.Logf("writes: %v; reads: %d, failed: %v", load.told(), len(load.reads), load.failures())
	if n := len(load.reads); n < 500 {
		t.Errorf("only %d reads answered, which shows little", n)
	}
	load.check(t, readBack(t, client, "crash/"))
}
