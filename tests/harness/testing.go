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

// built and commands are set by Main and Commands before the first test runs, and never after.
var (
	built    Programs
	commands = map[string]string{}
)

// Main is the TestMain of a package that runs programs: it builds them once, for all its tests; and with them those of
// tests/cmd that are named. The test binary exits with m's result when TestMain returns.
func Main(m *testing.M, names ...string) {
	run(m, func(ctx context.Context, dir string) (err error) {
		if built, err = Build(ctx, dir); err != nil {
			return err
		}
		return buildCommands(ctx, dir, names)
	})
}

// Commands is the TestMain of a package that needs only some programs of tests/cmd.
func Commands(m *testing.M, names ...string) {
	run(m, func(ctx context.Context, dir string) error { return buildCommands(ctx, dir, names) })
}

// Command is the path of a program of tests/cmd that Main or Commands built.
func Command(t testing.TB, name string) string {
	t.Helper()
	path, ok := commands[name]
	if !ok {
		t.Fatalf("TestMain does not build %s", name)
	}
	return path
}

func run(m *testing.M, build func(ctx context.Context, dir string) error) {
	dir, err := os.MkdirTemp("", "etcdrest-tests-")
	if err == nil {
		err = build(context.Background(), dir)
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

func buildCommands(ctx context.Context, dir string, names []string) (err error) {
	for _, name := range names {
		if commands[name], err = BuildCommand(ctx, dir, name); err != nil {
			return err
		}
	}
	return nil
}

// StartEtcd runs an etcd for the length of a test.
func StartEtcd(t testing.TB, args ...string) *Etcd {
	t.Helper()
	return startEtcd(t, built, args)
}

func startEtcd(t testing.TB, p Programs, args []string) *Etcd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	e, err := p.StartEtcd(ctx, filepath.Join(t.TempDir(), "etcd"), args...)
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
