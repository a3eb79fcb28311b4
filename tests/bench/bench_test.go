package bench_test

import (
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/bench"
)

// TestReadsAndListsCostLessThanThroughEtcdsOwnGateway holds the promise of the README: at 64 connections a single read
// takes less CPU time of gateway and etcd together than of etcd alone through its own JSON gateway, and a list of 1,000
// keys about half of it. The bounds leave room for the spread of rounds this short (0.47 to 0.59 for lists, and 0.41 for the official client without any HTTP); `make bench`
// prints what to quote.
func TestReadsAndListsCostLessThanThroughEtcdsOwnGateway(t *testing.T) { //nolint:paralleltest // it measures
	rows, err := bench.Run(t.Context(), bench.Plan{
		Ways:       []bench.Way{bench.V1, bench.V3},
		Operations: []bench.Operation{bench.Get, bench.List},
		Rounds:     3,
		Duration:   time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := bench.Print(&table, rows); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
	cost := map[bench.Operation]map[bench.Way]time.Duration{bench.Get: {}, bench.List: {}}
	for _, r := range rows {
		cost[r.Operation][r.Way] = r.Servers()
	}
	for operation, most := range map[bench.Operation]float64{bench.Get: 0.9, bench.List: 0.75} {
		ours, theirs := cost[operation][bench.V1], cost[operation][bench.V3]
		if ratio := float64(ours) / float64(theirs); !(ratio < most) { // not a number fails too
			t.Errorf("%s: got %v by /v1 and %v by /v3, %.2f of it; want less than %.2f", operation, ours, theirs, ratio, most)
		}
	}
}
