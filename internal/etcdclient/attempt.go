package etcdclient

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// attempt is one try of one call on one connection. What it saw is the proof of what a failed write did.
type attempt struct {
	// sent says that the request's headers went to a connection. It is never taken back, not even when gRPC repeats by
	// itself what the server says it did not process: what may have left once has left.
	sent atomic.Bool
	// replied says that a status came from the other side, rather than being made up by gRPC on this one.
	replied atomic.Bool
	// cancel ends the attempt when its member falls silent.
	cancel context.CancelCauseFunc
}

type attemptKey struct{}

// attemptStats tells each attempt what its RPC did.
type attemptStats struct{}

var _ stats.Handler = attemptStats{}

func (attemptStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (attemptStats) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.OutHeader:
		if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
			a.sent.Store(true)
		}
	case *stats.InTrailer:
		if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
			a.replied.Store(true)
		}
	}
}

func (attemptStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (attemptStats) HandleConn(context.Context, stats.ConnStats)                       {}
