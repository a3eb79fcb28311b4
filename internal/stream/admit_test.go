package stream_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// named takes everybody for who he says he is: a token is a name, and behind an @ the moment it expires, in milliseconds. How
// callers are known is tested where it is done. Users of etcd come with Basic credentials.
type named struct{ etcd authn.Method }

func (n named) Authenticate(ctx context.Context, c authn.Credentials) (*authn.Principal, error) {
	if strings.HasPrefix(c.Authorization, "Basic ") {
		return n.etcd.Authenticate(ctx, c)
	}
	token, ok := strings.CutPrefix(c.Authorization, "Bearer ")
	if !ok || token == "bad" {
		return nil, problem.New(problem.Unauthenticated, "say who you are")
	}
	name, at, expires := strings.Cut(token, "@")
	p := &authn.Principal{Kind: authn.KindJWT, Name: name, Claims: map[string]any{"org": name}, Digest: sha256.Sum256([]byte(token))}
	if expires {
		var ms int64
		if _, err := fmt.Sscan(at, &ms); err != nil {
			return nil, problem.New(problem.Unauthenticated, "no moment")
		}
		p.Expires = time.UnixMilli(ms)
	}
	return p, nil
}

func (named) Challenges() []string         { return []string{"Bearer"} }
func (named) Still(*authn.Principal) error { return nil }

func (named) Kinds() []authn.Kind { return []authn.Kind{authn.KindJWT, authn.KindEtcd} }

// until is a token of a's that expires then.
func until(at time.Time) string { return fmt.Sprintf("a@%d", at.UnixMilli()) }

func as(token string) string { return "Authorization: Bearer " + token }

// bearer is the subprotocol that shows a token.
func bearer(token string) string {
	return "bearer." + base64.RawURLEncoding.EncodeToString([]byte(token))
}

// rule grants verbs on a prefix to some.
func rule(names, prefix string, verbs authz.Verb) authz.Rule {
	return authz.Rule{When: authz.When{Names: strings.Fields(names)}, Grants: []authz.Grant{{Verbs: verbs, Prefix: []byte(prefix)}}}
}

// tenants have a namespace each.
func tenants(names string) authz.Rule {
	return authz.Rule{
		When: authz.When{Names: strings.Fields(names)}, Namespace: "tenants/{claims.org}/",
		Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	}
}

func policyOf(t testing.TB, rules ...authz.Rule) *authz.Policy {
	t.Helper()
	p, err := authz.NewPolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judged has the policy judge a gateway's callers.
func judged(t testing.TB, rules ...authz.Rule) func(*setup) {
	t.Helper()
	return func(s *setup) { s.policy = policyOf(t, rules...) }
}

// TestAWatchNeedsItsVerbOnTheWholeRange over each transport, and for each watch of a socket.
func TestAWatchNeedsItsVerbOnTheWholeRange(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("w", "in/", authz.Watch), rule("rw", "in/", authz.Watch|authz.Read), rule("r", "", authz.Read)))
	for _, query := range []string{"key=out", "prefix=", "prefix=i", "from=in/&to=io", "from=in/", "prefix=in/&snapshot=true", "prefix=in/&prev_kv=true", "prefix=in/&on_compacted=resync"} {
		for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
			g.get(t, "/v1/watch?"+query, as("w"), "Accept: "+accept).problem(t, 403, "permission_denied")
		}
		if !strings.Contains(query, "snapshot") && !strings.Contains(query, "resync") {
			g.get(t, "/v1/watch/poll?wait=0&"+query, as("w")).problem(t, 403, "permission_denied")
		}
		if _, status, err := g.tryDialAs(t, "w", query); status != 403 {
			t.Errorf("a socket without the subprotocol for %s: %d %v", query, status, err)
		}
		s := g.dial(t, query, subprotocol, bearer("w"))
		s.refused("0", "permission_denied")
		s.closed(4403)
	}
	g.get(t, "/v1/watch?prefix=in/", as("r")).problem(t, 403, "permission_denied")
	g.get(t, "/v1/watch?prefix=in/").problem(t, 401, "unauthenticated")
	g.get(t, "/v1/watch/poll?prefix=in/&wait=0").problem(t, 401, "unauthenticated")

	s := g.dial(t, "", subprotocol, bearer("w"))
	s.send(`{"op":"watch","id":"1","prefix":"out/"}`)
	s.refused("1", "permission_denied")
	s.send(`{"op":"watch","id":"2","prefix":"in/","snapshot":true}`)
	s.refused("2", "permission_denied")
	s.send(`{"op":"lease","id":"3","ttl":5}`)
	s.refused("3", "permission_denied")
	s.send(`{"op":"watch","id":"4","prefix":"in/sub/"}`)
	s.kind("created")
	rw := g.lines(t, "prefix=in/&snapshot=true", as("rw"))
	rw.created()
	rw.kind("synced")
	g.put(t, "in/sub/k", "v")
	s.kind("events")
	rw.kind("events")
}

