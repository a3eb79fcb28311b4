package compat_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// memberList is what clients read of the members.
type memberList struct {
	Header  map[string]string
	Members []struct {
		ID, Name             string
		PeerURLs, ClientURLs []string
		IsLearner            bool
	}
}

func listMembers(t testing.TB, base string) (list memberList) {
	t.Helper()
	a := ask(t, base, post("/v3/cluster/member/list", "{}"))
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return list
}

// TestMembersAreAdvertisedAtTheGateway: all that differs from etcd's own list is the client URL of each member that has one.
func TestMembersAreAdvertisedAtTheGateway(t *testing.T) {
	t.Parallel()
	const url = "http://gateway.example:8379"
	etcd := embedetcd.StartForTest(t)
	ours, plain := startOn(t, etcd, compat.Options{AdvertiseURL: url}), startOn(t, etcd, compat.Options{})
	if a := ask(t, ours.url, post("/v3/cluster/member/add", `{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}`)); a.status != 200 {
		t.Fatalf("add a member that is not started: %d %s", a.status, a.body)
	}
	want := listMembers(t, etcd.Endpoint())
	if diff := cmp.Diff(want, listMembers(t, plain.url)); diff != "" {
		t.Errorf("without the option (-etcd's +ours):\n%s", diff)
	}
	started := 0
	for i := range want.Members {
		if len(want.Members[i].ClientURLs) > 0 {
			started++
			want.Members[i].ClientURLs = []string{url}
		}
	}
	if started != 1 || len(want.Members) != 2 {
		t.Fatalf("got %+v, want a member and one that was not started", want)
	}
	if diff := cmp.Diff(want, listMembers(t, ours.url)); diff != "" {
		t.Errorf("with it (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/v3beta/cluster/member/list", "/v3alpha/cluster/member/list"} {
		var got memberList
		if err := json.Unmarshal([]byte(ask(t, ours.url, post(path, "{}")).body), &got); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: got %+v, %v", path, got, err)
		}
	}
}
