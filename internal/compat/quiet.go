package compat

import (
	"io"

	"google.golang.org/grpc/grpclog"
)

// QuietLibraries turns off the log that gRPC and grpc-gateway write to standard error by themselves, in a form of their own and
// a line for each caller that leaves. It is for the start of a program, before anything else of gRPC is used.
func QuietLibraries() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}