// TestTenantsWatchTheSameKeyAndSeeTheirOwn (scorecard F8, B11): the relative key is the same, the filters differ, and so do
// the grants; then one of them loses its right.
func TestTenantsWatchTheSameKeyAndSeeTheirOwn(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, tenants("a b"), rule("x", "in/", authz.Watch), rule("y z", "", authz.Watch|authz.Read)))
	a, b := g.lines(t, "prefix=k&prev_kv=true", as("a")), g.lines(t, "prefix=k&events=put", as("b"))
	a.created()
	b.created()
	g.put(t, "tenants/a/k", "of a")
	g.put(t, "tenants/b/k", "of b")
	if m := a.kind("events"); len(m.Events) != 1 || m.Events[0].KV.Key != "k" || m.Events[0].KV.Value != "of a" {
		t.Errorf("a sees %s", m.text)
	}
	if m := b.kind("events"); len(m.Events) != 1 || m.Events[0].KV.Value != "of b" {
		t.Errorf("b sees %s", m.text)
	}
	if n := g.hub.Feeds(); n != 2 {
		t.Errorf("%d feeds for two namespaces", n)
	}
	// x and y have one scope, so they share a feed where they watch the same range.
	x, y := g.lines(t, "prefix=in/", as("x")), g.lines(t, "prefix=in/", as("y"))
	x.created()
	y.created()
	if n := g.hub.Feeds(); n != 3 {
		t.Errorf("%d feeds, want one for the two of one scope", n)
	}
	g.get(t, "/v1/watch?prefix=", as("x")).problem(t, 403, "permission_denied")
	streams := g.hub.Streams()
	if len(streams) != 4 || streams[0].Principal == "" || streams[0].Kind != "jwt" || streams[0].Namespace != "tenants/a/" && streams[1].Namespace != "tenants/a/" {
		t.Errorf("the streams do not tell whose they are: %+v", streams)
	}
	g.replace(t, tenants("b"), rule("y z", "", authz.Watch))
	began := time.Now()
	a.fails("permission_denied")
	x.fails("permission_denied")
	if d := time.Since(began); d > 2*time.Second { // the promise is one; the machine may be busy
		t.Errorf("the rights that were taken away ended the watches after %v", d)
	}
	g.put(t, "tenants/b/k", "again")
	g.put(t, "in/k", "v")
	b.kind("events")
	y.kind("events")
}

// TestExpiryEndsEveryTransport (E11): within a second, as auth_expired, with what was delivered last; no event after.
func TestExpiryEndsEveryTransport(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "", authz.Watch|authz.Read)))
	at := time.Now().Add(2 * time.Second)
	token := until(at)
	polled := make(chan *answer, 1)
	go func() { polled <- g.get(t, "/v1/watch/poll?prefix=k&wait=60", as(token)) }()
	lines, sse := g.lines(t, "prefix=k", as(token)), g.sse(t, "prefix=k", as(token))
	socket := g.dial(t, "prefix=k", subprotocol, bearer(token))
	idle := g.dial(t, "", subprotocol, bearer(token))
	for _, s := range []*subscription{lines, sse, socket.subscription} {
		s.created()
	}
	r := g.put(t, "k", "v")
	for _, s := range []*subscription{lines, sse} {
		s.kind("events")
		if p := s.fails("auth_expired"); p.Revision < r {
			t.Errorf("the end names revision %d, want %d", p.Revision, r)
		}
	}
	socket.kind("events")
	if p := socket.refused("0", "auth_expired"); p.Revision < r {
		t.Errorf("the end names revision %d, want %d", p.Revision, r)
	}
	socket.closed(4401)
	idle.refused("", "auth_expired")
	idle.closed(4401)
	if a := <-polled; a.status != http.StatusOK { // the event came before the end
		t.Errorf("the poll: %d %s", a.status, a.body)
	}
	if late := time.Since(at); late < -50*time.Millisecond || late > 3*time.Second { // the promise is one second; the machine may be busy, and clocks are two
		t.Errorf("the streams ended %v after the token", late)
	}
	g.get(t, "/v1/watch?prefix=k", as(token)).problem(t, 401, "auth_expired")

	short := until(time.Now().Add(time.Second))
	began := time.Now()
	g.get(t, "/v1/watch/poll?prefix=quiet&wait=60", as(short)).problem(t, 401, "auth_expired")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("a poll went on for %v", d)
	}
}

