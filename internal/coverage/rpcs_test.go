package coverage_test

import (
	"encoding/base64"
	"fmt"
)

// rpc says how an RPC of etcd is called. What etcd is asked then is observed, not said here.
type rpc struct {
	// name is service/method.
	name string
	// before makes what each of the two calls needs.
	before func(s *stage)
	// native does it. Where that is not by calling the RPC, instead says why, and only there.
	native  func(s *stage) request
	status  int
	instead string
	// v3 is the body for etcd's own path, which its descriptor tells; nil where there is none.
	v3       func(s *stage) string
	v3Status int
	// lines is how many lines of the answer to read where it goes on, from /v1 and from /v3.
	lines int
	// root says that the gateway that is root is to be asked.
	root bool
	// tested and v3Tested are tests that show what the calls do: folder.Test.
	tested, v3Tested string
}

const (
	byTxn  = "one transaction, so that the answer tells what happened"
	byKeys = "keys as etcd's Go package `concurrency` lays them out, so that the gateway knows what became of a wait"

	leaseLife = "internal/handlers.TestALeaseIsGrantedShownRenewedAndRevoked"
	members   = "tests/cluster.TestMembersComeAndGoThroughTheGateway"
	authOnOff = "internal/handlers.TestAuthenticationIsTurnedOnAndOff"
	userLife  = "internal/handlers.TestUsersAreAddedAndRemoved"
	roleLife  = "internal/handlers.TestRolesHavePermissionsAsEtcdKeepsThem"
	mutex     = "internal/handlers.TestLocksAreThoseOfThePackageConcurrency"
	elections = "internal/handlers.TestElectionsAreThoseOfThePackageConcurrency"

	life  = "internal/compat.TestAStoresLifeIsTheSame"
	users = "internal/compat.TestAuthenticationIsTheSame"
)

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func sends(method, path, body string) func(*stage) request {
	return func(*stage) request { return request{method: method, path: path, body: body} }
}

func says(format string, args ...any) func(*stage) string {
	return func(*stage) string { return fmt.Sprintf(format, args...) }
}

