package ticket_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/ticket"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// office is a keeper before a real etcd, whose leases go by the real time, with a clock of the test's.
type office struct {
	*ticket.Keeper
	client *etcdclient.Client
	ahead  atomic.Int64
}

func open(t *testing.T) *office {
	t.Helper()
	etcd := embedetcd.StartForTest(t)
	client, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	o := &office{Keeper: ticket.New(client), client: client}
	o.SetClock(func() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) })
	return o
}

// pass lets time pass.
func (o *office) pass(d time.Duration) { o.ahead.Add(int64(d)) }

func (o *office) issue(t *testing.T) string {
	t.Helper()
	text, _, err := o.Issue(t.Context(), &authn.Principal{Kind: authn.KindJWT, Name: "alice"}, "/v1/watch", "")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ttl is what the lease of the one ticket's record has left, as etcd has it; 0 when there is no record.
func (o *office) ttl(t *testing.T) int64 {
	t.Helper()
	answer, err := o.client.Range(t.Context(), &wire.RangeRequest{Key: []byte(wire.StatePrefix + "t/"), End: []byte(wire.StatePrefix + "t0")})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Free()
	kv, there := answer.KVs.First()
	if !there {
		return 0
	}
	status, err := o.client.LeaseTimeToLive(t.Context(), kv.Lease, false)
	if err != nil {
		t.Fatal(err)
	}
	return status.TTL
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if e := problem.From(err); e == nil || e.Code != problem.Unauthenticated || !strings.Contains(e.Detail, "its time is over") {
		t.Errorf("%s: got %v, want that it is not good", what, err)
	}
}

// margin is what the test itself may take.
const margin = 10 * time.Second

func TestATicketIsGoodForThirtySecondsBeforeItsFirstUse(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*office, context.Context, string) error{
		"for a request": func(o *office, ctx context.Context, text string) error {
			_, err := o.Redeem(ctx, text, ticket.Use{Path: "/v1/watch"})
			return err
		},
		"for a stream": func(o *office, ctx context.Context, text string) error {
			hold, err := o.Stream(ctx, text, ticket.Use{Path: "/v1/watch"})
			if err == nil {
				hold.Release(ctx)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			late := o.issue(t)
			if left := o.ttl(t); left < int64(ticket.Life/time.Second) || left > 60 {
				t.Errorf("its record lives for %d s, want longer than the ticket and at most a minute", left)
			}
			o.pass(ticket.Life)
			wantRefused(t, "after 30 s, with its record still there", use(o, t.Context(), late))
			early := o.issue(t)
			o.pass(ticket.Life - margin)
			if err := use(o, t.Context(), early); err != nil {
				t.Errorf("before its time is over: got %v", err)
			}
		})
	}
}

func TestAStreamsTicketIsGoodForFiveMinutesAfterItsLastConnection(t *testing.T) {
	t.Parallel()
	const linger = 5 * time.Minute
	o := open(t)
	text, at := o.issue(t), ticket.Use{Path: "/v1/watch", Query: "key=k", Resumes: true}
	connect := func() (*ticket.Hold, error) { return o.Stream(t.Context(), text, at) }
	hold, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	o.pass(time.Hour) // however long it is connected
	hold.Release(t.Context())
	if left := o.ttl(t); left < int64((linger-margin)/time.Second) {
		t.Errorf("its record lives for %d s more, want five minutes from the end of the connection", left)
	}
	for range 3 { // each connection begins the time anew
		o.pass(linger - margin)
		if hold, err = connect(); err != nil {
			t.Fatalf("within five minutes of its last connection: got %v", err)
		}
		hold.Release(t.Context())
	}
	o.pass(linger)
	_, err = connect()
	wantRefused(t, "after five minutes, with its record still there", err)
}
