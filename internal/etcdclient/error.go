package etcdclient

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Error is the one error type of the client. It is either what etcd answered (Answered), or why etcd could not be asked.
// When the caller's own context ended the call, errors.Is finds that context's error in it; otherwise it never does, so a
// server that says "canceled" is not mistaken for a caller that left. errors.Is also finds the rpctypes error of the same
// text. An Error is immutable.
type Error struct {
	// Code is the gRPC code that etcd's documentation gives this error; the code that travelled can differ (see GRPCStatus).
	Code codes.Code
	// Name is stable: the name in package rpctypes without its ErrGRPC prefix, or one of the client's own.
	Name string
	// Message is etcd's text, or gRPC's when etcd could not be asked.
	Message string
	// Retryable says that the same request can succeed later without being changed.
	Retryable bool
	// Outcome says what a failed write did; it is empty for a read.
	Outcome problem.Outcome
	// Answered says that etcd said so; otherwise it could not be asked, or did not get to answer.
	Answered bool
	// Method is the RPC, as service/method.
	Method string
	// ConnError is the last connection error, when the call ended for want of a connection.
	ConnError string
	// Limit is the number of bytes that was exceeded, when a size limit was.
	Limit int
	// CompactRevision is where etcd's log begins, when the error is that a revision was compacted and etcd said so.
	CompactRevision int64
	// Revision is the one that was too large, when the error is NameRevisionTooLarge.
	Revision int64

	problem    problem.Code
	detail     string
	hint       string     // the caller's next step, if it is his
	wire       codes.Code // the code that travelled
	retryAfter time.Duration
	cause      error // the context's error
	follow     follow
	lost       bool // the pool found the member silent and took the call away from it
}

// The names of errors that are the client's own.
const (
	NameCanceled         = "Canceled"
	NameDeadlineExceeded = "DeadlineExceeded"
	NameNotConnected     = "NotConnected"
	NameNoEndpoint       = "NoEndpoint"
	NameConnectionLost   = "ConnectionLost"
	NameMemberSilent     = "MemberSilent"
	NameClosed           = "ClientClosed"
	NameRequestTooLarge  = "RequestTooLarge"
	NameAnswerTooLarge   = "AnswerTooLarge"
	NameCorruptAnswer    = "CorruptAnswer"
	NameOutsideNamespace = "OutsideNamespace"
	NameNotSupported     = "NotSupported"
	NameInvalidArgument  = "InvalidArgument"
	NameBusy             = "Busy"
	NameRevisionTooLarge = "RevisionTooLarge"
	NameNotRecorded      = "NotRecorded"
)

// Error gives the method, the text and, when there is one, the last connection error; it is for logs.
func (e *Error) Error() string {
	text := e.Message
	if e.Method != "" {
		text = e.Method + ": " + text
	}
	if e.ConnError != "" {
		text += " (last connection error: " + e.ConnError + ")"
	}
	return text
}

// Kind is the error's Name, for those who count errors by kind.
func (e *Error) Kind() string { return e.Name }

// Unwrap gives the context's error when the caller's context ended the call.
func (e *Error) Unwrap() error { return e.cause }

// Is finds the errors of package rpctypes, in both of their forms, by their text.
func (e *Error) Is(target error) bool {
	return e.Answered && sameText(target, e.Message)
}

// GRPCStatus gives the code and the text as they travelled, for those who pass errors on in gRPC's form.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.wire, e.Message) }

// Problem codes the error for the API. What etcd said is told apart from what kept the client from asking it.
func (e *Error) Problem() *problem.Error {
	p := problem.New(e.problem, "%s", e.detail).Because(e).WithOutcome(e.Outcome).WithRetryAfter(e.retryAfter)
	if e.Answered {
		p.GRPCCode, p.GRPCMessage = uint32(e.wire), e.Message
	}
	if e.hint != "" {
		p = p.WithHint("%s", e.hint)
	}
	if e.Limit > 0 {
		p = p.With("limit", e.Limit)
	}
	if e.CompactRevision > 0 {
		p = p.With("compact_revision", e.CompactRevision)
	}
	if e.Revision > 0 {
		p = p.With("revision", e.Revision)
	}
	return p
}

// ErrCompacted is for errors.Is: the revision is gone from etcd's log.
var ErrCompacted error = rpctypes.ErrCompacted

