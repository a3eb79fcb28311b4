// Package leak fails a package whose tests leave goroutines behind. It knows those of an etcd inside the process that etcd itself does
// not wait for.
package leak

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// etcds are the goroutines that etcd leaves.
var etcds = []goleak.Option{
	// lumberjack, which etcd's logging links, starts one for the life of the process.
	goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	// etcd's lock and election services run on a client inside the server, which the server does not close.
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*lessor).recvKeepAliveLoop"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*lessor).sendKeepAliveLoop"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*lessor).deadlineLoop"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*LeaseServer).LeaseKeepAlive"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*LeaseServer).leaseKeepAlive"),
}

// Observers are those that are left when an observer of an election is under way as the server goes: the client inside it watches.
var Observers = []goleak.Option{
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*watchGRPCStream).run"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*watchGRPCStream).serveWatchClient"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*serverWatchStream).sendLoop"),
	goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*serverWatchStream).recvLoop"),
	goleak.IgnoreTopFunction("context.(*cancelCtx).propagateCancel.func2"),
}

// Main runs the tests of a package and, when they have passed, looks for goroutines that are neither etcd's nor those of more. It is all
// of a TestMain.
func Main(m *testing.M, more ...goleak.Option) {
	goleak.VerifyTestMain(m, slices.Concat(etcds, more)...)
}

// Find is Main's look, for a TestMain that does more.
func Find() error { return goleak.Find(etcds...) }
