package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/tests/bench"
	"github.com/etcdrest/etcdrest/tests/harness"
)

// load is one measurement.
type load struct {
	way, operation, target string
	token                  string
	connections            int
	duration               time.Duration
	processes              []int
}

// caller sends one request about one key and checks the answer. Not for concurrent use.
type caller interface {
	call(ctx context.Context, key int) error
	close()
}

func (l *load) addProcess(pid string) error {
	n, err := strconv.Atoi(pid)
	l.processes = append(l.processes, n)
	return err
}

func (l *load) run(ctx context.Context) (bench.Result, error) {
	callers, err := l.callers(ctx)
	if err != nil {
		return bench.Result{}, err
	}
	defer func() {
		for _, c := range callers {
			c.close()
		}
	}()
	// The first call of each connection is not measured: it dials, and it checks the whole answer.
	if err := each(callers, func(_ int, c caller) error { return c.call(ctx, 0) }); err != nil {
		return bench.Result{}, err
	}

	before, err := l.cpu()
	if err != nil {
		return bench.Result{}, err
	}
	latencies := make([][]time.Duration, len(callers))
	started := time.Now()
	err = each(callers, func(i int, c caller) error {
		random := rand.New(rand.NewPCG(uint64(i), uint64(started.UnixNano()))) //nolint:gosec // keys to read, no secrets
		for time.Since(started) < l.duration {
			sent := time.Now()
			if err := c.call(ctx, random.IntN(bench.Keys)); err != nil {
				return err
			}
			latencies[i] = append(latencies[i], time.Since(sent))
		}
		return nil
	})
	took := time.Since(started)
	if err != nil {
		return bench.Result{}, err
	}
	after, err := l.cpu()
	if err != nil {
		return bench.Result{}, err
	}

	all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	if len(all) == 0 {
		return bench.Result{}, fmt.Errorf("no request ended within %v", l.duration)
	}
	result := bench.Result{
		PerSecond: float64(len(all)) / took.Seconds(),
		P50:       all[len(all)/2],
		P99:       all[len(all)*99/100],
	}
	for i := range after {
		result.CPU = append(result.CPU, (after[i]-before[i])/time.Duration(len(all)))
	}
	return result, nil
}

// cpu reads the processes', and last this one's.
func (l *load) cpu() ([]time.Duration, error) {
	var cpu []time.Duration
	for _, pid := range append(slices.Clone(l.processes), os.Getpid()) {
		u, err := harness.UsageOf(pid)
		if err != nil {
			return nil, err
		}
		cpu = append(cpu, u.CPU)
	}
	return cpu, nil
}

// each runs f for every caller at the same time and returns one of the errors.
func each(callers []caller, f func(int, caller) error) error {
	errs := make(chan error, len(callers))
	var group sync.WaitGroup
	for i, c := range callers {
		group.Go(func() { errs <- f(i, c) })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
