package wire_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// requests are our requests beside the generated messages that they must be.
var requests = []struct {
	name string
	ours wire.Request
	want proto.Message
}{
	{"empty range", &wire.RangeRequest{}, &etcdserverpb.RangeRequest{}},
	{
		"full range",
		&wire.RangeRequest{
			Key: []byte("a\x00\xff"), End: []byte{0}, Limit: 10, Revision: 1 << 40, Order: wire.Descending, SortBy: wire.ByValue, Serializable: true, KeysOnly: true, CountOnly: true,
			MinModRevision: 1, MaxModRevision: 200, MinCreateRevision: 3, MaxCreateRevision: 400,
		},
		&etcdserverpb.RangeRequest{
			Key: []byte("a\x00\xff"), RangeEnd: []byte{0}, Limit: 10, Revision: 1 << 40, SortOrder: etcdserverpb.RangeRequest_DESCEND, SortTarget: etcdserverpb.RangeRequest_VALUE, Serializable: true, KeysOnly: true, CountOnly: true,
			MinModRevision: 1, MaxModRevision: 200, MinCreateRevision: 3, MaxCreateRevision: 400,
		},
	},
	{"negative numbers", &wire.RangeRequest{Limit: -1, Revision: math.MinInt64}, &etcdserverpb.RangeRequest{Limit: -1, Revision: math.MinInt64}},
	{"empty put", &wire.PutRequest{}, &etcdserverpb.PutRequest{}},
	{
		"full put",
		&wire.PutRequest{Key: []byte("k"), Value: []byte(strings.Repeat("v", 300)), Lease: -5, PrevKV: true, IgnoreValue: true, IgnoreLease: true},
		&etcdserverpb.PutRequest{Key: []byte("k"), Value: []byte(strings.Repeat("v", 300)), Lease: -5, PrevKv: true, IgnoreValue: true, IgnoreLease: true},
	},
	{"delete", &wire.DeleteRequest{Key: []byte("a"), End: []byte("b"), PrevKV: true}, &etcdserverpb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), PrevKv: true}},
	{"empty delete", &wire.DeleteRequest{}, &etcdserverpb.DeleteRangeRequest{}},
	{
		"watch",
		&wire.WatchCreateRequest{Key: []byte("a"), End: []byte{0}, StartRevision: 1 << 40, PrevKV: true, WatchID: 300, Fragment: true},
		&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key: []byte("a"), RangeEnd: []byte{0}, StartRevision: 1 << 40, PrevKv: true, WatchId: 300, Fragment: true,
		}}},
	},
	{"empty watch", &wire.WatchCreateRequest{}, &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{}}}},
	{"cancel", &wire.WatchCancelRequest{WatchID: 300}, &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: 300}}}},
	{"progress", &wire.WatchProgressRequest{}, &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{ProgressRequest: &etcdserverpb.WatchProgressRequest{}}}},
	{"empty transaction", &wire.TxnRequest{}, &etcdserverpb.TxnRequest{}},
}

func TestRequestsAreEtcdsMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range requests {
		checkRequest(t, tt.name, tt.ours, tt.want)
	}
}

// checkRequest wants the bytes to be the message, as short as the generated type writes it, behind what was there.
func checkRequest(t *testing.T, name string, ours wire.Request, want proto.Message) {
	t.Helper()
	got := want.ProtoReflect().New().Interface()
	body := ours.AppendTo([]byte("before"))
	if !bytes.HasPrefix(body, []byte("before")) {
		t.Fatalf("%s: what was in the buffer is gone", name)
	}
	body = body[len("before"):]
	if err := proto.Unmarshal(body, got); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !proto.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(want, got, protocmp.Transform()))
	}
	if len(body) != proto.Size(want) { // a zero value that is written, or a length that is not minimal
		t.Errorf("%s: got %d bytes, want %d", name, len(body), proto.Size(want))
	}
}

