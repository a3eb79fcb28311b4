package wire_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// The answers as plain trees, which ours and the generated ones both become.
type (
	rangeTree struct {
		Header wire.Header
		KVs    []wire.KeyValue
		More   bool
		Count  int64
	}
	putTree struct {
		Header  wire.Header
		PrevKV  wire.KeyValue
		Existed bool
	}
	deleteTree struct {
		Header  wire.Header
		Deleted int64
		PrevKVs []wire.KeyValue
	}
	txnTree struct {
		Header    wire.Header
		Succeeded bool
		Results   []any
	}
	watchTree struct {
		Header                      wire.Header
		ID, Compact                 int64
		Created, Canceled, Fragment bool
		Reason                      string
		Events                      []wire.Event
	}
)

func headerOf(h *etcdserverpb.ResponseHeader) wire.Header {
	return wire.Header{ClusterID: h.GetClusterId(), MemberID: h.GetMemberId(), Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm()}
}

func keyValueOf(kv *mvccpb.KeyValue) wire.KeyValue {
	return wire.KeyValue{Key: kv.GetKey(), Value: kv.GetValue(), CreateRevision: kv.GetCreateRevision(), ModRevision: kv.GetModRevision(), Version: kv.GetVersion(), Lease: kv.GetLease()}
}

func keyValuesOf(kvs []*mvccpb.KeyValue) (out []wire.KeyValue) {
	for _, kv := range kvs {
		out = append(out, keyValueOf(kv))
	}
	return out
}

// theirs is the tree of a generated answer.
func theirs(t *testing.T, m proto.Message) any {
	t.Helper()
	switch m := m.(type) {
	case *etcdserverpb.RangeResponse:
		return rangeTree{headerOf(m.GetHeader()), keyValuesOf(m.GetKvs()), m.GetMore(), m.GetCount()}
	case *etcdserverpb.PutResponse:
		return putTree{headerOf(m.GetHeader()), keyValueOf(m.GetPrevKv()), m.PrevKv != nil}
	case *etcdserverpb.DeleteRangeResponse:
		return deleteTree{headerOf(m.GetHeader()), m.GetDeleted(), keyValuesOf(m.GetPrevKvs())}
	case *etcdserverpb.TxnResponse:
		tree := txnTree{Header: headerOf(m.GetHeader()), Succeeded: m.GetSucceeded()}
		for _, op := range m.GetResponses() {
			switch r := op.GetResponse().(type) {
			case *etcdserverpb.ResponseOp_ResponseRange:
				tree.Results = append(tree.Results, theirs(t, r.ResponseRange))
			case *etcdserverpb.ResponseOp_ResponsePut:
				tree.Results = append(tree.Results, theirs(t, r.ResponsePut))
			case *etcdserverpb.ResponseOp_ResponseDeleteRange:
				tree.Results = append(tree.Results, theirs(t, r.ResponseDeleteRange))
			case *etcdserverpb.ResponseOp_ResponseTxn:
				tree.Results = append(tree.Results, theirs(t, r.ResponseTxn))
			default:
				tree.Results = append(tree.Results, nil)
			}
		}
		return tree
	case *etcdserverpb.WatchResponse:
		tree := watchTree{headerOf(m.GetHeader()), m.GetWatchId(), m.GetCompactRevision(), m.GetCreated(), m.GetCanceled(), m.GetFragment(), m.GetCancelReason(), nil}
		for _, e := range m.GetEvents() {
			event := wire.Event{Delete: e.GetType() == mvccpb.Event_DELETE, KV: keyValueOf(e.GetKv())}
			if e.PrevKv != nil {
				prev := keyValueOf(e.GetPrevKv())
				event.PrevKV = &prev
			}
			tree.Events = append(tree.Events, event)
		}
		return tree
	}
	t.Fatalf("no tree of %T", m)
	return nil
}

func walk(kvs *wire.KeyValues) (out []wire.KeyValue) {
	for kv := range kvs.All() {
		out = append(out, kv)
	}
	return out
}

func rangeOf(r *wire.RangeResponse) rangeTree {
	return rangeTree{r.Header, walk(&r.KVs), r.More, r.Count}
}

func putOf(r *wire.PutResponse) putTree { return putTree{r.Header, r.PrevKV, r.Existed} }

func deleteOf(r *wire.DeleteResponse) deleteTree {
	return deleteTree{r.Header, r.Deleted, walk(&r.PrevKVs)}
}

