package handlers

import (
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// appendCluster appends the answer of GET /v1/cluster.
func (c *call) appendCluster(v *clusterView) {
	statuses := make([]etcdclient.MemberStatus, 0, len(v.members))
	index := uint64(0)
	for i := range v.members {
		s := v.members[i].status
		statuses = append(statuses, s)
		index = max(index, s.RaftIndex)
		c.revision = max(c.revision, s.Header.Revision)
	}
	c.openObject()
	c.idMember("cluster_id", v.header.ClusterID)
	c.textMember("version", clusterVersion(statuses))
	c.boolMember("healthy", v.healthy())
	c.boolMember("quorum", v.quorum)
	leader := v.leader()
	if leader != 0 {
		c.idMember("leader", leader)
	}
	c.openArray("members")
	for i := range v.members {
		c.appendMemberView(&v.members[i], leader, index, v.alarms)
	}
	c.closeArray()
	if v.alarms != nil {
		c.alarmsMember(v.alarms)
	}
	c.closeObject()
}

// appendMemberView appends a member, its health and its status; index is the highest raft index that any member told.
func (c *call) appendMemberView(m *memberView, leader, index uint64, alarms []etcdclient.Alarm) {
	c.openObject()
	c.memberMembers(&m.Member)
	c.boolMember("answers", m.answers())
	c.boolMember("healthy", m.healthy())
	c.boolMember("is_leader", m.ID == leader)
	var kinds []string
	for _, a := range alarms {
		if a.MemberID == m.ID {
			kinds = append(kinds, a.Kind)
		}
	}
	if alarms != nil {
		c.textsMember("alarms", kinds)
	}
	if m.answers() {
		c.statusMember(&m.status, index)
	} else {
		c.textMember("reason", problem.From(m.err).Detail)
	}
	c.closeInner('}')
}

// memberMembers appends what the cluster knows of a member.
func (c *call) memberMembers(m *etcdclient.Member) {
	c.idMember("id", m.ID)
	c.textMember("name", m.Name)
	c.textsMember("peer_urls", m.PeerURLs)
	c.textsMember("client_urls", m.ClientURLs)
	c.boolMember("learner", m.Learner)
	c.boolMember("started", m.Started())
}

func (c *call) statusMember(s *etcdclient.MemberStatus, index uint64) {
	c.name("status")
	c.openObject()
	c.textMember("version", s.Version)
	if s.StorageVersion != "" {
		c.textMember("storage_version", s.StorageVersion)
	}
	c.intMember("db_size", s.DBSize)
	c.intMember("db_size_in_use", s.DBSizeInUse)
	if s.DBSizeQuota > 0 {
		c.intMember("db_size_quota", s.DBSizeQuota)
	}
	c.intMember("revision", s.Header.Revision)
	if s.Leader != 0 {
		c.idMember("leader", s.Leader)
	}
	c.countMember("raft_term", s.RaftTerm)
	c.countMember("raft_index", s.RaftIndex)
	c.countMember("raft_applied_index", s.RaftAppliedIndex)
	c.countMember("raft_lag", index-min(index, s.RaftAppliedIndex))
	if s.Downgrading != "" {
		c.textMember("downgrading_to", s.Downgrading)
	}
	c.textsMember("errors", s.Errors)
	c.closeInner('}')
}

// countMember appends a number that counts up from 0 and stays far below 2⁶³.
func (c *call) countMember(name string, n uint64) { c.intMember(name, int64(n)) } //nolint:gosec // see above

// membersMember appends the members of the cluster as a change of them left them.
func (c *call) membersMember(members []etcdclient.Member) {
	c.openArray("members")
	for i := range members {
		c.openObject()
		c.memberMembers(&members[i])
		c.closeInner('}')
	}
	c.closeArray()
}

func (c *call) alarmsMember(alarms []etcdclient.Alarm) {
	c.openArray("alarms")
	for _, a := range alarms {
		c.openObject()
		c.idMember("member", a.MemberID)
		c.textMember("alarm", a.Kind)
		c.closeInner('}')
	}
	c.closeArray()
}
