package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func TestALeaderIsElectedProclaimsAndResigns(t *testing.T) {
	t.Parallel()
	g := start(t)
	if none := g.do(t, "GET", "/v1/elections/workers", "").want(t, 200).json(t); none["leader"] != nil {
		t.Errorf("without a candidate: got %v", none)
	}
	first := g.do(t, "POST", "/v1/elections/workers", `{"value":"a","ttl":60}`).want(t, 201).owner(t)
	doc := g.do(t, "POST", "/v1/elections/workers", `{"value":"b","ttl":60}`).problem(t, 409, "lock_held")
	if named, _ := doc["holder"].(map[string]any); named["lease"] != first.Lease {
		t.Errorf("the holder: got %v, want %+v", doc["holder"], first)
	}
	second := g.begin(t.Context(), t, "POST", "/v1/elections/workers", `{"value_json":{"at":"b"},"ttl":60,"wait":60}`)
	g.queued(t, "workers/", 2)
	g.do(t, "PUT", "/v1/elections/workers?lease="+first.Lease, `{"value":"a2"}`).want(t, 200)

	var look struct {
		Leader     owner
		Candidates []owner
	}
	g.do(t, "GET", "/v1/elections/workers", "").want(t, 200).decode(t, &look)
	want := first
	want.Value, want.TTL = "a2", 0
	if diff := cmp.Diff(want, look.Leader); diff != "" || len(look.Candidates) != 1 {
		t.Fatalf("the election: got %+v; leader (-want +got):\n%s", look, diff)
	}
	g.do(t, "PUT", "/v1/elections/workers?lease="+look.Candidates[0].Lease, `{"value":"x"}`).problem(t, 409, "lock_lost")
	g.do(t, "PUT", "/v1/elections/workers?lease=123", `{"value":"x"}`).problem(t, 409, "lock_lost")

	if r := g.do(t, "DELETE", "/v1/elections/workers?lease="+first.Lease, "").want(t, 200).json(t); r["resigned"] != true {
		t.Errorf("resign: got %v", r)
	}
	a := <-second
	if a == nil {
		t.Fatal("no answer")
	}
	leader := a.want(t, 201).owner(t)
	g.do(t, "PUT", "/v1/elections/workers?lease="+first.Lease, `{"value":"x"}`).problem(t, 409, "lock_lost")
	if r := g.do(t, "DELETE", "/v1/elections/workers?lease="+first.Lease, "").want(t, 200).json(t); r["resigned"] != false {
		t.Errorf("a second resignation: got %v", r)
	}
	g.do(t, "GET", "/v1/leases/"+first.Lease, "").want(t, 200) // a resignation leaves the lease alone

	shown := g.do(t, "GET", "/v1/elections/workers?encoding=json", "").want(t, 200).json(t)["leader"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"at": "b"}, shown["value_json"]); diff != "" || shown["lease"] != leader.Lease {
		t.Errorf("the leader: got %v", shown)
	}
	// The lease is what leads: revoking it resigns.
	g.do(t, "DELETE", "/v1/leases/"+leader.Lease, "").want(t, 200)
	if none := g.do(t, "GET", "/v1/elections/workers", "").want(t, 200).json(t); none["leader"] != nil {
		t.Errorf("after the lease: got %v", none)
	}
}

// A leader that campaigns again with its lease leads on, with the new value.
func TestALeaderMayCampaignAgain(t *testing.T) {
	t.Parallel()
	g := start(t)
	lease := g.granted(t)
	first := g.do(t, "POST", "/v1/elections/again", `{"value":"a","lease":"`+lease+`"}`).want(t, 201).owner(t)
	second := g.do(t, "POST", "/v1/elections/again", `{"value":"b","lease":"`+lease+`","wait":5}`).want(t, 200).owner(t)
	if first.Token != second.Token || first.OwnerKey != second.OwnerKey {
		t.Errorf("got %+v, want %+v", second, first)
	}
	leader := g.do(t, "GET", "/v1/elections/again", "").want(t, 200).json(t)["leader"].(map[string]any)
	if leader["value"] != "b" || leader["fencing_token"] != num(first.Token) {
		t.Errorf("the leader: got %v", leader)
	}
}