// TestRenewal (E12): it goes on without loss; another caller's token is refused, and rights can shrink.
func TestRenewal(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "in/", authz.Watch|authz.Read), rule("b", "", authz.All)))
	first := time.Now().Add(3 * time.Second)
	s := g.dial(t, "prefix=in/", subprotocol, bearer(until(first)))
	s.created()
	s.send(`{"op":"auth","token":"b"}`)
	s.refused("", "permission_denied")
	s.send(`{"op":"auth","token":"bad"}`)
	s.refused("", "unauthenticated")
	s.send(`{"op":"auth"}`)
	s.refused("", "invalid_argument")
	later := first.Add(time.Hour)
	s.send(`{"op":"auth","token":"Bearer %s"}`, until(later))
	if m := s.kind("authenticated"); !strings.Contains(m.text, later.UTC().Format(time.RFC3339)) {
		t.Errorf("got %s, want the new end", m.text)
	}
	var revisions []int64
	for time.Now().Before(first.Add(time.Second)) { // past the end of the first token
		revisions = append(revisions, g.put(t, "in/k", "v"))
		if m := s.kind("events"); m.Revision != revisions[len(revisions)-1] {
			t.Fatalf("got %s, want revision %d", m.text, revisions[len(revisions)-1])
		}
	}
	s.send(`{"op":"auth","token":"a"}`)
	if m := s.kind("authenticated"); strings.Contains(m.text, "expires_at") {
		t.Errorf("got %s, want no end", m.text)
	}
	for range 4 {
		s.send(`{"op":"auth","token":"bad"}`)
		s.refused("", "unauthenticated")
	}
	s.send(`{"op":"auth","token":"bad"}`)
	s.refused("", "unauthenticated")
	s.closed(4401)
}

// TestRightsThatShrinkEndTheirWatches, one by one; those that are left go on.
func TestRightsThatShrinkEndTheirWatches(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "", authz.All&^authz.Admin)))
	s := g.dial(t, "", subprotocol, bearer("a"))
	s.send(`{"op":"watch","id":"in","prefix":"in/"}`)
	s.kind("created")
	s.send(`{"op":"watch","id":"out","prefix":"out/"}`)
	s.kind("created")
	s.send(`{"op":"lease","id":"l","ttl":30}`)
	s.kind("lease")
	g.replace(t, rule("a", "in/", authz.Watch))
	lost := map[string]bool{}
	for range 2 {
		m := s.kind("error")
		if m.Error.Code != "permission_denied" {
			t.Errorf("got %s", m.text)
		}
		lost[m.ID] = true
	}
	if !lost["out"] || !lost["l"] {
		t.Errorf("lost %v, want the watch and the lease that are not granted any more", lost)
	}
	g.put(t, "in/k", "v")
	if m := s.kind("events"); m.ID != "in" {
		t.Errorf("got %s", m.text)
	}
	g.replace(t, authz.Rule{When: authz.When{Names: []string{"a"}}, Namespace: "other/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}}})
	s.kind("error")
	s.closed(4403)
}

// TestSubprotocolToken (E17): it works, and only the real protocol is answered.
func TestSubprotocolToken(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "", authz.Watch)))
	s := g.dial(t, "prefix=k", bearer("a"), subprotocol)
	if got := s.header["Sec-Websocket-Protocol"]; len(got) != 1 || got[0] != subprotocol {
		t.Errorf("the answer has the protocols %q", got)
	}
	s.created()
	for name, protocols := range map[string][]string{
		"not base64url": {subprotocol, "bearer.a=b"},
		"two":           {subprotocol, bearer("a"), bearer("a")},
		"not known":     {subprotocol, bearer("bad")},
	} {
		s := g.dial(t, "prefix=k", protocols...)
		if m := s.kind("error"); m.ID != "" || m.Error.Code != "unauthenticated" {
			t.Errorf("%s: got %s", name, m.text)
		}
		s.closed(4401)
	}
	if _, status, _ := g.tryDial(t, "prefix=k", bearer("a")); status != http.StatusUnauthorized {
		t.Errorf("without the real protocol: %d, want 401", status)
	}
}

