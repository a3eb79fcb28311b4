package cluster_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cutter passes connections on to a member over TCP. Armed, it lets each connection carry a random number of bytes towards
// the member, and then either cuts it there, in the middle of a request, or keeps what the member answers to itself for a
// moment before it cuts: then what was asked has been done, and nobody is told.
type cutter struct {
	endpoint, to string
	armed        atomic.Bool
	// cut and swallowed count the connections by what became of them.
	cut, swallowed atomic.Int64

	work sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// startCutter runs one for the length of the test.
func startCutter(t *testing.T, member string) *cutter {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{endpoint: "http://" + l.Addr().String(), to: strings.TrimPrefix(member, "http://"), open: map[net.Conn]struct{}{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.work.Go(func() { p.accept(ctx, l) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

func (p *cutter) accept(ctx context.Context, l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(ctx, "tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.work.Go(func() { p.carry(ctx, in, out) })
	}
}

const (
	// A small write is some 200 bytes. The connection's preface and the first question take about as much.
	fewestBytes, mostBytes = 400, 4_000
	// swallowFor is longer than a write takes.
	swallowFor = 150 * time.Millisecond
)

// carry is the life of one connection.
func (p *cutter) carry(ctx context.Context, in, out net.Conn) {
	p.mu.Lock()
	p.open[in], p.open[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var (
		silent atomic.Bool // answers are swallowed
		back   sync.WaitGroup
	)
	back.Go(func() {
		buffer := make([]byte, 32<<10)
		for {
			n, err := out.Read(buffer)
			if !silent.Load() {
				_, _ = in.Write(buffer[:n]) // a caller that has gone shows on the other way
			}
			if err != nil {
				_ = in.Close()
				return
			}
		}
	})
	p.forward(ctx, in, out, &silent)
	_ = in.Close()
	_ = out.Close()
	back.Wait()
	p.mu.Lock()
	delete(p.open, in)
	delete(p.open, out)
	p.mu.Unlock()
}

// forward carries requests until the connection is to be cut.
func (p *cutter) forward(ctx context.Context, in, out net.Conn, silent *atomic.Bool) {
	left := fewestBytes + rand.IntN(mostBytes-fewestBytes)
	buffer := make([]byte, 32<<10)
	for {
		n, err := in.Read(buffer)
		if p.armed.Load() && n >= left {
			if rand.IntN(2) == 0 {
				p.cut.Add(1)
				_, _ = out.Write(buffer[:left])
				return
			}
			p.swallowed.Add(1)
			silent.Store(true)
			_, _ = out.Write(buffer[:n])
			timer := time.NewTimer(swallowFor)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			return
		}
		if p.armed.Load() {
			left -= n
		}
		if _, werr := out.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}