// ErrLeaseExist is for errors.Is: a lease with that id exists.
var ErrLeaseExist error = rpctypes.ErrLeaseExist

// ErrLeaseNotFound is for errors.Is: the lease does not exist, or not any more.
var ErrLeaseNotFound error = leaseNotFoundError{}

type leaseNotFoundError struct{}

func (leaseNotFoundError) Error() string { return textLeaseNotFound }

// local makes an error of the client's own: etcd was not asked, so a write was not applied.
func local(m *method, name string, grpc codes.Code, code problem.Code, message, detail string) *Error {
	e := &Error{
		Code: grpc, wire: grpc, Name: name, Message: message, Method: m.name,
		problem: code, detail: detail, Retryable: code.Info().Retryable,
	}
	if !m.read {
		e.Outcome = problem.NotApplied
	}
	return e
}

// ended makes the error of a call that the caller's context ended.
func ended(m *method, cause error, sent bool, message, conn string) *Error {
	e := local(m, NameDeadlineExceeded, codes.DeadlineExceeded, problem.DeadlineExceeded, message,
		"the request's time ran out before etcd answered")
	if !sent {
		e.detail = "the request's time ran out before any member of etcd could be asked"
	}
	if cause == context.Canceled { //nolint:errorlint // a context's Err is one of two values, never wrapped
		e = local(m, NameCanceled, codes.Canceled, problem.ClientGone, message, "the caller left before etcd answered")
	}
	e.cause = cause
	if !sent {
		e.ConnError = conn
	} else if !m.read {
		e.Outcome = problem.Unknown
	}
	return e
}

func errClosed(m *method) *Error {
	return local(m, NameClosed, codes.Canceled, problem.Draining, "the client is closed", "the gateway is stopping")
}

func errNotConnected(m *method, conn string) *Error {
	e := local(m, NameNotConnected, codes.Unavailable, problem.Unavailable, "no member could be reached",
		"no member of etcd can be reached")
	e.ConnError, e.retryAfter = conn, time.Second
	return e
}

// errBusy is a call that was not made since as many are under way as may be.
func errBusy(m *method) *Error {
	e := local(m, NameBusy, codes.ResourceExhausted, problem.Overloaded, "too many calls are under way",
		"etcd is slow, and as many requests wait for it as may (--max-calls)")
	e.retryAfter = time.Second
	return e
}

// errNotRecorded is a write that was not made since there would be no record of it.
func errNotRecorded(m *method, cause error) *Error {
	e := local(m, NameNotRecorded, codes.Unavailable, problem.Overloaded, "the audit log cannot be written: "+cause.Error(),
		"the gateway cannot write its audit log, and makes no write that would not be in it")
	e.Outcome, e.retryAfter = problem.NotApplied, time.Second
	return e
}

// errNoWay is a member that cannot be asked since no endpoint of the configuration leads to it.
func errNoWay(m *method, of Member) *Error {
	detail := "none of the gateway's endpoints leads to the member"
	if !of.Started() {
		detail = "the member has not been started yet"
	}
	return local(m, NameNoEndpoint, codes.Unavailable, problem.FailedPrecondition, detail, detail)
}

func errTooLargeToSend(m *method, size, limit int) *Error {
	e := local(m, NameRequestTooLarge, codes.ResourceExhausted, problem.RequestTooLarge,
		"trying to send message larger than max ("+itoa(size)+" vs. "+itoa(limit)+")",
		"the request is larger than the gateway sends to etcd")
	e.Limit = limit
	return e
}

// errCorrupt is an answer that cannot be read: it came, so whatever it answers was done.
func errCorrupt(m *method, cause error) *Error {
	e := local(m, NameCorruptAnswer, codes.Internal, problem.UpstreamCorrupt, "the answer cannot be read: "+cause.Error(),
		"etcd sent an answer that cannot be read")
	if !m.read {
		e.Outcome = problem.Unknown
	}
	return e
}

func errOutside(m *method) *Error {
	e := errCorrupt(m, errForeignKey)
	e.Name, e.detail = NameOutsideNamespace, "etcd answered with a key outside the namespace"
	return e
}

func errArgument(m *method, detail string) *Error {
	return local(m, NameInvalidArgument, codes.InvalidArgument, problem.InvalidArgument, detail, detail)
}
