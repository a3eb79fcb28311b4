package harness

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// Etcd is a single etcd member with its defaults: fsync on, the JSON gateway on the client port.
type Etcd struct {
	*Process

	// Endpoint is the client URL, for gRPC and for HTTP.
	Endpoint string
}

// StartEtcd runs etcd with its data in dir and returns once it serves. A port that another process took between finding
// and binding it is replaced.
func (p Programs) StartEtcd(ctx context.Context, dir string, args ...string) (*Etcd, error) {
	for try := 1; ; try++ {
		e, err := p.startEtcd(ctx, dir, args)
		if err == nil || try == 5 || !strings.Contains(err.Error(), "address already in use") {
			return e, err
		}
	}
}

func (p Programs) startEtcd(ctx context.Context, dir string, args []string) (*Etcd, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	const peer = "http://127.0.0.1:0" // a single member has no peer to be dialled by
	endpoint := "http://" + address
	process, err := Start(ctx, p.Etcd, append([]string{
		"--data-dir", dir,
		"--listen-client-urls", endpoint, "--advertise-client-urls", endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}, args...), nil)
	if err != nil {
		return nil, err
	}
	_, err = process.WaitFor(ctx, "that it serves", func(line string) bool {
		return strings.Contains(line, "serving client traffic")
	})
	if err != nil {
		_ = process.Stop()
		return nil, err
	}
	return &Etcd{Process: process, Endpoint: endpoint}, nil
}

// freeAddress is for programs that must be told their port; those that take port 0 need none of it.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
