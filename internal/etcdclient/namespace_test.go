package etcdclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// prefixes are awkward namespaces: etcd's own client leaves some of them.
var prefixes = []string{"a", "a\xff", "a\xff\xff", "\xff", "\xff\xff", "\x00", "tenants/1/", "a\x00"}

func keysOf(kvs *wire.KeyValues) (keys []string) {
	for kv := range kvs.All() {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

// around is keys inside the namespace, relative to it, and keys outside next to its borders.
func around(prefix string) (inside, outside []string) {
	inside = []string{"\x00", "a", "a\x00", "b", "\xff", "\xff\xff"}
	for _, k := range []string{"", "\x00", "a", "b", "b\x00", "b\xff", "\xfe", "\xff", "\xff\x00", "\x01", "tenants/0/z", "tenants/10", prefix[:len(prefix)-1], prefix} {
		if k != "" && (len(k) <= len(prefix) || k[:len(prefix)] != prefix) {
			outside = append(outside, k)
		}
	}
	slices.Sort(outside)
	return inside, slices.Compact(outside)
}

func TestNamespaceNeverLeaves(t *testing.T) {
	t.Parallel()
	for _, prefix := range prefixes {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			c, _ := embedded(t)
			inside, outside := around(prefix)
			n := c.Namespace([]byte(prefix))
			ctx := within(t, 30*time.Second)
			for _, k := range outside {
				put(t, c, k, "outside")
			}
			for _, k := range inside {
				if _, err := n.Put(ctx, &wire.PutRequest{Key: []byte(k), Value: []byte("inside")}); err != nil {
					t.Fatal(err)
				}
			}
			open := &wire.RangeRequest{Key: []byte{0}, End: []byte{0}}
			r, err := n.Range(ctx, open)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(inside, keysOf(&r.KVs)); diff != "" || r.Count != int64(len(inside)) {
				t.Errorf("everything, from-key: (-want +got)\n%s", diff)
			}
			if r, err = n.Range(ctx, &wire.RangeRequest{Key: []byte("a"), End: []byte("b")}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"a", "a\x00"}, keysOf(&r.KVs)); diff != "" {
				t.Errorf("a to b: (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(inside, streamed(t, n, open)); diff != "" {
				t.Errorf("streamed: (-want +got)\n%s", diff)
			}
			txn := &wire.TxnRequest{
				If: []wire.Compare{{Key: []byte{0}, End: []byte{0}, Target: wire.TargetValue, Op: wire.Equal, Value: []byte("inside")}},
				Then: []wire.Op{{Txn: &wire.TxnRequest{Then: []wire.Op{{Txn: &wire.TxnRequest{
					Then: []wire.Op{{Range: open}, {Delete: &wire.DeleteRequest{Key: []byte("\xff"), End: []byte{0}, PrevKV: true}}},
				}}}}}},
			}
			got, err := n.Txn(ctx, txn)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Succeeded {
				t.Fatal("a compare over the namespace saw a key outside")
			}
			deep := got.Results[0].Txn.Results[0].Txn.Results
			if diff := cmp.Diff(inside, keysOf(&deep[0].Range.KVs)); diff != "" {
				t.Errorf("three transactions deep: (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]string{"\xff", "\xff\xff"}, keysOf(&deep[1].Delete.PrevKVs)); diff != "" {
				t.Errorf("prev_kvs three transactions deep: (-want +got)\n%s", diff)
			}
			d, err := n.DeleteRange(ctx, &wire.DeleteRequest{Key: []byte{0}, End: []byte{0}, PrevKV: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(inside[:4], keysOf(&d.PrevKVs)); diff != "" {
				t.Errorf("deleted: (-want +got)\n%s", diff)
			}
			all, err := c.Range(ctx, open)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(outside, keysOf(&all.KVs)); diff != "" {
				t.Errorf("what is outside was touched: (-want +got)\n%s", diff)
			}
		})
	}
}

// ranger is a client or a namespace of one.
type ranger interface {
	RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error)
}

func streamed(t *testing.T, c ranger, r *wire.RangeRequest) (keys []string) {
	t.Helper()
	s, err := c.RangeStream(within(t, 10*time.Second), r)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		piece, err := s.Next()
		if errors.Is(err, io.EOF) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, keysOf(&piece.KVs)...)
		piece.Free()
	}
}