func txnOf(r *wire.TxnResponse) txnTree {
	tree := txnTree{Header: r.Header, Succeeded: r.Succeeded}
	for _, op := range r.Results {
		switch {
		case op.Range != nil:
			tree.Results = append(tree.Results, rangeOf(op.Range))
		case op.Put != nil:
			tree.Results = append(tree.Results, putOf(op.Put))
		case op.Delete != nil:
			tree.Results = append(tree.Results, deleteOf(op.Delete))
		case op.Txn != nil:
			tree.Results = append(tree.Results, txnOf(op.Txn))
		}
	}
	return tree
}

func watchOf(r *wire.WatchResponse) watchTree {
	tree := watchTree{r.Header, r.WatchID, r.CompactRevision, r.Created, r.Canceled, r.Fragment, r.CancelReason, nil}
	for e := range r.Events.All() {
		tree.Events = append(tree.Events, e)
	}
	return tree
}

// ours is the tree of the bytes as an answer of the same kind as m.
func ours(t *testing.T, m proto.Message, body, prefix []byte) (any, error) {
	t.Helper()
	switch m.(type) {
	case *etcdserverpb.RangeResponse:
		r, err := wire.ParseRange(body, prefix)
		if err == nil && r.KVs.Len() != len(walk(&r.KVs)) {
			t.Fatalf("Len is %d, All gives %d", r.KVs.Len(), len(walk(&r.KVs)))
		}
		return rangeOf(&r), err
	case *etcdserverpb.PutResponse:
		r, err := wire.ParsePut(body, prefix)
		return putOf(&r), err
	case *etcdserverpb.DeleteRangeResponse:
		r, err := wire.ParseDelete(body, prefix)
		return deleteOf(&r), err
	case *etcdserverpb.TxnResponse:
		r, err := wire.ParseTxn(body, prefix)
		return txnOf(&r), err
	case *etcdserverpb.WatchResponse:
		r, err := wire.ParseWatch(body, prefix)
		tree := watchOf(&r)
		if err == nil && r.Events.Len() != len(tree.Events) {
			t.Fatalf("Len is %d, All gives %d", r.Events.Len(), len(tree.Events))
		}
		return tree, err
	}
	t.Fatalf("no parser of %T", m)
	return nil, nil
}

// checkAnswer wants our view of the message's bytes to have what the message has.
func checkAnswer(t *testing.T, m proto.Message) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ours(t, m, body, nil)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	if diff := cmp.Diff(theirs(t, m), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%T (-generated +ours):\n%s", m, diff)
	}
}

func TestAnswersAreEtcdsMessages(t *testing.T) {
	t.Parallel()
	header := &etcdserverpb.ResponseHeader{ClusterId: math.MaxUint64, MemberId: 1, Revision: -1, RaftTerm: 1 << 63}
	kv := &mvccpb.KeyValue{Key: []byte("k\xff\x00"), Value: []byte("v"), CreateRevision: math.MinInt64, ModRevision: -1, Version: math.MaxInt64, Lease: -7}
	for _, m := range []proto.Message{
		&etcdserverpb.RangeResponse{},
		&etcdserverpb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{kv, {}, kv}, More: true, Count: -3},
		&etcdserverpb.PutResponse{},
		&etcdserverpb.PutResponse{Header: header},
		&etcdserverpb.PutResponse{PrevKv: kv},
		&etcdserverpb.PutResponse{PrevKv: &mvccpb.KeyValue{}},
		&etcdserverpb.DeleteRangeResponse{},
		&etcdserverpb.DeleteRangeResponse{Header: header, Deleted: 2, PrevKvs: []*mvccpb.KeyValue{kv, {}}},
		&etcdserverpb.TxnResponse{},
		&etcdserverpb.TxnResponse{Header: header, Succeeded: true},
		&etcdserverpb.WatchResponse{},
		&etcdserverpb.WatchResponse{Header: header, WatchId: -1, Created: true, Canceled: true, Fragment: true, CompactRevision: 7, CancelReason: "no"},
		&etcdserverpb.WatchResponse{WatchId: 9, Events: []*mvccpb.Event{
			{Kv: kv}, {Type: mvccpb.Event_DELETE, Kv: kv, PrevKv: kv}, {}, {Type: 2, PrevKv: &mvccpb.KeyValue{}},
		}},
	} {
		checkAnswer(t, m)
	}
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 0))
		checkAnswer(t, randomRangeAnswer(r))
		checkAnswer(t, randomTxnAnswer(r, 4))
		checkAnswer(t, randomWatchAnswer(r))
	}
}

