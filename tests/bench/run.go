package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// Way is a road to etcd.
type Way string

// The ways.
const (
	V1     Way = "v1"      // our gateway, a process of its own
	V1Auth Way = "v1-auth" // the same, which asks for JWTs and gives each tenant a namespace
	V3     Way = "v3"      // etcd's own JSON gateway, inside etcd
	Go     Way = "go"      // etcd's Go client, no HTTP at all
)

// Plan is what to measure. The zero value of a field takes the default of its comment.
type Plan struct {
	Ways        []Way         // V1, V1Auth, V3, Go
	Operations  []Operation   // Get, Put, List, ListApart
	Connections int           // 64
	Rounds      int           // 5 of each way and operation, interleaved
	Duration    time.Duration // 2 s a round
}

// Row is one way to do one operation: the medians of its rounds.
type Row struct {
	Operation Operation
	Way       Way
	PerSecond float64
	P50, P99  time.Duration
	// CPU time per request of etcd, the gateway and the load generator.
	Etcd, Gateway, Client time.Duration
	// Resident memory at the end of the last round; the gateway's stands in every row.
	EtcdRSS, GatewayRSS int64

	// rounds are what the medians are of.
	rounds []Result
}

// Servers is the CPU time per request that the servers took together.
func (r Row) Servers() time.Duration { return r.Etcd + r.Gateway }

// Run starts an etcd and a gateway with their defaults, measures, and stops them.
func Run(ctx context.Context, plan Plan) (rows []Row, err error) {
	plan = plan.withDefaults()
	dir, err := os.MkdirTemp("", "etcdrest-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	programs, err := harness.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	load, err := harness.BuildCommand(ctx, dir, "load")
	if err != nil {
		return nil, err
	}
	etcd, err := programs.StartEtcd(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, etcd.Stop()) }()
	gateway, err := programs.StartGateway(ctx, "serve", "--endpoints", etcd.Endpoint, "--admin-listen=")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gateway.Stop()) }()
	guarded, token, err := startGuarded(ctx, programs, dir, etcd.Endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, guarded.Stop()) }()
	for _, namespace := range []string{"", tenants + tenant + "/"} {
		if err := Fill(ctx, etcd.Endpoint, namespace); err != nil {
			return nil, err
		}
	}
	s := site{plan: plan, load: load, etcd: etcd, gateway: gateway, guarded: guarded, token: token}
	for _, operation := range plan.Operations {
		measured, err := s.measure(ctx, operation)
		if err != nil {
			return nil, err
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

func (p Plan) withDefaults() Plan {
	if p.Ways == nil {
		p.Ways = []Way{V1, V1Auth, V3, Go}
	}
	if p.Operations == nil {
		p.Operations = []Operation{Get, Put, List, ListApart}
	}
	p.Connections = cmp.Or(p.Connections, 64)
	p.Rounds = cmp.Or(p.Rounds, 5)
	p.Duration = cmp.Or(p.Duration, 2*time.Second)
	return p
}

// site is what runs while we measure.
type site struct {
	plan    Plan
	load    string
	etcd    *harness.Etcd
	gateway *harness.Gateway
	// guarded asks for the token.
	guarded *harness.Gateway
	token   string
}

func (s site) measure(ctx context.Context, operation Operation) ([]Row, error) {
	rounds := make(map[Way][]Result)
	for range s.plan.Rounds {
		for _, way := range s.plan.Ways {
			result, err := s.round(ctx, way, operation)
			if err != nil {
				return nil, fmt.Errorf("%s by %s: %w", operation, way, err)
			}
			rounds[way] = append(rounds[way], result)
		}
	}
	etcd, err := s.etcd.Usage()
	if err != nil {
		return nil, err
	}
	gateway, err := s.gateway.Usage()
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, way := range s.plan.Ways {
		of := func(field func(Result) time.Duration) time.Duration { return median(rounds[way], field) }
		rows = append(rows, Row{
			Operation:  operation,
			Way:        way,
			PerSecond:  median(rounds[way], func(r Result) float64 { return r.PerSecond }),
			P50:        of(func(r Result) time.Duration { return r.P50 }),
			P99:        of(func(r Result) time.Duration { return r.P99 }),
			Etcd:       of(func(r Result) time.Duration { return r.CPU[0] }),
			Gateway:    of(func(r Result) time.Duration { return r.CPU[1] }),
			Client:     of(func(r Result) time.Duration { return r.CPU[2] }),
			EtcdRSS:    etcd.RSS,
			GatewayRSS: gateway.RSS,
			rounds:     rounds[way],
		})
	}
	return rows, nil
}

// round runs the load generator once.
func (s site) round(ctx context.Context, way Way, operation Operation) (Result, error) {
	target, gateway, spoken, token := s.etcd.Endpoint, s.gateway, way, ""
	switch way {
	case V1:
		target = gateway.API
	case V1Auth:
		gateway, spoken, token = s.guarded, V1, s.token
		target = gateway.API
	case V3, Go:
	}
	cmd := exec.CommandContext(ctx, s.load,
		"-way", string(spoken), "-token", token, "-op", string(operation), "-target", target,
		"-connections", strconv.Itoa(s.plan.Connections), "-duration", s.plan.Duration.String(),
		"-pid", strconv.Itoa(s.etcd.PID()), "-pid", strconv.Itoa(gateway.PID()))
	printed, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return Result{}, fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return Result{}, err
	}
	var result Result
	if err := json.Unmarshal(printed, &result); err != nil {
		return Result{}, fmt.Errorf("the load generator's result: %w", err)
	}
	if len(result.CPU) != 3 {
		return Result{}, fmt.Errorf("the load generator measured %d processes, want 3", len(result.CPU))
	}
	return result, nil
}

func median[T cmp.Ordered](results []Result, field func(Result) T) T {
	values := make([]T, len(results))
	for i, r := range results {
		values[i] = field(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