func TestNamespaceRefusesAnEmptyKeyAsEtcdDoes(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	n := ready(t, []string{s.endpoint}).Namespace([]byte("ns/"))
	ctx := within(t, 5*time.Second)
	_, errRange := n.Range(ctx, &wire.RangeRequest{End: []byte{0}})
	_, errStream := n.RangeStream(ctx, &wire.RangeRequest{})
	_, errPut := n.Put(ctx, &wire.PutRequest{})
	_, errDelete := n.DeleteRange(ctx, &wire.DeleteRequest{End: []byte("x")})
	_, errIf := n.Txn(ctx, &wire.TxnRequest{If: []wire.Compare{{}}})
	_, errThen := n.Txn(ctx, &wire.TxnRequest{Then: []wire.Op{{Txn: &wire.TxnRequest{Else: []wire.Op{{Put: &wire.PutRequest{}}}}}}})
	_, errMessage := pb.NewKVClient(n).Put(ctx, &pb.PutRequest{})
	for i, err := range []error{errRange, errStream, errPut, errDelete, errIf, errThen, errMessage} {
		if !errors.Is(err, rpctypes.ErrEmptyKey) {
			t.Errorf("%d: got %v; want etcd's error for an empty key", i, err)
		}
	}
	if s.puts.Load()+s.ranges.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestNamespaceListsOnlyItsOwnLeaseKeys(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	n := c.Namespace([]byte("ns/"))
	ctx := within(t, 10*time.Second)
	lease, err := n.LeaseGrant(ctx, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"ns/a", "ns/b", "ns", "other"} {
		if _, err := c.Put(ctx, &wire.PutRequest{Key: []byte(k), Lease: lease.ID}); err != nil {
			t.Fatal(err)
		}
	}
	status, err := n.LeaseTimeToLive(ctx, lease.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	message, err := pb.NewLeaseClient(n).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: lease.ID, Keys: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][][]byte{status.Keys, message.GetKeys()} {
		slices.SortFunc(keys, bytes.Compare)
		if diff := cmp.Diff([][]byte{[]byte("a"), []byte("b")}, keys); diff != "" {
			t.Errorf("keys of the lease: (-want +got)\n%s", diff)
		}
	}
}

func TestNamespaceWatchesOnlyItsOwnKeys(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"ns/", "a\xff", "\xff"} {
		c, _ := embedded(t)
		n := c.Namespace([]byte(prefix))
		w, err := pb.NewWatchClient(n).Watch(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{RangeEnd: []byte{0}, PrevKv: true},
		}}
		if err := w.Send(request); err != nil {
			t.Fatal(err)
		}
		if k := request.GetCreateRequest().GetKey(); len(k) != 0 {
			t.Errorf("the caller's request was changed: key %q", k)
		}
		if r, err := w.Recv(); err != nil || !r.GetCreated() {
			t.Fatalf("got %v, %v; want the watch created", r, err)
		}
		_, outside := around(prefix)
		for _, k := range outside {
			put(t, c, k, "v")
		}
		for _, value := range []string{"1", "2"} {
			put(t, c, prefix+"k", value)
		}
		for _, want := range []string{"1", "2"} {
			r, err := w.Recv()
			if err != nil {
				t.Fatal(err)
			}
			e := r.GetEvents()[0]
			if string(e.GetKv().GetKey()) != "k" || string(e.GetKv().GetValue()) != want {
				t.Errorf("%q: got %v; want the key k with %s", prefix, e, want)
			}
			if want == "2" && string(e.GetPrevKv().GetKey()) != "k" {
				t.Errorf("%q: prev_kv %v; want the key k", prefix, e.GetPrevKv())
			}
		}
	}
}

func TestNamespaceForeignKeyInAnAnswerIsAnError(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{answers: "stranger"})
	n := ready(t, []string{s.endpoint}).Namespace([]byte("ns/"))
	ctx := within(t, 5*time.Second)
	_, err := n.Range(ctx, &wire.RangeRequest{Key: []byte("k")})
	_, err2 := pb.NewKVClient(n).Range(ctx, &pb.RangeRequest{Key: []byte("k")})
	for _, err := range []error{err, err2} {
		if e := asError(t, err); e.Name != etcdclient.NameOutsideNamespace || e.Problem().Code != problem.UpstreamCorrupt {
			t.Errorf("got %+v; want OutsideNamespace", e)
		}
	}
}

