package history

import (
	"fmt"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Check judges a stream by the log: every connection must have shown exactly the view's revisions from its start on, each
// once, whole and in order, up to what it certified; the next one must go on there; and the last must have reached until.
// No fault means that nothing was lost, duplicated, reordered, split or changed.
func Check(log *Log, stream Stream, until int64) []Fault {
	c := &checker{log: log, stream: stream}
	for i, leg := range stream.Legs {
		c.index = i
		c.check(leg)
	}
	for r := c.position + 1; r <= until; r++ {
		if want := stream.View.Of(log.At(r)); len(want) > 0 {
			c.report(Lost, r, "the stream reached %d and should have reached %d: %v", c.position, until, want)
			break
		}
	}
	return c.faults
}

// checker goes through one stream.
type checker struct {
	log    *Log
	stream Stream
	faults []Fault

	index    int   // of the connection under judgement
	position int64 // everything up to here has been delivered; 0: nothing has
}

// check judges one connection: one stretch, and another after each reset.
func (c *checker) check(leg Leg) {
	now := c.opening(leg)
	var snapshot []KeyValue
	for _, m := range leg.Messages {
		switch m.Kind {
		case Created:
			now.created(m, leg.Snapshot)
		case Snapshot:
			snapshot = append(snapshot, m.KVs...)
		case Synced:
			c.snapshot(snapshot, m.Revision)
			now, snapshot = c.stretch(m.Revision), nil
		case Reset:
			now.end()
			now, snapshot = c.stretch(unknown), nil
			leg.Snapshot = true
		case Events:
			now.events(m)
		case Progress:
			now.progress(m)
		case Error, End:
		}
	}
	now.end()
	if start := max(leg.Start, c.position+1); leg.End == "compacted" && !leg.Snapshot && start >= leg.Compact {
		c.report(Unjust, start, "told compacted, at compact revision %d", leg.Compact)
	}
}

// opening is the stretch that a connection begins with.
func (c *checker) opening(leg Leg) *stretch {
	if leg.Snapshot {
		return c.stretch(unknown)
	}
	if c.position > 0 && leg.Start != c.position+1 {
		c.report(Unresumed, leg.Start, "the connection before had reached %d", c.position)
	}
	return c.stretch(leg.Start - 1)
}

// snapshot judges one that is complete.
func (c *checker) snapshot(got []KeyValue, revision int64) {
	if revision < c.position {
		c.report(Untrue, revision, "a snapshot from before %d, up to which everything had been delivered", c.position)
	}
	if c.stream.View.KeysOnly {
		for i := range got {
			got[i].Lease = 0
		}
	}
	if diff := cmp.Diff(c.log.State(c.stream.View, revision), got, cmpopts.EquateEmpty()); diff != "" {
		c.report(Untrue, revision, "the snapshot is not the state (-want +got):\n%s", diff)
	}
	c.position = revision
}

func (c *checker) report(d Damage, revision int64, format string, args ...any) {
	c.faults = append(c.faults, Fault{
		Damage: d, Stream: c.stream.Name, Leg: c.index, Revision: revision, Detail: fmt.Sprintf(format, args...),
	})
}