// rpcs are all of them, by service. Each row stands for itself: what it needs it makes.
func rpcs() []rpc {
	return []rpc{
		{
			name: "KV/Range", tested: "internal/handlers.TestAwkwardKeysAreByteExactInThePath", native: sends("GET", "/v1/kv/k", ""), status: 404,
			v3: says(`{"key":%q}`, b64("k")), v3Tested: life,
		},
		{name: "KV/RangeStream", tested: "internal/handlers.TestToOfOneNULByteIsABoundAndNotAnOpenEnd", native: sends("GET", "/v1/kv?prefix=k", "")},
		{
			name: "KV/Put", tested: "internal/handlers.TestPutTellsCreatedFromUpdated", native: sends("PUT", "/v1/kv/k", `{"value":"1"}`), status: 201, instead: byTxn,
			v3: says(`{"key":%q,"value":""}`, b64("k")), v3Tested: life,
		},
		{
			name: "KV/DeleteRange", tested: "internal/handlers.TestDeleteOfAnAbsentKeyIsHarmless", native: sends("DELETE", "/v1/kv/k", ""), instead: byTxn,
			v3: says(`{"key":%q}`, b64("k")), v3Tested: life,
		},
		{
			name: "KV/Txn", tested: "internal/handlers.TestTxnAnswersEveryFieldAlways", native: sends("POST", "/v1/txn", `{"then":[{"put":{"key":"k","value":"1"}}]}`),
			v3: says(`{}`), v3Tested: life,
		},
		{
			name: "KV/Compact", tested: "internal/handlers.TestReadsOfThePast", before: (*stage).put, native: sends("POST", "/v1/maintenance/compact", `{"revision":2}`),
			v3: says(`{"revision":3}`), v3Tested: life,
		},
		{
			name: "Watch/Watch", v3Tested: "internal/compat.TestStreamsAreTheSame", tested: "internal/stream.TestDrainSaysGoodbye", native: sends("GET", "/v1/watch?key=k", ""), lines: 1,
			v3: says(`{"create_request":{"key":%q}}`, b64("k")),
		},
		{
			name: "Lease/LeaseGrant", tested: leaseLife, native: sends("POST", "/v1/leases", `{"ttl":60}`), status: 201,
			v3: says(`{"TTL":60}`), v3Tested: life,
		},
		{
			name: "Lease/LeaseRevoke", tested: leaseLife, before: (*stage).lease, native: sends("DELETE", "/v1/leases/7001", ""),
			v3: says(`{"ID":%d}`, theLease), v3Tested: life,
		},
		{
			name: "Lease/LeaseKeepAlive", tested: leaseLife, before: (*stage).lease, native: sends("POST", "/v1/leases/7001/keepalive", ""),
			v3: says(`{"ID":%d}`, theLease), v3Tested: life,
		},
		{
			name: "Lease/LeaseTimeToLive", tested: leaseLife, before: (*stage).lease, native: sends("GET", "/v1/leases/7001", ""),
			v3: says(`{"ID":%d}`, theLease), v3Tested: life,
		},
		{name: "Lease/LeaseLeases", tested: leaseLife, native: sends("GET", "/v1/leases", ""), v3: says(`{}`), v3Tested: users},
		{
			name: "Cluster/MemberAdd", tested: members, before: (*stage).noLearner, status: 201,
			native: func(s *stage) request {
				return request{method: "POST", path: "/v1/cluster/members", body: fmt.Sprintf(`{"peer_urls":[%q],"learner":true}`, s.peer())}
			},
			v3: func(s *stage) string { return fmt.Sprintf(`{"peerURLs":[%q],"isLearner":true}`, s.peer()) }, v3Tested: life,
		},
		{
			name: "Cluster/MemberRemove", tested: members, before: (*stage).learner, native: toLearner("DELETE", "", ""),
			v3: ofLearner(`{"ID":"%d"}`), v3Tested: life,
		},
		{
			name: "Cluster/MemberUpdate", tested: "internal/handlers.TestMembersAreAddedUpdatedAndRemoved", before: (*stage).learner, native: toLearner("PUT", "", `{"peer_urls":["http://127.0.0.1:1"]}`),
			v3: ofLearner(`{"ID":"%d","peerURLs":["http://127.0.0.1:2"]}`), v3Tested: life,
		},
		{name: "Cluster/MemberList", tested: "internal/handlers.TestTheClusterIsWhatTheOfficialClientSees", native: sends("GET", "/v1/cluster", ""), v3: says(`{}`), v3Tested: life},
		{
			name: "Cluster/MemberPromote", tested: members, before: (*stage).learner, native: toLearner("POST", "/promote", ""), status: 409, // it is not in step
			v3: ofLearner(`{"ID":"%d"}`), v3Status: 400, v3Tested: life,
		},
		{name: "Maintenance/Alarm", tested: "internal/handlers.TestAlarmsAreListedAndEnded", native: sends("GET", "/v1/cluster/alarms", ""), v3: says(`{}`), v3Tested: life},
		{name: "Maintenance/Status", tested: "internal/handlers.TestTheClusterIsWhatTheOfficialClientSees", native: sends("GET", "/v1/cluster", ""), v3: says(`{}`), v3Tested: life},
		{
			name: "Maintenance/Defragment", v3Tested: users, tested: "internal/handlers.TestDefragmentingGivesSpaceBack", before: (*stage).noLearner, native: sends("POST", "/v1/maintenance/defragment", ""),
			v3: says(`{}`),
		},
		{
			name: "Maintenance/Hash", v3Tested: "internal/compat.TestTheHashOfADatabaseIsTheSame", tested: "internal/handlers.TestHashesAreThoseOfTheOfficialClient", before: (*stage).noLearner, native: sends("GET", "/v1/maintenance/hash?of=database", ""),
			v3: says(`{}`),
		},
		{name: "Maintenance/HashKV", tested: "internal/handlers.TestHashesAreThoseOfTheOfficialClient", native: sends("GET", "/v1/maintenance/hash", ""), v3: says(`{}`), v3Tested: life},
		{name: "Maintenance/Snapshot", v3Tested: "internal/compat.TestASnapshotIsWhole", tested: "internal/handlers.TestASnapshotIsWhatEtcdctlSaves", native: sends("GET", "/v1/maintenance/snapshot", ""), v3: says(`{}`)},
		{
			name: "Maintenance/MoveLeader", tested: "internal/handlers.TestBadMembersAreRefused", before: (*stage).learner, status: 409, // a learner leads nobody
			native: func(s *stage) request {
				return request{method: "POST", path: "/v1/cluster/leader", body: fmt.Sprintf(`{"member":"%x"}`, s.learnerID())}
			},
			v3: ofLearner(`{"targetID":"%d"}`), v3Status: 400, v3Tested: life,
		},
		{
			name: "Maintenance/Downgrade", tested: "internal/handlers.TestADowngradeIsAskedFor", native: sends("POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"3.6"}`),
			v3: says(`{"action":"VALIDATE","version":"3.6"}`), v3Tested: life,
		},
		{
			name: "Auth/AuthEnable", tested: authOnOff, root: true, before: func(s *stage) { s.accounts(); s.auth(false) },
			native: sends("POST", "/v1/auth/enable", ""), v3: says(`{}`), v3Tested: users,
		},
		{
			name: "Auth/AuthDisable", tested: authOnOff, root: true, before: func(s *stage) { s.accounts(); s.auth(true) },
			native: sends("POST", "/v1/auth/disable", ""), v3: says(`{}`), v3Tested: users,
		},
		{name: "Auth/AuthStatus", tested: authOnOff, native: sends("GET", "/v1/auth", ""), v3: says(`{}`), v3Tested: users},
		{
			name: "Auth/Authenticate", tested: authOnOff, before: func(s *stage) { s.accounts(); s.auth(true) },
			native: sends("POST", "/v1/auth/login", `{"name":"root","password":"`+rootsPassword+`"}`),
			v3:     says(`{"name":"root","password":%q}`, rootsPassword), v3Tested: users,
		},
		{
			name: "Auth/UserAdd", tested: userLife, before: func(s *stage) { s.auth(false); s.noUser() }, status: 201,
			native: sends("POST", "/v1/users", `{"name":"alice","password":"secret"}`),
			v3:     says(`{"name":"alice","password":"secret"}`), v3Tested: users,
		},
		{name: "Auth/UserGet", tested: userLife, before: (*stage).user, native: sends("GET", "/v1/users/alice", ""), v3: says(`{"name":"alice"}`), v3Tested: users},
		{name: "Auth/UserList", tested: userLife, native: sends("GET", "/v1/users", ""), v3: says(`{}`), v3Tested: users},
		{name: "Auth/UserDelete", tested: userLife, before: (*stage).user, native: sends("DELETE", "/v1/users/alice", ""), status: 204, v3: says(`{"name":"alice"}`), v3Tested: users},
		{
			name: "Auth/UserChangePassword", tested: userLife, before: (*stage).user, native: sends("PUT", "/v1/users/alice/password", `{"password":"other"}`), status: 204,
			v3: says(`{"name":"alice","password":"secret"}`), v3Tested: users,
		},
		{
			name: "Auth/UserGrantRole", tested: roleLife, before: (*stage).user, native: sends("PUT", "/v1/users/alice/roles/reader", ""), status: 204,
			v3: says(`{"user":"alice","role":"reader"}`), v3Tested: users,
		},
		{
			name: "Auth/UserRevokeRole", tested: roleLife, before: (*stage).grants, native: sends("DELETE", "/v1/users/alice/roles/reader", ""), status: 204,
			v3: says(`{"name":"alice","role":"reader"}`), v3Tested: users,
		},
		{
			name: "Auth/RoleAdd", tested: roleLife, before: (*stage).noRole, native: sends("POST", "/v1/roles", `{"name":"reader"}`), status: 201,
			v3: says(`{"name":"reader"}`), v3Tested: users,
		},
		{name: "Auth/RoleGet", tested: roleLife, before: (*stage).role, native: sends("GET", "/v1/roles/reader", ""), v3: says(`{"role":"reader"}`), v3Tested: users},
		{name: "Auth/RoleList", tested: roleLife, native: sends("GET", "/v1/roles", ""), v3: says(`{}`), v3Tested: users},
		{name: "Auth/RoleDelete", tested: roleLife, before: (*stage).role, native: sends("DELETE", "/v1/roles/reader", ""), status: 204, v3: says(`{"role":"reader"}`), v3Tested: users},
		{
			name: "Auth/RoleGrantPermission", tested: roleLife, before: (*stage).role, status: 204,
			native: sends("PUT", "/v1/roles/reader/permissions", `{"type":"read","key":"k"}`),
			v3:     says(`{"name":"reader","perm":{"permType":"READ","key":%q}}`, b64("k")), v3Tested: users,
		},
		{
			name: "Auth/RoleRevokePermission", tested: roleLife, before: (*stage).grants, native: sends("DELETE", "/v1/roles/reader/permissions?key=k", ""), status: 204,
			v3: says(`{"role":"reader","key":%q}`, b64("k")), v3Tested: users,
		},
		{
			name: "Lock/Lock", tested: mutex, before: (*stage).lease, native: sends("POST", "/v1/locks/l", `{"lease":"7001"}`), status: 201, instead: byKeys,
			v3: says(`{"name":%q,"lease":%d}`, b64("l2"), theLease), v3Tested: life,
		},
		{
			name: "Lock/Unlock", tested: mutex, native: sends("DELETE", "/v1/locks/l?lease=7001", ""), instead: byKeys,
			v3: says(`{"key":%q}`, b64("l2/7001")), v3Tested: life,
		},
		{
			name: "Election/Campaign", tested: elections, before: (*stage).lease, native: sends("POST", "/v1/elections/e", `{"lease":"7001","value":"1"}`), status: 201, instead: byKeys,
			v3: says(`{"name":%q,"value":"","lease":%d}`, b64("e2"), theLease), v3Tested: life,
		},
		{
			name: "Election/Proclaim", tested: elections, before: (*stage).leader, native: sends("PUT", "/v1/elections/e?lease=7001", `{"value":"2"}`), instead: byKeys,
			v3: (*stage).proclamation, v3Tested: life,
		},
		{
			name: "Election/Leader", tested: elections, before: (*stage).leader, native: sends("GET", "/v1/elections/e", ""), instead: byKeys,
			v3: says(`{"name":%q}`, b64("e")), v3Tested: life,
		},
		{
			name: "Election/Observe", v3Tested: "internal/compat.TestStreamsAreTheSame", tested: "internal/stream.TestAnElectionHasABoundedNumberOfCandidates", before: (*stage).leader, native: sends("GET", "/v1/watch?election=e", ""), lines: 1, instead: byKeys,
			v3: says(`{"name":%q}`, b64("e")),
		},
		{
			name: "Election/Resign", tested: elections, before: (*stage).leader, native: sends("DELETE", "/v1/elections/e?lease=7001", ""), instead: byKeys,
			v3: (*stage).resignation, v3Tested: life,
		},
	}
}