// The operand of a compare is a member of a oneof, which counts even when it is zero: without it etcd would compare with
// nothing.
func TestCompareOperandIsSentEvenWhenItIsZero(t *testing.T) {
	t.Parallel()
	key := []byte("k")
	tests := []struct {
		ours wire.Compare
		want *etcdserverpb.Compare
	}{
		{wire.Compare{Key: key, Target: wire.TargetVersion}, &etcdserverpb.Compare{Key: key, Target: etcdserverpb.Compare_VERSION, TargetUnion: &etcdserverpb.Compare_Version{}}},
		{wire.Compare{Key: key, Target: wire.TargetCreateRevision, Op: wire.NotEqual}, &etcdserverpb.Compare{Key: key, Result: etcdserverpb.Compare_NOT_EQUAL, Target: etcdserverpb.Compare_CREATE, TargetUnion: &etcdserverpb.Compare_CreateRevision{}}},
		{wire.Compare{Key: key, Target: wire.TargetModRevision, Op: wire.Less, Number: 7}, &etcdserverpb.Compare{Key: key, Result: etcdserverpb.Compare_LESS, Target: etcdserverpb.Compare_MOD, TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 7}}},
		{wire.Compare{Key: key, Target: wire.TargetValue, Op: wire.Greater}, &etcdserverpb.Compare{Key: key, Result: etcdserverpb.Compare_GREATER, Target: etcdserverpb.Compare_VALUE, TargetUnion: &etcdserverpb.Compare_Value{}}},
		{wire.Compare{Key: key, End: []byte("l"), Target: wire.TargetLease, Number: -1}, &etcdserverpb.Compare{Key: key, RangeEnd: []byte("l"), Target: etcdserverpb.Compare_LEASE, TargetUnion: &etcdserverpb.Compare_Lease{Lease: -1}}},
	}
	for _, tt := range tests {
		body := tt.ours.AppendTo(nil)
		got := new(etcdserverpb.Compare)
		if err := proto.Unmarshal(body, got); err != nil {
			t.Fatal(err)
		}
		// An empty bytes operand is nil on one side and empty on the other: the same message.
		if !proto.Equal(got, tt.want) || got.GetTargetUnion() == nil {
			t.Errorf("%+v: got %v, want %v", tt.ours, got, tt.want)
		}
	}
}

func TestTransactionsNest(t *testing.T) {
	t.Parallel()
	ours := &wire.TxnRequest{}
	theirs := &etcdserverpb.TxnRequest{}
	for range 70 {
		ours, theirs = &wire.TxnRequest{Then: []wire.Op{{Txn: ours}}}, &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: theirs}}}}
		checkRequest(t, "nested", ours, theirs)
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		ours, theirs := randomTxn(r, 4)
		checkRequest(t, "random", ours, theirs)
	}
}

