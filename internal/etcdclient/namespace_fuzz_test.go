package etcdclient_test

import (
	"bytes"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// requestKinds are all messages that can be sent within a namespace, answerKinds what comes back.
func requestKinds() []proto.Message {
	return []proto.Message{
		&pb.RangeRequest{}, &pb.PutRequest{}, &pb.DeleteRangeRequest{}, &pb.TxnRequest{}, &pb.WatchRequest{},
		&pb.LeaseGrantRequest{}, &pb.LeaseRevokeRequest{}, &pb.LeaseTimeToLiveRequest{}, &pb.LeaseLeasesRequest{}, &pb.LeaseKeepAliveRequest{},
		&lock.LockRequest{}, &lock.UnlockRequest{},
		&election.CampaignRequest{}, &election.LeaderRequest{}, &election.ProclaimRequest{}, &election.ResignRequest{},
	}
}

func answerKinds() []proto.Message {
	return []proto.Message{
		&pb.RangeResponse{}, &pb.RangeStreamResponse{}, &pb.PutResponse{}, &pb.DeleteRangeResponse{}, &pb.TxnResponse{}, &pb.WatchResponse{},
		&pb.LeaseTimeToLiveResponse{}, &lock.LockResponse{}, &election.CampaignResponse{}, &election.LeaderResponse{},
	}
}

// named are the fields that hold keys, whichever message they are in.
var named = map[protoreflect.Name]bool{"key": true, "range_end": true, "name": true, "keys": true}

// eachKey visits the messages of a message that have keys, nested as deep as they are: a walk that knows nothing of what the
// messages mean, so that a field which the namespace forgets is found.
func eachKey(m protoreflect.Message, visit func(m protoreflect.Message, f protoreflect.FieldDescriptor)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Kind() == protoreflect.BytesKind && named[f.Name()]:
			visit(m, f)
		case f.Kind() != protoreflect.MessageKind || !m.Has(f):
		case f.IsList():
			for j := range m.Get(f).List().Len() {
				eachKey(m.Get(f).List().Get(j).Message(), visit)
			}
		default:
			eachKey(m.Get(f).Message(), visit)
		}
	}
}

// FuzzNamespaceMessages puts any message into any namespace: no key of what is sent is outside, and what comes back with the
// prefix on every key comes out without it.
func FuzzNamespaceMessages(f *testing.F) {
	for i, m := range append(requestKinds(), answerKinds()...) {
		fillKeys(m.ProtoReflect(), 4)
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte("tenants/1/"), uint8(i), data)
		f.Add([]byte("a\xff"), uint8(i), data)
	}
	f.Add([]byte("\xff\xff"), uint8(0), []byte("\x0a\x01\x00\x12\x01\x00"))
	f.Fuzz(func(t *testing.T, prefix []byte, kind uint8, data []byte) {
		if len(prefix) == 0 {
			return
		}
		requests, answers := requestKinds(), answerKinds()
		if n := int(kind) % (len(requests) + len(answers)); n < len(requests) {
			if m := requests[n]; proto.Unmarshal(data, m) == nil {
				checkRequest(t, prefix, m)
			}
		} else if m := answers[n-len(requests)]; proto.Unmarshal(data, m) == nil {
			checkAnswer(t, prefix, m)
		}
	})
}

// fillKeys sets every field, so that each key there can be is in the message, transactions in transactions as well.
func fillKeys(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Kind() == protoreflect.BytesKind && f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfBytes([]byte("k")))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte(f.Name())))
		case f.Kind() != protoreflect.MessageKind || depth == 0:
		case f.IsList():
			fillKeys(m.Mutable(f).List().AppendMutable().Message(), depth-1)
		default: // of a oneof the last one stays
			fillKeys(m.Mutable(f).Message(), depth-1)
		}
	}
}

func checkRequest(t *testing.T, prefix []byte, m proto.Message) {
	t.Helper()
	before := proto.Clone(m)
	inner, ok := etcdclient.Inside(prefix, m)
	if !proto.Equal(before, m) {
		t.Fatalf("the caller's message was changed: %v; it was %v", m, before)
	}
	if inner == nil {
		t.Fatalf("%T is not available", m)
	}
	if !ok { // a key is empty, and nothing is sent
		return
	}
	end := etcdclient.Successor(prefix)
	eachKey(inner.ProtoReflect(), func(in protoreflect.Message, f protoreflect.FieldDescriptor) {
		value := in.Get(f)
		if f.IsList() {
			return // no request has one
		}
		b := value.Bytes()
		if f.Name() != "range_end" {
			if !bytes.HasPrefix(b, prefix) {
				t.Errorf("%s %q is outside %q: %v", f.FullName(), b, prefix, inner)
			}
			return
		}
		key := in.Get(in.Descriptor().Fields().ByName("key")).Bytes()
		if len(b) > 0 && !(string(end) == "\x00" && string(b) == "\x00") && (string(b) == "\x00" || !bytes.HasPrefix(b, prefix) && !bytes.Equal(b, end)) {
			t.Errorf("the range [%q, %q) leaves %q: %v", key, b, prefix, inner)
		}
	})
}

func checkAnswer(t *testing.T, prefix []byte, m proto.Message) {
	t.Helper()
	physical := proto.Clone(m)
	eachKey(physical.ProtoReflect(), func(in protoreflect.Message, f protoreflect.FieldDescriptor) {
		in2 := func(b []byte) []byte { return append(bytes.Clone(prefix), b...) }
		if f.IsList() {
			list := in.Mutable(f).List()
			for i := range list.Len() {
				list.Set(i, protoreflect.ValueOfBytes(in2(list.Get(i).Bytes())))
			}
			return
		}
		in.Set(f, protoreflect.ValueOfBytes(in2(in.Get(f).Bytes())))
	})
	foreign := proto.Clone(physical)
	if !etcdclient.Outside(prefix, physical) {
		t.Fatalf("%v in %q: a key seems to be outside", m, prefix)
	}
	if !proto.Equal(m, physical) {
		t.Errorf("in %q: got %v, want %v", prefix, physical, m)
	}
	keys := 0
	eachKey(foreign.ProtoReflect(), func(in protoreflect.Message, f protoreflect.FieldDescriptor) {
		if keys++; keys == 1 && !f.IsList() {
			in.Set(f, protoreflect.ValueOfBytes(append([]byte{prefix[0] + 1}, "foreign"...)))
		}
	})
	if _, lists := foreign.(*pb.LeaseTimeToLiveResponse); keys > 0 && !lists && etcdclient.Outside(prefix, foreign) {
		t.Errorf("a foreign key passes: %v in %q", foreign, prefix)
	}
}
