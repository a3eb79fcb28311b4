package stream_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is a way to an endpoint over which the test decides: it cuts connections, or swallows what they carry.
type proxy struct {
	address, to string
	work        sync.WaitGroup

	mu   sync.Mutex
	gate chan struct{} // closed while bytes pass
	open []net.Conn
}

// newProxy listens for the length of the test.
func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), to: strings.TrimPrefix(to, "http://"), gate: make(chan struct{})}
	close(p.gate)
	ctx := context.WithoutCancel(t.Context())
	p.work.Go(func() { p.accept(ctx, l) })
	t.Cleanup(func() {
		_ = l.Close()
		p.thaw()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept(ctx context.Context, l net.Listener) {
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

func (p *proxy) pipe(to, from net.Conn) {
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

func (p *proxy) pass() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	<-gate
}

// freeze has nothing pass any more, while the connections stay.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// cut closes every connection there is; new ones are taken.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}
