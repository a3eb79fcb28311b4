package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// view is the answer of GET /v1/cluster, as far as the tests look at it.
type view struct {
	Healthy, Quorum bool
	Leader          string
	Alarms          []struct{ Member, Alarm string }
	Members         []memberView
}

type memberView struct {
	ID, Name, Reason          string
	Learner, Answers, Healthy bool
	IsLeader                  bool `json:"is_leader"`
	Status                    struct {
		Version string
		DBSize  int64  `json:"db_size"`
		Term    uint64 `json:"raft_term"`
		Lag     int64  `json:"raft_lag"`
	}
}

func (a answer) view(t *testing.T) (v view) {
	t.Helper()
	if !a.ok() {
		t.Fatal(a)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v view) member(id uint64) memberView {
	for _, m := range v.Members {
		if m.ID == hexID(id) {
			return m
		}
	}
	return memberView{}
}

func hexID(id uint64) string { return fmt.Sprintf("%016x", id) }

func TestTheClusterIsRunThroughTheGateway(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	var all view
	eventually(t, 20*time.Second, "the cluster is healthy", func() bool {
		all = api.get(t.Context(), "/v1/cluster").view(t)
		return all.Healthy
	})
	first := leader(t, cluster)
	if len(all.Members) != 3 || !all.Quorum || all.Leader != hexID(first.ID) || all.Alarms == nil {
		t.Errorf("the cluster: got %+v, want three members led by %016x", all, first.ID)
	}
	for _, m := range cluster.Members {
		theirs, err := client.Status(t.Context(), m.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		its := all.member(m.ID)
		if its.Status.Version != theirs.Version || its.Status.Term != theirs.RaftTerm || its.IsLeader != (m == first) || its.Status.Lag > 5 {
			t.Errorf("member %016x: got %+v, want as the official client: %+v", m.ID, its, theirs)
		}
	}
	moveLeadership(t, cluster, client, api)
	defragmentAll(t, cluster, api)

	var hashes struct {
		Mismatch *bool
		Hashes   []struct{ Hash *uint32 }
	}
	a := api.get(t.Context(), "/v1/maintenance/hash")
	if err := json.Unmarshal(a.body, &hashes); err != nil || hashes.Mismatch == nil || *hashes.Mismatch || len(hashes.Hashes) != 3 ||
		hashes.Hashes[0].Hash == nil || *hashes.Hashes[0].Hash != *hashes.Hashes[2].Hash {
		t.Errorf("hashes: got %v, want three that are equal", a)
	}
}

// moveLeadership has every member lead in its turn.
func moveLeadership(t *testing.T, cluster *harness.Cluster, client *clientv3.Client, api *api) {
	t.Helper()
	for _, m := range cluster.Members {
		if a := api.call(t.Context(), http.MethodPost, "/v1/cluster/leader", `{"member":"`+hexID(m.ID)+`"}`); !a.ok() {
			t.Fatal(a)
		}
		s, err := client.Status(t.Context(), m.Endpoint)
		if err != nil || s.Leader != m.ID {
			t.Errorf("moved to %016x: the official client sees %+v, %v", m.ID, s, err)
		}
	}
	if a := api.call(t.Context(), http.MethodPost, "/v1/cluster/leader", `{"member":"1"}`); a.status != http.StatusNotFound || a.document().Code != "member_not_found" {
		t.Errorf("moved to nobody: got %v", a)
	}
}

// defragmentAll fills the databases, and has them defragmented, the leader's last.
func defragmentAll(t *testing.T, cluster *harness.Cluster, api *api) {
	t.Helper()
	lead := leader(t, cluster)
	big := strings.Repeat("x", 128<<10)
	for i := range 16 {
		if a := api.put(t.Context(), fmt.Sprintf("fill%d", i), big); !a.ok() {
			t.Fatal(a)
		}
	}
	gone := api.call(t.Context(), http.MethodDelete, "/v1/kv?prefix=fill", "")
	if a := api.call(t.Context(), http.MethodPost, "/v1/maintenance/compact", fmt.Sprintf(`{"revision":%d,"physical":true}`, gone.revision())); !a.ok() {
		t.Fatal(a)
	}
	a := api.call(t.Context(), http.MethodPost, "/v1/maintenance/defragment", "")
	if !a.ok() {
		t.Fatal(a)
	}
	var done []string
	var freed int64
	for text := range strings.Lines(string(a.body)) {
		var line struct {
			Type, Member string
			Freed        int64 `json:"freed_bytes"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Type == "defragmented" {
			done = append(done, line.Member)
		}
		freed += line.Freed
	}
	if len(done) != 3 || done[2] != hexID(lead.ID) || freed < 1<<20 {
		t.Errorf("defragmented %v and freed %d bytes; want three, %016x last, and more than 1 MiB", done, freed, lead.ID)
	}
}

// TestAMemberThatDoesNotAnswerIsSaidToBeSo: one that hangs, one that is down, and two that are down.
func TestAMemberThatDoesNotAnswerIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 3)
	_, api := startGateway(t, cluster.Endpoints())
	eventually(t, 20*time.Second, "the cluster is healthy", func() bool {
		return api.get(t.Context(), "/v1/cluster").view(t).Healthy
	})
	lead := leader(t, cluster)
	var others []*harness.Member
	for _, m := range cluster.Members {
		if m != lead {
			others = append(others, m)
		}
	}
	hung := others[0]
	freeze(t, hung)
	a := api.get(t.Context(), "/v1/cluster")
	v := a.view(t)
	if its := v.member(hung.ID); its.Answers || its.Healthy || its.Reason == "" || v.Healthy || !v.Quorum || !v.member(lead.ID).Healthy {
		t.Errorf("with one that hangs: got %v", a)
	}
	if a.took() > 7*time.Second {
		t.Errorf("with one that hangs the answer took %v, want what two questions may take, 6 s", a.took())
	}
	refused := api.call(t.Context(), http.MethodPost, "/v1/maintenance/defragment", "")
	if d := refused.document(); refused.ok() || d.Outcome != "not_applied" {
		t.Errorf("defragment with one that hangs: got %v, want it refused", refused)
	}
	hung.Thaw()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := hung.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the gateway has noticed, and answers at once", func() bool {
		a = api.get(ctx, "/v1/cluster")
		v := a.view(t)
		return !v.member(hung.ID).Answers && v.Quorum && a.took() < time.Second
	})
	if err := others[1].Kill(ctx); err != nil {
		t.Fatal(err)
	}
	a = api.get(ctx, "/v1/cluster")
	if v := a.view(t); v.Quorum || v.Healthy || v.Alarms != nil || len(v.Members) != 3 || !v.member(lead.ID).Answers {
		t.Errorf("without a quorum: got %v", a)
	}
}

// TestMembersComeAndGoThroughTheGateway: a learner is added, started, looked at, promoted and removed.
func TestMembersComeAndGoThroughTheGateway(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, 3)
	client := official(t, cluster)
	_, api := startGateway(t, cluster.Endpoints())
	fourth := cluster.AddMember(t, "fourth", func(ctx context.Context, peer string) error {
		var a answer
		eventually(t, 20*time.Second, "the members have been connected for long enough", func() bool {
			a = api.call(ctx, http.MethodPost, "/v1/cluster/members", `{"peer_urls":["`+peer+`"],"learner":true}`)
			return a.status != http.StatusServiceUnavailable || a.document().Outcome != "not_applied"
		})
		if a.status != http.StatusCreated {
			return errors.New(a.String())
		}
		return nil
	})
	if m := api.get(t.Context(), "/v1/cluster").view(t).member(fourth.ID); m.Answers || !m.Learner || !strings.Contains(m.Reason, "endpoints") {
		t.Errorf("a member beyond the gateway's endpoints: got %+v", m)
	}
	_, wider := startGateway(t, cluster.Endpoints()+","+fourth.Endpoint)
	eventually(t, 20*time.Second, "a gateway that can reach the learner shows its status", func() bool {
		m := wider.get(t.Context(), "/v1/cluster").view(t).member(fourth.ID)
		return m.Answers && m.Learner && m.Status.Version != "" && m.Name == "fourth"
	})
	eventually(t, 30*time.Second, "the learner is in step and promoted", func() bool {
		return api.call(t.Context(), http.MethodPost, "/v1/cluster/members/"+hexID(fourth.ID)+"/promote", "").ok()
	})
	count := func() (voters, all int) {
		list, err := client.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.Members {
			if !m.IsLearner {
				voters++
			}
		}
		return voters, len(list.Members)
	}
	if voters, all := count(); voters != 4 || all != 4 {
		t.Errorf("promoted: the official client sees %d voters of %d members, want 4 of 4", voters, all)
	}
	if a := api.call(t.Context(), http.MethodDelete, "/v1/cluster/members/"+hexID(fourth.ID), ""); !a.ok() {
		t.Fatal(a)
	}
	if voters, all := count(); voters != 3 || all != 3 {
		t.Errorf("removed: the official client sees %d voters of %d members, want 3 of 3", voters, all)
	}
}
