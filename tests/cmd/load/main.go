// Command load sends one kind of request over many connections for a while and prints, as JSON, what it cost. It is a
// process of its own, so that its CPU time is not counted as the servers'.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var l load
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.StringVar(&l.way, "way", "v1", "v1 (the gateway), v3 (etcd's JSON gateway) or go (etcd's Go client)")
	flags.StringVar(&l.operation, "op", "get", "get, put, list or list-apart")
	flags.StringVar(&l.token, "token", "", "the bearer token that v1 shows; empty: none")
	flags.StringVar(&l.target, "target", "", "URL of the gateway or of etcd")
	flags.IntVar(&l.connections, "connections", 64, "connections, each with one request under way")
	flags.DurationVar(&l.duration, "duration", 2*time.Second, "how long to measure")
	flags.Func("pid", "process whose CPU time to measure (repeatable)", l.addProcess)
	if err := flags.Parse(args); err != nil {
		return err
	}
	result, err := l.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
