package handlers

import (
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// defragment answers POST /v1/maintenance/defragment with a line of NDJSON for each step. A member serves nothing while it
// is defragmented, so this is done to one after the other, the leader last, and only while all the others answer; the
// first failure ends it. Learners are left out, since etcd does not defragment them.
//
// How long a database takes is not known, so only timeout= bounds the call. A member finishes what it has begun even if the
// caller leaves.
func (a *API) defragment(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var id int64
	var one bool
	if err := c.decodeOptional(kvjson.ID("member", &id).Given(&one)); err != nil {
		return err
	}
	v, err := c.viewCluster(c.ctx())
	if err != nil {
		return c.notApplied(err)
	}
	var todo []*memberView
	if one {
		todo, err = v.toDefragment(uint64(id)) //nolint:gosec // the bits are the id
	} else {
		todo, err = v.allToDefragment()
	}
	if err != nil {
		return c.notApplied(err)
	}
	c.startStream()
	return c.defragmentEach(todo)
}

// toDefragment is one member, which must be able to.
func (v *clusterView) toDefragment(id uint64) ([]*memberView, error) {
	m := v.find(id)
	switch {
	case m == nil:
		return nil, memberNotFound().AtPointer("/member")
	case m.Learner:
		return nil, problem.New(problem.FailedPrecondition, "etcd does not defragment learners").AtPointer("/member")
	}
	return []*memberView{m}, m.err
}

// allToDefragment are the members that vote. All must answer, or else the one that is busy could be the one too many.
func (v *clusterView) allToDefragment() (all []*memberView, err error) {
	for i := range v.members {
		m := &v.members[i]
		if m.Learner {
			continue
		}
		if m.err != nil {
			e := *problem.From(m.err)
			return nil, e.WithHint("member %s does not answer: without it the cluster could lose its quorum while another is defragmented; name one with member", formatID(int64(m.ID))) //nolint:gosec // the bits are the id
		}
		all = append(all, m)
	}
	return all, nil
}

func (c *call) defragmentEach(todo []*memberView) error {
	count, freed := len(todo), int64(0)
	for done := 0; len(todo) > 0; done++ {
		next := c.notLeading(todo)
		m := todo[next]
		todo = append(todo[:next:next], todo[next+1:]...)
		c.stepLine("started", m, m.status.DBSize)
		if err := c.flushLines(true); err != nil {
			return err
		}
		after, err := c.defragmentOne(&m.Member)
		if err != nil {
			return partly(err, done > 0)
		}
		freed += max(m.status.DBSize-after.DBSize, 0)
		c.stepLine("defragmented", m, after.DBSize)
		if err := c.flushLines(true); err != nil {
			return err
		}
	}
	c.body = append(c.body, `{"type":"end",`...)
	c.intMember("members", int64(count))
	c.intMember("freed_bytes", freed)
	c.closeObject()
	return nil
}

// defragmentOne defragments a member and asks for its status then, so that the next one waits until it is back.
func (c *call) defragmentOne(m *etcdclient.Member) (etcdclient.MemberStatus, error) {
	if err := c.backend.Defragment(c.ctx(), *m); err != nil {
		return etcdclient.MemberStatus{}, err
	}
	status, err := c.backend.StatusOf(c.ctx(), *m)
	return status, partly(err, err != nil)
}

// notLeading picks a member that is not the leader now, which can have moved since the last one.
func (c *call) notLeading(todo []*memberView) int {
	for i, m := range todo {
		if len(todo) == 1 {
			break
		}
		if s, err := c.backend.StatusOf(c.ctx(), m.Member); err == nil && s.Leader != m.ID {
			return i
		}
	}
	return 0
}

// stepLine appends a line of progress.
func (c *call) stepLine(kind string, m *memberView, size int64) {
	c.openObject()
	c.textMember("type", kind)
	c.idMember("member", m.ID)
	c.textMember("name", m.Name)
	c.intMember("db_size", size)
	c.closeObject()
}
