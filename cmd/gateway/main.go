// Command gateway is etcdREST, the HTTP front door of etcd.
//
// See `gateway help`, and docs/reference/configuration.md for every option.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/etcdrest/etcdrest/internal/compat"
)

func main() {
	compat.QuietLibraries()
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailure) // whoever asks twice does not want to wait
	}()
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
	}
	os.Exit(exitCode(err))
}

// The exit codes of the program.
const (
	exitOK      = 0
	exitFailure = 1 // it could not do its work
	exitUsage   = 2 // it was not told well what to do
)

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// run is the whole program: it ends when its work is done, or when ctx ends and everything is stopped in good order,
// which is no error. Nothing beneath it exits the process or reads the environment.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	cmd, args, err := findCommand(args)
	if err != nil {
		return err
	}
	p := process{command: cmd, args: args, environ: environ, stdout: stdout, stderr: stderr}
	if wantsHelp(args) {
		return writeCommandHelp(stdout, cmd)
	}
	return cmd.run(ctx, p)
}

// process is what a command has of the process it runs in.
type process struct {
	command        *command
	args, environ  []string
	stdout, stderr io.Writer
}
