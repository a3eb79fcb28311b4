package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// history is everything that callers did and were told. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	writes []write
	reads  []read
}

// write is one attempt to write a key. Keys belong to one writer, and no two attempts write the same value but for the
// repeats under one Idempotency-Key, which are one write.
type write struct {
	key, value   string
	begun, ended time.Time
	// told is what the caller was told: "acknowledged", "not_applied", "unknown", or anything else, which is a fault.
	told string
	// revision is the mod revision of an acknowledged write.
	revision int64
	// refusedBy is the value that a failed condition showed; the attempt is not_applied then.
	refusedBy string
	text      string // the whole answer, for the report
}

// read is one linearizable read that answered.
type read struct {
	key, value   string
	found        bool
	begun, ended time.Time
	// revision is the store's that answered.
	revision int64
}

const (
	acknowledged = "acknowledged"
	notApplied   = "not_applied"
	unknown      = "unknown"
)

// wrote notes the answer to a write and tells what the caller was told.
func (h *history) wrote(key, value string, a answer) string {
	w := write{key: key, value: value, begun: a.begun, ended: a.ended, text: a.String()}
	d := a.document()
	switch {
	case a.err != nil:
		w.told = unknown // the connection to the gateway was lost: the gateway has said nothing
	case a.ok():
		w.told, w.revision = acknowledged, max(d.ModRevision, d.Revision) // the latter is a transaction's
	default:
		w.told = d.Outcome
		if d.Current != nil {
			w.refusedBy = d.Current.Value
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, w)
	return w.told
}

// saw notes a read that answered 200 or 404; it tells whether it did.
func (h *history) saw(key string, a answer) bool {
	if a.err != nil || a.status != 200 && a.status != 404 {
		return false
	}
	r := read{key: key, begun: a.begun, ended: a.ended, found: a.status == 200, revision: a.revision()}
	if r.found {
		r.value = a.document().Value
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
	return true
}

// forget leaves a key out, which somebody has deleted.
func (h *history) forget(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = slices.DeleteFunc(h.writes, func(w write) bool { return w.key == key })
}

// latest is the key that was acknowledged last, "" when there is none.
func (h *history) latest() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range slices.Backward(h.writes) {
		if w.told == acknowledged {
			return w.key
		}
	}
	return ""
}

// told counts the writes by what their callers were told.
func (h *history) told() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := map[string]int{}
	for _, w := range h.writes {
		count[w.told]++
	}
	return count
}

// stored is a key as etcd has it at the end.
type stored struct {
	value                    string
	version, create, changed int64
}

// readBack reads what etcd itself has under a prefix, by its own client.
func readBack(t *testing.T, client *clientv3.Client, prefix string) map[string]stored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]stored, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		out[string(kv.Key)] = stored{string(kv.Value), kv.Version, kv.CreateRevision, kv.ModRevision}
	}
	return out
}

// check holds the history against what etcd has, and fails the test with the first faults.
func (h *history) check(t *testing.T, has map[string]stored) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	faults := append(writeFaults(h.writes, has), readFaults(h.writes, h.reads)...)
	for i, f := range faults {
		if i == 10 {
			t.Errorf("… and %d more", len(faults)-i)
			break
		}
		t.Error(f)
	}
}

// writeFaults holds each write to what its caller was told: an acknowledged one is there, at the revision told and written
// once; one that is not_applied is not; and nothing was written twice.
func writeFaults(writes []write, has map[string]stored) (faults []string) {
	fault := func(w write, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: ", w.key)+fmt.Sprintf(format, args...)+"\n\tits answer: "+w.text)
	}
	inDoubt := map[string]bool{} // values that may have been written
	for _, w := range writes {
		if w.told == acknowledged || w.told == unknown {
			inDoubt[w.value] = true
		}
	}
	owner := map[string]string{}
	for _, w := range writes {
		owner[w.key] = w.value
		s, there := has[w.key]
		switch {
		case w.told == acknowledged && !there:
			fault(w, "an acknowledged write is lost")
		case w.told == acknowledged && s.value != w.value:
			fault(w, "an acknowledged write was overwritten by %q", s.value)
		case w.told == acknowledged && s.changed != w.revision:
			fault(w, "a write acknowledged at revision %d is there at %d", w.revision, s.changed)
		case w.told == notApplied && there && s.value == w.value && !inDoubt[w.value]:
			fault(w, "a write that was told not_applied was applied")
		case w.told == notApplied && w.refusedBy != "" && !inDoubt[w.refusedBy]:
			fault(w, "a write was refused because of %q, which nobody can have written", w.refusedBy)
		case w.told != acknowledged && w.told != notApplied && w.told != unknown:
			fault(w, "a failed write was told the outcome %q", w.told)
		}
	}
	for key, s := range has {
		if s.version != 1 {
			faults = append(faults, fmt.Sprintf("%s: written %d times", key, s.version))
		}
		if _, ours := owner[key]; !ours {
			faults = append(faults, fmt.Sprintf("%s: nobody wrote it", key))
		}
	}
	return faults
}

