//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// startStore runs the etcd of `gateway dev`. What etcd itself logs is shown at level debug.
func startStore(ctx context.Context, c Config, log *slog.Logger) (store, error) {
	o := embedetcd.Options{Dir: c.DataDir, Listen: c.EtcdListen}
	if log.Enabled(ctx, slog.LevelDebug) {
		o.Logger = log.With("component", "etcd")
	}
	s, err := embedetcd.Start(ctx, o)
	if errors.Is(err, embedetcd.ErrInUse) {
		return nil, fmt.Errorf("data-dir: %w (another `gateway dev`?); stop that one, or choose another folder with --data-dir", err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}
