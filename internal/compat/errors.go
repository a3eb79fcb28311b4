package compat

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/problem"
)

var (
	errStopping = status.Error(codes.Unavailable, "the gateway is stopping")
	errTooMany  = status.Error(codes.Unavailable, "the gateway serves as many streams as it may")
)

// writeError answers a call that failed.
func writeError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	err = reason(ctx, err)
	if status.Code(err) == codes.Unavailable {
		w.Header().Set("Retry-After", "1")
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
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the body did not arrive in time")
	}
	return status.Error(codes.InvalidArgument, err.Error())
}

// AppendError appends the error of a request that was refused before it came here, in the form of /v3.
func (*Gateway) AppendError(dst []byte, e *problem.Error) []byte {
	body, err := document(failure{Error: e.Detail, Code: int32(codeOf(e)), Message: e.Detail}) //nolint:gosec // a gRPC code is small
	if err != nil {                                                                            // strings and a number can always be encoded
		body = []byte(`{"error":"internal","code":13,"message":"internal"}`)
	}
	return append(dst, body...)
}

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
