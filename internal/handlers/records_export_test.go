package handlers

import "context"

// RecordLeases gives the function that chooses the lease of a new idempotency record, for the test of its timing: five
// minutes cannot pass before a real etcd.
func RecordLeases(store Store) func(context.Context) (int64, error) { return newRecords(store).lease }
