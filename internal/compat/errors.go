package compat

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

var (
	errStopping = status.Error(codes.Unavailable, "the gateway is stopping")
	errTooMany  = status.Error(codes.Unavailable, "the gateway serves as many streams as it may")
)

// writeError answers a call that failed.
func writeError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	err = reason(ctx, err)
	switch status.Code(err) { //nolint:exhaustive // the others need no header
	case codes.Unavailable:
		w.Header().Set("Retry-After", "1")
	case codes.ResourceExhausted:
		if l, limited := errors.AsType[limitError](err); limited {
			w.Header().Set("Retry-After", strconv.FormatInt(max(int64(l.of.RetryAfter/time.Second), 1), 10))
		}
	case codes.Unauthenticated:
		if authz.From(ctx) != nil { // etcd does not take any more what the door still knew
			w.Header().Set("Www-Authenticate", "Bearer")
		}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

// streamError codes what ends a stream.
func streamError(ctx context.Context, err error) *status.Status {
	err = reason(ctx, err)
	if plain, ok := errors.AsType[*runtime.HTTPStatusError](err); ok {
		err = plain.Err
	}
	if f, ok := ctx.Value(framesKey{}).(*frames); ok {
		f.failed = err
	}
	return status.Convert(err)
}

// reason is why a call ended: when we ended it, that is our own reason and not the cancellation that etcd's side shows.
func reason(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx).(type) { //nolint:errorlint // our own causes are never wrapped
	case interface{ GRPCStatus() *status.Status }:
		return context.Cause(ctx)
	case *runtime.HTTPStatusError:
		return cause
	}
	return err
}

// refuse answers a request that no handler has seen.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	_, m := runtime.MarshalerForRequest(g.mux, r)
	runtime.HTTPError(r.Context(), g.mux, m, w, r, err)
}

// errTooLarge is a body beyond the limit: etcd's own gateway has none and lets gRPC refuse it with this code.
func errTooLarge() error {
	return &runtime.HTTPStatusError{
		HTTPStatus: http.StatusRequestEntityTooLarge,
		Err:        status.Error(codes.ResourceExhausted, "the body is larger than the gateway takes"),
	}
}

// bodyError codes a body that could not be read.
func bodyError(err error) error {
	if _, over := errors.AsType[*http.MaxBytesError](err); over || errors.Is(err, errMessageTooLarge) {
		return errTooLarge()
	}
	if e, limited := errors.AsType[*problem.Error](err); limited {
		return limitError{e}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the body did not arrive in time")
	}
	return status.Error(codes.InvalidArgument, err.Error())
}

// AppendError appends the error of a request that was refused before it came here, in the form of /v3.
func (*Gateway) AppendError(dst []byte, e *problem.Error) []byte {
	s := statusOf(e)
	f := failure{Error: s.Message(), Code: int32(s.Code()), Message: s.Message()} //nolint:gosec // a gRPC code is small
	if s.Message() != e.Detail {
		f.Details = []detail{{Type: "type.googleapis.com/google.rpc.DebugInfo", Detail: e.Detail}}
	}
	body, err := document(f)
	if err != nil { // strings and a number can always be encoded
		body = []byte(`{"error":"internal","code":13,"message":"internal"}`)
	}
	return append(dst, body...)
}

// statusOf says a problem of the door in etcd's words where clients of etcd look for those, to log in again, say.
func statusOf(e *problem.Error) *status.Status {
	switch e.Code { //nolint:exhaustive // etcd has no words for the others
	case problem.Unauthenticated, problem.AuthExpired:
		return status.Convert(rpctypes.ErrGRPCInvalidAuthToken)
	case problem.PermissionDenied, problem.Reserved:
		return status.Convert(rpctypes.ErrGRPCPermissionDenied)
	}
	return status.New(codeOf(e), e.Detail)
}

// limitError is the error of a call that is beyond a limit of the gateway's, or of its caller's: it may come back later.
type limitError struct{ of *problem.Error }

func (l limitError) Error() string { return l.of.Detail }

// GRPCStatus is for package status.
func (l limitError) GRPCStatus() *status.Status { return statusOf(l.of) }

// codeOf gives the gRPC code that says the same as a problem of the door.
func codeOf(e *problem.Error) codes.Code {
	switch e.Code.Info().Status {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.InvalidArgument
}
