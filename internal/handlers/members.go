package handlers

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// addMember answers POST /v1/cluster/members.
func (a *API) addMember(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var peers []string
	var learner bool
	if err := c.decode(peerURLs(&peers), kvjson.Bool("learner", &learner)); err != nil {
		return err
	}
	return c.onceOnly(func() error { return c.addPeer(peers, learner) })
}

func (c *call) addPeer(peers []string, learner bool) error {
	added, members, err := c.backend.MemberAdd(c.ctx(), peers, learner)
	if err != nil {
		return err
	}
	set(c.w.Header(), "Location", c.api.base()+"/v1/cluster/members/"+formatID(int64(added.ID))) //nolint:gosec // the bits are the id
	c.status = http.StatusCreated
	c.openObject()
	c.name("member")
	c.openObject()
	c.memberMembers(&added)
	c.closeInner('}')
	c.membersMember(members)
	c.closeObject()
	return nil
}

// peerURLs is the body's member peer_urls. etcd takes what it is given for a member that exists, so it is judged here.
func peerURLs(to *[]string) kvjson.Field {
	return kvjson.Array("peer_urls", func(d *kvjson.Decoder) error {
		text, err := d.Text()
		if err != nil {
			return err
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return d.Invalid("", "a peer URL is http://host:port or https://host:port")
		}
		*to = append(*to, text)
		return nil
	}).Required()
}

// updateMember answers PUT /v1/cluster/members/{id}.
func (a *API) updateMember(c *call) error {
	return c.changeMembers(func(id uint64) ([]etcdclient.Member, error) {
		var peers []string
		if err := c.decode(peerURLs(&peers)); err != nil {
			return nil, err
		}
		if len(peers) == 0 {
			return nil, problem.New(problem.InvalidArgument, "a member has at least one peer URL").AtPointer("/peer_urls")
		}
		return c.backend.MemberUpdate(c.ctx(), id, peers)
	})
}

// removeMember answers DELETE /v1/cluster/members/{id}.
func (a *API) removeMember(c *call) error {
	return c.changeMembers(func(id uint64) ([]etcdclient.Member, error) { return c.backend.MemberRemove(c.ctx(), id) })
}

// promoteMember answers POST /v1/cluster/members/{id}/promote.
func (a *API) promoteMember(c *call) error {
	return c.changeMembers(func(id uint64) ([]etcdclient.Member, error) {
		if err := c.decodeOptional(); err != nil {
			return nil, err
		}
		return c.backend.MemberPromote(c.ctx(), id)
	})
}

// changeMembers makes a change of the member that the path names, and answers with the members there are then.
func (c *call) changeMembers(change func(id uint64) ([]etcdclient.Member, error)) error {
	id, err := c.memberSegment()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	members, err := change(id)
	if err != nil {
		return err
	}
	c.openObject()
	c.membersMember(members)
	c.closeObject()
	return nil
}

// moveLeader answers POST /v1/cluster/leader: the leadership goes to the member that the body names. Only the leader can
// hand it over.
func (a *API) moveLeader(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var id int64
	if err := c.decode(kvjson.ID("member", &id).Required()); err != nil {
		return err
	}
	to := uint64(id) //nolint:gosec // the bits are the id
	v, err := c.viewCluster(c.ctx())
	if err != nil { // nothing was asked for yet
		return c.notApplied(err)
	}
	leader := v.find(v.leader())
	switch target := v.find(to); {
	case target == nil:
		return memberNotFound().AtPointer("/member")
	case leader == nil:
		return problem.New(problem.Unavailable, "the cluster has no leader that could hand the leadership over").WithOutcome(problem.NotApplied)
	case leader.ID != to:
		if err := c.backend.MoveLeader(c.ctx(), leader.Member, to); err != nil {
			return err
		}
	}
	c.openObject()
	c.idMember("leader", to)
	c.closeObject()
	return nil
}
