// Package history holds what watches delivered and what etcd has, and judges the first by the second.
package history

import "slices"

// Type is what an event does to its key.
type Type string

// The types.
const (
	Put    Type = "put"
	Delete Type = "delete"
)

// Event is one change of a key as a watch shows it. Events are compared with ==.
type Event struct {
	Type       Type
	Key, Value string
	Mod        int64
	// Create, Version and Lease are those of a put.
	Create, Version, Lease int64
	// Before is what the key was; the zero value when it did not exist, or was not asked for.
	Before Before
}

// Before is a key's former life in an event.
type Before struct {
	Value        string
	Mod, Version int64
}

// Revision is all changes that one transaction made, in its order.
type Revision struct {
	Revision int64
	Events   []Event
}

// KeyValue is a key of a snapshot.
type KeyValue struct {
	Key, Value                  string
	Create, Mod, Version, Lease int64
}

// part says whether some is a subset of all.
func part(some, all []Event) bool {
	for _, e := range some {
		if !slices.Contains(all, e) {
			return false
		}
	}
	return true
}
