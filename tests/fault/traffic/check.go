package traffic

import (
	"fmt"
	"slices"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Check holds what writers were told against what happened: an applied write is there at its revision and nowhere else, one
// that was not applied is nowhere, and an unknown one is there at most once.
func Check(log *history.Log, writes []Write) (faults []string) {
	at := map[string][]int64{} // the revisions that wrote a value
	for _, r := range log.Revisions() {
		for _, e := range r.Events {
			if e.Type == history.Put {
				at[e.Value] = append(at[e.Value], r.Revision)
			}
		}
	}
	for _, w := range writes {
		for _, op := range w.Ops {
			if got := at[op.Value]; !op.Delete && !w.right(got, log.Head()) {
				faults = append(faults, fmt.Sprintf("%q in %q: told %s at %d (%v), and was written at %v", op.Value, op.Key, w.Told, w.Revision, w.Err, got))
			}
		}
	}
	return faults
}

func (w Write) right(at []int64, head int64) bool {
	switch w.Told {
	case Applied:
		return w.Revision > head || slices.Equal(at, []int64{w.Revision})
	case NotApplied:
		return len(at) == 0
	case Unknown:
		return len(at) <= 1
	default:
		return false
	}
}

// Count is how many writes were told what.
func Count(writes []Write) map[Told]int {
	count := map[Told]int{}
	for _, w := range writes {
		count[w.Told]++
	}
	return count
}
