package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// MemberAdd adds a member, which then is to be started; the list has all members there are now. A learner does not vote.
func (c *Client) MemberAdd(ctx context.Context, peerURLs []string, learner bool) (Member, []Member, error) {
	r, err := pb.NewClusterClient(c).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: peerURLs, IsLearner: learner})
	return memberOf(r.GetMember()), membersOf(r.GetMembers()), err
}

// MemberUpdate replaces the addresses at which the other members find the member.
func (c *Client) MemberUpdate(ctx context.Context, id uint64, peerURLs []string) ([]Member, error) {
	r, err := pb.NewClusterClient(c).MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: id, PeerURLs: peerURLs})
	return membersOf(r.GetMembers()), err
}

// MemberRemove removes the member for good: its id never comes back.
func (c *Client) MemberRemove(ctx context.Context, id uint64) ([]Member, error) {
	r, err := pb.NewClusterClient(c).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
	return membersOf(r.GetMembers()), err
}

// MemberPromote makes a learner vote.
func (c *Client) MemberPromote(ctx context.Context, id uint64) ([]Member, error) {
	r, err := pb.NewClusterClient(c).MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
	return membersOf(r.GetMembers()), err
}

// MoveLeader hands the leadership from the present leader, which alone can do it, to another member, and waits for that.
func (c *Client) MoveLeader(ctx context.Context, leader Member, to uint64) error {
	at, err := c.ofMember(leader, methodMoveLeader)
	if err != nil {
		return err
	}
	_, err = pb.NewMaintenanceClient(at).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: to})
	if err == nil {
		c.pool.leader.Store(to)
	}
	return err
}