func TestNamespaceRefusesWhatIsEveryones(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	n := ready(t, []string{s.endpoint}).Namespace([]byte("ns/"))
	ctx := within(t, 5*time.Second)
	_, errCompact := n.Compact(ctx, 1, false)
	_, errMembers := pb.NewClusterClient(n).MemberList(ctx, &pb.MemberListRequest{})
	_, errUsers := pb.NewAuthClient(n).UserList(ctx, &pb.AuthUserListRequest{})
	_, errSnapshot := pb.NewMaintenanceClient(n).Snapshot(ctx, &pb.SnapshotRequest{})
	_, errMessage := pb.NewKVClient(n).Compact(ctx, &pb.CompactionRequest{Revision: 1})
	for i, err := range []error{errCompact, errMembers, errUsers, errSnapshot, errMessage} {
		if e := asError(t, err); e.Problem().Code != problem.PermissionDenied || e.Answered {
			t.Errorf("%d: got %+v; want permission_denied by the client itself", i, e)
		}
	}
}

func TestNamespaceMessagesEqualTheRawPath(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	n := c.Namespace([]byte("a\xff"))
	kv := pb.NewKVClient(n)
	ctx := within(t, 10*time.Second)
	for _, k := range []string{"1", "2", "3"} {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(k), Value: []byte(k), PrevKv: true}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := n.Range(ctx, &wire.RangeRequest{Key: []byte("2"), End: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	inner := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("2"), RangeEnd: []byte{0}}}}
	message, err := kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: []byte("1"), Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{}}},
		Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{inner}}}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("1"), PrevKv: true}}},
			{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("3"), PrevKv: true}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range message.GetResponses()[0].GetResponseTxn().GetResponses()[0].GetResponseRange().GetKvs() {
		keys = append(keys, string(kv.GetKey()))
	}
	if diff := cmp.Diff(keysOf(&raw.KVs), keys); diff != "" {
		t.Errorf("(-raw +message)\n%s", diff)
	}
	if k := message.GetResponses()[1].GetResponsePut().GetPrevKv().GetKey(); string(k) != "1" {
		t.Errorf("prev_kv of the put: %q; want 1", k)
	}
	if k := message.GetResponses()[2].GetResponseDeleteRange().GetPrevKvs()[0].GetKey(); string(k) != "3" {
		t.Errorf("prev_kvs of the delete: %q; want 3", k)
	}
}

func TestTheGatewaysStateHasNoNamespace(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	ctx := within(t, 20*time.Second)
	n := c.Namespace([]byte("tenant/"))
	record := []byte(wire.StatePrefix + "i/1")
	_, err := n.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{{Key: record, Target: wire.TargetCreateRevision, Op: wire.Equal}},
		Then: []wire.Op{{Put: &wire.PutRequest{Key: record}}, {Put: &wire.PutRequest{Key: []byte("a")}}, {Range: &wire.RangeRequest{Key: record}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, inside := range map[string]bool{string(record): false, "tenant/a": true} {
		r, err := c.Range(ctx, &wire.RangeRequest{Key: []byte(key)})
		if err != nil || r.KVs.Len() != 1 {
			t.Errorf("%q in the store: %v, %v", key, r, err)
		}
		if all, err := n.Range(ctx, &wire.RangeRequest{Key: []byte("\x00"), End: []byte("\x00")}); err != nil || all.KVs.Len() != 1 {
			t.Errorf("all keys of the namespace: %v, %v; want one, %t", all, err, inside)
		}
	}
	if r, err := n.Range(ctx, &wire.RangeRequest{Key: record}); err != nil || r.KVs.Len() != 1 {
		t.Errorf("the record, read within the namespace: %v, %v", r, err)
	}
	if r, err := pb.NewKVClient(n).Range(ctx, &pb.RangeRequest{Key: record}); err != nil || len(r.GetKvs()) != 0 {
		t.Errorf("what a caller of /v3 names is in the namespace whatever it is: %v, %v", r, err)
	}
}
