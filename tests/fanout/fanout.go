// Package fanout compares what a watch costs when many subscribers share it: WebSockets at the gateway, and WebSockets at
// etcd's own JSON gateway. Rounds are interleaved, each with servers of its own, so that memory is that of its subscribers.
package fanout

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// Way is a road to etcd's watch.
type Way string

// The ways.
const (
	V1 Way = "v1" // our gateway, a process of its own
	V3 Way = "v3" // etcd's own JSON gateway, inside etcd
)

// ValueSize is the size of the values written, in bytes.
const ValueSize = 200

// Plan is what to measure. The zero value of a field takes the default of its comment.
type Plan struct {
	Subscribers int           // 1,000, of one prefix
	Events      int           // 100, that each subscriber sees
	Pace        time.Duration // 100 ms from one event to the next
	Rounds      int           // 3
	Idle        int           // 9,000 subscribers of the gateway to whom nothing happens
}

func (p Plan) withDefaults() Plan {
	p.Subscribers = cmp.Or(p.Subscribers, 1000)
	p.Events = cmp.Or(p.Events, 100)
	p.Pace = cmp.Or(p.Pace, 100*time.Millisecond)
	p.Rounds = cmp.Or(p.Rounds, 3)
	p.Idle = cmp.Or(p.Idle, 9000)
	return p
}

// Row is one way; CPU is per delivered event, memory per subscriber, both the medians of the rounds.
type Row struct {
	Way           Way
	Subscribers   int
	Events        int
	Etcd, Gateway time.Duration
	// Idle is when all have subscribed, Busy once all events are delivered: bytes of both servers.
	Idle, Busy int64
	// Took is from the first write to the last delivery.
	Took time.Duration
}

// Servers is the CPU time per delivered event that the servers took together.
func (r Row) Servers() time.Duration { return r.Etcd + r.Gateway }

// Run measures the ways, and the gateway's idle subscribers last.
func Run(ctx context.Context, plan Plan) (rows []Row, err error) {
	plan = plan.withDefaults()
	dir, err := os.MkdirTemp("", "etcdrest-fanout-")
	if err != nil {
		return nil, fmt.Errorf("fanout: %w", err)
	}
	defer os.RemoveAll(dir)
	s := site{dir: dir}
	if s.programs, err = harness.Build(ctx, dir); err != nil {
		return nil, err
	}
	if s.watchers, err = harness.BuildCommand(ctx, dir, "watchers"); err != nil {
		return nil, err
	}
	rounds := map[Way][]Row{}
	for range plan.Rounds {
		for _, way := range []Way{V1, V3} {
			row, err := s.round(ctx, way, plan.Subscribers, plan.Events, plan.Pace)
			if err != nil {
				return nil, fmt.Errorf("%d subscribers by %s: %w", plan.Subscribers, way, err)
			}
			rounds[way] = append(rounds[way], row)
		}
	}
	rows = []Row{median(rounds[V1]), median(rounds[V3])}
	if plan.Idle > 0 {
		row, err := s.round(ctx, V1, plan.Idle, 1, plan.Pace)
		if err != nil {
			return nil, fmt.Errorf("%d idle subscribers: %w", plan.Idle, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func median(rows []Row) Row {
	m := rows[0]
	m.Etcd = middle(rows, func(r Row) time.Duration { return r.Etcd })
	m.Gateway = middle(rows, func(r Row) time.Duration { return r.Gateway })
	m.Took = middle(rows, func(r Row) time.Duration { return r.Took })
	m.Idle = middle(rows, func(r Row) int64 { return r.Idle })
	m.Busy = middle(rows, func(r Row) int64 { return r.Busy })
	return m
}

func middle[T cmp.Ordered](rows []Row, field func(Row) T) T {
	values := make([]T, len(rows))
	for i, r := range rows {
		values[i] = field(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
