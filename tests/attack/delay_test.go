package attack_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// delay passes connections on to etcd, and keeps what etcd answers to itself for a while.
type delay struct {
	endpoint, to string

	work sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]struct{}
	by   time.Duration
	// changed is closed and replaced when by changes: who waits looks again.
	changed chan struct{}
}

// startDelay runs one, without any delay yet, for the length of the test.
func startDelay(t *testing.T, etcd string) *delay {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &delay{
		endpoint: "http://" + l.Addr().String(), to: strings.TrimPrefix(etcd, "http://"),
		open: map[net.Conn]struct{}{}, changed: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	d.work.Go(func() { d.accept(ctx, l) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		d.mu.Lock()
		for c := range d.open {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.work.Wait()
	})
	return d
}

// set makes all answers that come from now on, and those that wait, wait that long.
func (d *delay) set(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.by = by
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *delay) accept(ctx context.Context, l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(ctx, "tcp", d.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		d.mu.Lock()
		d.open[in], d.open[out] = struct{}{}, struct{}{}
		d.mu.Unlock()
		late := make(chan piece, 1<<16)
		d.work.Go(func() { d.forward(in, out) })
		d.work.Go(func() { d.receive(out, late) })
		d.work.Go(func() { d.deliver(ctx, in, late) })
	}
}

// piece is a part of an answer, and when it came.
type piece struct {
	bytes []byte
	at    time.Time
}

func (d *delay) forward(in, out net.Conn) {
	defer d.close(in, out)
	buffer := make([]byte, 32<<10)
	for {
		n, err := in.Read(buffer)
		if _, werr := out.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (d *delay) receive(out net.Conn, late chan<- piece) {
	defer close(late)
	for {
		buffer := make([]byte, 32<<10)
		n, err := out.Read(buffer)
		if err != nil {
			return
		}
		late <- piece{buffer[:n], time.Now()}
	}
}

func (d *delay) deliver(ctx context.Context, in net.Conn, late <-chan piece) {
	for p := range late {
		if !d.wait(ctx, p.at) {
			continue // the test is over
		}
		_, _ = in.Write(p.bytes)
	}
	d.close(in)
}

// wait returns when what came at that time may go on; false when ctx ended before.
func (d *delay) wait(ctx context.Context, at time.Time) bool {
	for {
		d.mu.Lock()
		left, changed := time.Until(at.Add(d.by)), d.changed
		d.mu.Unlock()
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

func (d *delay) close(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(d.open, c)
	}
}