func TestNestedTransactionAnswers(t *testing.T) {
	t.Parallel()
	m := &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{Revision: 9}}
	for range 8 {
		m = &etcdserverpb.TxnResponse{Responses: []*etcdserverpb.ResponseOp{{Response: &etcdserverpb.ResponseOp_ResponseTxn{ResponseTxn: m}}}}
		checkAnswer(t, m)
	}
}

// An operation's answer of a kind that we do not know must not be taken for one that is empty.
func TestAnOperationsAnswerOfNoKindIsAnError(t *testing.T) {
	t.Parallel()
	for _, op := range [][]byte{{}, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), nil)} {
		body := protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), op)
		if r, err := wire.ParseTxn(body, nil); err == nil {
			t.Errorf("operation %x: got %+v, want an error", op, r)
		}
	}
}

// namespaced are answers with one key outside of the namespace ns/ among keys inside.
func namespaced(outside string) []proto.Message {
	in, out := &mvccpb.KeyValue{Key: []byte("ns/in"), Value: []byte("v")}, &mvccpb.KeyValue{Key: []byte(outside), Value: []byte("secret")}
	list := &etcdserverpb.RangeResponse{Kvs: []*mvccpb.KeyValue{in, out, in}}
	put := &etcdserverpb.PutResponse{PrevKv: out}
	deleted := &etcdserverpb.DeleteRangeResponse{PrevKvs: []*mvccpb.KeyValue{in, out}}
	answers := []proto.Message{
		list, put, deleted,
		&etcdserverpb.WatchResponse{Events: []*mvccpb.Event{{Kv: in}, {Kv: out}}},
		&etcdserverpb.WatchResponse{Events: []*mvccpb.Event{{Kv: in, PrevKv: out}}},
	}
	var ops []*etcdserverpb.ResponseOp
	for _, op := range []*etcdserverpb.ResponseOp{
		{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: list}},
		{Response: &etcdserverpb.ResponseOp_ResponsePut{ResponsePut: put}},
		{Response: &etcdserverpb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: deleted}},
	} {
		txn := &etcdserverpb.TxnResponse{Responses: []*etcdserverpb.ResponseOp{op}}
		nested := &etcdserverpb.TxnResponse{Responses: []*etcdserverpb.ResponseOp{{Response: &etcdserverpb.ResponseOp_ResponseTxn{ResponseTxn: txn}}}}
		answers = append(answers, txn, nested)
		ops = append(ops, op)
	}
	return append(answers, &etcdserverpb.TxnResponse{Responses: ops})
}

func TestAKeyOutsideTheNamespaceIsAnErrorAndNeverASliceOfOne(t *testing.T) {
	t.Parallel()
	for _, outside := range []string{"", "n", "ns", "nsx", "other", "\x00", "Ns/in", "ms/in", "xns/"} {
		for _, m := range namespaced(outside) {
			body, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ours(t, m, body, []byte("ns/")); !errors.Is(err, wire.ErrOutsideNamespace) {
				t.Errorf("key %q in %T: got %+v, %v; want ErrOutsideNamespace", outside, m, got, err)
			}
			if _, err := ours(t, m, body, nil); err != nil {
				t.Errorf("key %q in %T without a namespace: %v", outside, m, err)
			}
		}
	}
}

func TestKeysAreGivenWithoutTheNamespace(t *testing.T) {
	t.Parallel()
	for _, m := range namespaced("ns/") {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ours(t, m, body, []byte("ns/"))
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range keysOf(got) {
			if key := string(kv.Key); key != "in" && key != "" {
				t.Errorf("%T: got key %q, want it without ns/", m, key)
			}
		}
	}
}

func keysOf(tree any) (kvs []wire.KeyValue) {
	switch tree := tree.(type) {
	case rangeTree:
		kvs = tree.KVs
	case putTree:
		kvs = []wire.KeyValue{tree.PrevKV}
	case deleteTree:
		kvs = tree.PrevKVs
	case txnTree:
		for _, r := range tree.Results {
			kvs = append(kvs, keysOf(r)...)
		}
	case watchTree:
		for _, e := range tree.Events {
			kvs = append(kvs, e.KV)
			if e.PrevKV != nil {
				kvs = append(kvs, *e.PrevKV)
			}
		}
	}
	return kvs
}

