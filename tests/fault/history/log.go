package history

import (
	"fmt"
	"maps"
	"slices"
)

// Log is every revision of an etcd that was empty at the start, in order and without a hole.
type Log struct {
	// Compacted is the revision up to which etcd may have forgotten what keys were.
	Compacted int64

	revisions []Revision // the first is revision 2: an empty etcd is at 1
}

const first = 2

// NewLog takes revisions from 2 on, and works out for each event what its key was before. A hole, and an event that its
// key's former state contradicts, is an error: then this is no full history.
func NewLog(revisions []Revision) (*Log, error) {
	keys := map[string]KeyValue{}
	log := &Log{}
	for i, r := range revisions {
		if want := int64(first + i); r.Revision != want || len(r.Events) == 0 {
			return nil, fmt.Errorf("the history is not whole: got revision %d with %d events where %d belongs", r.Revision, len(r.Events), want)
		}
		r.Events = slices.Clone(r.Events)
		for j := range r.Events {
			if err := follow(keys, &r.Events[j]); err != nil {
				return nil, fmt.Errorf("revision %d: %w", r.Revision, err)
			}
		}
		log.revisions = append(log.revisions, r)
	}
	return log, nil
}

// follow applies an event and fills in what was before.
func follow(keys map[string]KeyValue, e *Event) error {
	was, existed := keys[e.Key]
	e.Before = Before{Value: was.Value, Mod: was.Mod, Version: was.Version}
	if e.Type == Delete {
		if !existed {
			return fmt.Errorf("%q is deleted, and did not exist", e.Key)
		}
		delete(keys, e.Key)
		return nil
	}
	create := was.Create
	if !existed {
		create = e.Mod
	}
	if e.Create != create || e.Version != was.Version+1 {
		return fmt.Errorf("%q is version %d created at %d, and was version %d created at %d", e.Key, e.Version, e.Create, was.Version, was.Create)
	}
	keys[e.Key] = KeyValue{Key: e.Key, Value: e.Value, Create: e.Create, Mod: e.Mod, Version: e.Version, Lease: e.Lease}
	return nil
}

// Head is the last revision.
func (l *Log) Head() int64 { return first - 1 + int64(len(l.revisions)) }

// At is one revision; one that is not in the log has no events.
func (l *Log) At(revision int64) Revision {
	if revision < first || revision > l.Head() {
		return Revision{Revision: revision}
	}
	return l.revisions[revision-first]
}

// Revisions are all of them, oldest first.
func (l *Log) Revisions() []Revision { return l.revisions }

// State is what a view shows at a revision, by key. Of keys only, etcd does not tell the lease.
func (l *Log) State(view View, revision int64) []KeyValue {
	keys := map[string]KeyValue{}
	for _, r := range l.revisions[:max(0, min(revision, l.Head())-first+1)] {
		for _, e := range r.Events {
			switch {
			case !view.Has(e.Key):
			case e.Type == Delete:
				delete(keys, e.Key)
			default:
				keys[e.Key] = KeyValue{Key: e.Key, Value: e.Value, Create: e.Create, Mod: e.Mod, Version: e.Version, Lease: e.Lease}
			}
		}
	}
	state := make([]KeyValue, 0, len(keys))
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		kv := keys[key]
		if view.KeysOnly {
			kv.Value, kv.Lease = "", 0
		}
		state = append(state, kv)
	}
	return state
}
