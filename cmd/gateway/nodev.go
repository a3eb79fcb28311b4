//go:build nodev

package main

import (
	"context"
	"errors"
	"log/slog"
)

func startStore(context.Context, Config, *slog.Logger) (store, error) {
	return nil, errors.New("this program was built without an etcd of its own (build tag nodev); " +
		"type `gateway serve --endpoints http://127.0.0.1:2379` with the client URLs of your cluster")
}
