package etcdclient

import (
	"context"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/connectivity"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Calls that are about one member are made to that member, by the id that its answers carry, be it a learner, set aside or
// without a leader. A member that no endpoint of the configuration leads to, or whose connections fail, fails at once.

// ofMember gives the client narrowed to one member, for calls of the method.
func (c *Client) ofMember(m Member, of *method) (*Client, error) {
	endpoints := c.endpointsOf(m)
	if len(endpoints) == 0 {
		return nil, errNoWay(of, m)
	}
	fits := func(n *conn) bool {
		id := n.member.Load().id
		return id == m.ID || id == 0 && slices.Contains(endpoints, n.endpoint)
	}
	failing := true
	for _, n := range c.pool.conns[classUnary] {
		if fits(n) && n.cc.GetState() != connectivity.TransientFailure {
			failing = false
		}
	}
	if failing {
		return nil, errNotConnected(of, c.pool.lastError())
	}
	at := *c
	at.fits = fits
	return &at, nil
}

// endpointsOf gives the endpoints that the member has answered at, and those that it names itself.
func (c *Client) endpointsOf(m Member) (found []*endpoint) {
	named := make([]string, 0, len(m.ClientURLs))
	for _, u := range m.ClientURLs {
		_, address, _ := strings.Cut(u, "://")
		named = append(named, strings.TrimSuffix(address, "/"))
	}
	for _, n := range c.pool.conns[classUnary] {
		if n.member.Load().id == m.ID || slices.Contains(named, n.endpoint.address) {
			found = append(found, n.endpoint)
		}
	}
	return found
}

// StatusOf asks the member for its status.
func (c *Client) StatusOf(ctx context.Context, m Member) (MemberStatus, error) {
	at, err := c.ofMember(m, methodStatus)
	if err != nil {
		return MemberStatus{}, err
	}
	s, err := statusOver(ctx, at)
	if err == nil && s.Header.MemberID != m.ID { // an endpoint that the member names leads to another
		return MemberStatus{}, errNoWay(methodStatus, m)
	}
	return s, err
}

// Defragment has the member rewrite its database, which gives free space back to the disk. It serves nothing meanwhile.
func (c *Client) Defragment(ctx context.Context, m Member) error {
	at, err := c.ofMember(m, methodDefragment)
	if err != nil {
		return err
	}
	_, err = pb.NewMaintenanceClient(at).Defragment(ctx, &pb.DefragmentRequest{})
	return err
}

// Hash is a hash over the keys of a member, up to a revision and from a compaction on.
type Hash struct {
	Hash uint32
	// Revision is that up to which was hashed, 0 before etcd 3.6; CompactRevision where the hashed history begins. Only
	// hashes with the same of both can be compared.
	Revision, CompactRevision int64
	Header                    wire.Header
}

// HashKV has the member hash its keys up to the revision; 0 is its newest.
func (c *Client) HashKV(ctx context.Context, m Member, revision int64) (Hash, error) {
	at, err := c.ofMember(m, methodHashKV)
	if err != nil {
		return Hash{}, err
	}
	r, err := pb.NewMaintenanceClient(at).HashKV(ctx, &pb.HashKVRequest{Revision: revision})
	if err != nil {
		return Hash{}, err
	}
	return Hash{
		Hash: r.GetHash(), Revision: r.GetHashRevision(), CompactRevision: r.GetCompactRevision(), Header: headerOf(r.GetHeader()),
	}, nil
}

// HashDatabase has the member hash its whole database file, bookkeeping and all: of two healthy members they differ.
func (c *Client) HashDatabase(ctx context.Context, m Member) (Hash, error) {
	at, err := c.ofMember(m, methodHash)
	if err != nil {
		return Hash{}, err
	}
	r, err := pb.NewMaintenanceClient(at).Hash(ctx, &pb.HashRequest{})
	if err != nil {
		return Hash{}, err
	}
	return Hash{Hash: r.GetHash(), Header: headerOf(r.GetHeader())}, nil
}
