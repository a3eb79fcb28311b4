package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// hexID spells an id as the API does.
func hexID(id uint64) string { return fmt.Sprintf("%016x", id) }

// only gives the one member there is, as the official client sees it.
func (g *gateway) only(t testing.TB) (*pb.Member, *clientv3.StatusResponse) {
	t.Helper()
	list, err := g.oracle.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, err := g.oracle.Status(t.Context(), g.etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	return list.Members[0], status
}

func TestTheClusterIsWhatTheOfficialClientSees(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	m, status := g.only(t)
	a := g.do(t, "GET", "/v1/cluster", "").want(t, 200)
	doc := a.json(t)
	if doc["cluster_id"] != hexID(status.Header.ClusterId) || doc["leader"] != hexID(status.Leader) || doc["version"] != "3.7.0" ||
		doc["healthy"] != true || doc["quorum"] != true || len(doc["alarms"].([]any)) != 0 {
		t.Errorf("the cluster: got %s, want that of %v", a.body, status)
	}
	one := doc["members"].([]any)[0].(map[string]any)
	if one["id"] != hexID(m.ID) || one["name"] != m.Name || one["client_urls"].([]any)[0] != m.ClientURLs[0] || one["is_leader"] != true || one["answers"] != true {
		t.Errorf("the member: got %v, want %v", one, m)
	}
	its := one["status"].(map[string]any)
	number := func(name string) int64 {
		n, _ := its[name].(jsonNumber).Int64()
		return n
	}
	if its["version"] != status.Version || number("db_size") <= 0 || number("db_size_quota") != status.DbSizeQuota ||
		number("raft_term") != int64(status.RaftTerm) || number("raft_lag") != number("raft_index")-number("raft_applied_index") {
		t.Errorf("its status: got %v, want %v", its, status)
	}
	if got, want := a.header.Get("Etcd-Revision"), fmt.Sprint(status.Header.Revision); got != want {
		t.Errorf("Etcd-Revision: got %s, want %s", got, want)
	}
	g.do(t, "GET", "/v1/cluster?all", "").problem(t, 400, "unknown_parameter")
}

func TestMembersAreAddedUpdatedAndRemoved(t *testing.T) {
	t.Parallel()
	g := start(t)
	first, _ := g.only(t)
	added := g.do(t, "POST", "/v1/cluster/members", `{"peer_urls":["http://127.0.0.1:1"],"learner":true}`).want(t, 201)
	doc := added.json(t)
	id := doc["member"].(map[string]any)["id"].(string)
	if len(doc["members"].([]any)) != 2 || added.header.Get("Location") != "/v1/cluster/members/"+id {
		t.Errorf("added: got %s at %q", added.body, added.header.Get("Location"))
	}
	members := func() map[string]*pb.Member {
		t.Helper()
		list, err := g.oracle.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]*pb.Member)
		for _, m := range list.Members {
			out[hexID(m.ID)] = m
		}
		return out
	}
	if m := members()[id]; m == nil || !m.IsLearner || !slices.Equal(m.PeerURLs, []string{"http://127.0.0.1:1"}) {
		t.Errorf("the official client sees %v, want the learner", m)
	}
	cluster := g.do(t, "GET", "/v1/cluster", "").want(t, 200).json(t)
	if cluster["healthy"] != false {
		t.Errorf("with a member that was never started: got %v, want it not healthy", cluster)
	}
	for _, m := range cluster["members"].([]any) {
		m := m.(map[string]any)
		if reason, _ := m["reason"].(string); m["id"] == id && (m["answers"] != false || m["started"] != false || !strings.Contains(reason, "not been started")) {
			t.Errorf("the member that was never started: got %v", m)
		}
	}

	g.do(t, "POST", "/v1/cluster/members", `{"peer_urls":["http://127.0.0.1:1"],"learner":true}`).problem(t, 409, "already_exists")
	g.do(t, "PUT", "/v1/cluster/members/"+id, `{"peer_urls":["http://127.0.0.1:2"]}`).want(t, 200)
	if m := members()[id]; m == nil || !slices.Equal(m.PeerURLs, []string{"http://127.0.0.1:2"}) {
		t.Errorf("updated: the official client sees %v", m)
	}
	for _, path := range []string{"/" + id + "/promote", "/" + hexID(first.ID) + "/promote"} { // not in step; no learner
		if doc := g.do(t, "POST", "/v1/cluster/members"+path, "").problem(t, 409, "failed_precondition"); doc["outcome"] != "not_applied" {
			t.Errorf("promote %s: got %v, want not_applied", path, doc)
		}
	}
	g.do(t, "DELETE", "/v1/cluster/members/"+strings.ToUpper(id), "").want(t, 200)
	if m := members()[id]; m != nil {
		t.Errorf("removed: the official client sees %v", m)
	}
	for method, path := range map[string]string{"DELETE": "/" + id, "POST": "/" + id + "/promote", "PUT": "/1"} {
		if doc := g.do(t, method, "/v1/cluster/members"+path, map[string]string{"PUT": `{"peer_urls":["http://127.0.0.1:3"]}`}[method]).problem(t, 404, "member_not_found"); doc["outcome"] != "not_applied" {
			t.Errorf("%s %s: got %v, want not_applied", method, path, doc)
		}
	}
}

func TestBadMembersAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	for body, pointer := range map[string]string{
		`{}`: "/peer_urls", `{"peer_urls":["127.0.0.1:1"]}`: "/peer_urls/0", `{"peer_urls":["http://a:1","ftp://b:1"]}`: "/peer_urls/1",
		`{"peer_urls":["http://a"]}`: "/peer_urls/0", `{"peer_urls":["http://a:1/x"]}`: "/peer_urls/0", `{"peer_urls":["http://u:p@a:1"]}`: "/peer_urls/0",
	} {
		a := g.do(t, "POST", "/v1/cluster/members", body).want(t, 400)
		fault := a.json(t)["errors"].([]any)[0].(map[string]any)
		if fault["pointer"] != pointer {
			t.Errorf("%s: got %s, want a fault at %s", body, a.body, pointer)
		}
	}
	g.do(t, "POST", "/v1/cluster/members", `{"peer_urls":[]}`).problem(t, 400, "invalid_argument")
	g.do(t, "PUT", "/v1/cluster/members/1", `{"peer_urls":[]}`).problem(t, 400, "invalid_argument")
	g.do(t, "DELETE", "/v1/cluster/members/xyz", "").problem(t, 400, "invalid_parameter")
	g.do(t, "DELETE", "/v1/cluster/members/", "").want(t, 404)
	g.do(t, "POST", "/v1/cluster/leader", `{"member":"1"}`).problem(t, 404, "member_not_found")
	g.do(t, "POST", "/v1/cluster/leader", `{}`).want(t, 400)
	m, _ := g.only(t)
	if doc := g.do(t, "POST", "/v1/cluster/leader", `{"member":"`+hexID(m.ID)+`"}`).want(t, 200).json(t); doc["leader"] != hexID(m.ID) {
		t.Errorf("the leader stays the leader: got %v", doc)
	}
}

func TestAlarmsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	g := start(t)
	m, _ := g.only(t)
	raise := func(kind pb.AlarmType) {
		t.Helper()
		_, err := pb.NewMaintenanceClient(g.oracle.ActiveConnection()).Alarm(t.Context(),
			&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: m.ID, Alarm: kind})
		if err != nil {
			t.Fatal(err)
		}
	}
	alarms := func(doc map[string]any) (kinds []string) {
		for _, a := range doc["alarms"].([]any) {
			if a := a.(map[string]any); a["member"] == hexID(m.ID) {
				kinds = append(kinds, a["alarm"].(string))
			}
		}
		slices.Sort(kinds)
		return kinds
	}
	raise(pb.AlarmType_NOSPACE)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).problem(t, 507, "no_space")
	cluster := g.do(t, "GET", "/v1/cluster", "").want(t, 200).json(t)
	its := cluster["members"].([]any)[0].(map[string]any)
	if cluster["healthy"] != false || !slices.Equal(alarms(cluster), []string{"NOSPACE"}) || its["alarms"].([]any)[0] != "NOSPACE" || its["healthy"] != false {
		t.Errorf("with an alarm: got %v", cluster)
	}
	for query, want := range map[string]int{"?alarm=CORRUPT": 0, "?member=1": 0} {
		if doc := g.do(t, "DELETE", "/v1/cluster/alarms"+query, "").want(t, 200).json(t); len(alarms(doc)) != want {
			t.Errorf("DELETE %s: got %v, want none ended", query, doc)
		}
	}
	if doc := g.do(t, "GET", "/v1/cluster/alarms", "").want(t, 200).json(t); !slices.Equal(alarms(doc), []string{"NOSPACE"}) {
		t.Errorf("alarms: got %v", doc)
	}
	if doc := g.do(t, "DELETE", "/v1/cluster/alarms", "").want(t, 200).json(t); !slices.Equal(alarms(doc), []string{"NOSPACE"}) {
		t.Errorf("ended: got %v", doc)
	}
	left, err := g.oracle.AlarmList(t.Context())
	if err != nil || len(left.Alarms) != 0 {
		t.Errorf("the official client sees %v, %v, want none", left, err)
	}
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.do(t, "DELETE", "/v1/cluster/alarms?alarm=nospace", "").problem(t, 400, "invalid_parameter")
	g.do(t, "DELETE", "/v1/cluster/alarms?member=no", "").problem(t, 400, "invalid_parameter")
}
