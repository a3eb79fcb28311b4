package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestRangeStreamGivesWhatRangeGives(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for i := range 300 {
		put(t, c, fmt.Sprintf("k/%03d", i), fmt.Sprint(i))
	}
	ctx := within(t, 10*time.Second)
	for _, r := range []*wire.RangeRequest{
		{Key: []byte("k/"), End: []byte("k0")},
		{Key: []byte("k/"), End: []byte("k0"), Limit: 17},
		{Key: []byte("k/"), End: []byte("k0"), KeysOnly: true, Revision: 100},
		{Key: []byte("k/"), End: []byte("k0"), CountOnly: true},
		{Key: []byte("absent")},
	} {
		whole, err := c.Range(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.RangeStream(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		var got result
		for {
			piece, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			p := ourRange(piece)
			got.KVs = append(got.KVs, p.KVs...)
			got.Revision, got.More, got.Count = p.Revision, p.More, p.Count
		}
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v; want io.EOF again", err)
		}
		s.Close()
		if diff := cmp.Diff(ourRange(whole), got); diff != "" {
			t.Errorf("%+v: (-Range +RangeStream)\n%s", r, diff)
		}
	}
}

func TestRangeStreamErrorsComeAtOnceAndTyped(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	for range 5 {
		put(t, c, "k", "v")
	}
	ctx := within(t, 10*time.Second)
	if _, err := c.Compact(ctx, 4, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RangeStream(ctx, &wire.RangeRequest{Key: []byte("k"), Revision: 2}); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
	if _, err := c.RangeStream(ctx, &wire.RangeRequest{Key: []byte("k"), Revision: 99}); !errors.Is(err, rpctypes.ErrFutureRev) {
		t.Errorf("a future revision: %v", err)
	}
	_, err := c.RangeStream(ctx, &wire.RangeRequest{Key: []byte("a"), End: []byte("z"), Order: wire.Descending, SortBy: wire.ByValue})
	if e := asError(t, err); e.Code != codes.Unimplemented || !c.HasRangeStream() {
		t.Errorf("an order: %+v, and HasRangeStream %v; want Unimplemented, which is about the order only", e, c.HasRangeStream())
	}
}

func TestRangeStreamEndedEarlyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	value := make([]byte, 1<<20)
	for i := range 10 {
		if _, err := c.Put(within(t, 10*time.Second), &wire.PutRequest{Key: fmt.Appendf(nil, "k%d", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		s, err := c.RangeStream(t.Context(), &wire.RangeRequest{Key: []byte("k"), End: []byte("l")})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		s.Close()
	}
	if n := gauge(t, c, "etcdrest_etcd_in_flight", "class", "bulk"); n != 0 {
		t.Errorf("in flight after Close: %v; want 0", n)
	}
}

func TestRangeStreamIsNotSupportedBeforeEtcd37AndThatIsRemembered(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.6.9", "3.7.0"} { // the second is a proxy that lies about what it passes on
		s := serve(t, &scripted{says: version})
		c := ready(t, []string{s.endpoint})
		if got, want := c.HasRangeStream(), version == "3.7.0"; got != want {
			t.Errorf("%s: HasRangeStream before the first call: %v; want %v", version, got, want)
		}
		_, err := c.RangeStream(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")})
		if e := asError(t, err); e.Problem().Code != problem.NotSupported {
			t.Errorf("%s: got %+v; want not_supported", version, e)
		}
		if c.HasRangeStream() {
			t.Errorf("%s: HasRangeStream is still true", version)
		}
	}
}

func TestRangeStreamMovesToAnotherMemberBeforeItsFirstPieceOnly(t *testing.T) {
	t.Parallel()
	send := func(stream pb.KV_RangeStreamServer) error {
		return stream.Send(&pb.RangeStreamResponse{RangeResponse: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("k")}}}})
	}
	for _, each := range []struct {
		name string
		bad  func(stream pb.KV_RangeStreamServer) error
		cut  bool
	}{
		{"before", func(pb.KV_RangeStreamServer) error { return status.Error(codes.Unavailable, "down") }, false},
		{"after", func(s pb.KV_RangeStreamServer) error {
			return errors.Join(send(s), status.Error(codes.Unavailable, "down"))
		}, true},
	} {
		t.Run(each.name, func(t *testing.T) {
			t.Parallel()
			bad := serve(t, &scripted{id: 1, says: "3.7.0", onStream: func(s pb.KV_RangeStreamServer) error {
				if err := each.bad(s); err != nil {
					return status.Error(codes.Unavailable, "down")
				}
				return nil
			}})
			good := &scripted{id: 2, says: "3.7.0", onStream: send}
			good.leader.Store(1)
			serve(t, good)
			c := ready(t, []string{bad.endpoint, good.endpoint})
			eventually(t, "the leader was asked", 10*time.Second, func() bool {
				s, err := c.RangeStream(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")})
				if err != nil {
					t.Fatalf("open: %v", err)
				}
				defer s.Close()
				if piece, err := s.Next(); err != nil || piece.KVs.Len() != 1 {
					t.Fatalf("first piece: %v, %v", piece, err)
				}
				_, err = s.Next()
				if each.cut && !errors.Is(err, io.EOF) {
					if e := asError(t, err); e.Code != codes.Unavailable {
						t.Errorf("cut: %+v; want unavailable", e)
					}
					return true
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("the end: %v; want io.EOF", err)
				}
				return !each.cut && bad.streams.Load() > 0
			})
		})
	}
}

func TestRangeStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{says: "3.7.0", onStream: func(s pb.KV_RangeStreamServer) error {
		if err := s.Send(&pb.RangeStreamResponse{}); err != nil {
			return err
		}
		return hang(s.Context())
	}})
	c := ready(t, []string{s.endpoint})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.RangeStream(ctx, &wire.RangeRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want canceled", err)
	}
	stream.Close()
}
