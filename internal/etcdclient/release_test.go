package etcdclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestAMemberThatComesBackAsAnotherReleaseIsLookedAtAnew(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{says: "3.6.9"})
	c := ready(t, []string{s.endpoint})
	for _, next := range []string{"3.7.0", "3.6.9"} { // up, and down again
		has := next == "3.7.0"
		if c.HasRangeStream() == has {
			t.Errorf("before it is %s: HasRangeStream is %v", next, has)
		}
		s.stop()
		s.says = next
		s.start(t)
		eventually(t, "the member is known as "+next, 20*time.Second, func() bool { return c.HasRangeStream() == has })
	}
}

// With authentication on, etcd tells its version to nobody without a token (since 3.4.42, 3.5.28 and 3.6.9).
func TestReleasesAreKnownWhereAuthenticationIsOn(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t)
	enableAuth(t, s)
	c := ready(t, []string{s.Endpoint()}, user("app", "apppw"))
	if none := (etcdclient.WatchFaults{}); c.WatchFaults() == none {
		t.Error("the release is known before there is a token, so this shows nothing")
	}
	put(t, c, "app/k", "v")
	eventually(t, "the member's release is known", 20*time.Second, func() bool { return c.WatchFaults() == etcdclient.WatchFaults{} })
	r, w := watch(t, c, etcdclient.WatchRequest{Key: []byte("app/k"), Revision: 2})
	w.RequestProgress()
	r.until("progress is certified", 20*time.Second, func() bool { return len(r.progress) > 0 })
}

// The same without the release: a member that has no RangeStream must not keep others from being asked, and is asked otherwise.
func TestNoRangeStreamIsRememberedOfAMemberWhoseReleaseIsUnknown(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{says: "unknown"})
	c := ready(t, []string{s.endpoint})
	for range 3 {
		_, err := c.RangeStream(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")})
		if e := asError(t, err); e.Problem().Code != problem.NotSupported {
			t.Errorf("got %+v; want not_supported", e)
		}
	}
	if c.HasRangeStream() {
		t.Error("HasRangeStream is still true")
	}
}

func TestAWatchFromTheRevisionOfACompactionIsRefusedWhereItMayLackDeletions(t *testing.T) {
	t.Parallel()
	for version, refused := range map[string]bool{
		"3.4.35": true, "3.4.36": false, "3.5.17": true, "3.5.18": false, "3.6.0": false, "3.7.0": false, "unknown": true,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := &scripted{says: version, onRange: func(context.Context) error { return rpctypes.ErrGRPCCompacted }}
			s := scripting(t, server, func(s *script, _ int64) error {
				r, err := s.Recv()
				if err != nil {
					return err
				}
				id := r.GetCreateRequest().GetWatchId()
				s.send(&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 9}, WatchId: id, Created: true})
				s.events(id, false, 6)
				return s.idle()
			})
			c := ready(t, []string{s.endpoint})
			r, _ := watch(t, c, keyed("k", 5))
			if !refused {
				r.untilReached(6)
				return
			}
			e := r.untilEnded()
			if !errors.Is(e, etcdclient.ErrCompacted) || e.CompactRevision != 6 || len(r.changes) > 0 {
				t.Errorf("got %+v after %v; want compacted from 6 on, and nothing before", e, r.changes)
			}
		})
	}
}

func TestWhatAReleaseWouldNotSeeIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{says: "3.4.23"})
	auth := pb.NewAuthClient(ready(t, []string{s.endpoint}))
	ctx := within(t, 10*time.Second)
	_, add := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", HashedPassword: "h"})
	_, change := auth.UserChangePassword(ctx, &pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: "h"})
	for _, err := range []error{add, change} {
		e := asError(t, err)
		p := e.Problem()
		if p.Code != problem.NotSupported || p.Outcome != problem.NotApplied || !strings.Contains(p.Detail, "etcd 3.5 and later") {
			t.Errorf("got %+v; want not_supported, not_applied, and etcd 3.5 named", p)
		}
	}
}

// etcd 3.4 sends the end of its own context as Unknown.
func TestAContextThatEndedInAnOldEtcdIsNoFaultOfTheGateway(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{onPut: func(context.Context) error { return status.Error(codes.Unknown, "context deadline exceeded") }})
	c := ready(t, []string{s.endpoint})
	_, err := c.Put(within(t, 10*time.Second), &wire.PutRequest{Key: []byte("k")})
	if e := asError(t, err); e.Problem().Code != problem.Unavailable || e.Outcome != problem.Unknown {
		t.Errorf("got %+v; want unavailable, and nobody knows whether it was written", e)
	}
}
