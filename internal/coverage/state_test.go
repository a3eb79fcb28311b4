package coverage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
)

// What the calls need, made by etcd's own client unless it is said otherwise. It does not matter what is there already.

// theLease is a lease of the test's; /v1 spells it 7001.
const theLease = 0x7001

func (s *stage) must(err error, but ...error) {
	s.t.Helper()
	for _, e := range but {
		if errors.Is(err, e) {
			return
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) put() {
	for range 4 {
		_, err := s.oracle.Put(s.t.Context(), "k", "1")
		s.must(err)
	}
}

func (s *stage) lease() {
	_, err := pb.NewLeaseClient(s.oracle.ActiveConnection()).LeaseGrant(s.t.Context(), &pb.LeaseGrantRequest{ID: theLease, TTL: 600})
	s.must(err, rpctypes.ErrGRPCLeaseExist)
}

// learnerID is the id of the learner, 0 when there is none.
func (s *stage) learnerID() uint64 {
	list, err := s.oracle.MemberList(s.t.Context())
	s.must(err)
	for _, m := range list.Members {
		if m.IsLearner {
			return m.ID
		}
	}
	return 0
}

// peer gives a peer URL that no member has had: the id of a member is made of it and of the second, and none is used twice.
func (s *stage) peer() string {
	s.peers++
	return fmt.Sprintf("http://127.0.0.1:%d", 100+s.peers)
}

func (s *stage) learner() {
	if s.learnerID() == 0 {
		_, err := s.oracle.MemberAddAsLearner(s.t.Context(), []string{s.peer()})
		s.must(err)
	}
}

func (s *stage) noLearner() {
	if id := s.learnerID(); id != 0 {
		_, err := s.oracle.MemberRemove(s.t.Context(), id)
		s.must(err)
	}
}

func toLearner(method, rest, body string) func(*stage) request {
	return func(s *stage) request {
		return request{method: method, path: fmt.Sprintf("/v1/cluster/members/%x%s", s.learnerID(), rest), body: body}
	}
}

func ofLearner(format string) func(*stage) string {
	return func(s *stage) string { return fmt.Sprintf(format, s.learnerID()) }
}

// accounts makes the user root with the role of that name, through the gateway, which can whether or not it must be root.
func (s *stage) accounts() {
	for _, q := range []request{
		{method: "POST", path: "/v1/users", body: `{"name":"root","password":"` + rootsPassword + `"}`},
		{method: "POST", path: "/v1/roles", body: `{"name":"root"}`},
		{method: "PUT", path: "/v1/users/root/roles/root"},
	} {
		if status := s.root.send(q); status >= 300 && status != http.StatusConflict {
			s.t.Fatalf("%s %s: %d", q.method, q.path, status)
		}
	}
}

// auth turns authentication on or off, and has the gateway that is root know it.
func (s *stage) auth(on bool) {
	q := request{method: "POST", path: "/v1/auth/disable"}
	if on {
		q.path = "/v1/auth/enable"
	}
	if status := s.root.send(q); status != http.StatusOK {
		s.t.Fatalf("%s: %d", q.path, status)
	}
	s.root.send(request{method: "GET", path: "/v1/kv/k"})
}

func (s *stage) role() {
	_, err := s.oracle.RoleAdd(s.t.Context(), "reader")
	s.must(err, rpctypes.ErrRoleAlreadyExist)
}

func (s *stage) noRole() {
	_, err := s.oracle.RoleDelete(s.t.Context(), "reader")
	s.must(err, rpctypes.ErrRoleNotFound)
}

func (s *stage) user() {
	s.role()
	_, err := s.oracle.UserAdd(s.t.Context(), "alice", "secret")
	s.must(err, rpctypes.ErrUserAlreadyExist)
}

func (s *stage) noUser() {
	_, err := s.oracle.UserDelete(s.t.Context(), "alice")
	s.must(err, rpctypes.ErrUserNotFound)
}

// grants gives the user the role, and the role a permission.
func (s *stage) grants() {
	s.user()
	_, err := s.oracle.UserGrantRole(s.t.Context(), "alice", "reader")
	s.must(err)
	_, err = s.oracle.RoleGrantPermission(s.t.Context(), "reader", "k", "", 0)
	s.must(err)
}

// leader has the lease lead the election e.
func (s *stage) leader() {
	s.lease()
	_, err := election.NewElectionClient(s.oracle.ActiveConnection()).
		Campaign(s.t.Context(), &election.CampaignRequest{Name: []byte("e"), Lease: theLease, Value: []byte("1")})
	s.must(err)
}

func (s *stage) leaderKey() string {
	r, err := election.NewElectionClient(s.oracle.ActiveConnection()).Leader(s.t.Context(), &election.LeaderRequest{Name: []byte("e")})
	s.must(err)
	key, err := json.Marshal(map[string]any{"name": []byte("e"), "key": r.GetKv().GetKey(), "rev": r.GetKv().GetCreateRevision(), "lease": theLease})
	s.must(err)
	return string(key)
}

func (s *stage) proclamation() string { return `{"leader":` + s.leaderKey() + `,"value":"Mw=="}` }
func (s *stage) resignation() string  { return `{"leader":` + s.leaderKey() + `}` }
