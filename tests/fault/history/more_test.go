package history_test

import (
	"slices"
	"testing"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// snapshotted is a good stream that begins with a snapshot at revision 12.
func snapshotted(log *history.Log, view history.View) history.Stream {
	s := good(log, view)
	leg := history.Leg{Snapshot: true, Messages: []history.Message{
		{Kind: history.Created, Revision: 12},
		{Kind: history.Snapshot, KVs: log.State(view, 12)},
		{Kind: history.Synced, Revision: 12},
	}}
	for _, m := range s.Legs[0].Messages {
		if m.Revision > 12 {
			leg.Messages = append(leg.Messages, m)
		}
	}
	s.Legs[0] = leg
	return s
}

func TestSnapshotsAreHeldAgainstTheState(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	if faults := history.Check(log, snapshotted(log, inA), log.Head()); len(faults) > 0 {
		t.Errorf("got %v, want none", faults)
	}
	for name, inflict := range map[string]func(m []history.Message){
		"a key is missing":   func(m []history.Message) { m[1].KVs = m[1].KVs[1:] },
		"a value is another": func(m []history.Message) { m[1].KVs[0].Value = "no" },
		"another revision":   func(m []history.Message) { m[2].Revision = 10 },
	} {
		s := snapshotted(log, inA)
		inflict(s.Legs[0].Messages)
		wantDamage(t, name, history.Check(log, s, log.Head()), history.Untrue)
	}
}

func TestConnectionsMustGoOnWhereTheLastEnded(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	s := good(log, inA)
	s.Legs[1].Start++
	wantDamage(t, "a revision is skipped", history.Check(log, s, log.Head()), history.Unresumed)

	s = good(log, inA)
	s.Legs = s.Legs[:1]
	wantDamage(t, "the second connection is missing", history.Check(log, s, log.Head()), history.Lost)
	wantDamage(t, "there is none", history.Check(log, history.Stream{View: inA}, log.Head()), history.Lost)

	s = good(log, inA)
	s.Legs[0].Start, s.Legs[0].Messages = 0, s.Legs[0].Messages[1:]
	wantDamage(t, "not created", history.Check(log, s, log.Head()), history.Unopened)
}

func TestAJustRefusalIsNoFault(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	for compact, just := range map[int64]bool{21: false, 22: true} {
		s := good(log, inA)
		refused := history.Leg{Start: 21, End: "compacted", Compact: compact}
		again := history.Leg{Snapshot: true, Messages: []history.Message{
			{Kind: history.Snapshot, KVs: log.State(inA, 41)}, {Kind: history.Synced, Revision: 41},
		}}
		s.Legs = []history.Leg{s.Legs[0], refused, again}
		faults := history.Check(log, s, log.Head())
		if just && len(faults) > 0 {
			t.Errorf("compacted at %d: got %v, want none", compact, faults)
		}
		if !just {
			wantDamage(t, "the start is not compacted", faults, history.Unjust)
		}
	}
}

// TestFormerStatesMayBeMissingOnlyBelowACompaction: etcd cannot tell what it has forgotten.
func TestFormerStatesMayBeMissingOnlyBelowACompaction(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	s := good(log, history.View{Key: "a/", Prefix: true, PrevKV: true})
	for _, m := range s.Legs[1].Messages {
		for i := range m.Events {
			m.Events[i].Before = history.Before{}
		}
	}
	wantDamage(t, "former states are missing", history.Check(log, s, log.Head()), history.Altered)
	log.Compacted = log.Head()
	if faults := history.Check(log, s, log.Head()); len(faults) > 0 {
		t.Errorf("got %v, want none", faults)
	}
}

func TestAHistoryWithAHoleIsRefused(t *testing.T) {
	t.Parallel()
	all := recorded(t).Revisions()
	for name, revisions := range map[string][]history.Revision{
		"it begins late":     all[1:],
		"a hole":             slices.Delete(slices.Clone(all), 5, 6),
		"an empty revision":  slices.Insert(slices.Clone(all), 40, history.Revision{Revision: 42}),
		"a revision twice":   slices.Insert(slices.Clone(all), 5, all[5]),
		"an impossible life": {{Revision: 2, Events: []history.Event{{Type: history.Delete, Key: "a", Mod: 2}}}},
		"a wrong version":    {{Revision: 2, Events: []history.Event{{Type: history.Put, Key: "a", Mod: 2, Create: 2, Version: 2}}}},
	} {
		if _, err := history.NewLog(revisions); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func wantDamage(t *testing.T, name string, faults []history.Fault, want history.Damage) {
	t.Helper()
	if !slices.ContainsFunc(faults, func(f history.Fault) bool { return f.Damage == want }) {
		t.Errorf("%s: got %v, want %s", name, faults, want)
	}
}
