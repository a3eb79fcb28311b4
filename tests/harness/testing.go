package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// readyWithin is how long a program may take to serve, on a busy machine.
const readyWithin = 60 * time.Second

// built is set by Main before the first test runs, and never after.
var built Programs

// Main is the TestMain of a package that runs programs: it builds them once, for all its tests. The test binary exits
// with m's result when TestMain returns.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "etcdrest-tests-")
	if err == nil {
		built, err = Build(context.Background(), dir)
	}
	if err == nil {
		m.Run()
	}
	_ = os.RemoveAll(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the programs under test:", err)
		os.Exit(1)
	}
}

// StartEtcd runs an etcd for the length of a test.
func StartEtcd(t testing.TB, args ...string) *Etcd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	e, err := built.StartEtcd(ctx, filepath.Join(t.TempDir(), "etcd"), args...)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, e.Process)
	return e
}

// StartGateway runs the gateway for the length of a test, on free ports unless args say otherwise.
func StartGateway(t testing.TB, args ...string) *Gateway {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	g, err := built.StartGateway(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, g.Process)
	return g
}

func stopAtEnd(t testing.TB, p *Process) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Built are the programs that Main built.
func Built() Programs { return built }
