// Command gotest runs `go test -json` with its own arguments and prints what a reader of CI needs: one line for each
// package and everything that a failed test said. It fails where go test does not: on a skipped test, on a fuzz target
// without seeds, and when no test ran at all.
//
// Two failed tests at most are run once more, alone: tests that measure time share two cores with hundreds of others. One that passes
// then is no failure, but is printed as FLAKY, with all that it said: either it or what it tests is to be mended. A data race, a panic,
// a leak and a time-out have no second attempt.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

// mostAgain is how many failed tests have a second attempt; more have a cause in common.
const mostAgain = 2

func run(ctx context.Context, args []string) error {
	first := newReport(os.Stdout)
	err := test(ctx, first, args)
	if failed := first.mayPassAlone(); err != nil && len(failed) > 0 && len(failed) <= mostAgain {
		return again(ctx, flags(args), failed)
	}
	return err
}

// again runs each of the tests alone.
func again(ctx context.Context, flags []string, failed []testID) error {
	for _, id := range failed {
		fmt.Printf("%s of %s once more, alone:\n", id.name, id.pkg)
		only := "-run=^" + regexp.QuoteMeta(id.name) + "$"
		if err := test(ctx, newReport(os.Stdout), append(flags, only, "-count=1", id.pkg)); err != nil {
			return err
		}
	}
	for _, id := range failed {
		fmt.Printf("FLAKY: %s of %s failed beside the others and passed alone. It is to be mended.\n", id.name, id.pkg)
	}
	return nil
}

// flags are the arguments without the packages.
func flags(args []string) (flags []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			flags = append(flags, a)
		}
	}
	return flags
}

func test(ctx context.Context, tests *report, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return errors.Join(tests.read(events), cmd.Wait(), tests.verdict())
}
