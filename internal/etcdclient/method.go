package etcdclient

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// class separates traffic by connection, so that a large answer never stands in front of a watch or a small call.
type class uint8

const (
	classUnary class = iota
	classBulk
	classWatch
	classLease
	classes // their number
)

// bounded says that its calls count against MaxCalls.
func (c class) bounded() bool { return c == classUnary || c == classBulk }

func (c class) String() string { return [...]string{"unary", "bulk", "watch", "lease"}[c] }

// method is what the client must know of an RPC.
type method struct {
	full string
	// name is the metric's label: service and method, or "other".
	name  string
	class class
	// read says that sending it twice is the same as sending it once, so that a repeat is always safe.
	read bool
	// leader says that the leader answers it with a hop less.
	leader bool
	// since is the release that brought it, what in words; unknown where all that the gateway serves have it.
	since release
	what  string
	// unseen says that a release which lacks it does not say so, but takes the request for another one.
	unseen bool
}

const (
	writes = false
	reads  = true
)

func newMethod(full string, c class, read, leader bool) *method {
	name := strings.TrimPrefix(full, "/")
	name = name[strings.LastIndexByte(name[:strings.IndexByte(name, '/')], '.')+1:]
	return &method{full: full, name: name, class: c, read: read, leader: leader}
}

// from notes the release that brought the method, or what is special about it.
func (m *method) from(first release) *method {
	m.since, m.what = first, "have this call"
	return m
}

// unseenBefore is from for what older releases do not see.
func (m *method) unseenBefore(first release, what string) *method {
	m.since, m.what, m.unseen = first, what, true
	return m
}

// The methods that this package calls by itself.
var (
	methodRange        = newMethod(pb.KV_Range_FullMethodName, classUnary, reads, true)
	methodRangeLocal   = newMethod(pb.KV_Range_FullMethodName, classUnary, reads, false)
	methodRangeBulk    = newMethod(pb.KV_Range_FullMethodName, classBulk, reads, true)
	methodRangeStream  = newMethod(pb.KV_RangeStream_FullMethodName, classBulk, reads, true).from(hasRangeStream)
	methodPut          = newMethod(pb.KV_Put_FullMethodName, classUnary, writes, true)
	methodDelete       = newMethod(pb.KV_DeleteRange_FullMethodName, classUnary, writes, true)
	methodTxn          = newMethod(pb.KV_Txn_FullMethodName, classUnary, writes, true)
	methodTxnRead      = newMethod(pb.KV_Txn_FullMethodName, classUnary, reads, true)
	methodAlarm        = newMethod(pb.Maintenance_Alarm_FullMethodName, classUnary, writes, true)
	methodAlarmList    = newMethod(pb.Maintenance_Alarm_FullMethodName, classUnary, reads, false)
	methodAuthn        = newMethod(pb.Auth_Authenticate_FullMethodName, classUnary, reads, true)
	methodStatus       = newMethod(pb.Maintenance_Status_FullMethodName, classUnary, reads, false)
	methodWatch        = newMethod(pb.Watch_Watch_FullMethodName, classWatch, reads, false)
	methodRenew        = newMethod(pb.Lease_LeaseKeepAlive_FullMethodName, classLease, reads, true)
	methodMoveLeader   = newMethod(pb.Maintenance_MoveLeader_FullMethodName, classUnary, writes, true)
	methodDefragment   = newMethod(pb.Maintenance_Defragment_FullMethodName, classBulk, writes, false)
	methodHash         = newMethod(pb.Maintenance_Hash_FullMethodName, classBulk, reads, false)
	methodHashKV       = newMethod(pb.Maintenance_HashKV_FullMethodName, classBulk, reads, false)
	methodSnapshot     = newMethod(pb.Maintenance_Snapshot_FullMethodName, classBulk, reads, false)
	methodMembers      = newMethod(pb.Cluster_MemberList_FullMethodName, classUnary, reads, true).from(hasQuorumMembers)
	methodMembersHere  = newMethod(pb.Cluster_MemberList_FullMethodName, classUnary, reads, false)
	methodUserAdd      = newMethod(pb.Auth_UserAdd_FullMethodName, classUnary, writes, true)
	methodUserHash     = newMethod(pb.Auth_UserAdd_FullMethodName, classUnary, writes, true).unseenBefore(hasHashedPasswords, "take passwords by their hash")
	methodPassword     = newMethod(pb.Auth_UserChangePassword_FullMethodName, classUnary, writes, true)
	methodPasswordHash = newMethod(pb.Auth_UserChangePassword_FullMethodName, classUnary, writes, true).unseenBefore(hasHashedPasswords, "take passwords by their hash")
	methodOther        = &method{name: "other"}
)

