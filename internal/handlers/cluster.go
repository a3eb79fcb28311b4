package handlers

import (
	"context"
	"slices"
	"sync"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Cluster is what the handlers ask of the cluster as a whole and of its members.
type Cluster interface {
	Endpoints() []string
	Status(ctx context.Context, endpoint string) (etcdclient.MemberStatus, error)
	// StatusOf asks one member, a learner too; it fails at once where there is no way to it.
	StatusOf(ctx context.Context, m etcdclient.Member) (etcdclient.MemberStatus, error)
	Members(ctx context.Context) ([]etcdclient.Member, wire.Header, error)
	// MembersKnown is what one member knows; it works without a quorum.
	MembersKnown(ctx context.Context) ([]etcdclient.Member, wire.Header, error)
	MemberAdd(ctx context.Context, peerURLs []string, learner bool) (etcdclient.Member, []etcdclient.Member, error)
	MemberUpdate(ctx context.Context, id uint64, peerURLs []string) ([]etcdclient.Member, error)
	MemberRemove(ctx context.Context, id uint64) ([]etcdclient.Member, error)
	MemberPromote(ctx context.Context, id uint64) ([]etcdclient.Member, error)
	MoveLeader(ctx context.Context, leader etcdclient.Member, to uint64) error
	Alarms(ctx context.Context) ([]etcdclient.Alarm, wire.Header, error)
	Disarm(ctx context.Context, alarm etcdclient.Alarm) (wire.Header, error)
}

// clusterView is what the cluster and its members said when they were asked at the same time.
type clusterView struct {
	header  wire.Header
	members []memberView
	// quorum says that a quorum confirmed the list of members.
	quorum bool
	// alarms are nil while nobody can tell them, which takes a quorum.
	alarms []etcdclient.Alarm
}

// memberView is a member and its status, or why there is none.
type memberView struct {
	etcdclient.Member

	status etcdclient.MemberStatus
	err    error
}

func (m *memberView) answers() bool { return m.err == nil }

// healthy says that the member answers, knows a leader and reports nothing wrong.
func (m *memberView) healthy() bool {
	return m.answers() && m.status.Leader != 0 && len(m.status.Errors) == 0
}

// getCluster answers GET /v1/cluster: every member with its status, asked in parallel. A member that does not answer is
// said to be so, and so is a quorum that is lost: that is when this is looked at.
func (a *API) getCluster(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	v, err := c.viewCluster(c.ctx())
	if err != nil {
		return err
	}
	c.appendCluster(v)
	return nil
}

func (c *call) viewCluster(ctx context.Context) (*clusterView, error) {
	v, err := c.listMembers(ctx)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	if v.quorum {
		wg.Go(func() { v.alarms = c.knownAlarms(ctx) })
	}
	c.askStatus(ctx, v.members, &wg)
	wg.Wait()
	return v, nil
}

// listMembers asks a quorum for the members, and when there is none, any one member for those that it knows.
func (c *call) listMembers(ctx context.Context) (*clusterView, error) {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	members, header, err := c.backend.Members(asking)
	v := &clusterView{quorum: err == nil}
	if e := problem.From(err); e != nil {
		if e.Code != problem.Unavailable && e.Code != problem.DeadlineExceeded || ctx.Err() != nil {
			return nil, err
		}
		if members, header, err = c.backend.MembersKnown(ctx); err != nil {
			return nil, err
		}
	}
	v.header = header
	for _, m := range members {
		v.members = append(v.members, memberView{Member: m})
	}
	return v, nil
}

// askStatus asks every member at the same time, each for at most the time of a probe.
func (c *call) askStatus(ctx context.Context, members []memberView, wg *sync.WaitGroup) {
	for i := range members {
		m := &members[i]
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			m.status, m.err = c.backend.StatusOf(asking, m.Member)
		})
	}
}

// knownAlarms gives the raised alarms, nil when they cannot be asked for.
func (c *call) knownAlarms(ctx context.Context) []etcdclient.Alarm {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	alarms, _, err := c.backend.Alarms(ctx)
	if err != nil {
		return nil
	}
	return slices.Clip(append([]etcdclient.Alarm{}, alarms...))
}

// leader is the member that the others take for the leader at the highest term, 0 when nobody knows one.
func (v *clusterView) leader() (id uint64) {
	term := uint64(0)
	for i := range v.members {
		if s := &v.members[i].status; s.Leader != 0 && s.RaftTerm >= term {
			id, term = s.Leader, s.RaftTerm
		}
	}
	return id
}

// healthy says that nothing is wrong: there is a quorum, every member is healthy, all name one leader, no alarm is raised.
func (v *clusterView) healthy() bool {
	leader := v.leader()
	for i := range v.members {
		if m := &v.members[i]; !m.healthy() || m.status.Leader != leader {
			return false
		}
	}
	return v.quorum && v.alarms != nil && len(v.alarms) == 0
}

// find gives the member of that id.
func (v *clusterView) find(id uint64) *memberView {
	for i := range v.members {
		if v.members[i].ID == id {
			return &v.members[i]
		}
	}
	return nil
}

func memberNotFound() *problem.Error {
	return problem.New(problem.MemberNotFound, "the cluster has no such member")
}
