package handlers_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// startTicketed runs a gateway with watches whose callers the policy judges.
func startTicketed(t *testing.T, etcd *embedetcd.Server, config etcdclient.Config, origins ...string) *gateway {
	t.Helper()
	policy, err := authz.NewPolicy([]authz.Rule{
		{When: authz.When{Names: []string{"a"}}, Namespace: "ns/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}}},
		{Grants: []authz.Grant{{Verbs: authz.All}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	config.Endpoints = []string{etcd.Endpoint()}
	client, err := etcdclient.New(config)
	if err != nil {
		t.Fatal(err)
	}
	epochs, gate := epoch.New(client), authz.NewGate(client, named{}, policy)
	hub := stream.New(client, epochs, stream.Options{Gate: gate})
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() { hub.Run(running) })
	t.Cleanup(func() {
		stop()
		work.Wait()
		_ = client.Close()
	})
	g := startOver(t, etcd, etcd.Endpoint(), func(*etcdclient.Client) handlers.Backend { return client },
		func(o *handlers.Options) { o.Gate, o.Watches, o.Epoch, o.AllowedOrigins = gate, hub, epochs, origins })
	t.Cleanup(hub.Close) // before the server, which waits for its streams
	return g
}

// ticket buys one for a.
func (g *gateway) ticket(t testing.TB, path string, headers ...string) string {
	t.Helper()
	text, _ := g.do(t, "POST", "/v1/auth/tickets", `{"path":"`+path+`"}`, append(headers, as("a"))...).want(t, 201).json(t)["ticket"].(string)
	return text
}

// TestTickets (scorecard E14): reuse, another path, another origin, a guess, another method, beside a token.
func TestTickets(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g := startTicketed(t, etcd, etcdclient.Config{})
	g.do(t, "PUT", "/v1/kv/k", `{"value":"mine"}`, as("a")).want(t, 201)

	text := g.ticket(t, "/v1/kv/k")
	if got := g.do(t, "GET", "/v1/kv/k?ticket="+text+"&encoding=auto", "").want(t, 200).json(t)["value"]; got != "mine" {
		t.Errorf("the ticket's owner reads %v, want what is in his namespace", got)
	}
	g.do(t, "GET", "/v1/kv/k?ticket="+text, "").problem(t, 401, "unauthenticated")
	other := g.ticket(t, "/v1/kv/other")
	g.do(t, "GET", "/v1/kv/k?ticket="+other, "").problem(t, 401, "unauthenticated")
	g.do(t, "GET", "/v1/kv/other?ticket="+other, "").problem(t, 404, "key_not_found")
	origin := g.ticket(t, "/v1/kv/k", "Origin: "+g.url)
	g.do(t, "GET", "/v1/kv/k?ticket="+origin, "", "Origin: "+strings.Replace(g.url, "http:", "https:", 1)).problem(t, 401, "unauthenticated")
	g.do(t, "HEAD", "/v1/kv/k?ticket="+origin, "", "Origin: "+g.url).want(t, 200)
	for _, guess := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 42) + "B", "%41"} {
		g.do(t, "GET", "/v1/kv/k?ticket="+guess, "").problem(t, 401, "unauthenticated")
	}
	twice := g.ticket(t, "/v1/kv/k")
	g.do(t, "GET", "/v1/kv/k?ticket="+twice+"&ticket="+twice, "").problem(t, 401, "unauthenticated")
	g.do(t, "GET", "/v1/kv/k?ticket="+twice, "", as("a")).problem(t, 401, "unauthenticated")
	g.do(t, "DELETE", "/v1/kv/k?ticket="+twice, "").problem(t, 401, "unauthenticated")
	g.do(t, "DELETE", "/v1/kv/k?ticket="+twice, "", as("a")).problem(t, 400, "unknown_parameter")
	for _, path := range []string{"", "kv", "/health", "/v1/kv?prefix=a", "http://x/v1/kv", "/v1/%zz", "/v1/kv#a"} {
		g.do(t, "POST", "/v1/auth/tickets", `{"path":"`+path+`"}`, as("a")).problem(t, 400, "invalid_argument")
	}
	g.do(t, "POST", "/v1/auth/tickets", `{"path":"/v1/watch"}`).problem(t, 401, "unauthenticated")

	kept, err := g.oracle.Get(t.Context(), "\x00etcdrest/t/", clientv3.WithPrefix())
	if err != nil || len(kept.Kvs) == 0 {
		t.Fatalf("no ticket is kept: %v", err)
	}
	for _, kv := range kept.Kvs { // nothing of the ticket, its owner or its path can be read in etcd
		for _, secret := range []string{other, twice, "jwt", "/v1/", "org"} {
			if strings.Contains(string(kv.Key)+string(kv.Value), secret) {
				t.Errorf("%s shows %q: %s", kv.Key, secret, kv.Value)
			}
		}
		if ttl, err := g.oracle.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease)); err != nil || ttl.TTL > 60 || ttl.TTL <= 0 {
			t.Errorf("a record lives for %v, %v", ttl, err)
		}
	}
}

