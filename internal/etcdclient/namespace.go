package etcdclient

import (
	"bytes"
	"context"

	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Namespaced is a client that sees only the keys under a prefix, and sees them without it. No request can reach outside,
// and an answer that holds a foreign key is an error. The one exception are single keys of the gateway's own state
// (wire.StatePrefix), for the calls that speak the views of package wire: those who pass on what callers name must refuse
// them. It shares everything with its client; it is safe for concurrent use.
type Namespaced struct {
	client *Client
	space  namespace
}

// Namespace gives the client narrowed to the keys under prefix. An empty prefix is the whole store.
func (c *Client) Namespace(prefix []byte) *Namespaced {
	return &Namespaced{client: c, space: namespace(bytes.Clone(prefix))}
}

// Prefix is the namespace's prefix.
func (n *Namespaced) Prefix() []byte { return bytes.Clone(n.space) }

// Range is Client.Range within the namespace.
func (n *Namespaced) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	inner, ok := n.space.rangeRequest(r)
	if !ok {
		return nil, errEmptyKey(methodRange)
	}
	if wire.IsState(inner.Key) {
		return n.client.rangeIn(ctx, &inner, nil)
	}
	return n.client.rangeIn(ctx, &inner, n.space)
}

// RangeStream is Client.RangeStream within the namespace.
func (n *Namespaced) RangeStream(ctx context.Context, r *wire.RangeRequest) (*RangeStream, error) {
	inner, ok := n.space.rangeRequest(r)
	if !ok {
		return nil, errEmptyKey(methodRangeStream)
	}
	return n.client.rangeStreamIn(ctx, &inner, n.space)
}

// HasRangeStream is Client.HasRangeStream.
func (n *Namespaced) HasRangeStream() bool { return n.client.HasRangeStream() }

// Put is Client.Put within the namespace.
func (n *Namespaced) Put(ctx context.Context, r *wire.PutRequest) (*wire.PutResponse, error) {
	inner, ok := n.space.putRequest(r)
	if !ok {
		return nil, errEmptyKey(methodPut)
	}
	return n.client.putIn(ctx, &inner, n.space)
}

// DeleteRange is Client.DeleteRange within the namespace.
func (n *Namespaced) DeleteRange(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error) {
	inner, ok := n.space.deleteRequest(r)
	if !ok {
		return nil, errEmptyKey(methodDelete)
	}
	return n.client.deleteIn(ctx, &inner, n.space)
}

// Txn is Client.Txn within the namespace, nested transactions included.
func (n *Namespaced) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	inner, ok := n.space.txnRequest(r)
	if !ok {
		return nil, errEmptyKey(methodTxn)
	}
	return n.client.txnIn(ctx, inner, n.space)
}

// Compact is refused: the history is everyone's.
func (n *Namespaced) Compact(context.Context, int64, bool) (wire.Header, error) {
	return wire.Header{}, errNotInNamespace("KV/Compact")
}

// LeaseGrant is Client.LeaseGrant: leases have no namespace in etcd.
func (n *Namespaced) LeaseGrant(ctx context.Context, ttl, id int64) (Lease, error) {
	return n.client.LeaseGrant(ctx, ttl, id)
}

// LeaseRevoke is Client.LeaseRevoke.
func (n *Namespaced) LeaseRevoke(ctx context.Context, id int64) (wire.Header, error) {
	return n.client.LeaseRevoke(ctx, id)
}

// LeaseTimeToLive is Client.LeaseTimeToLive; of the attached keys only those of the namespace are listed.
func (n *Namespaced) LeaseTimeToLive(ctx context.Context, id int64, keys bool) (LeaseStatus, error) {
	s, err := n.client.LeaseTimeToLive(ctx, id, keys)
	s.Keys = n.space.ownKeys(s.Keys)
	return s, err
}

// Leases is Client.Leases.
func (n *Namespaced) Leases(ctx context.Context) ([]int64, wire.Header, error) {
	return n.client.Leases(ctx)
}

// LeaseKeepAliveOnce is Client.LeaseKeepAliveOnce.
func (n *Namespaced) LeaseKeepAliveOnce(ctx context.Context, id int64) (int64, error) {
	return n.client.LeaseKeepAliveOnce(ctx, id)
}

// errEmptyKey is etcd's own answer to an empty key, which a prefix in front of it would hide.
func errEmptyKey(m *method) error {
	return answered(m, knownByText[textEmptyKey], codes.InvalidArgument, textEmptyKey)
}

func errNotInNamespace(name string) error {
	return local(&method{name: name}, NameOutsideNamespace, codes.PermissionDenied, problem.PermissionDenied,
		"not available within a namespace", "this call reaches beyond the namespace")
}
