package compat

import (
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// pass finds in messages what a caller wants to do, for package authz to judge. What it does not know needs admin.
type pass struct{ caller *authz.Caller }

// judge refuses a request that the caller may not make, in etcd's words.
func (p pass) judge(message any) error {
	switch r := message.(type) {
	case *pb.RangeRequest:
		return p.rangeOf(r)
	case *pb.PutRequest:
		return p.put(r)
	case *pb.DeleteRangeRequest:
		return p.keys(r.GetKey(), authz.Deletes(r.GetKey(), r.GetRangeEnd(), r.GetPrevKv()))
	case *pb.TxnRequest:
		return p.txn(r)
	case *pb.WatchRequest:
		return p.watch(r.GetCreateRequest())
	case *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.LeaseTimeToLiveRequest, *pb.LeaseLeasesRequest, *pb.LeaseKeepAliveRequest:
		return refusal(p.caller.Has(authz.Lease))
	}
	if known, err := p.queue(message); known {
		return err
	}
	return refusal(p.caller.Has(authz.Admin))
}

// keys judges an access to keys. An empty key is refused here as etcd refuses it, since nothing can be granted on it.
func (p pass) keys(key []byte, a authz.Access) error {
	if len(key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return refusal(p.caller.Permit(a))
}

func (p pass) rangeOf(r *pb.RangeRequest) error {
	if err := p.keys(r.GetKey(), authz.Ranges(r.GetKey(), r.GetRangeEnd(), r.GetKeysOnly())); err != nil {
		return err
	}
	if p.caller.Exceeds(r.GetRangeEnd(), r.GetLimit(), r.GetCountOnly()) {
		return status.Errorf(codes.ResourceExhausted, "the caller may have at most %d keys read at once; give a limit", p.caller.Limits.KeysPerRequest)
	}
	return nil
}

func (p pass) put(r *pb.PutRequest) error {
	tells := r.GetPrevKv() || r.GetIgnoreValue() || r.GetIgnoreLease()
	return p.keys(r.GetKey(), authz.Puts(r.GetKey(), tells, r.GetLease()))
}

func (p pass) txn(t *pb.TxnRequest) error {
	for _, c := range t.GetCompare() {
		if err := p.keys(c.GetKey(), authz.Compares(c.GetKey(), c.GetRangeEnd(), c.GetTarget() == pb.Compare_VALUE)); err != nil {
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
		return p.rangeOf(r.RequestRange)
	case *pb.RequestOp_RequestPut:
		return p.put(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		d := r.RequestDeleteRange
		return p.keys(d.GetKey(), authz.Deletes(d.GetKey(), d.GetRangeEnd(), d.GetPrevKv()))
	case *pb.RequestOp_RequestTxn:
		return p.txn(r.RequestTxn)
	}
	return nil // one that is empty is etcd's to refuse
}

// watch judges the creation of a watch; what else there is to say on its stream is about one's own watches.
func (p pass) watch(r *pb.WatchCreateRequest) error {
	if r == nil {
		return nil
	}
	key := r.GetKey()
	if len(key) == 0 { // the first key there can be
		key = []byte{0}
	}
	return refusal(p.caller.Permit(authz.Watches(key, r.GetRangeEnd(), r.GetPrevKv())))
}

// refusal says in etcd's words what package authz refuses.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if problem.From(err).Code == problem.LeaseNotFound {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	return rpctypes.ErrGRPCPermissionDenied
}

// out keeps of an answer what the caller may see.
func (p pass) out(answer any) {
	switch a := answer.(type) {
	case *pb.LeaseTimeToLiveResponse:
		a.Keys = slices.DeleteFunc(a.GetKeys(), func(key []byte) bool { return p.caller.Permit(authz.Ranges(key, nil, false)) != nil })
	case *pb.LeaseLeasesResponse:
		a.Leases = slices.DeleteFunc(a.GetLeases(), func(l *pb.LeaseStatus) bool { return !p.caller.Owns(l.GetID()) })
	}
}
