package etcdclient

import (
	"fmt"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/etcdrest/etcdrest/internal/trail"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// describeMessage describes a call of the generated clients. Each message names what it is about by its own members: only
// those that are listed here are told, so that nothing secret can be by mistake.
func describeMessage(w *trail.Write, request proto.Message, answer any) {
	switch r := request.(type) {
	case *pb.PutRequest:
		a, _ := answer.(*pb.PutResponse)
		describePut(w, wirePut(r), parsed(a, wire.ParsePut))
		return
	case *pb.DeleteRangeRequest:
		a, _ := answer.(*pb.DeleteRangeResponse)
		describeDelete(w, wireDelete(r), parsed(a, wire.ParseDelete))
		return
	case *pb.TxnRequest:
		a, _ := answer.(*pb.TxnResponse)
		describeTxn(w, wireTxn(r), parsed(a, wire.ParseTxn))
		return
	case *pb.LeaseGrantRequest:
		w.Lease, w.TTL = r.GetID(), r.GetTTL()
		if a, ok := answer.(*pb.LeaseGrantResponse); ok {
			w.Lease, w.TTL = a.GetID(), a.GetTTL()
		}
	case *pb.LeaseRevokeRequest:
		w.Lease = r.GetID()
	case *pb.CompactionRequest:
		w.Details = []trail.Detail{{Name: "compact_revision", Value: strconv.FormatInt(r.GetRevision(), 10)}}
	case *pb.LeaseKeepAliveRequest:
		w.Lease = r.GetID()
		if a, ok := answer.(*pb.LeaseKeepAliveResponse); ok {
			w.TTL = a.GetTTL()
		}
		return // the revision is not the renewal's
	default:
		w.Details = details(request)
	}
	if h, ok := answer.(header); ok {
		w.Revision = h.GetHeader().GetRevision()
	}
}

// parsed gives an answer as the views of package wire; nil for none.
func parsed[M any, P interface {
	*M
	proto.Message
}, R any](m P, parse func(b, prefix []byte) (R, error)) *R {
	if m == nil {
		return nil
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil
	}
	r, err := parse(b, nil)
	if err != nil {
		return nil
	}
	return &r
}

// toldMembers are the members of requests that say what they are about, by their names in etcd's messages.
var toldMembers = map[protoreflect.Name]string{
	"name": "name", "user": "user", "role": "role", "ID": "id", "memberID": "id", "targetID": "id", "peerURLs": "peer_urls",
	"isLearner": "learner", "alarm": "alarm", "action": "action", "version": "version", "lease": "lease",
	"key": "key", "range_end": "range_end", "permType": "permission",
}

// details reads the told members of a message, and of what it holds: a permission, a leader.
func details(request proto.Message) []trail.Detail {
	var all []trail.Detail
	collect(request.ProtoReflect(), &all)
	return all
}

func collect(message protoreflect.Message, all *[]trail.Detail) {
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name, told := toldMembers[field.Name()]
		switch {
		case !message.Has(field) && field.Kind() != protoreflect.EnumKind: // the first word of an enumeration is a word, too
		case field.Message() != nil && !field.IsList() && !field.IsMap():
			collect(message.Get(field).Message(), all)
		case told:
			*all = append(*all, trail.Detail{Name: name, Value: word(message.Get(field), field)})
		}
	}
}

// word writes a member as the gateway writes it elsewhere: ids in hex.
func word(v protoreflect.Value, field protoreflect.FieldDescriptor) string {
	if field.IsList() {
		var words []string
		for list, i := v.List(), 0; i < list.Len(); i++ {
			words = append(words, list.Get(i).String())
		}
		return strings.Join(words, " ")
	}
	switch field.Kind() {
	case protoreflect.BytesKind:
		return string(v.Bytes())
	case protoreflect.EnumKind:
		if value := field.Enum().Values().ByNumber(v.Enum()); value != nil {
			return strings.ToLower(string(value.Name()))
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.Int64Kind:
		return fmt.Sprintf("%016x", uint64(v.Int())) //nolint:gosec // the bits are the id
	case protoreflect.Uint64Kind:
		return fmt.Sprintf("%016x", v.Uint())
	default:
		return v.String()
	}
}

// wirePut, wireDelete and wireTxn are the generated messages in the views' form, as far as it is told.

func wirePut(r *pb.PutRequest) *wire.PutRequest {
	return &wire.PutRequest{Key: r.GetKey(), Lease: r.GetLease(), PrevKV: r.GetPrevKv()}
}

func wireDelete(r *pb.DeleteRangeRequest) *wire.DeleteRequest {
	return &wire.DeleteRequest{Key: r.GetKey(), End: r.GetRangeEnd(), PrevKV: r.GetPrevKv()}
}

func wireTxn(r *pb.TxnRequest) *wire.TxnRequest {
	t := &wire.TxnRequest{Then: wireOps(r.GetSuccess()), Else: wireOps(r.GetFailure())}
	for _, c := range r.GetCompare() {
		compare := wire.Compare{
			Key: c.GetKey(), End: c.GetRangeEnd(), Target: wire.CompareTarget(c.GetTarget()), Op: wire.CompareOp(c.GetResult()),
		}
		switch compare.Target {
		case wire.TargetModRevision:
			compare.Number = c.GetModRevision()
		case wire.TargetCreateRevision:
			compare.Number = c.GetCreateRevision()
		case wire.TargetVersion:
			compare.Number = c.GetVersion()
		case wire.TargetLease, wire.TargetValue:
		}
		t.If = append(t.If, compare)
	}
	return t
}

func wireOps(ops []*pb.RequestOp) []wire.Op {
	all := make([]wire.Op, len(ops))
	for i, op := range ops {
		switch r := op.GetRequest().(type) {
		case *pb.RequestOp_RequestPut:
			all[i].Put = wirePut(r.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			all[i].Delete = wireDelete(r.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			all[i].Txn = wireTxn(r.RequestTxn)
		case *pb.RequestOp_RequestRange:
			all[i].Range = &wire.RangeRequest{
				Key: r.RequestRange.GetKey(), End: r.RequestRange.GetRangeEnd(), Revision: r.RequestRange.GetRevision(),
				CountOnly: r.RequestRange.GetCountOnly(), MinModRevision: r.RequestRange.GetMinModRevision(),
				MaxModRevision: r.RequestRange.GetMaxModRevision(), MinCreateRevision: r.RequestRange.GetMinCreateRevision(),
				MaxCreateRevision: r.RequestRange.GetMaxCreateRevision(),
			}
		}
	}
	return all
}
