package etcdclient

import (
	"context"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// This is the only file that knows etcd's errors. They are told apart by text first and code second, because etcd itself
// sends some of them with the code Unknown (too many requests, and everything from the lock and election services).

// follow is what the client does about an error besides reporting it.
type follow uint8

const (
	// followNothing: the error is the caller's.
	followNothing follow = iota
	// followRenew: the token was refused before anything was done: renew it once and repeat once.
	followRenew
	// followElsewhere: the member refused before anything was done, another one can do it.
	followElsewhere
	// followAside: the member cannot serve: set it aside.
	followAside
	// followLeader: the leader moved.
	followLeader
)

// known is one of etcd's errors.
type known struct {
	text    string
	name    string
	code    codes.Code
	problem problem.Code
	outcome problem.Outcome
	detail  string
	follow  follow
}

// The errors for a token that etcd does not know, or not any more, and for one that is older than its users and roles are.
const (
	nameInvalidAuthToken = "InvalidAuthToken"
	nameAuthOldRevision  = "AuthOldRevision"
)

const (
	notApplied = problem.NotApplied
	unknown    = problem.Unknown
)

// entry makes a known error from its form in package rpctypes.
func entry(err error, name string, code problem.Code, outcome problem.Outcome, detail string, f ...follow) known {
	s := status.Convert(err)
	k := known{
		text: s.Message(), code: s.Code(), name: name, problem: code, outcome: outcome, detail: detail,
	}
	if len(f) > 0 {
		k.follow = f[0]
	}
	return k
}

// knownErrors is every error of package rpctypes, in its order, and then the texts that etcd sends without having a
// constant for them. The outcomes follow one rule: not_applied where etcd certainly refused before doing anything.
var knownErrors = []known{
	entry(rpctypes.ErrGRPCEmptyKey, "EmptyKey", problem.InvalidArgument, notApplied, "a key is empty; etcd has no empty keys"),
	entry(rpctypes.ErrGRPCKeyNotFound, "KeyNotFound", problem.KeyNotFound, notApplied, "ignoring the value or the lease demands that the key exists, and it does not"),
	entry(rpctypes.ErrGRPCValueProvided, "ValueProvided", problem.InvalidArgument, notApplied, "a value was given although the present one is to be kept"),
	entry(rpctypes.ErrGRPCLeaseProvided, "LeaseProvided", problem.InvalidArgument, notApplied, "a lease was given although the present one is to be kept"),
	entry(rpctypes.ErrGRPCTooManyOps, "TooManyOps", problem.TooManyOperations, notApplied, "the transaction has more operations than etcd allows"),
	entry(rpctypes.ErrGRPCDuplicateKey, "DuplicateKey", problem.DuplicateKey, notApplied, "the transaction writes one key more than once"),
	entry(rpctypes.ErrGRPCInvalidClientAPIVersion, "InvalidClientAPIVersion", problem.NotSupported, notApplied, "etcd does not accept the client's API version"),
	entry(rpctypes.ErrGRPCInvalidSortOption, "InvalidSortOption", problem.InvalidArgument, notApplied, "the order or what to order by is not one that etcd knows"),
	entry(rpctypes.ErrGRPCCompacted, "Compacted", problem.Compacted, notApplied, "the revision has been compacted"),
	entry(rpctypes.ErrGRPCFutureRev, "FutureRev", problem.FutureRevision, notApplied, "the store has not reached the revision"),
	entry(rpctypes.ErrGRPCNoSpace, "NoSpace", problem.NoSpace, unknown, "etcd's database has reached its space quota"),
	entry(rpctypes.ErrGRPCLeaseNotFound, "LeaseNotFound", problem.LeaseNotFound, notApplied, "the lease does not exist, or not any more"),
	entry(rpctypes.ErrGRPCLeaseExist, "LeaseExist", problem.AlreadyExists, notApplied, "a lease with this id exists"),
	entry(rpctypes.ErrGRPCLeaseTTLTooLarge, "LeaseTTLTooLarge", problem.InvalidArgument, notApplied, "the lease's time is longer than etcd allows (9,000,000,000 s)"),
	entry(rpctypes.ErrGRPCWatchCanceled, "WatchCanceled", problem.Unavailable, unknown, "etcd ended the watch"),
	entry(rpctypes.ErrGRPCMemberExist, "MemberExist", problem.AlreadyExists, notApplied, "a member with this id exists"),
	entry(rpctypes.ErrGRPCPeerURLExist, "PeerURLExist", problem.AlreadyExists, notApplied, "a member with this peer URL exists"),
	entry(rpctypes.ErrGRPCMemberNotEnoughStarted, "MemberNotEnoughStarted", problem.FailedPrecondition, notApplied, "too few members are started for the cluster to be changed safely"),
	entry(rpctypes.ErrGRPCMemberBadURLs, "MemberBadURLs", problem.InvalidArgument, notApplied, "the member's URLs are not valid"),
	entry(rpctypes.ErrGRPCMemberNotFound, "MemberNotFound", problem.MemberNotFound, notApplied, "the cluster has no such member"),
	entry(rpctypes.ErrGRPCMemberNotLearner, "MemberNotLearner", problem.FailedPrecondition, notApplied, "only a learner can be promoted"),
	entry(rpctypes.ErrGRPCLearnerNotReady, "LearnerNotReady", problem.FailedPrecondition, notApplied, "the learner is not yet in step with the leader"),
	entry(rpctypes.ErrGRPCTooManyLearners, "TooManyLearners", problem.FailedPrecondition, notApplied, "the cluster has as many learners as it may have"),
	entry(rpctypes.ErrGRPCClusterIDMismatch, "ClusterIDMismatch", problem.FailedPrecondition, notApplied, "the cluster's id is another one"),
	entry(rpctypes.ErrGRPCRequestTooLarge, "RequestTooLarge", problem.RequestTooLarge, notApplied, "the request is larger than etcd accepts"),
	entry(rpctypes.ErrGRPCRequestTooManyRequests, "RequestTooManyRequests", problem.Overloaded, notApplied, "etcd takes no new requests until it has applied those that wait"),
	entry(rpctypes.ErrGRPCRootUserNotExist, "RootUserNotExist", problem.FailedPrecondition, notApplied, "etcd's authentication needs a user named root"),
	entry(rpctypes.ErrGRPCRootRoleNotExist, "RootRoleNotExist", problem.FailedPrecondition, notApplied, "etcd's authentication needs a user named root that has the role root"),
	entry(rpctypes.ErrGRPCUserAlreadyExist, "UserAlreadyExist", problem.AlreadyExists, notApplied, "a user of this name exists"),
	entry(rpctypes.ErrGRPCUserEmpty, "UserEmpty", problem.Unauthenticated, notApplied, "etcd demands a user, and none was named", followRenew),
	entry(rpctypes.ErrGRPCUserNotFound, "UserNotFound", problem.UserNotFound, notApplied, "etcd has no user of this name"),
	entry(rpctypes.ErrGRPCRoleAlreadyExist, "RoleAlreadyExist", problem.AlreadyExists, notApplied, "a role of this name exists"),
	entry(rpctypes.ErrGRPCRoleNotFound, "RoleNotFound", problem.RoleNotFound, notApplied, "etcd has no role of this name"),
	entry(rpctypes.ErrGRPCRoleEmpty, "RoleEmpty", problem.InvalidArgument, notApplied, "a role needs a name"),
	entry(rpctypes.ErrGRPCAuthFailed, "AuthFailed", problem.Unauthenticated, notApplied, "etcd does not know this user, or the password is another one"),
	entry(rpctypes.ErrGRPCPermissionNotGiven, "PermissionNotGiven", problem.InvalidArgument, notApplied, "a permission is needed"),
	entry(rpctypes.ErrGRPCPermissionDenied, "PermissionDenied", problem.PermissionDenied, notApplied, "etcd does not allow this to the user"),
	entry(rpctypes.ErrGRPCRoleNotGranted, "RoleNotGranted", problem.RoleNotFound, notApplied, "the user does not have this role"),
	entry(rpctypes.ErrGRPCPermissionNotGranted, "PermissionNotGranted", problem.PermissionNotFound, notApplied, "the role has no permission for exactly this range"),
	entry(rpctypes.ErrGRPCAuthNotEnabled, "AuthNotEnabled", problem.AuthNotEnabled, notApplied, "etcd's authentication is not enabled"),
	entry(rpctypes.ErrGRPCInvalidAuthToken, nameInvalidAuthToken, problem.AuthExpired, notApplied, "etcd does not accept the token, or not any more", followRenew),
	entry(rpctypes.ErrGRPCInvalidAuthMgmt, "InvalidAuthMgmt", problem.FailedPrecondition, notApplied, "etcd does not allow this change of users or roles"),
	entry(rpctypes.ErrGRPCAuthOldRevision, nameAuthOldRevision, problem.Unavailable, notApplied, "etcd's users and roles changed while the request was under way", followRenew),
	entry(rpctypes.ErrGRPCNoLeader, "NoLeader", problem.Unavailable, notApplied, "the member of etcd has no leader", followAside),
	entry(rpctypes.ErrGRPCNotLeader, "NotLeader", problem.Unavailable, unknown, "the member of etcd is not the leader", followLeader),
	entry(rpctypes.ErrGRPCLeaderChanged, "LeaderChanged", problem.Unavailable, unknown, "etcd's leader changed while the request was under way", followLeader),
	entry(rpctypes.ErrGRPCNotCapable, "NotCapable", problem.NotSupported, notApplied, "the cluster's version does not have this"),
	entry(rpctypes.ErrGRPCStopped, "Stopped", problem.Unavailable, unknown, "the member of etcd stopped", followAside),
	entry(rpctypes.ErrGRPCTimeout, "Timeout", problem.Unavailable, unknown, "etcd did not reach agreement in time", followAside),
	entry(rpctypes.ErrGRPCTimeoutDueToLeaderFail, "TimeoutDueToLeaderFail", problem.Unavailable, unknown, "etcd did not reach agreement in time; its leader seems to have failed", followAside),
	entry(rpctypes.ErrGRPCTimeoutDueToConnectionLost, "TimeoutDueToConnectionLost", problem.Unavailable, unknown, "etcd did not reach agreement in time; its members seem to have lost each other", followAside),
	entry(rpctypes.ErrGRPCTimeoutWaitAppliedIndex, "TimeoutWaitAppliedIndex", problem.Unavailable, unknown, "the member of etcd is too far behind to answer in time", followAside),
	entry(rpctypes.ErrGRPCUnhealthy, "Unhealthy", problem.Unavailable, notApplied, "the cluster is not healthy enough for this: its members must have been connected for five seconds"),
	entry(rpctypes.ErrGRPCCorrupt, "Corrupt", problem.UpstreamCorrupt, unknown, "a member of etcd has raised the corrupt alarm"),
	entry(rpctypes.ErrGRPCNotSupportedForLearner, "NotSupportedForLearner", problem.Unavailable, notApplied, "the member of etcd is a learner, which does not serve this", followElsewhere),
	entry(rpctypes.ErrGRPCBadLeaderTransferee, "BadLeaderTransferee", problem.FailedPrecondition, notApplied, "this member cannot become the leader"),
	entry(rpctypes.ErrGRPCWrongDowngradeVersionFormat, "WrongDowngradeVersionFormat", problem.InvalidArgument, notApplied, "the version to downgrade to is not of the form 3.6"),
	entry(rpctypes.ErrGRPCInvalidDowngradeTargetVersion, "InvalidDowngradeTargetVersion", problem.InvalidArgument, notApplied, "the cluster can only be downgraded by one minor version"),
	entry(rpctypes.ErrGRPCClusterVersionUnavailable, "ClusterVersionUnavailable", problem.Unavailable, notApplied, "the cluster has not yet agreed on its version"),
	entry(rpctypes.ErrGRPCDowngradeInProcess, "DowngradeInProcess", problem.FailedPrecondition, notApplied, "the cluster is being downgraded already"),
	entry(rpctypes.ErrGRPCNoInflightDowngrade, "NoInflightDowngrade", problem.FailedPrecondition, notApplied, "the cluster is not being downgraded"),
	// A server says these of its own context. The caller's may be alive, so they are not the caller's errors.
	entry(rpctypes.ErrGRPCCanceled, "ServerCanceled", problem.Unavailable, unknown, "etcd gave the request up"),
	entry(rpctypes.ErrGRPCDeadlineExceeded, "ServerDeadlineExceeded", problem.Unavailable, unknown, "etcd's own time for the request ran out"),

	{text: "mvcc: duplicate watch ID provided on the WatchStream", name: "DuplicateWatchID", code: codes.AlreadyExists, problem: problem.DuplicateID, outcome: notApplied, detail: "the watch id is in use on this stream"},
	{text: "mvcc: watcher range is empty", name: "EmptyRange", code: codes.InvalidArgument, problem: problem.InvalidArgument, outcome: notApplied, detail: "the range to watch is empty: its end does not come after its key"},
	{text: `"leader" field must be provided`, name: "LeaderNotProvided", code: codes.InvalidArgument, problem: problem.InvalidArgument, outcome: notApplied, detail: "the leader's key is needed"},
	{text: "election: no leader", name: "ElectionNoLeader", code: codes.NotFound, problem: problem.FailedPrecondition, outcome: notApplied, detail: "the election has no leader"},
	{text: "election: not leader", name: "ElectionNotLeader", code: codes.FailedPrecondition, problem: problem.FailedPrecondition, outcome: notApplied, detail: "the caller is not the election's leader"},
	{text: "not a primary lessor", name: "NotPrimaryLessor", code: codes.Unavailable, problem: problem.Unavailable, outcome: unknown, detail: "the lease's keeper moved with the leader", follow: followLeader},
	{text: "etcdserver: request timed out, leader transfer took too long", name: "TimeoutLeaderTransfer", code: codes.Unavailable, problem: problem.Unavailable, outcome: unknown, detail: "the leadership did not move in time"},
	{text: "raft: stopped", name: "RaftStopped", code: codes.Unavailable, problem: problem.Unavailable, outcome: unknown, detail: "the member of etcd stopped", follow: followAside},
	{text: "raft proposal dropped", name: "ProposalDropped", code: codes.Unavailable, problem: problem.Unavailable, outcome: unknown, detail: "etcd has no leader that would take the write", follow: followAside},
}

var knownByText = func() map[string]*known {
	m := make(map[string]*known, len(knownErrors))
	for i := range knownErrors {
		m[knownErrors[i].text] = &knownErrors[i]
	}
	return m
}()

var textLeaseNotFound = status.Convert(rpctypes.ErrGRPCLeaseNotFound).Message()

// contextStatus gives the end of a context in a server its code: etcd 3.4 sends it as Unknown.
func contextStatus(s *status.Status) *status.Status {
	if s.Code() != codes.Unknown {
		return s
	}
	switch s.Message() {
	case context.DeadlineExceeded.Error():
		return status.New(codes.DeadlineExceeded, s.Message())
	case context.Canceled.Error():
		return status.New(codes.Canceled, s.Message())
	default:
		return s
	}
}

// byCode is for texts that are not known.
func byCode(code codes.Code) known {
	k := known{code: code, outcome: unknown, problem: problem.Internal, detail: "etcd reports a fault that the gateway does not know"}
	switch code {
	case codes.InvalidArgument:
		k.problem, k.outcome, k.detail = problem.InvalidArgument, notApplied, "etcd does not accept an argument"
	case codes.PermissionDenied:
		k.problem, k.outcome, k.detail = problem.PermissionDenied, notApplied, "etcd does not allow this"
	case codes.Unauthenticated:
		k.problem, k.detail = problem.Unauthenticated, "etcd does not accept the credentials"
	case codes.Unimplemented:
		k.problem, k.outcome, k.detail = problem.NotSupported, notApplied, "the etcd behind the gateway does not have this call"
	case codes.FailedPrecondition, codes.NotFound, codes.OutOfRange, codes.Aborted, codes.AlreadyExists:
		k.problem, k.detail = problem.FailedPrecondition, "etcd is not in a state for this"
	case codes.Canceled:
		k.problem, k.detail = problem.Unavailable, "etcd, or something in front of it, gave the request up"
	case codes.DeadlineExceeded:
		k.problem, k.detail = problem.Unavailable, "etcd's own time for the request ran out"
	case codes.Unavailable:
		k.problem, k.detail = problem.Unavailable, "etcd cannot be reached, or the connection to it was lost"
	case codes.ResourceExhausted:
		k.problem, k.detail = problem.Overloaded, "etcd is at a limit"
	case codes.DataLoss:
		k.problem, k.detail = problem.UpstreamCorrupt, "etcd reports corrupt data"
	default:
	}
	k.name = code.String()
	return k
}

// unwrapReason undoes the form that a status takes inside a text, "rpc error: code = X desc = Y", which is how a watch's
// cancel_reason carries it.
func unwrapReason(text string) (string, codes.Code) {
	rest, ok := strings.CutPrefix(text, "rpc error: code = ")
	if !ok {
		return text, codes.Unknown
	}
	name, desc, ok := strings.Cut(rest, " desc = ")
	if !ok {
		return text, codes.Unknown
	}
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return desc, c
		}
	}
	return desc, codes.Unknown
}