// The gateway's candidates and those of etcd's own Election stand in one election, and see each other lead.
func TestElectionsAreThoseOfThePackageConcurrency(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.session(t)
	e := concurrency.NewElection(s, "both")
	if _, err := e.Leader(t.Context()); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		t.Fatalf("without a candidate: got %v", err)
	}
	mine := g.do(t, "POST", "/v1/elections/both", `{"value":"gateway","ttl":60}`).want(t, 201).owner(t)
	observing, stop := context.WithCancel(t.Context())
	defer stop()
	seen := e.Observe(observing)
	wantSeen := func(value string) {
		t.Helper()
		for r := range seen {
			if string(r.Kvs[0].Value) == value {
				return
			}
		}
		t.Fatalf("the observer's channel ended before %s", value)
	}
	wantSeen("gateway")
	g.do(t, "PUT", "/v1/elections/both?lease="+mine.Lease, `{"value":"gateway 2"}`).want(t, 200)
	wantSeen("gateway 2")

	elected := make(chan error, 1)
	go func() { elected <- e.Campaign(t.Context(), "official") }()
	g.queued(t, "both/", 2)
	g.do(t, "DELETE", "/v1/elections/both?lease="+mine.Lease, "").want(t, 200)
	if err := <-elected; err != nil {
		t.Fatalf("Campaign: %v", err)
	}
	wantSeen("official")
	leader := g.do(t, "GET", "/v1/elections/both", "").want(t, 200).json(t)["leader"].(map[string]any)
	if leader["value"] != "official" || leader["owner_key"] != e.Key() || leader["fencing_token"] != num(e.Rev()) {
		t.Errorf("the leader: got %v, want %s at %d", leader, e.Key(), e.Rev())
	}
	waiter := g.begin(t.Context(), t, "POST", "/v1/elections/both", `{"value":"next","ttl":60,"wait":60}`)
	g.queued(t, "both/", 2)
	if err := e.Proclaim(t.Context(), "official 2"); err != nil {
		t.Fatal(err)
	}
	if err := e.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-waiter; a == nil || a.status != 201 {
		t.Fatalf("the next leader: got %+v, want 201", a)
	}
	r, err := e.Leader(t.Context())
	if err != nil || string(r.Kvs[0].Value) != "next" {
		t.Errorf("Leader: got %v (%v), want next", r, err)
	}
}

func TestElectionsAreReadStrictly(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, tt := range []struct{ method, path, body, code string }{
		{"POST", "/v1/elections/x", `{"ttl":60}`, "invalid_argument"},
		{"POST", "/v1/elections/x", `{"value":"x"}`, "invalid_argument"},
		{"POST", "/v1/elections/x", `{"value":"x","value_base64":"eA==","ttl":60}`, "invalid_argument"},
		{"POST", "/v1/elections/x", `{"value":"x","ttl":60,"lease":"1"}`, "invalid_argument"},
		{"PUT", "/v1/elections/x", `{"value":"x"}`, "invalid_parameter"},
		{"PUT", "/v1/elections/x?lease=1", `{}`, "invalid_argument"},
		{"PUT", "/v1/elections/x?lease=1", `{"value":"x","ttl":1}`, "unknown_field"},
		{"DELETE", "/v1/elections/x", "", "invalid_parameter"},
	} {
		doc := g.do(t, tt.method, tt.path, tt.body)
		if doc.status != 400 || doc.json(t)["code"] != tt.code {
			t.Errorf("%s %s %s: got %d %.200s, want 400 %s", tt.method, tt.path, tt.body, doc.status, doc.body, tt.code)
		}
	}
	large := fmt.Sprintf(`{"value":%q,"ttl":60}`, strings.Repeat("x", 2<<20+1))
	g.do(t, "POST", "/v1/elections/x", large).problem(t, 413, "request_too_large")
	g.queued(t, "x/", 0)
}