// TestOneOfTwoRedemptionsWins (E14), at two gateways of one cluster.
func TestOneOfTwoRedemptionsWins(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	gateways := []*gateway{startTicketed(t, etcd, etcdclient.Config{}), startTicketed(t, etcd, etcdclient.Config{})}
	for range 10 {
		text := gateways[0].ticket(t, "/v1/kv")
		statuses := make(chan int, 6)
		var work sync.WaitGroup
		for i := range cap(statuses) {
			work.Go(func() { statuses <- gateways[i%2].do(t, "GET", "/v1/kv?ticket="+text, "").status })
		}
		work.Wait()
		close(statuses)
		won := 0
		for status := range statuses {
			if status == 200 {
				won++
			} else if status != 401 {
				t.Errorf("a loser is answered %d", status)
			}
		}
		if won != 1 {
			t.Fatalf("%d redemptions won, want 1", won)
		}
	}
}

// events opens a stream of Server-Sent Events, and gives its first event, and what reads to its end.
func (g *gateway) events(t *testing.T, path string, headers ...string) (first string, leave func(), rest func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	answer, err := g.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = answer.Body.Close()
	})
	if answer.StatusCode != http.StatusOK {
		return answer.Status, cancel, nil
	}
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return data, cancel, func() error { _, err := io.Copy(io.Discard, lines); return err }
		}
	}
}

// TestTheTicketOfAStream comes back to the same URL, on any gateway, one connection at a time.
func TestTheTicketOfAStream(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	g, other := startTicketed(t, etcd, etcdclient.Config{}), startTicketed(t, etcd, etcdclient.Config{})
	text := g.ticket(t, "/v1/watch")
	path := "/v1/watch?prefix=k&ticket=" + text
	first, _, rest := g.events(t, path)
	if !strings.Contains(first, `"created"`) {
		t.Fatalf("got %s", first)
	}
	kept, err := g.oracle.Get(t.Context(), "\x00etcdrest/t/", clientv3.WithPrefix())
	if err != nil || len(kept.Kvs) != 1 || strings.Contains(string(kept.Kvs[0].Value), text) || strings.Contains(string(kept.Kvs[0].Value), "prefix") {
		t.Errorf("etcd keeps %v, %v; want one record that shows nothing", kept, err)
	}
	if second, _, _ := other.events(t, path); !strings.Contains(second, "rate_limited") {
		t.Errorf("a second connection gets %s", second)
	}
	g.do(t, "GET", "/v1/watch/poll?ticket="+text, "").problem(t, 401, "unauthenticated")
	g.do(t, "GET", "/v1/watch?prefix=other&ticket="+text, "", "Accept: text/event-stream").problem(t, 401, "unauthenticated")
	g.do(t, "GET", path, "").problem(t, 401, "unauthenticated") // NDJSON does not come back by itself

	// Who resumes takes the place of the former connection, also at another gateway.
	present := bookmarkOf(t, first)
	resumed, leave, _ := other.events(t, path, "Last-Event-Id: "+present)
	if !strings.Contains(resumed, `"created"`) {
		t.Fatalf("who resumes gets %s", resumed)
	}
	if err := rest(); err == nil {
		t.Error("the former connection has a clean end")
	}
	leave()
	var again string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); { // it is let go of soon after it has gone
		if again, _, _ = g.events(t, path); !strings.Contains(again, "rate_limited") {
			break
		}
	}
	if !strings.Contains(again, `"created"`) {
		t.Errorf("after the connection is gone a new one gets %s", again)
	}
}

// bookmarkOf makes the bookmark of a created message.
func bookmarkOf(t *testing.T, created string) string {
	t.Helper()
	_, rest, _ := strings.Cut(created, `"revision":`)
	revision, rest, _ := strings.Cut(rest, ",")
	_, rest, _ = strings.Cut(rest, `"epoch":"`)
	name, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no epoch in %s", created)
	}
	return name + "-" + revision
}

// TestTicketsNeedAStateThatCanBeKept: a gateway whose user may not write it says so.
func TestTicketsNeedAStateThatCanBeKept(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "gateway", "gateway"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	g := startTicketed(t, etcd, etcdclient.Config{Username: "gateway", Password: "gateway"})
	a := g.do(t, "POST", "/v1/auth/tickets", `{"path":"/v1/watch"}`, as("a"))
	a.problem(t, 501, "not_supported")
	id, _ := g.do(t, "POST", "/v1/leases", `{"ttl":60}`, as("a")).want(t, 201).json(t)["id"].(string) // as good as can be
	g.do(t, "GET", "/v1/leases/"+id, "", as("a")).want(t, 200)
	if got := g.do(t, "GET", "/v1/auth/methods", "").want(t, 200).json(t)["tickets"]; got != false {
		t.Errorf("tickets: %v, want false", got)
	}
}