// methods finds what is known of an RPC by its full name. One that is not here is treated as a write.
var methods = func() map[string]*method {
	known := []*method{
		methodRange, methodRangeStream, methodPut, methodDelete, methodTxn, methodAlarm, methodAuthn, methodStatus, methodWatch, methodRenew,
		methodMembers, methodUserAdd, methodPassword, methodMoveLeader, methodDefragment, methodHash, methodHashKV, methodSnapshot,
		newMethod(pb.KV_Compact_FullMethodName, classUnary, writes, true),
		newMethod(pb.Lease_LeaseGrant_FullMethodName, classUnary, writes, true),
		newMethod(pb.Lease_LeaseRevoke_FullMethodName, classUnary, writes, true),
		newMethod(pb.Lease_LeaseTimeToLive_FullMethodName, classUnary, reads, true),
		newMethod(pb.Lease_LeaseLeases_FullMethodName, classUnary, reads, true),
		newMethod(pb.Cluster_MemberAdd_FullMethodName, classUnary, writes, true),
		newMethod(pb.Cluster_MemberRemove_FullMethodName, classUnary, writes, true),
		newMethod(pb.Cluster_MemberUpdate_FullMethodName, classUnary, writes, true),
		newMethod(pb.Cluster_MemberPromote_FullMethodName, classUnary, writes, true),
		newMethod(pb.Maintenance_Downgrade_FullMethodName, classUnary, writes, true).from(hasDowngrade),
		newMethod(pb.Auth_AuthEnable_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_AuthDisable_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_AuthStatus_FullMethodName, classUnary, reads, true).from(hasAuthStatus),
		newMethod(pb.Auth_UserGet_FullMethodName, classUnary, reads, true),
		newMethod(pb.Auth_UserList_FullMethodName, classUnary, reads, true),
		newMethod(pb.Auth_UserDelete_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_UserGrantRole_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_UserRevokeRole_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_RoleAdd_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_RoleGet_FullMethodName, classUnary, reads, true),
		newMethod(pb.Auth_RoleList_FullMethodName, classUnary, reads, true),
		newMethod(pb.Auth_RoleDelete_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_RoleGrantPermission_FullMethodName, classUnary, writes, true),
		newMethod(pb.Auth_RoleRevokePermission_FullMethodName, classUnary, writes, true),
		// A waiting lock or campaign is a long-lived call: it belongs with the watches.
		newMethod("/v3lockpb.Lock/Lock", classWatch, writes, true),
		newMethod("/v3lockpb.Lock/Unlock", classUnary, writes, true),
		newMethod("/v3electionpb.Election/Campaign", classWatch, writes, true),
		newMethod("/v3electionpb.Election/Proclaim", classUnary, writes, true),
		newMethod("/v3electionpb.Election/Leader", classUnary, reads, true),
		newMethod("/v3electionpb.Election/Observe", classWatch, reads, false),
		newMethod("/v3electionpb.Election/Resign", classUnary, writes, true),
		newMethod(healthpb.Health_Check_FullMethodName, classUnary, reads, false),
		newMethod(healthpb.Health_Watch_FullMethodName, classWatch, reads, false),
	}
	m := make(map[string]*method, len(known))
	for _, k := range known {
		m[k.full] = k
	}
	return m
}()

// lookup gives what is known of the RPC, judging by the request where one RPC both reads and writes.
func lookup(full string, request any) *method {
	m := methods[full]
	switch m {
	case nil:
		return &method{full: full, name: methodOther.name}
	case methodTxn:
		if t, ok := request.(*pb.TxnRequest); ok && messageReadOnly(t) {
			return methodTxnRead
		}
	case methodRange:
		if r, ok := request.(*pb.RangeRequest); ok && bulky(r.GetRangeEnd(), r.GetLimit(), r.GetCountOnly()) {
			return methodRangeBulk
		}
	case methodMembers:
		if r, ok := request.(*pb.MemberListRequest); ok && !r.GetLinearizable() {
			return methodMembersHere
		}
	case methodUserAdd:
		if r, ok := request.(*pb.AuthUserAddRequest); ok && r.GetHashedPassword() != "" {
			return methodUserHash
		}
	case methodPassword:
		if r, ok := request.(*pb.AuthUserChangePasswordRequest); ok && r.GetHashedPassword() != "" {
			return methodPasswordHash
		}
	case methodAlarm:
		if a, ok := request.(*pb.AlarmRequest); ok && a.GetAction() == pb.AlarmRequest_GET {
			return methodAlarmList
		}
	}
	return m
}

// bulky says that the range can be large.
func bulky(end []byte, limit int64, countOnly bool) bool {
	return len(end) > 0 && !countOnly && (limit == 0 || limit > 100)
}

func messageReadOnly(t *pb.TxnRequest) bool {
	for _, branch := range [][]*pb.RequestOp{t.GetSuccess(), t.GetFailure()} {
		for _, op := range branch {
			switch r := op.GetRequest().(type) {
			case *pb.RequestOp_RequestRange:
			case *pb.RequestOp_RequestTxn:
				if !messageReadOnly(r.RequestTxn) {
					return false
				}
			default:
				return false
			}
		}
	}
	return true
}
