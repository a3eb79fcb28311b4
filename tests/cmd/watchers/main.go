// Command watchers is many subscribers of one prefix over WebSockets. It prints a line when every watch stands, and another
// when each has seen as many events as it was told; then it stays until it is told to stop. It is a process of its own, so
// that its CPU time and memory are not counted as the servers'.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "watchers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var w watchers
	flags := flag.NewFlagSet("watchers", flag.ContinueOnError)
	flags.StringVar(&w.way, "way", "v1", "v1 (the gateway) or v3 (etcd's JSON gateway)")
	flags.StringVar(&w.target, "target", "", "URL of the gateway or of etcd")
	flags.StringVar(&w.prefix, "prefix", "fan/", "what to watch")
	flags.IntVar(&w.subscribers, "subscribers", 1000, "how many")
	flags.IntVar(&w.events, "events", 100, "how many each must see")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sockets, err := w.subscribe(ctx)
	if err != nil {
		return err
	}
	fmt.Println("subscribed")
	if err := w.read(sockets); err != nil {
		return err
	}
	fmt.Println("delivered")
	<-ctx.Done()
	return nil
}
