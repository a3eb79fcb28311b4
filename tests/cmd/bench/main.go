// Command bench prints the comparison of package bench as a table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/etcdrest/etcdrest/tests/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var plan bench.Plan
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&plan.Connections, "connections", 64, "connections, each with one request under way")
	flags.IntVar(&plan.Rounds, "rounds", 5, "rounds of each way and operation; their medians are shown")
	flags.DurationVar(&plan.Duration, "duration", 0, "length of a round (default 2s)")
	flags.Func("op", "only this operation: get, put, list or list-apart (repeatable)", func(name string) error {
		plan.Operations = append(plan.Operations, bench.Operation(name))
		return nil
	})
	flags.Func("way", "only this way: v1, v1-auth, v3 or go (repeatable)", func(name string) error {
		plan.Ways = append(plan.Ways, bench.Way(name))
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	fmt.Printf("%d cores, %s, %d connections, %d keys of %d B\n\n", runtime.NumCPU(), runtime.Version(), plan.Connections, bench.Keys, bench.ValueSize)
	rows, err := bench.Run(ctx, plan)
	if err != nil {
		return err
	}
	return bench.Print(os.Stdout, rows)
}