// readFaults holds each linearizable read to what had happened before it began: it answers at no older revision than any
// earlier read or acknowledged write, and a key that was acknowledged is there with its value.
func readFaults(writes []write, reads []read) (faults []string) {
	type done struct {
		at       time.Time
		revision int64
		what     string
	}
	past := make([]done, 0, len(writes)+len(reads))
	acked := map[string]write{}
	for _, w := range writes {
		if w.told == acknowledged {
			past = append(past, done{w.ended, w.revision, "the write of " + w.key})
			acked[w.key] = w
		}
	}
	for _, r := range reads {
		past = append(past, done{r.ended, r.revision, "the read of " + r.key})
	}
	slices.SortFunc(past, func(a, b done) int { return a.at.Compare(b.at) })
	reads = slices.SortedFunc(slices.Values(reads), func(a, b read) int { return a.begun.Compare(b.begun) })
	var newest done
	for _, r := range reads {
		for len(past) > 0 && past[0].at.Before(r.begun) {
			if past[0].revision > newest.revision {
				newest = past[0]
			}
			past = past[1:]
		}
		if r.revision < newest.revision {
			faults = append(faults, fmt.Sprintf("%s: read at revision %d, after %s at %d had ended", r.key, r.revision, newest.what, newest.revision))
		}
		w, ok := acked[r.key]
		if ok && w.ended.Before(r.begun) && (!r.found || r.value != w.value) {
			faults = append(faults, fmt.Sprintf("%s: read as %q (there: %t), after %q was acknowledged", r.key, r.value, r.found, w.value))
		}
	}
	return faults
}

// TestTheCheckerSeesEveryKindOfFault: a checker that accepts everything would pass every test of this package.
func TestTheCheckerSeesEveryKindOfFault(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	good := func() (writes []write, reads []read, has map[string]stored) {
		writes = []write{
			{key: "a", value: "a1", told: acknowledged, revision: 5, begun: at(0), ended: at(1)},
			{key: "b", value: "b1", told: unknown, begun: at(0), ended: at(1)},
			{key: "b", value: "b2", told: notApplied, refusedBy: "b1", begun: at(2), ended: at(3)},
			{key: "c", value: "c1", told: notApplied, begun: at(0), ended: at(1)},
			{key: "d", value: "d1", told: unknown, begun: at(0), ended: at(1)},
		}
		reads = []read{
			{key: "a", value: "a1", found: true, revision: 6, begun: at(2), ended: at(3)},
			{key: "c", revision: 6, begun: at(4), ended: at(5)},
		}
		return writes, reads, map[string]stored{"a": {"a1", 1, 5, 5}, "b": {"b1", 1, 6, 6}}
	}
	for name, inject := range map[string]func(w []write, r []read, has map[string]stored){
		"":                                      func([]write, []read, map[string]stored) {},
		"an acknowledged write is lost":         func(_ []write, _ []read, has map[string]stored) { delete(has, "a") },
		"an acknowledged write was overwritten": func(_ []write, _ []read, has map[string]stored) { has["a"] = stored{"x", 1, 5, 5} },
		"another revision than told":            func(w []write, _ []read, _ map[string]stored) { w[0].revision = 4 },
		"not_applied, and applied":              func(_ []write, _ []read, has map[string]stored) { has["c"] = stored{"c1", 1, 7, 7} },
		"refused by what was not written":       func(w []write, _ []read, _ map[string]stored) { w[1].told = notApplied; w[1].value = "b0" },
		"no outcome":                            func(w []write, _ []read, _ map[string]stored) { w[3].told = "" },
		"written twice":                         func(_ []write, _ []read, has map[string]stored) { has["a"] = stored{"a1", 2, 4, 5} },
		"written by nobody":                     func(_ []write, _ []read, has map[string]stored) { has["z"] = stored{"z", 1, 8, 8} },
		"a revision that goes back":             func(_ []write, r []read, _ map[string]stored) { r[1].revision = 5 },
		"a read older than a write":             func(_ []write, r []read, _ map[string]stored) { r[0].revision = 4 },
		"a read that misses a write":            func(_ []write, r []read, _ map[string]stored) { r[0].found = false; r[0].value = "" },
	} {
		w, r, has := good()
		inject(w, r, has)
		faults := append(writeFaults(w, has), readFaults(w, r)...)
		if got, want := len(faults) > 0, name != ""; got != want {
			t.Errorf("%q: got the faults %q", name, faults)
		}
	}
}