// TestFirstMessage (E18): who shows nothing says first who he is, in a small message, soon.
func TestFirstMessage(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "", authz.Watch)))
	s := g.dial(t, "prefix=k", subprotocol)
	s.send(`{"op":"auth","token":"a"}`)
	s.kind("authenticated")
	s.created()
	r := g.put(t, "k", strings.Repeat("x", 20<<10))
	if m := s.kind("events"); m.Revision != r {
		t.Errorf("got %s", m.text)
	}
	s.send(`{"op":"ping","x":"%s"}`, strings.Repeat("x", 20<<10)) // the limit is that of others by now
	s.kind("error")

	for _, message := range []string{`{"op":"ping"}`, `{"op":"watch","id":"1","prefix":"k"}`, `{"op":"auth","token":"bad"}`, `{"op":"auth"}`, `no`} {
		s := g.open(t)
		s.send("%s", message)
		s.refused("", "unauthenticated")
		s.closed(4401)
	}
	nobody := g.open(t)
	nobody.send(`{"op":"auth","token":"nobody"}`)
	nobody.refused("", "permission_denied")
	nobody.closed(4403)
	large := g.open(t)
	_ = large.conn.Write(within(t), websocket.MessageText, []byte(`{"op":"auth","token":"`+strings.Repeat("x", 1<<20)+`"}`))
	large.closed(websocket.StatusMessageTooBig)
	silent := g.open(t)
	began := time.Now()
	silent.refused("", "unauthenticated")
	silent.closed(4408)
	if d := time.Since(began); d < 4*time.Second || d > 15*time.Second {
		t.Errorf("a peer who says nothing was sent away after %v", d)
	}
}

// TestManyStrangers (E18): they are few at a time, and others do not feel them.
func TestManyStrangers(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("a", "", authz.Watch)))
	codes := make(chan string, 200)
	var work sync.WaitGroup
	for range 200 {
		work.Go(func() {
			s, _, err := g.tryDial(t, "", subprotocol)
			if err != nil {
				codes <- err.Error()
				return
			}
			codes <- s.kind("error").Error.Code
		})
	}
	eventually(t, "as many as may wait do", func() bool { return g.hub.Strangers() == 64 })
	s := g.dial(t, "prefix=k", subprotocol, bearer("a"))
	s.created()
	g.put(t, "k", "v")
	s.kind("events")
	work.Wait()
	close(codes)
	got := map[string]int{}
	for code := range codes {
		got[code]++
	}
	if got["rate_limited"] < 100 || got["unauthenticated"] < 64 || got["rate_limited"]+got["unauthenticated"] != 200 {
		t.Errorf("they were answered %v", got)
	}
	eventually(t, "the places are free again", func() bool { return g.hub.Strangers() == 0 })
}

// TestUsersOfEtcdAreJudgedEach (E13): a role that one user has lost ends his watch within six seconds, and nobody else's.
func TestUsersOfEtcdAreJudgedEach(t *testing.T) {
	t.Parallel()
	g := start(t, func(s *setup) {
		s.user, s.prepare = "root", func(etcd *embedetcd.Server) { guarded(t, etcd) }
		s.policy = policyOf(t, authz.Rule{Grants: []authz.Grant{{Verbs: authz.All}}})
	})
	basic := func(name string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+name))
	}
	g.get(t, "/v1/watch?prefix=c/", basic("app")).problem(t, 403, "permission_denied")
	app, root := g.lines(t, "prefix=a/", basic("app")), g.lines(t, "prefix=a/", basic("root"))
	app.created()
	root.created()
	if n := g.hub.Feeds(); n != 2 {
		t.Errorf("%d feeds for two identities", n)
	}
	if _, err := g.oracle.RoleRevokePermission(t.Context(), "reader", "a/", clientv3.GetPrefixRangeEnd("a/")); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	app.fails("permission_denied")
	if d := time.Since(taken); d > 10*time.Second { // the promise is six; the machine may be busy
		t.Errorf("the watch ended %v after the right was taken away", d)
	}
	g.put(t, "a/1", "x")
	root.kind("events")
}

