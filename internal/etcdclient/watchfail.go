package etcdclient

import (
	"strconv"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// maxRefusals is how many tokens in a row a watch lets etcd refuse: a new one may not have reached every member yet.
const maxRefusals = 5

// refusal says that an error ends a watch or a keepalive rather than interrupting it: etcd itself refused, and would
// again. What something in front of it says, and what etcd does not explain, may be over in a moment.
func (c *Client) refusal(e *Error) bool {
	if e.Name == NameClosed {
		return true
	}
	if _, known := knownByText[e.Message]; !known || !e.Answered {
		return false
	}
	if e.follow == followRenew {
		return !c.identity.renewable()
	}
	switch e.problem {
	case problem.Compacted, problem.PermissionDenied, problem.InvalidArgument, problem.Unauthenticated, problem.AuthExpired:
		return true
	default:
		return false
	}
}

// cancelReason is why etcd ended a watch; from is the release that did.
func cancelReason(r *wire.WatchResponse, from release) *Error {
	if r.CompactRevision == 0 {
		return FromReason(r.CancelReason)
	}
	if !from.keepsCompacted() {
		return errCompacted(r.CompactRevision + 1)
	}
	return errCompacted(r.CompactRevision)
}

// errCompacted is a watch whose start is gone; begins is the first revision that there is all of.
func errCompacted(begins int64) *Error {
	e := FromReason(rpctypes.ErrCompacted.Error())
	e.CompactRevision = begins
	return e
}

func errRevisionTooLarge(revision int64, limit int) *Error {
	e := local(methodWatch, NameRevisionTooLarge, codes.ResourceExhausted, problem.RevisionTooLarge,
		"revision "+strconv.FormatInt(revision, 10)+" is larger than max ("+itoa(limit)+")",
		"one revision holds more bytes than the gateway takes")
	e.Revision, e.Limit = revision, limit
	return e
}

// errUncertain is for what only progress can tell the end of.
func errUncertain() *Error {
	return local(methodWatch, NameNotSupported, codes.Unimplemented, problem.NotSupported, "the member's progress cannot be trusted",
		"this needs etcd 3.4.31, 3.5.13 or later: those before may report progress ahead of the events")
}

// The reasons for which watches are resumed; the metric's closed set.
const (
	resumeToken        = "token"
	resumeNoLeader     = "no_leader"
	resumeSilent       = "member_silent"
	resumeNotConnected = "not_connected"
	resumeConnection   = "connection_lost"
	resumeCorrupt      = "corrupt"
	resumeServer       = "server" // etcd, or something in front of it, ended the stream
)

func resumeReason(e *Error) string {
	switch {
	case e.follow == followRenew:
		return resumeToken
	case e.Name == "NoLeader":
		return resumeNoLeader
	case e.Name == NameMemberSilent:
		return resumeSilent
	case e.Name == NameNotConnected:
		return resumeNotConnected
	case e.Name == NameConnectionLost:
		return resumeConnection
	case e.Name == NameCorruptAnswer:
		return resumeCorrupt
	default:
		return resumeServer
	}
}
