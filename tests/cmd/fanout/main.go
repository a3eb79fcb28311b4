// Command fanout prints the comparison of package fanout as a table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/etcdrest/etcdrest/tests/fanout"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var plan fanout.Plan
	flags := flag.NewFlagSet("fanout", flag.ContinueOnError)
	flags.IntVar(&plan.Subscribers, "subscribers", 0, "subscribers of one prefix (default 1000)")
	flags.IntVar(&plan.Events, "events", 0, "events that each sees (default 100)")
	flags.DurationVar(&plan.Pace, "pace", 0, "from one event to the next (default 100ms)")
	flags.IntVar(&plan.Rounds, "rounds", 0, "rounds of each way; their medians are shown (default 3)")
	flags.IntVar(&plan.Idle, "idle", 0, "idle subscribers of the gateway (default 9000; -1: none)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	fmt.Printf("%d cores, %s, values of %d B\n\n", runtime.NumCPU(), runtime.Version(), fanout.ValueSize)
	rows, err := fanout.Run(ctx, plan)
	if err != nil {
		return err
	}
	return fanout.Print(os.Stdout, rows)
}