func TestACutAnswerIsAnError(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	kv := &mvccpb.KeyValue{Key: []byte("key"), Value: []byte("value"), ModRevision: 300}
	for _, m := range append(namespaced("ns/x"), &etcdserverpb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv}}, randomTxnAnswer(r, 3)) {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for n := range body {
			cut := m.ProtoReflect().New().Interface()
			want := proto.Unmarshal(body[:n], cut)
			// A cut between two fields leaves a shorter whole message, to the generated types as well.
			if _, err := ours(t, m, body[:n], nil); (err == nil) != (want == nil) {
				t.Errorf("%T cut to %d of %d bytes: got %v, want %v", m, n, len(body), err, want)
			}
		}
	}
}

func TestHostileLengthsAreErrors(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",     // a length of all bits
		"\x12\xff\xff\xff\xff\x0f",                         // 4 GiB
		"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", // a varint that is too long
		"\x12\x05\x0a\x7f",                                 // a key longer than its key-value
		"\x00",                                             // field number 0
		"\x14",                                             // the end of a group that has not begun
		"\x13",                                             // a group that does not end
		"\x16", "\x17",                                     // wire types that do not exist
		"\x20",             // a number that is missing
		"\x12\x02\x0a\x01", // a key that is missing
	} {
		for _, m := range []proto.Message{&etcdserverpb.RangeResponse{}} {
			if _, err := ours(t, m, []byte(body), nil); err == nil {
				t.Errorf("%x as %T: got no error", body, m)
			}
		}
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	t.Parallel()
	m := &etcdserverpb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("k")}}, Count: 1}
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var unknown []byte
	unknown = protowire.AppendVarint(protowire.AppendTag(unknown, 100, protowire.VarintType), 5)
	unknown = protowire.AppendFixed32(protowire.AppendTag(unknown, 101, protowire.Fixed32Type), 5)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, 102, protowire.Fixed64Type), 5)
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, 103, protowire.BytesType), []byte("x"))
	unknown = protowire.AppendTag(protowire.AppendTag(unknown, 104, protowire.StartGroupType), 104, protowire.EndGroupType)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, 2, protowire.Fixed64Type), 5) // a known number of another type
	got, err := ours(t, m, append(unknown, body...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs(t, m), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFirstLastAndClone(t *testing.T) {
	t.Parallel()
	body, err := proto.Marshal(&etcdserverpb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.ParseRange(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, ok := r.KVs.First()
	if last, lastOK := r.KVs.Last(); !ok || !lastOK || string(first.Key) != "a" || string(last.Key) != "b" {
		t.Errorf("got %v %v and %v %v, want a and b", first, ok, last, lastOK)
	}
	clone := first.Clone()
	for i := range body {
		body[i] = 0xff
	}
	if string(clone.Key) != "a" || string(clone.Value) != "1" {
		t.Errorf("the clone changed with the answer: %v", clone)
	}
	var none wire.KeyValues
	if _, ok := none.First(); ok {
		t.Error("First of the zero value is ok")
	}
	if _, ok := none.Last(); ok || none.Len() != 0 {
		t.Error("Last of the zero value is ok, or it has a length")
	}
}

type countingBuffer struct{ freed int }

func (b *countingBuffer) Free() { b.freed++ }

func TestFreeIsHarmlessTwiceAndWithoutMemory(t *testing.T) {
	t.Parallel()
	var r wire.RangeResponse
	r.Free()
	b := new(countingBuffer)
	r.Own(b)
	r.Free()
	r.Free()
	if b.freed != 1 {
		t.Errorf("the buffer was freed %d times, want once", b.freed)
	}
}

func FuzzHostileAnswers(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 9))
		for _, m := range []proto.Message{randomRangeAnswer(r), randomTxnAnswer(r, 3), randomWatchAnswer(r)} {
			body, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body, []byte{})
		}
	}
	for _, m := range namespaced("ns/x") {
		body, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, []byte("ns/"))
	}
	f.Fuzz(func(t *testing.T, body, prefix []byte) {
		for _, m := range []proto.Message{&etcdserverpb.RangeResponse{}, &etcdserverpb.PutResponse{}, &etcdserverpb.DeleteRangeResponse{}, &etcdserverpb.TxnResponse{}, &etcdserverpb.WatchResponse{}} {
			got, err := ours(t, m, body, nil)
			if theirErr := proto.Unmarshal(body, m); err == nil && theirErr != nil {
				t.Fatalf("%x: taken as %T, but the generated type says %v", body, m, theirErr)
			} else if theirErr == nil && canonical(m, body) {
				checkSame(t, m, got, err)
			}
			inside, err := ours(t, m, body, prefix)
			if err != nil {
				continue
			}
			all := keysOf(got)
			for i, kv := range keysOf(inside) {
				if put, ok := inside.(putTree); ok && !put.Existed {
					break
				}
				if i < len(all) && !bytes.Equal(append(bytes.Clone(prefix), kv.Key...), all[i].Key) && len(all[i].Key) > 0 {
					t.Fatalf("%x with prefix %q: got key %q of %q", body, prefix, kv.Key, all[i].Key)
				}
			}
		}
	})
}

