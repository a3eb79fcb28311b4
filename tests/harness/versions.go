package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Version is a minor version of etcd, such as "3.5".
type Version string

// Versions are those that the gateway is tested with, oldest first. Newest is the one that everything else is tested with.
var Versions = []Version{"3.4", "3.5", "3.6", Newest}

// Newest is the etcd whose modules the gateway itself is built with.
const Newest Version = "3.7"

// etcds are the paths of the etcds that Etcds built; set before the first test runs, and never after.
var etcds = map[Version]string{}

// Etcds is the TestMain of a package that runs several versions of etcd before the gateway, and some programs of tests/cmd.
func Etcds(m *testing.M, versions []Version, names ...string) {
	run(m, func(ctx context.Context, dir string) (err error) {
		if built, err = Build(ctx, dir); err != nil {
			return err
		}
		for _, v := range versions {
			if etcds[v], err = built.etcd(ctx, dir, v); err != nil {
				return err
			}
		}
		return buildCommands(ctx, dir, names)
	})
}

// etcd gives the path of an etcd of that version: there are modules of 3.5 and later, and Debian has a package of 3.4.
func (p Programs) etcd(ctx context.Context, dir string, v Version) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	switch v {
	case Newest:
		return p.Etcd, nil
	case "3.4":
		get := exec.CommandContext(ctx, filepath.Join(root, "tools", "etcd-3.4"))
		get.Stderr = os.Stderr // it says what to install
		said, err := get.Output()
		if err != nil {
			return "", fmt.Errorf("etcd 3.4: %w", err)
		}
		return strings.TrimSpace(string(said)), nil
	default:
		path := filepath.Join(dir, "etcd-"+string(v))
		return path, Go(ctx, filepath.Join(root, "tests", "etcds", "v"+string(v)), "build", "-o", path, "go.etcd.io/etcd/server/v3")
	}
}

// program gives the path of the etcd of that version, and the arguments without which the harness cannot read its log.
func (v Version) program(t testing.TB) (path string, args []string) {
	t.Helper()
	path, ok := etcds[v]
	if !ok {
		t.Fatalf("TestMain does not build etcd %s", v)
	}
	if v == "3.4" {
		args = []string{"--logger", "zap"}
	}
	return path, args
}

// StartEtcd runs an etcd of this version for the length of a test.
func (v Version) StartEtcd(t testing.TB, args ...string) *Etcd {
	t.Helper()
	path, needed := v.program(t)
	return startEtcd(t, Programs{Gateway: built.Gateway, Etcd: path}, append(needed, args...))
}

// StartCluster runs a cluster of n members of this version for the length of a test; args are those of every member.
func (v Version) StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	path, needed := v.program(t)
	return startCluster(t, Programs{Gateway: built.Gateway, Etcd: path}, n, append(needed, args...))
}

// Become has a member that has been stopped run as another version from its next start on.
func (m *Member) Become(t testing.TB, v Version) {
	t.Helper()
	m.path, _ = v.program(t)
}
