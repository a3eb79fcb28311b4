package compat

import (
	"bytes"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// pass judges messages for a caller. What it does not know needs admin.
type pass struct{ caller *authz.Caller }

// in judges a request, and gives what is to be sent for it.
func (p pass) in(message any) (proto.Message, error) {
	switch r := message.(type) {
	case *pb.RangeRequest:
		return p.rangeOf(r)
	case *pb.PutRequest:
		return r, p.put(r)
	case *pb.DeleteRangeRequest:
		return r, p.deleteRange(r)
	case *pb.TxnRequest:
		return r, p.txn(r)
	case *pb.WatchRequest:
		return r, p.watch(r)
	case *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.LeaseTimeToLiveRequest, *pb.LeaseLeasesRequest, *pb.LeaseKeepAliveRequest:
		return p.lease(r)
	}
	if inner, known, err := p.queue(message); known {
		return inner, err
	}
	if p.caller.Has(authz.Admin) != nil {
		return nil, errDenied
	}
	m, _ := message.(proto.Message)
	return m, nil
}

// may judges an access to a range. An empty key is etcd's to refuse. Without a namespace, keys that begin with NUL hold the
// gateway's own state.
func (p pass) may(v authz.Verb, key, end []byte) error {
	switch {
	case len(key) == 0:
		return nil
	case len(p.caller.Namespace) == 0 && key[0] == 0 && p.caller.Has(authz.Admin) != nil, !p.caller.May(v, key, end):
		return errDenied
	}
	return nil
}

// look judges a read; where it shows no value, who may lock may look.
func (p pass) look(key, end []byte, valueless bool) error {
	err := p.may(authz.Read, key, end)
	if err != nil && valueless {
		return p.may(authz.Lock, key, end)
	}
	return err
}

// rangeOf judges a range, and bounds it by what the caller may have read at once, and one key more: that tells.
func (p pass) rangeOf(r *pb.RangeRequest) (proto.Message, error) {
	if err := p.look(r.GetKey(), r.GetRangeEnd(), len(r.GetRangeEnd()) == 0 && r.GetKeysOnly()); err != nil {
		return nil, err
	}
	most := p.caller.Limits.KeysPerRequest
	if most == 0 || len(r.GetRangeEnd()) == 0 || r.GetCountOnly() || r.GetLimit() > 0 && r.GetLimit() <= most {
		return r, nil
	}
	bounded := proto.CloneOf(r)
	bounded.Limit = most + 1
	return bounded, nil
}

func (p pass) put(r *pb.PutRequest) error {
	v := authz.Write
	if r.GetPrevKv() {
		v |= authz.Read
	}
	if err := p.may(v, r.GetKey(), nil); err != nil {
		return err
	}
	if id := r.GetLease(); id != 0 && !p.caller.Owns(id) {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	return nil
}

func (p pass) deleteRange(r *pb.DeleteRangeRequest) error {
	v := authz.Write
	if r.GetPrevKv() {
		v |= authz.Read
	}
	return p.may(v, r.GetKey(), r.GetRangeEnd())
}

func (p pass) txn(t *pb.TxnRequest) error {
	for _, c := range t.GetCompare() {
		if err := p.look(c.GetKey(), c.GetRangeEnd(), len(c.GetRangeEnd()) == 0 && c.GetTarget() != pb.Compare_VALUE); err != nil {
			return err
		}
	}
	for _, op := range slices.Concat(t.GetSuccess(), t.GetFailure()) {
		if err := p.op(op); err != nil {
			return err
		}
	}
	return nil
}

func (p pass) op(op *pb.RequestOp) error {
	switch r := op.GetRequest().(type) {
	case *pb.RequestOp_RequestRange:
		bounded, err := p.rangeOf(r.RequestRange)
		if err == nil && bounded != proto.Message(r.RequestRange) {
			return tooMany(p.caller.Limits.KeysPerRequest)
		}
		return err
	case *pb.RequestOp_RequestPut:
		return p.put(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return p.deleteRange(r.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return p.txn(r.RequestTxn)
	}
	return nil // one that is empty is etcd's to refuse
}

func (p pass) watch(w *pb.WatchRequest) error {
	r := w.GetCreateRequest()
	if r == nil {
		return nil
	}
	v := authz.Watch
	if r.GetPrevKv() {
		v |= authz.Read
	}
	key := r.GetKey()
	if len(key) == 0 { // the first key there can be
		key = []byte{0}
	}
	return p.may(v, key, r.GetRangeEnd())
}

// lease judges what is asked of a lease. One that is not the caller's is asked for under an id that no lease has, so that
// etcd says of it what it says of one that does not exist.
func (p pass) lease(message any) (proto.Message, error) {
	if p.caller.Has(authz.Lease) != nil {
		return nil, errDenied
	}
	switch r := message.(type) {
	case *pb.LeaseGrantRequest:
		if r.GetID() == 0 {
			return &pb.LeaseGrantRequest{TTL: r.GetTTL(), ID: p.caller.NewLeaseID()}, nil
		}
		if p.caller.MayChooseLeases() != nil {
			return nil, errDenied
		}
		return r, nil
	case *pb.LeaseRevokeRequest:
		if !p.caller.Owns(r.GetID()) {
			return nil, rpctypes.ErrGRPCLeaseNotFound
		}
		return r, nil
	case *pb.LeaseTimeToLiveRequest:
		if !p.caller.Owns(r.GetID()) {
			return &pb.LeaseTimeToLiveRequest{}, nil
		}
		return r, nil
	case *pb.LeaseKeepAliveRequest:
		if !p.caller.Owns(r.GetID()) {
			return &pb.LeaseKeepAliveRequest{}, nil
		}
		return r, nil
	}
	m, _ := message.(proto.Message)
	return m, nil
}

// out keeps of an answer what the caller may see; asked is the request, nil on a stream.
func (p pass) out(asked, answer any) error {
	switch a := answer.(type) {
	case *pb.RangeResponse:
		most := p.caller.Limits.KeysPerRequest
		if r, ok := asked.(*pb.RangeRequest); ok && most > 0 && len(r.GetRangeEnd()) > 0 && int64(len(a.GetKvs())) > most {
			return tooMany(most)
		}
	case *pb.LeaseTimeToLiveResponse:
		if r, ok := asked.(*pb.LeaseTimeToLiveRequest); ok {
			a.ID = r.GetID()
		}
		a.Keys = slices.DeleteFunc(a.GetKeys(), func(key []byte) bool { return !p.caller.May(authz.Read, key, nil) })
	case *pb.LeaseLeasesResponse:
		a.Leases = slices.DeleteFunc(a.GetLeases(), func(l *pb.LeaseStatus) bool { return !p.caller.Owns(l.GetID()) })
	default:
		return p.queueOut(answer)
	}
	return nil
}

// spaceKey puts the caller's namespace in front of a key, and bareKey takes it off.
func (p pass) spaceKey(key []byte) []byte { return append(bytes.Clone(p.caller.Namespace), key...) }

func (p pass) bareKey(key []byte) []byte { return bytes.TrimPrefix(key, p.caller.Namespace) }
