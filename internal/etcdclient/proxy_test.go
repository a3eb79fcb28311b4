package etcdclient_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy passes connections on to an endpoint over TCP, through a listener of the test's choice, for the length of the test.
func proxy(t testing.TB, l net.Listener, to string) *icebox {
	t.Helper()
	p := &icebox{endpoint: "http://" + l.Addr().String(), to: strings.TrimPrefix(to, "http://"), gate: make(chan struct{})}
	close(p.gate)
	p.work.Go(func() { p.accept(t.Context(), l) })
	t.Cleanup(func() {
		p.thaw()
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

// freezer is a proxy on a port of its own that can stop passing anything while its connections stay open: a member that
// hangs, or a network that swallows packets.
func freezer(t testing.TB, to string) *icebox {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return proxy(t, l, to)
}

type icebox struct {
	endpoint, to string
	work         sync.WaitGroup

	mu   sync.Mutex
	gate chan struct{} // closed while bytes pass
	open []net.Conn
}

func (p *icebox) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *icebox) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

func (p *icebox) pass() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	<-gate
}

func (p *icebox) accept(ctx context.Context, l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, in, out)
		p.mu.Unlock()
		p.work.Go(func() { p.pipe(in, out) })
		p.work.Go(func() { p.pipe(out, in) })
	}
}

func (p *icebox) pipe(to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.pass()
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// cut closes every connection there is; new ones are taken.
func (p *icebox) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}
