// Command judge reads a run (history.Report) and has etcd's own robustness validators judge its watches. It says what they
// say, and its exit code is 0 only when they find nothing.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.etcd.io/etcd/tests/v3/robustness/validate"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

func main() {
	if err := run(os.Stdin, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

// patience is for etcd's check of the order of operations, of which this run has one.
const patience = 10 * time.Second

func run(in io.Reader, out io.Writer) (err error) {
	report, err := history.ReadReport(in)
	if err != nil {
		return err
	}
	defer func() { // the validators panic on an event of a revision that never was
		if r := recover(); r != nil {
			err = fmt.Errorf("the validators panicked: %v", r)
		}
	}()
	persisted, watches := requests(report.Revisions), clients(report.Streams)
	result := validate.ValidateAndReturnVisualize(logger(out), validate.Config{}, watches, persisted, patience)
	if err := result.Error(); err != nil {
		return err
	}
	if result.Watch.Status != validate.Success {
		return errors.New("the watches were not judged")
	}
	fmt.Fprintf(out, "%d streams of %d clients are as etcd promises\n", count(watches), len(watches)-1)
	return nil
}

// logger prints errors only: which guarantee broke, for which client, at which revision.
func logger(out io.Writer) *zap.Logger {
	config := zap.NewDevelopmentEncoderConfig()
	return zap.New(newCore(config, out))
}
