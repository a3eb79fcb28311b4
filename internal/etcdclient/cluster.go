package etcdclient

import (
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Member is a member of the cluster, as the cluster lists it.
type Member struct {
	ID                   uint64
	Name                 string
	PeerURLs, ClientURLs []string
	Learner              bool
}

// MemberStatus is what one member says of itself.
type MemberStatus struct {
	Header wire.Header
	// Version is etcd's version there; StorageVersion that of its data, empty before etcd 3.6.
	Version, StorageVersion string
	// DBSize is the size of the database on disk, DBSizeInUse what of it is used, DBSizeQuota the limit, in bytes; the
	// last is 0 before etcd 3.6.
	DBSize, DBSizeInUse, DBSizeQuota int64
	// Leader is the id of the member that this one takes for the leader, 0 for none.
	Leader                                uint64
	RaftIndex, RaftTerm, RaftAppliedIndex uint64
	Learner                               bool
	// Downgrading is the version that the cluster is being downgraded to; empty when it is not.
	Downgrading string
	// Errors are what the member reports as wrong, alarms among it.
	Errors []string
}

// Alarm is a raised alarm.
type Alarm struct {
	MemberID uint64
	// Kind is etcd's name: NOSPACE or CORRUPT.
	Kind string
}

// Status asks the member behind an endpoint of the configuration for its status; an empty endpoint asks any member.
func (c *Client) Status(ctx context.Context, endpoint string) (MemberStatus, error) {
	var conn grpc.ClientConnInterface = c
	if endpoint != "" {
		at, err := c.At(endpoint)
		if err != nil {
			return MemberStatus{}, err
		}
		conn = at
	}
	return statusOver(ctx, conn)
}

func statusOver(ctx context.Context, conn grpc.ClientConnInterface) (MemberStatus, error) {
	r, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return MemberStatus{}, err
	}
	return MemberStatus{
		Header: headerOf(r.GetHeader()), Version: r.GetVersion(), StorageVersion: r.GetStorageVersion(),
		DBSize: r.GetDbSize(), DBSizeInUse: r.GetDbSizeInUse(), DBSizeQuota: r.GetDbSizeQuota(),
		Leader: r.GetLeader(), RaftIndex: r.GetRaftIndex(), RaftTerm: r.GetRaftTerm(),
		RaftAppliedIndex: r.GetRaftAppliedIndex(), Learner: r.GetIsLearner(),
		Downgrading: r.GetDowngradeInfo().GetTargetVersion(), Errors: r.GetErrors(),
	}, nil
}

// At gives the client narrowed to one endpoint of the configuration, for calls that are about one member (status, hash,
// defragmentation). It shares everything with c.
func (c *Client) At(endpoint string) (*Client, error) {
	if !slices.Contains(c.pool.config.Endpoints, endpoint) {
		return nil, errArgument(methodStatus, "the endpoint is not one of the configuration")
	}
	at := *c
	at.fits = func(n *conn) bool { return n.endpoint.name == endpoint }
	return &at, nil
}

// Members lists the cluster's members, as a quorum knows them.
func (c *Client) Members(ctx context.Context) ([]Member, wire.Header, error) {
	return c.members(ctx, true)
}

// MembersKnown lists the cluster's members as one of them knows them, which works without a quorum.
func (c *Client) MembersKnown(ctx context.Context) ([]Member, wire.Header, error) {
	return c.members(ctx, false)
}

func (c *Client) members(ctx context.Context, linearizable bool) ([]Member, wire.Header, error) {
	r, err := pb.NewClusterClient(c).MemberList(ctx, &pb.MemberListRequest{Linearizable: linearizable})
	if err != nil {
		return nil, wire.Header{}, err
	}
	return membersOf(r.GetMembers()), headerOf(r.GetHeader()), nil
}

func membersOf(list []*pb.Member) []Member {
	members := make([]Member, 0, len(list))
	for _, m := range list {
		members = append(members, memberOf(m))
	}
	return members
}

func memberOf(m *pb.Member) Member {
	return Member{ID: m.GetID(), Name: m.GetName(), PeerURLs: m.GetPeerURLs(), ClientURLs: m.GetClientURLs(), Learner: m.GetIsLearner()}
}

// Started tells whether the member has ever been started: until then the cluster knows only where it is to be found.
func (m *Member) Started() bool { return m.Name != "" || len(m.ClientURLs) > 0 }

// Alarms lists the raised alarms of all members.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, wire.Header, error) {
	r, err := pb.NewMaintenanceClient(c).Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil {
		return nil, wire.Header{}, err
	}
	alarms := make([]Alarm, 0, len(r.GetAlarms()))
	for _, a := range r.GetAlarms() {
		alarms = append(alarms, Alarm{MemberID: a.GetMemberID(), Kind: a.GetAlarm().String()})
	}
	return alarms, headerOf(r.GetHeader()), nil
}

// Compact forgets the history before the revision; physical waits until its space is free inside the database.
func (c *Client) Compact(ctx context.Context, revision int64, physical bool) (wire.Header, error) {
	r, err := pb.NewKVClient(c).Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: physical})
	return headerOf(r.GetHeader()), err
}
