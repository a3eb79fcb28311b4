// Package problem says what can go wrong: a closed set of codes, each with its HTTP status, WebSocket close code, title,
// retryability and default outcome, and one error type that carries a code through the program to the one place that
// writes it, as application/problem+json (RFC 9457).
package problem

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Outcome says what a failed write did to the store.
type Outcome string

// The outcomes of a failed write. The zero value says nothing: the request was not a write, or nobody has judged yet.
const (
	// NotApplied means the write certainly did not happen: it is safe to send again.
	NotApplied Outcome = "not_applied"
	// Unknown means the write may or may not have happened: look before sending it again.
	Unknown Outcome = "unknown"
)

// Field is one fault at one place of the input. Exactly one of Pointer and Parameter is set.
type Field struct {
	// Pointer is the JSON Pointer (RFC 6901) of the member at fault; the empty pointer is the whole body and is written as "".
	Pointer string
	// Parameter is the name of the query, path or header parameter at fault.
	Parameter string
	// Code is the machine-readable kind of the fault.
	Code Code
	// Detail is the human sentence: what is wrong and what would be right.
	Detail string
}

// Error is the one error type of the gateway: a coded problem with a private cause. The zero value is not useful; make
// one with New. An Error is immutable once it has been returned; the With methods are for building it.
type Error struct {
	// Code is the stable name of what went wrong; it decides status, title, close code and whether a retry can help.
	Code Code
	// Detail is for people: what happened here and what would be right. Never a value, token or foreign text.
	Detail string
	// Hint is an optional next step.
	Hint string
	// Outcome of a failed write; empty means the default of the code (see Code.Info).
	Outcome Outcome
	// RetryAfter is how long to wait before sending again; zero means unknown.
	RetryAfter time.Duration
	// GRPCCode and GRPCMessage are what etcd itself said (the numeric gRPC code and etcd's text), when it said something.
	GRPCCode    uint32
	GRPCMessage string
	// Fields are the faults of the input, in the order they were found.
	Fields []Field
	// Extra holds the extension members of Extensions, by JSON name; a value must be a type that encoding/json writes.
	Extra map[string]any

	cause error
}

// New makes an error of the given code; detail is formatted as by fmt.Sprintf.
func New(code Code, format string, args ...any) *Error {
	if len(args) == 0 {
		return &Error{Code: code, Detail: format}
	}
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Error gives the code, the detail and the private cause; it is for logs, never for callers.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Detail
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.cause }

// Problem lets *Error satisfy Coder.
func (e *Error) Problem() *Error { return e }

// Because keeps the cause for the log and for errors.Is; callers of the API never see it.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// WithHint adds the next step to take.
func (e *Error) WithHint(format string, args ...any) *Error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	e.Hint = format
	return e
}

// WithOutcome states what the failed write did.
func (e *Error) WithOutcome(o Outcome) *Error {
	e.Outcome = o
	return e
}

// WithRetryAfter states how long to wait before sending again.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// With sets the extension member of that JSON name (one of the names that the contract's Problem schema lists).
func (e *Error) With(name string, value any) *Error {
	if e.Extra == nil {
		e.Extra = make(map[string]any, 1)
	}
	e.Extra[name] = value
	return e
}

// AtPointer records the place in the JSON body where the fault is; the field takes the error's code and detail.
func (e *Error) AtPointer(pointer string) *Error {
	e.Fields = append(e.Fields, Field{Pointer: pointer, Code: e.Code, Detail: e.Detail})
	return e
}

// AtParameter records the parameter at fault; the field takes the error's code and detail.
func (e *Error) AtParameter(name string) *Error {
	e.Fields = append(e.Fields, Field{Parameter: name, Code: e.Code, Detail: e.Detail})
	return e
}

// Coder is implemented by errors of other packages that know their own problem (etcdclient's, say).
type Coder interface {
	error
	Problem() *Error
}

// From finds the coded problem in err's chain. A bare context error becomes DeadlineExceeded or ClientGone; anything
// else is Internal with err as its cause. From(nil) is nil. It is idempotent.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if coder, ok := errors.AsType[Coder](err); ok {
		return coder.Problem()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return New(DeadlineExceeded, "the request's time ran out").Because(err)
	case errors.Is(err, context.Canceled):
		return New(ClientGone, "the client went away").Because(err)
	default:
		return New(Internal, "the gateway could not do this because of a fault of its own; its log has the cause").Because(err)
	}
}
