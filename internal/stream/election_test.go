package stream_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// standsAs is a candidate by etcd's own package concurrency.
type standsAs struct {
	*concurrency.Election
	session *concurrency.Session
	done    chan error // when it leads
}

// stand has a candidate of its own session stand with a value, and waits until its key is there.
func (g *gateway) stand(t testing.TB, name, value string) *standsAs {
	t.Helper()
	session, err := concurrency.NewSession(g.oracle, concurrency.WithTTL(60), concurrency.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	c := &standsAs{Election: concurrency.NewElection(session, name), session: session, done: make(chan error, 1)}
	ctx := within(t)
	go func() { c.done <- c.Campaign(ctx, value) }()
	key := c.key(name)
	eventually(t, "the candidate stands", func() bool {
		r, err := g.oracle.Get(ctx, key, clientv3.WithCountOnly())
		return err == nil && r.Count == 1
	})
	return c
}

func (c *standsAs) key(name string) string { return fmt.Sprintf("%s/%x", name, c.session.Lease()) }

// elected waits until it leads.
func (c *standsAs) elected(t testing.TB) *standsAs {
	t.Helper()
	if err := <-c.done; err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *standsAs) proclaim(t testing.TB, value string) {
	t.Helper()
	if err := c.Proclaim(t.Context(), value); err != nil {
		t.Fatal(err)
	}
}

// leads is the message of the leader without braces and type.
func (c *standsAs) leads(revision int64, name, value string) string {
	return fmt.Sprintf(`"revision":%d,"leader":{"owner_key":%q,"lease":"%016x","fencing_token":%d,"value":%q}`,
		revision, c.key(name), int64(c.session.Lease()), c.Rev(), value)
}

// observed is a course of an election and what its observers are to be told, a text for each change.
type observed struct {
	name             string
	end              int64
	changes          []string
	revisions        []int64 // of the changes
	takeover, nobody int64
}

// run has candidates of the package concurrency stand, proclaim, resign and lose their lease.
func (o *observed) run(t testing.TB, g *gateway) {
	t.Helper()
	told := func(text string) {
		o.changes, o.revisions = append(o.changes, text), append(o.revisions, g.present(t))
	}
	a := g.stand(t, o.name, "a1").elected(t)
	told(a.leads(g.present(t), o.name, "a1"))
	b := g.stand(t, o.name, "b1")
	g.txn(t, clientv3.OpPut(b.key(o.name), "b2", clientv3.WithLease(b.session.Lease()))) // what others say is of no interest, until they lead
	a.proclaim(t, "a2")
	told(a.leads(g.present(t), o.name, "a2"))
	g.put(t, "elsewhere", "x")
	if err := a.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.takeover = g.present(t)
	b.elected(t)
	told(b.leads(o.takeover, o.name, "b2"))
	c := g.stand(t, o.name, "c1")
	if _, err := g.oracle.Revoke(t.Context(), b.session.Lease()); err != nil { // its lease is lost
		t.Fatal(err)
	}
	lost := g.present(t)
	c.elected(t)
	told(c.leads(lost, o.name, "c1"))
	if err := c.session.Close(); err != nil {
		t.Fatal(err)
	}
	o.nobody = g.present(t)
	told(fmt.Sprintf(`"revision":%d,"leader":null`, o.nobody))
	d := g.stand(t, o.name, "d1").elected(t)
	told(d.leads(g.present(t), o.name, "d1"))
	o.end = g.present(t)
}

// from is what is told of the revision and later.
func (o *observed) from(revision int64) (texts []string, revisions []int64) {
	for i, r := range o.revisions {
		if r >= revision {
			return o.changes[i:], o.revisions[i:]
		}
	}
	return nil, nil
}

// Observers over every transport are told the leader first and then each change, and nothing of the other candidates.
func TestAnElectionIsObservedOverEveryTransport(t *testing.T) {
	t.Parallel()
	g := start(t)
	o := &observed{name: "jobs/nightly"}
	query := "election=" + url.QueryEscape(o.name)
	lines, events := g.lines(t, query), g.sse(t, query)
	bySocket, byURL := g.open(t), g.dial(t, query, subprotocol)
	bySocket.send(`{"op":"watch","id":"e","election":%q}`, o.name)
	r := g.revision
	created := fmt.Sprintf(`"type":"created","revision":%d,"epoch":"%s"}`, r, g.epoch)
	nobody := fmt.Sprintf(`"type":"leader","revision":%d,"leader":null}`, r)
	lines.want("{"+created, "{"+nobody)
	bySocket.want(`{"id":"e",`+created, `{"id":"e",`+nobody)
	byURL.want(`{"id":"0",`+created, `{"id":"0",`+nobody)
	first := g.poll(t, query)
	if len(first.Leaders) != 1 || first.Leaders[0].Leader != nil || first.Leaders[0].Revision != r || first.NextRevision != r+1 {
		t.Errorf("the first poll: got %+v", first)
	}
	o.run(t, g)
	events.want("{"+created, "{"+nobody)
	for i, text := range o.changes {
		text = `"type":"leader",` + text + "}"
		lines.want("{" + text)
		bySocket.want(`{"id":"e",` + text)
		byURL.want(`{"id":"0",` + text)
		m := events.next()
		if want := fmt.Sprintf("%s-%d", g.epoch, o.revisions[i]); m.text != "{"+text || m.bookmark != want {
			t.Errorf("Server-Sent Events:\n got %s %s\nwant %s {%s", m.bookmark, m.text, want, text)
		}
	}
	a := g.get(t, fmt.Sprintf("/v1/watch/poll?%s&start_revision=%d&wait=0", query, first.NextRevision))
	want := fmt.Sprintf(`{"revision":%d,"epoch":"%s","events":[],"leaders":[{%s}],"next_revision":%d}`+"\n",
		o.end, g.epoch, strings.Join(o.changes, "},{"), o.end+1)
	if diff := cmp.Diff(want, string(a.body)); diff != "" {
		t.Errorf("the poll (-want +got):\n%s", diff)
	}
	if got := g.hub.Feeds(); got != 1 {
		t.Errorf("feeds: got %d, want 1 for all observers", got)
	}
}

// Whoever comes late is told who leads, in every form of values; a plain watch of the same keys shares the feed.
func TestWhoObservesLateIsToldTheLeader(t *testing.T) {
	t.Parallel()
	g := start(t)
	a := g.stand(t, "e", `{"port": 80}`).elected(t)
	g.stand(t, "e", "b")
	r := g.present(t)
	head := fmt.Sprintf(`{"type":"leader","revision":%d,"leader":{"owner_key":%q,"lease":"%016x","fencing_token":%d,`, r, a.key("e"), int64(a.session.Lease()), a.Rev())
	for encoding, value := range map[string]string{"auto": `"value":"{\"port\": 80}"}}`, "json": `"value_json":{"port":80}}}`} {
		s := g.lines(t, "election=e&encoding="+encoding)
		s.created()
		s.want(head + value)
	}
	bytes := g.lines(t, "election=ZQ&key_encoding=base64url&encoding=base64")
	bytes.created()
	if m := bytes.next(); !strings.Contains(m.text, `"owner_key_base64":`) || !strings.Contains(m.text, `"value_base64":"eyJwb3J0IjogODB9"`) {
		t.Errorf("in base64: got %s", m.text)
	}
	plain := g.lines(t, "prefix=e/")
	plain.created()
	a.proclaim(t, "new")
	plain.kind("events")
	if m := bytes.kind("leader"); m.Revision != r+1 {
		t.Errorf("the proclamation: got %s", m.text)
	}
	if got := g.hub.Feeds(); got != 1 {
		t.Errorf("feeds: got %d, want 1", got)
	}
}

// Resumed at any revision, an observer is told exactly what comes from there on, over a takeover too.
func TestAnObserverResumesAnywhere(t *testing.T) {
	t.Parallel()
	g := start(t)
	o := &observed{name: "e"}
	o.run(t, g)
	socket := g.open(t)
	for from := int64(1); from <= o.end+1; from++ {
		texts, revisions := o.from(from)
		s := g.lines(t, fmt.Sprintf("election=e&start_revision=%d&epoch=%s", from, g.epoch))
		bookmark := fmt.Sprintf("Last-Event-ID: %s-%d", g.epoch, from-1)
		e := g.sse(t, "election=e", bookmark)
		socket.send(`{"op":"watch","id":"r%d","election":"e","start_revision":%[1]d}`, from)
		for _, resumed := range []*subscription{s, e, socket.subscription} {
			if m := resumed.created(); m.Revision != from-1 {
				t.Errorf("created: got %s, want revision %d", m.text, from-1)
			}
			for i, text := range texts {
				m := resumed.kind("leader")
				if !strings.HasSuffix(m.text, text+"}") || m.Revision != revisions[i] {
					t.Errorf("from %d:\n got %s\nwant %s", from, m.text, text)
				}
			}
		}
		socket.send(`{"op":"cancel","id":"r%d"}`, from)
		socket.kind("end")
		p := g.poll(t, fmt.Sprintf("election=e&wait=0&start_revision=%d", from))
		if len(p.Leaders) != len(texts) || p.Revision != o.end {
			t.Errorf("polled from %d: got %d changes up to %d, want %d up to %d", from, len(p.Leaders), p.Revision, len(texts), o.end)
		}
		s.leave()
		e.leave()
	}
}

// An observer goes on where the feed is behind a compaction only if the state before its start can still be read.
func TestAnObserverIsToldOfACompaction(t *testing.T) {
	t.Parallel()
	g := start(t)
	o := &observed{name: "e"}
	o.run(t, g)
	g.compact(t, o.takeover)
	for _, from := range []int64{o.takeover - 1, o.takeover} { // whoever led before the takeover cannot be known any more
		for _, path := range []string{"/v1/watch", "/v1/watch/poll"} {
			p := g.get(t, fmt.Sprintf("%s?election=e&start_revision=%d", path, from)).problem(t, 410, "compacted")
			if p.CompactRevision != o.takeover {
				t.Errorf("from %d: compact_revision: got %d, want %d", from, p.CompactRevision, o.takeover)
			}
		}
		s := g.lines(t, fmt.Sprintf("election=e&on_compacted=resync&start_revision=%d", from))
		s.created()
		if m := s.kind("reset"); m.Reason != "compacted" {
			t.Errorf("got %s", m.text)
		}
		if m := s.kind("leader"); m.Revision != o.end || m.Leader == nil || m.Leader.Value != "d1" {
			t.Errorf("after the reset: got %s", m.text)
		}
		s.leave()
	}
	s := g.lines(t, fmt.Sprintf("election=e&start_revision=%d", o.takeover+1))
	s.created()
	texts, _ := o.from(o.takeover + 1)
	for _, text := range texts {
		s.want(`{"type":"leader",` + text + "}")
	}
	socket := g.open(t)
	socket.send(`{"op":"watch","id":"w","election":"e","start_revision":%d}`, o.takeover)
	if p := socket.refused("w", "compacted"); p.CompactRevision != o.takeover {
		t.Errorf("over a socket: compact_revision: got %d, want %d", p.CompactRevision, o.takeover)
	}
}

// From the store's first revision on there is nothing before the start.
func TestAnObserverFromTheBeginning(t *testing.T) {
	t.Parallel()
	g := start(t)
	o := &observed{name: "e"}
	o.run(t, g)
	s := g.lines(t, "election=e&start_revision=1")
	s.created()
	for _, text := range o.changes {
		s.want(`{"type":"leader",` + text + "}")
	}
}

func TestWhatDoesNotGoWithAnElectionIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, query := range []string{
		"key=a", "prefix=a", "prefix=", "from=a", "to=b", "snapshot=true", "events=put", "prev_kv=true", "keys_only",
	} {
		for _, path := range []string{"/v1/watch", "/v1/watch/poll"} {
			if strings.HasPrefix(query, "snapshot") && path != "/v1/watch" {
				continue // which a poll refuses in any case
			}
			p := g.get(t, path+"?election=e&"+query).problem(t, 400, "invalid_parameter")
			if name, _, _ := strings.Cut(query, "="); !strings.Contains(p.Detail, "election") || !strings.Contains(p.Detail, name) {
				t.Errorf("%s: the detail does not help: %s", query, p.Detail)
			}
		}
	}
	g.get(t, "/v1/watch?election=").problem(t, 400, "invalid_argument")
	g.get(t, "/v1/watch?election").problem(t, 400, "invalid_parameter")
	g.get(t, "/v1/watch?election=%00e").problem(t, 403, "reserved")
	s := g.open(t)
	for i, member := range []string{
		`"key":"a"`, `"prefix":""`, `"from":"a"`, `"to":"b"`, `"snapshot":true`, `"events":["put"]`, `"prev_kv":true`, `"keys_only":true`,
	} {
		s.send(`{"op":"watch","id":"w%d","election":"e",%s}`, i, member)
		s.refused(fmt.Sprint("w", i), "invalid_argument")
	}
	s.send(`{"op":"watch","id":"empty","election":""}`)
	s.refused("empty", "invalid_argument")
	s.send(`{"op":"watch","id":"reserved","election_base64":"AGU="}`)
	s.refused("reserved", "reserved")
	s.send(`{"op":"watch","id":"both","election_base64":"ZQ==","election":"e"}`)
	s.refused("both", "invalid_argument")
}

// A name above a large folder is no election: it is refused at the start, and ends when it becomes one.
func TestAnElectionHasABoundedNumberOfCandidates(t *testing.T) {
	t.Parallel()
	g := start(t)
	const most = 10_000
	for i := 0; i < most; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("e/%d", i+j), "x"))
		}
		g.txn(t, ops...)
	}
	s := g.lines(t, "election=e")
	s.created()
	if m := s.kind("leader"); m.Leader.OwnerKey != "e/0" {
		t.Errorf("of those that one transaction created, the first by key leads: got %s", m.text)
	}
	last := g.put(t, "e/more", "x")
	if p := s.fails("result_too_large"); p.Limit != most || p.Revision != last-1 {
		t.Errorf("got %+v, want the limit %d and the revision %d", p, most, last-1)
	}
	g.get(t, "/v1/watch?election=e").problem(t, 413, "result_too_large")
	g.get(t, fmt.Sprintf("/v1/watch/poll?wait=0&election=e&start_revision=%d", last)).problem(t, 413, "result_too_large")
}
