package compat

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// marshaler writes errors with the members of etcd's present gateway and those of its former one, for which clients still
// look; everything else is etcd's own form.
type marshaler struct{ *runtime.HTTPBodyMarshaler }

// rpcStatus is what grpc-gateway makes of an error: a google.rpc.Status.
type rpcStatus interface {
	GetCode() int32
	GetMessage() string
}

// Marshal implements runtime.Marshaler.
func (m marshaler) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case rpcStatus:
		return document(failure{Error: v.GetMessage(), Code: v.GetCode(), Message: v.GetMessage()})
	case map[string]proto.Message: // the line of a stream; only one for an error has this type
		if s, ok := v["error"].(rpcStatus); ok {
			return document(line{streamFailureOf(s.GetCode(), s.GetMessage())})
		}
	}
	return m.HTTPBodyMarshaler.Marshal(v)
}

// failure is the body of an error. Only 3.5 had error; it stands first, as it did there.
type failure struct {
	Error   string   `json:"error"`
	Code    int32    `json:"code"`
	Message string   `json:"message"`
	Details []detail `json:"details,omitempty"`
}

// detail is a google.rpc.DebugInfo: what etcd's own words do not say.
type detail struct {
	Type   string `json:"@type"`
	Detail string `json:"detail"`
}

// line is a line of a stream that says why it ends.
type line struct {
	Error streamFailure `json:"error"`
}

// streamFailure has the members of 3.5 around those of 3.6 and later.
type streamFailure struct {
	GRPCCode   int32  `json:"grpc_code"`
	Code       int32  `json:"code"`
	HTTPCode   int    `json:"http_code"`
	HTTPStatus string `json:"http_status"`
	Message    string `json:"message"`
}

func streamFailureOf(code int32, message string) streamFailure {
	status := runtime.HTTPStatusFromCode(codes.Code(code)) //nolint:gosec // a gRPC code is small
	return streamFailure{GRPCCode: code, Code: code, HTTPCode: status, HTTPStatus: statusText(status), Message: message}
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Client Closed Request" // 499, which is nobody's standard
}

// document encodes v without turning <, > and & into escapes, as protojson does not either.
func document(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