// canonical tells whether the generated type would write these bytes: no field twice, none unknown, all in order.
func canonical(m proto.Message, body []byte) bool {
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return err == nil && bytes.Equal(again, body) && len(m.ProtoReflect().GetUnknown()) == 0
}

func checkSame(t *testing.T, m proto.Message, got any, err error) {
	t.Helper()
	want := theirs(t, m)
	if txn, ok := want.(txnTree); ok && unknownOp(txn) {
		return // we refuse an operation of no known kind
	}
	if err != nil {
		t.Fatalf("%v: refused: %v", m, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%T (-generated +ours):\n%s", m, diff)
	}
}

func unknownOp(tree txnTree) bool {
	for _, r := range tree.Results {
		if r == nil {
			return true
		}
		if txn, ok := r.(txnTree); ok && unknownOp(txn) {
			return true
		}
	}
	return false
}

func randomRangeAnswer(r *rand.Rand) *etcdserverpb.RangeResponse {
	m := &etcdserverpb.RangeResponse{More: r.IntN(2) == 0, Count: randomInt(r), Kvs: randomKeyValues(r)}
	if r.IntN(3) > 0 {
		m.Header = &etcdserverpb.ResponseHeader{ClusterId: r.Uint64(), MemberId: r.Uint64(), Revision: randomInt(r), RaftTerm: r.Uint64() >> 32}
	}
	return m
}

func randomWatchAnswer(r *rand.Rand) *etcdserverpb.WatchResponse {
	m := &etcdserverpb.WatchResponse{WatchId: randomInt(r), Fragment: r.IntN(2) == 0, Header: &etcdserverpb.ResponseHeader{Revision: randomInt(r)}}
	for _, kv := range randomKeyValues(r) {
		e := &mvccpb.Event{Kv: kv, Type: mvccpb.Event_EventType(r.IntN(2))}
		if r.IntN(2) == 0 {
			e.PrevKv = kv
		}
		m.Events = append(m.Events, e)
	}
	return m
}

func randomKeyValues(r *rand.Rand) (kvs []*mvccpb.KeyValue) {
	for range r.IntN(4) {
		kvs = append(kvs, &mvccpb.KeyValue{Key: randomBytes(r), Value: randomBytes(r), CreateRevision: randomInt(r), ModRevision: randomInt(r), Version: randomInt(r), Lease: randomInt(r)})
	}
	return kvs
}

func randomTxnAnswer(r *rand.Rand, depth int) *etcdserverpb.TxnResponse {
	m := &etcdserverpb.TxnResponse{Succeeded: r.IntN(2) == 0, Header: &etcdserverpb.ResponseHeader{Revision: randomInt(r)}}
	for range r.IntN(4) {
		op := new(etcdserverpb.ResponseOp)
		switch kind := r.IntN(4); {
		case kind == 0:
			op.Response = &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: randomRangeAnswer(r)}
		case kind == 1:
			put := &etcdserverpb.PutResponse{}
			if kvs := randomKeyValues(r); len(kvs) > 0 {
				put.PrevKv = kvs[0]
			}
			op.Response = &etcdserverpb.ResponseOp_ResponsePut{ResponsePut: put}
		case kind == 2 || depth == 0:
			op.Response = &etcdserverpb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &etcdserverpb.DeleteRangeResponse{Deleted: randomInt(r), PrevKvs: randomKeyValues(r)}}
		default:
			op.Response = &etcdserverpb.ResponseOp_ResponseTxn{ResponseTxn: randomTxnAnswer(r, depth-1)}
		}
		m.Responses = append(m.Responses, op)
	}
	return m
}

// A fuzz test whose corpus is lost still passes, so the corpora are looked for.
func TestFuzzTestsHaveSeedsInTestdata(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"FuzzRequests", "FuzzHostileAnswers"} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", name))
		if err != nil || len(seeds) == 0 {
			t.Errorf("%s has no seeds in testdata/fuzz (%v)", name, err)
		}
	}
}
