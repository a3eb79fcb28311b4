// Package clients_test runs clients that people use, as they are published, against the built gateway.
package clients_test

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/loopback"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestEtcd3gw lives a life over /v3 with OpenStack's client.
func TestEtcd3gw(t *testing.T) {
	t.Parallel()
	live(t, "etcd3gw")
}

// TestPatroni has two nodes of Patroni agree on their leader over /v3.
func TestPatroni(t *testing.T) {
	t.Parallel()
	live(t, "patroni")
}

// TestPatroniFindsTheGateway does the same with a Patroni that looks for the members, as it does by default: with
// --advertise-url it finds the gateway in their place.
func TestPatroniFindsTheGateway(t *testing.T) {
	t.Parallel()
	address, err := loopback.LastingAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lives(t, "patroni", []string{"--listen=" + address, "--advertise-url=http://" + address}, "discover")
}

// live installs a client from PyPI, for the length of the test, and runs its script against a gateway.
func live(t *testing.T, client string) {
	t.Helper()
	lives(t, client, nil)
}

// lives is live with flags of the gateway, and more arguments of the script.
func lives(t *testing.T, client string, flags []string, arguments ...string) {
	t.Helper()
	g := harness.StartGateway(t, append([]string{"dev", "--data-dir", t.TempDir()}, flags...)...)
	api, err := url.Parse(g.API)
	if err != nil {
		t.Fatal(err)
	}
	python := install(t, client+".txt")
	script := append([]string{filepath.Join("testdata", client+"_life.py"), api.Port()}, arguments...)
	if out := run(t, python, script...); !strings.Contains(out, "done\n") {
		t.Errorf("got %s", out)
	}
}

// install makes a Python with the packages of a file of testdata, and gives its path.
func install(t *testing.T, requirements string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "python3", "-m", "venv", dir)
	python := filepath.Join(dir, "bin", "python")
	if runtime.GOOS == "windows" {
		python = filepath.Join(dir, "Scripts", "python.exe")
	}
	run(t, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", filepath.Join("testdata", requirements))
	return python
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