func TestAnEmptyOperationAppendsNothing(t *testing.T) {
	t.Parallel()
	if got := new(wire.Op).AppendTo(nil); len(got) != 0 {
		t.Errorf("got %x, want nothing", got)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(uint64(1), []byte("key"), []byte("value"), int64(0))
	f.Add(uint64(2), []byte{}, []byte("\xff\x00"), int64(-1))
	f.Fuzz(func(t *testing.T, seed uint64, key, value []byte, n int64) {
		key, value = bytes.Clone(key), bytes.Clone(value)
		checkRequest(t, "range", &wire.RangeRequest{Key: key, End: value, Limit: n, MaxModRevision: ^n}, &etcdserverpb.RangeRequest{Key: key, RangeEnd: value, Limit: n, MaxModRevision: ^n})
		checkRequest(t, "put", &wire.PutRequest{Key: key, Value: value, Lease: n}, &etcdserverpb.PutRequest{Key: key, Value: value, Lease: n})
		checkRequest(t, "delete", &wire.DeleteRequest{Key: key, End: value}, &etcdserverpb.DeleteRangeRequest{Key: key, RangeEnd: value})
		ours, theirs := randomTxn(rand.New(rand.NewPCG(seed, uint64(n))), 3)
		checkRequest(t, "transaction", ours, theirs)
	})
}

// randomTxn makes one transaction twice.
func randomTxn(r *rand.Rand, depth int) (*wire.TxnRequest, *etcdserverpb.TxnRequest) {
	ours, theirs := &wire.TxnRequest{}, &etcdserverpb.TxnRequest{}
	for range r.IntN(4) {
		o, t := randomCompare(r)
		ours.If, theirs.Compare = append(ours.If, o), append(theirs.Compare, t)
	}
	for range r.IntN(4) {
		o, t := randomOp(r, depth)
		ours.Then, theirs.Success = append(ours.Then, o), append(theirs.Success, t)
	}
	for range r.IntN(3) {
		o, t := randomOp(r, depth)
		ours.Else, theirs.Failure = append(ours.Else, o), append(theirs.Failure, t)
	}
	return ours, theirs
}

func randomCompare(r *rand.Rand) (wire.Compare, *etcdserverpb.Compare) {
	ours := wire.Compare{Key: randomBytes(r), End: randomBytes(r), Op: wire.CompareOp(r.IntN(4)), Target: wire.CompareTarget(r.IntN(5))}
	theirs := &etcdserverpb.Compare{Key: ours.Key, RangeEnd: ours.End, Result: etcdserverpb.Compare_CompareResult(ours.Op), Target: etcdserverpb.Compare_CompareTarget(ours.Target)}
	n := randomInt(r)
	if ours.Target == wire.TargetValue {
		ours.Value = append([]byte("v"), randomBytes(r)...)
	} else {
		ours.Number = n
	}
	switch ours.Target {
	case wire.TargetVersion:
		theirs.TargetUnion = &etcdserverpb.Compare_Version{Version: n}
	case wire.TargetCreateRevision:
		theirs.TargetUnion = &etcdserverpb.Compare_CreateRevision{CreateRevision: n}
	case wire.TargetModRevision:
		theirs.TargetUnion = &etcdserverpb.Compare_ModRevision{ModRevision: n}
	case wire.TargetValue:
		theirs.TargetUnion = &etcdserverpb.Compare_Value{Value: ours.Value}
	case wire.TargetLease:
		theirs.TargetUnion = &etcdserverpb.Compare_Lease{Lease: n}
	}
	return ours, theirs
}

func randomOp(r *rand.Rand, depth int) (wire.Op, *etcdserverpb.RequestOp) {
	switch kind := r.IntN(4); {
	case kind == 0:
		o := &wire.RangeRequest{Key: randomBytes(r), End: randomBytes(r), Limit: randomInt(r), CountOnly: r.IntN(2) == 0}
		return wire.Op{Range: o}, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{Key: o.Key, RangeEnd: o.End, Limit: o.Limit, CountOnly: o.CountOnly}}}
	case kind == 1:
		o := &wire.PutRequest{Key: randomBytes(r), Value: randomBytes(r), Lease: randomInt(r)}
		return wire.Op{Put: o}, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{Key: o.Key, Value: o.Value, Lease: o.Lease}}}
	case kind == 2 || depth == 0:
		o := &wire.DeleteRequest{Key: randomBytes(r), PrevKV: r.IntN(2) == 0}
		return wire.Op{Delete: o}, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: o.Key, PrevKv: o.PrevKV}}}
	default:
		o, t := randomTxn(r, depth-1)
		return wire.Op{Txn: o}, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: t}}
	}
}

func randomBytes(r *rand.Rand) []byte {
	if r.IntN(4) == 0 {
		return nil
	}
	b := make([]byte, 1+r.IntN(200))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomInt(r *rand.Rand) int64 {
	if r.IntN(3) == 0 {
		return 0
	}
	return int64(r.Uint64() >> r.IntN(64))
}
