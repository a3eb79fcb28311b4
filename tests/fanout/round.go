package fanout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// site is where the programs are.
type site struct {
	dir      string
	programs harness.Programs
	watchers string
}

// round measures one way once.
func (s site) round(ctx context.Context, way Way, subscribers, events int, pace time.Duration) (row Row, err error) {
	data, err := os.MkdirTemp(s.dir, "etcd-")
	if err != nil {
		return Row{}, err
	}
	etcd, err := s.programs.StartEtcd(ctx, filepath.Join(data, "data"))
	if err != nil {
		return Row{}, err
	}
	defer func() { err = errors.Join(err, etcd.Stop()) }()
	servers, target := []*harness.Process{etcd.Process}, etcd.Endpoint
	if way == V1 {
		gateway, err := s.programs.StartGateway(ctx, "serve", "--endpoints", etcd.Endpoint, "--admin-listen=",
			"--max-connections=20000", "--max-streams=20000")
		if err != nil {
			return Row{}, err
		}
		defer func() { _ = gateway.Stop() }() // its streams have gone
		servers, target = append(servers, gateway.Process), gateway.API
	}
	begin, err := used(servers)
	if err != nil {
		return Row{}, err
	}
	watchers, err := harness.Start(ctx, s.watchers, []string{
		"-way", string(way), "-target", target, "-subscribers", strconv.Itoa(subscribers), "-events", strconv.Itoa(events),
	}, nil)
	if err != nil {
		return Row{}, err
	}
	defer func() { err = errors.Join(err, watchers.Stop()) }()
	idle, err := told(ctx, watchers, "subscribed", servers)
	if err != nil {
		return Row{}, err
	}
	started := time.Now()
	if err := write(ctx, etcd.Endpoint, events, pace); err != nil {
		return Row{}, err
	}
	busy, err := told(ctx, watchers, "delivered", servers)
	if err != nil {
		return Row{}, err
	}
	row = Row{Way: way, Subscribers: subscribers, Events: events, Took: time.Since(started)}
	deliveries := time.Duration(subscribers * events)
	row.Etcd = (busy[0].CPU - idle[0].CPU) / deliveries
	if way == V1 {
		row.Gateway = (busy[1].CPU - idle[1].CPU) / deliveries
	}
	for i := range servers {
		row.Idle += (idle[i].RSS - begin[i].RSS) / int64(subscribers)
		row.Busy += (busy[i].RSS - begin[i].RSS) / int64(subscribers)
	}
	return row, nil
}

// told waits until the watchers say a word, and reads what the servers have taken by then.
func told(ctx context.Context, watchers *harness.Process, word string, servers []*harness.Process) ([]harness.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := watchers.WaitFor(ctx, word, func(line string) bool { return line == word }); err != nil {
		return nil, err
	}
	return used(servers)
}

func used(servers []*harness.Process) (all []harness.Usage, err error) {
	for _, p := range servers {
		u, err := p.Usage()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// write makes the events.
func write(ctx context.Context, endpoint string, events int, pace time.Duration) error {
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{endpoint}})
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	defer client.Close()
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for n := range events {
		if _, err := client.Put(ctx, fmt.Sprintf("fan/%d", n%10), strings.Repeat("x", ValueSize)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		<-ticks.C
	}
	return nil
}
