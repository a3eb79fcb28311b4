package fanout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fanout"
)

// TestASubscriberCostsAFractionOfOneAtEtcdsOwnGateway holds the promise with room for the spread of a round this short, on
// a machine that does other things as well: on average a delivered event costs a quarter and a subscriber's memory a sixth.
// `make bench-watch` prints what to quote.
func TestASubscriberCostsAFractionOfOneAtEtcdsOwnGateway(t *testing.T) { //nolint:paralleltest // it measures
	rows, err := fanout.Run(t.Context(), fanout.Plan{Subscribers: 500, Events: 40, Pace: 50 * time.Millisecond, Rounds: 1, Idle: 2000})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := fanout.Print(&table, rows); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
	ours, theirs, idle := rows[0], rows[1], rows[2]
	if ratio := float64(ours.Servers()) / float64(theirs.Servers()); !(ratio < 0.4) { // not a number fails too
		t.Errorf("a delivered event costs %v, and %v at etcd's own gateway", ours.Servers(), theirs.Servers())
	}
	if ratio := float64(ours.Busy) / float64(theirs.Busy); !(ratio < 0.35) {
		t.Errorf("a subscriber takes %d B, and %d B at etcd's own gateway", ours.Busy, theirs.Busy)
	}
	if idle.Idle > 40<<10 {
		t.Errorf("an idle subscriber takes %d B, want at most 40 KiB", idle.Idle)
	}
}