// FromReason gives the typed error for a text in which etcd explains itself outside a status: the cancel_reason of a
// watch. It reads the bare text and the form "rpc error: code = X desc = Y".
func FromReason(reason string) *Error {
	text, code := unwrapReason(reason)
	k := knownByText[text]
	if k == nil {
		other := byCode(code)
		k = &other
		if code == codes.Unknown {
			k.problem, k.detail = problem.Unavailable, "etcd ended the watch"
		}
	}
	e := answered(&method{name: "Watch/Watch", read: true}, k, code, text)
	return e
}

// answered makes the error that etcd gave.
func answered(m *method, k *known, wire codes.Code, text string) *Error {
	e := &Error{
		Code: k.code, Name: k.name, Message: text, Method: m.name, Answered: true,
		problem: k.problem, detail: k.detail, wire: wire, follow: k.follow,
		Retryable: k.problem.Info().Retryable,
	}
	if !m.read {
		e.Outcome = k.outcome
	}
	if e.Retryable && k.problem != problem.FutureRevision {
		e.retryAfter = time.Second
	}
	return e
}

// fromStatus codes a failed attempt whose caller is still there. sent says that the request left, replied that a status
// came back from the other side, size is that of the encoded request.
func fromStatus(m *method, err error, sent, replied bool, size int) *Error {
	s := status.Convert(err)
	text, code := s.Message(), s.Code()
	if inner, c := unwrapReason(text); c != codes.Unknown {
		text, code = inner, c
	}
	if k := knownByText[text]; k != nil {
		return answered(m, k, code, text)
	}
	if limit, ok := sizeLimit(text); ok {
		return fromSizeLimit(m, text, limit, sent, replied, size)
	}
	k := byCode(code)
	e := answered(m, &k, code, text)
	e.Answered = replied
	switch {
	case !replied && sent:
		e.Name, e.problem, e.Retryable, e.retryAfter = NameConnectionLost, problem.Unavailable, true, time.Second
		e.detail = "the connection to etcd was lost before it answered"
		e.Code = codes.Unavailable
		if !m.read {
			e.Outcome = unknown
		}
	case !sent:
		e.Name, e.problem, e.Retryable, e.retryAfter = NameNotConnected, problem.Unavailable, true, time.Second
		e.detail = "no member of etcd can be reached"
		e.ConnError = text
		if !m.read {
			e.Outcome = notApplied
		}
	}
	return e
}