// TestObservingAnElection needs the right to lock its name, or to watch and read its keys.
func TestObservingAnElection(t *testing.T) {
	t.Parallel()
	g := start(t, judged(t, rule("l", "elections/", authz.Lock), rule("wr", "elections/", authz.Watch|authz.Read), rule("w", "elections/", authz.Watch)))
	g.put(t, "elections/e/1", "me")
	for _, who := range []string{"l", "wr"} {
		s := g.lines(t, "election=elections/e", as(who))
		s.created()
		if m := s.kind("leader"); !strings.Contains(m.text, "me") {
			t.Errorf("%s is told %s", who, m.text)
		}
	}
	g.get(t, "/v1/watch?election=elections/e", as("w")).problem(t, 403, "permission_denied")
	g.get(t, "/v1/watch?election=other", as("l")).problem(t, 403, "permission_denied")
	g.get(t, "/v1/watch?prefix=elections/e/", as("l")).problem(t, 403, "permission_denied")
}

// TestACallersStreamsAndWatchesAreCounted over all his connections; what is refused on a socket is told on it.
func TestACallersStreamsAndWatchesAreCounted(t *testing.T) {
	t.Parallel()
	limited := rule("a", "", authz.Watch)
	limited.Limits = authz.Limits{Streams: 2, Watches: 2}
	g := start(t, judged(t, limited, rule("b", "", authz.Watch)))
	first := g.lines(t, "prefix=k", as("a"))
	first.created()
	s := g.dial(t, "", subprotocol, bearer("a"))
	s.send(`{"op":"watch","id":"1","prefix":"k"}`)
	s.kind("created")
	s.send(`{"op":"watch","id":"2","prefix":"k"}`)
	s.refused("2", "rate_limited")
	g.get(t, "/v1/watch?prefix=k", as("a"), "Accept: application/x-ndjson").problem(t, 429, "rate_limited")
	third := g.dial(t, "", subprotocol, bearer("a"))
	third.refused("", "rate_limited")
	third.closed(4429)
	stranger := g.open(t)
	stranger.send(`{"op":"auth","token":"a"}`)
	stranger.refused("", "rate_limited")
	stranger.closed(4429)
	b := g.lines(t, "prefix=k", as("b"))
	b.created()
	first.leave()
	eventually(t, "the place is free again", func() bool {
		a := g.get(t, "/v1/watch/poll?prefix=k&wait=0", as("a"))
		return a.status == http.StatusOK
	})
}

// TestOneCallerLeavesRoomForOthers: who opens as many streams as he gets, over any transport, leaves an eighth to others.
func TestOneCallerLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	const room, most = 16, 14
	g := start(t, judged(t, rule("a", "", authz.Watch), rule("b", "", authz.Watch)), func(s *setup) { s.options.MaxStreams = room })
	for n := range most {
		if n%2 == 0 {
			g.lines(t, "prefix=k", as("a")).created()
			continue
		}
		s := g.open(t)
		s.send(`{"op":"auth","token":"a"}`)
		s.kind("authenticated")
	}
	g.get(t, "/v1/watch?prefix=k", as("a"), "Accept: application/x-ndjson").problem(t, 429, "rate_limited")
	stranger := g.open(t)
	stranger.send(`{"op":"auth","token":"a"}`)
	stranger.kind("authenticated")
	stranger.refused("", "rate_limited")
	stranger.closed(4429)
	g.lines(t, "prefix=k", as("b")).created()
	s := g.open(t)
	s.send(`{"op":"auth","token":"b"}`)
	s.kind("authenticated")
}

// TestAnotherIdentityAtEtcd: the policy gives a caller another user of etcd; his watches move to that one's feeds and miss
// nothing, and what that user may not read ends.
func TestAnotherIdentityAtEtcd(t *testing.T) {
	t.Parallel()
	own := rule("a", "", authz.Watch|authz.Read)
	g := start(t, func(s *setup) {
		s.user, s.prepare = "root", func(etcd *embedetcd.Server) { guarded(t, etcd) }
		s.policy = policyOf(t, own)
	})
	allowed, denied := g.lines(t, "prefix=a/", as("a")), g.lines(t, "prefix=c/", as("a"))
	allowed.created()
	denied.created()
	g.put(t, "a/0", "x")
	allowed.kind("events")
	own.EtcdUser, own.EtcdPassword = "app", "app"
	stop := make(chan struct{})
	written := make(chan []int64)
	go func() {
		var revisions []int64
		for {
			select {
			case <-stop:
				written <- revisions
				return
			default:
				revisions = append(revisions, g.put(t, "a/1", "x"))
			}
		}
	}()
	g.replace(t, own)
	denied.fails("permission_denied")
	eventually(t, "the root's feeds are gone", func() bool { return g.hub.Feeds() == 1 })
	close(stop)
	for _, r := range <-written {
		if m := allowed.kind("events"); m.Revision != r {
			t.Fatalf("got %s, want revision %d", m.text, r)
		}
	}
}
