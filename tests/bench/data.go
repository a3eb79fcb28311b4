// Package bench compares ways to the same etcd, side by side in one run: the gateway, etcd's own JSON gateway and etcd's
// Go client. Rounds of the ways are interleaved, so that whatever else the machine does falls on all of them.
package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The data set: Keys keys of ValueSize bytes, in folders of 1,000.
const (
	Keys      = 10_000
	ValueSize = 256
)

// Operation is a kind of request.
type Operation string

// The operations: one linearizable read of a random key, one write of a random key, a list of 1,000 keys, and such a list
// with a limit that only this connection uses, so that no two callers ever ask for the same and nothing can be shared.
const (
	Get       Operation = "get"
	Put       Operation = "put"
	List      Operation = "list"
	ListApart Operation = "list-apart"
)

// Limit is what the nth connection gives as the limit of a list.
func (o Operation) Limit(connection int) int {
	if o == ListApart {
		return 1000 + connection
	}
	return 1000
}

// Keys is how many keys an answer holds.
func (o Operation) Keys() int {
	switch o {
	case Get:
		return 1
	case List, ListApart:
		return 1000
	default:
		return 0
	}
}

// Key names the nth key.
func Key(n int) string { return fmt.Sprintf("bench/%02d/%03d", n/1000, n%1000) }

// Folder is the prefix of the thousand keys around the nth.
func Folder(n int) string { return fmt.Sprintf("bench/%02d/", n/1000) }

// Value is the nth key's value: a small JSON document, as most values in etcd are, so that there is something to escape.
func Value(n int) string {
	text := fmt.Sprintf(`{"id":%d,"name":"item %d","state":"ready","labels":{"zone":"z%d"},"payload":"`, n, n, n%7)
	return text + strings.Repeat("x", ValueSize-len(text)-2) + `"}`
}

// Fill writes the data set, each key behind the namespace.
func Fill(ctx context.Context, endpoint, namespace string) error {
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{endpoint}})
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	defer client.Close()
	for first := 0; first < Keys; first += 100 {
		puts := make([]clientv3.Op, 100)
		for i := range puts {
			puts[i] = clientv3.OpPut(namespace+Key(first+i), Value(first+i))
		}
		if _, err := client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// Result is what one round measured; CPU is per request, of the processes in the order they were given, and last of the
// client itself.
type Result struct {
	PerSecond float64
	P50, P99  time.Duration
	CPU       []time.Duration
}

// servers is the CPU per request of all but the client.
func (r Result) servers() (sum time.Duration) {
	for _, cpu := range r.CPU[:len(r.CPU)-1] {
		sum += cpu
	}
	return sum
}
