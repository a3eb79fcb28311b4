package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are the paths of the built binaries.
type Programs struct{ Gateway, Etcd string }

// Build compiles the gateway of this checkout and etcd into dir.
func Build(ctx context.Context, dir string) (Programs, error) {
	root, err := Root()
	if err != nil {
		return Programs{}, err
	}
	built := Programs{Gateway: filepath.Join(dir, "gateway"), Etcd: filepath.Join(dir, "etcd")}
	if err := Go(ctx, root, "build", "-o", built.Gateway, "./cmd/gateway"); err != nil {
		return Programs{}, err
	}
	if _, err := BuildCommand(ctx, dir, "etcd"); err != nil {
		return Programs{}, err
	}
	return built, nil
}

// BuildCommand compiles one of the programs of tests/cmd into dir and gives its path.
func BuildCommand(ctx context.Context, dir, name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, Go(ctx, filepath.Join(root, "tests"), "build", "-o", path, "./cmd/"+name)
}

// Go runs a go command in a folder; its error holds what the command said.
func Go(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}

// Root is the checkout: the nearest folder above the working one that holds the main module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("checkout: %w", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/etcdrest/etcdrest\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("checkout: no folder above holds the main module")
		}
		dir = filepath.Dir(dir)
	}
}
