package etcdclient

import (
	"context"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

var _ grpc.ClientConnInterface = (*Namespaced)(nil)

// Invoke makes a unary call within the namespace, for the generated clients. The services KV, Lease, Lock and Election are
// available; what concerns the whole cluster is refused.
func (n *Namespaced) Invoke(ctx context.Context, full string, request, answer any, opts ...grpc.CallOption) error {
	m := lookup(full, request)
	inner, ok := n.space.request(request)
	switch {
	case inner == nil:
		return errNotInNamespace(nameOf(full))
	case !ok:
		return errEmptyKey(m)
	}
	if err := n.client.Invoke(ctx, full, inner, answer, opts...); err != nil {
		return err
	}
	if !n.space.answer(answer) {
		return errOutside(m)
	}
	return nil
}

// NewStream opens a stream within the namespace: a watch, a lease keepalive, a range stream or the leaders of an election.
func (n *Namespaced) NewStream(ctx context.Context, desc *grpc.StreamDesc, full string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !slices.Contains([]string{
		pb.Watch_Watch_FullMethodName, pb.Lease_LeaseKeepAlive_FullMethodName, pb.KV_RangeStream_FullMethodName,
		election.Election_Observe_FullMethodName,
	}, full) {
		return nil, errNotInNamespace(nameOf(full))
	}
	s, err := n.client.NewStream(ctx, desc, full, opts...)
	if err != nil {
		return nil, err
	}
	return &namespacedStream{ClientStream: s, space: n.space, method: lookup(full, nil)}, nil
}

func nameOf(full string) string {
	return full[strings.LastIndexByte(full[:strings.LastIndexByte(full, '/')+1], '.')+1:]
}

// namespacedStream puts the prefix in front of what is sent and takes it off what is received.
type namespacedStream struct {
	grpc.ClientStream
	space  namespace
	method *method
}

func (s *namespacedStream) SendMsg(m any) error {
	inner, ok := s.space.request(m)
	switch {
	case inner == nil:
		return errNotInNamespace(s.method.name)
	case !ok:
		return errEmptyKey(s.method)
	}
	return s.ClientStream.SendMsg(inner)
}

func (s *namespacedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	if !s.space.answer(m) {
		return errOutside(s.method)
	}
	return nil
}

// request copies a message with the prefix in front of its keys; ok is false for an empty key, which etcd refuses, and
// the copy is nil for a message that is not available within a namespace.
func (ns namespace) request(message any) (inner proto.Message, ok bool) {
	ok = true
	switch r := message.(type) {
	case *pb.RangeRequest:
		c := proto.CloneOf(r)
		ok = ns.bounds(&c.Key, &c.RangeEnd)
		inner = c
	case *pb.PutRequest:
		c := proto.CloneOf(r)
		ok = ns.bounds(&c.Key, nil)
		inner = c
	case *pb.DeleteRangeRequest:
		c := proto.CloneOf(r)
		ok = ns.bounds(&c.Key, &c.RangeEnd)
		inner = c
	case *pb.TxnRequest:
		c := proto.CloneOf(r)
		ok = ns.txn(c)
		inner = c
	case *pb.WatchRequest:
		c := proto.CloneOf(r)
		if create := c.GetCreateRequest(); create != nil {
			ns.watch(create)
		}
		inner = c
	case *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.LeaseTimeToLiveRequest, *pb.LeaseLeasesRequest, *pb.LeaseKeepAliveRequest:
		inner, _ = r.(proto.Message)
	default:
		return ns.queueRequest(message)
	}
	return inner, ok
}

func (ns namespace) bounds(key, end *[]byte) bool {
	ok := len(*key) > 0
	*key = ns.key(*key)
	if end != nil {
		*end = ns.end(*end)
	}
	return ok
}

// watch is the one place where etcd takes an empty key: for the first key there can be.
func (ns namespace) watch(r *pb.WatchCreateRequest) {
	if len(r.GetKey()) == 0 {
		r.Key = []byte(fromKey)
	}
	ns.bounds(&r.Key, &r.RangeEnd)
}

func (ns namespace) txn(t *pb.TxnRequest) bool {
	for _, c := range t.GetCompare() {
		if !ns.bounds(&c.Key, &c.RangeEnd) {
			return false
		}
	}
	for _, op := range slices.Concat(t.GetSuccess(), t.GetFailure()) {
		ok := true
		switch r := op.GetRequest().(type) {
		case *pb.RequestOp_RequestRange:
			ok = ns.bounds(&r.RequestRange.Key, &r.RequestRange.RangeEnd)
		case *pb.RequestOp_RequestPut:
			ok = ns.bounds(&r.RequestPut.Key, nil)
		case *pb.RequestOp_RequestDeleteRange:
			ok = ns.bounds(&r.RequestDeleteRange.Key, &r.RequestDeleteRange.RangeEnd)
		case *pb.RequestOp_RequestTxn:
			ok = ns.txn(r.RequestTxn)
		}
		if !ok {
			return false
		}
	}
	return true
}

// answer takes the prefix off a message's keys; false when one does not have it.
func (ns namespace) answer(message any) bool {
	switch r := message.(type) {
	case *pb.RangeResponse:
		return ns.kvs(r.GetKvs()...)
	case *pb.RangeStreamResponse:
		return ns.kvs(r.GetRangeResponse().GetKvs()...)
	case *pb.PutResponse:
		return ns.kvs(r.GetPrevKv())
	case *pb.DeleteRangeResponse:
		return ns.kvs(r.GetPrevKvs()...)
	case *pb.TxnResponse:
		for _, op := range r.GetResponses() {
			if !ns.result(op) {
				return false
			}
		}
	case *pb.WatchResponse:
		for _, e := range r.GetEvents() {
			if !ns.kvs(e.GetKv(), e.GetPrevKv()) {
				return false
			}
		}
	case *pb.LeaseTimeToLiveResponse:
		r.Keys = ns.ownKeys(r.GetKeys())
	default:
		return ns.queueAnswer(message)
	}
	return true
}

func (ns namespace) result(op *pb.ResponseOp) bool {
	switch r := op.GetResponse().(type) {
	case *pb.ResponseOp_ResponseRange:
		return ns.answer(r.ResponseRange)
	case *pb.ResponseOp_ResponsePut:
		return ns.answer(r.ResponsePut)
	case *pb.ResponseOp_ResponseDeleteRange:
		return ns.answer(r.ResponseDeleteRange)
	case *pb.ResponseOp_ResponseTxn:
		return ns.answer(r.ResponseTxn)
	}
	return true
}

func (ns namespace) kvs(kvs ...*mvccpb.KeyValue) bool {
	for _, kv := range kvs {
		if kv == nil {
			continue
		}
		key, ok := ns.strip(kv.GetKey())
		if !ok {
			return false
		}
		kv.Key = key
	}
	return true
}