// fromSizeLimit reads gRPC's one text for two things: a request that the other side refused, and an answer that this side
// refused, to a write that was applied. Only our own size tells them apart.
func fromSizeLimit(m *method, text string, limit int, sent, replied bool, size int) *Error {
	k := known{
		name: NameAnswerTooLarge, code: codes.ResourceExhausted, problem: problem.ResultTooLarge, outcome: unknown,
		detail: "etcd's answer is larger than the gateway takes",
	}
	if size > limit || !sent {
		k.name, k.problem, k.outcome = NameRequestTooLarge, problem.RequestTooLarge, notApplied
		k.detail = "the request is larger than etcd accepts"
	}
	e := answered(m, &k, codes.ResourceExhausted, text)
	e.Answered, e.Limit, e.retryAfter = replied, limit, 0
	return e
}

// sizeLimit reads the limit B out of gRPC's "... message larger than max (A vs. B)".
func sizeLimit(text string) (int, bool) {
	_, rest, ok := strings.Cut(text, "message larger than max (")
	if !ok {
		return 0, false
	}
	_, rest, ok = strings.Cut(rest, " vs. ")
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ")")
	n, err := strconv.Atoi(number)
	return n, err == nil
}

// sameText says that target is etcd's error of that text, in one of the forms of package rpctypes.
func sameText(target error, text string) bool {
	switch t := target.(type) { //nolint:errorlint // errors.Is unwraps the chain; this compares one link
	case rpctypes.EtcdError:
		return t.Error() == text
	case leaseNotFoundError:
		return text == textLeaseNotFound
	case *Error:
		return false
	case interface{ GRPCStatus() *status.Status }:
		return t.GRPCStatus().Message() == text
	}
	return false
}

func itoa(n int) string { return strconv.Itoa(n) }

// isEtcdText says that etcd itself wrote the text of an Unimplemented, rather than gRPC, which has no such method.
func isEtcdText(text string) bool { return !strings.HasPrefix(text, "unknown ") }

// errEndedEarly is a stream that ended well before it said what it was asked.
var errEndedEarly = status.Error(codes.Unavailable, "the stream ended without an answer")

var textEmptyKey = status.Convert(rpctypes.ErrGRPCEmptyKey).Message()
